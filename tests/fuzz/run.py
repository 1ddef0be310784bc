"""Fuzz the parsers: `python tests/fuzz/run.py --seconds 60 [--target NAME] [--seed N]`.

With atheris, where it is installed, by coverage; otherwise with mutations of our own. What breaks a promise is written
to `--keep` (var/fuzz) and the exit status is not 0: put the bytes into tests/corpus/hostile/fuzz/TARGET/NAME.bin, mend,
run the tests.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import mutation  # noqa: E402 - the path is set first
import targets  # noqa: E402 - the path is set first

SLOWEST = 2.0
"""Seconds of work for one input: more is a finding."""


def has_atheris() -> bool:
    """Whether coverage can guide."""
    try:
        import atheris  # noqa: F401 - only asked for
    except ImportError:
        return False
    return True


def under_atheris(name: str, seconds: float, keep: Path, seed: int) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    # Coverage is seen only in what is imported with this: methods too, so everything of ours is imported once more.
    for key in [key for key in sys.modules if key == "targets" or key == "oracles" or key.split(".")[0] == "netfw"]:
        del sys.modules[key]
    with atheris.instrument_imports(include=["netfw"]):
        instrumented = importlib.import_module("targets")
    target = instrumented.TARGETS[name]
    corpus = keep / f"{name}-corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in instrumented.seeds(name):
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def once(data: bytes) -> None:
        begun = time.process_time()
        target(data)
        spent = time.process_time() - begun
        if spent > SLOWEST:
            raise TimeoutError(f"{spent:.1f} s of work for {len(data)} octets")

    # libFuzzer's own timeout goes by the clock on the wall, which a busy machine spends too: it is for hangs only.
    options = [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed or 1}", "-timeout=120", "-max_len=16384"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={keep}/{name}-", str(corpus)], once)
    atheris.Fuzz()


def with_mutations(name: str, seconds: float, keep: Path, seed: int) -> bool:
    """Whether nothing was found."""
    tried, ways, found = mutation.fuzz(targets.TARGETS[name], targets.seeds(name), seconds, seed=seed)
    print(f"{name}: {tried} inputs, {ways} ways to behave, seed {seed}")
    if found is None:
        return True
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"{name}-{hashlib.sha256(found.data).hexdigest()[:16]}"
    path.write_bytes(found.data)
    traceback.print_exception(found.problem)
    print(f"{name}: broken by {path}: {found.data[:200]!r}")
    return False


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--target", choices=sorted(targets.TARGETS), action="append")
    parser.add_argument("--seed", type=int, help="makes a run repeatable; by default another one each time")
    parser.add_argument("--keep", type=Path, default=HERE.parents[1] / "var" / "fuzz")
    parser.add_argument("--plain", action="store_true", help="mutations of our own, even where atheris is installed")
    chosen = parser.parse_args()
    seed = random.randrange(1 << 31) if chosen.seed is None else chosen.seed
    names = chosen.target or sorted(targets.TARGETS)
    if chosen.plain or not has_atheris():
        broken = [name for name in names if not with_mutations(name, chosen.seconds, chosen.keep, seed)]
        return 1 if broken else 0
    if len(names) == 1:
        chosen.keep.mkdir(parents=True, exist_ok=True)
        under_atheris(names[0], chosen.seconds, chosen.keep, seed)
    command = [sys.executable, __file__, "--seconds", str(chosen.seconds), "--seed", str(seed), "--keep", chosen.keep]
    return max(subprocess.run([*command, "--target", name], check=False).returncode for name in names)


if __name__ == "__main__":
    sys.exit(main())
