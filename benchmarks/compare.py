"""netfw against other proxies, in one run: `make bench HARNESS=DIR`.

    python benchmarks/compare.py HARNESS [--scenarios s1,s3,s5] [--peers squid,ats] [--rounds 5] [--write]
    python benchmarks/compare.py HARNESS --profile FILE

HARNESS is a built copy of the forward-proxy bench: its `bench`, `bin/lg`, `lib` and `peers/*.sh`. netfw's own start
script is `peers/netfw.sh` beside this file; it uses the `twistd` on PATH. What is told is the CPU of each proxy's
process tree for a request, a connection or a gigabyte (median, and the least), memory, start, latency at a fixed
rate, two workers against one; and the ratio to the first peer. Every peer that can logs what it serves to a
file. `scenarios` has the list, and the budget.

`--write` stores the run in `results/`, prints the table into docs/performance.md and draws docs/performance.svg; each
run is compared with the one stored before. `--profile` replays the mix of a HAR file or of netfw's own records,
methods, sizes and which of them were TLS, through each peer, from a generator and to origins of its own (`replay`).
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import replay, report
from benchmarks.measuring import Run
from benchmarks.scenarios import DEFAULT, SCENARIOS

HERE = Path(__file__).parent


@contextmanager
def harness(directory: Path) -> Iterator[Any]:
    """The harness as a module, with netfw's own script among its peers and nothing changed where it lies."""
    if not (directory / "bin/lg").exists():
        raise SystemExit(f"{directory} has no bin/lg: build the harness there first (its README says how)")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        copy = Path(name)
        copy.chmod(0o755)
        shutil.copy(directory / "bench", copy)
        for part in ("bin", "lib"):
            (copy / part).symlink_to((directory / part).resolve())
        (copy / "peers").mkdir()
        for script in (directory / "peers").iterdir():
            (copy / "peers" / script.name).symlink_to(script.resolve())
        own = copy / "peers/netfw.sh"
        own.unlink(missing_ok=True)
        own.symlink_to((HERE / "peers/netfw.sh").resolve())
        loader = importlib.machinery.SourceFileLoader("bench_harness", str(copy / "bench"))
        spec = importlib.util.spec_from_loader("bench_harness", loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        module.args = SimpleNamespace(
            secs=1.0, warm=0.1, limit=90, ready=60, reps=1, acl="", results=str(copy / "rows.jsonl")
        )
        os.environ["LOG"] = "1"
        yield module


PEERS = ("squid", "ats", "haproxy", "tinyproxy", "mitmproxy", "proxypy")


def installed(bench: Any) -> list[str]:
    """Of PEERS those whose script starts a program that is there."""
    found = []
    for name in PEERS:
        script = bench.HERE / "peers" / f"{name}.sh"
        started = re.findall(r'\bexec "?([^\s"]+)', script.read_text()) if script.exists() else []
        if started and shutil.which(started[-1].replace("$PEERS", str(bench.PEERS))):
            found.append(name)
    if not found:
        raise SystemExit(f"none of {', '.join(PEERS)} is installed: there is nothing to compare with")
    return found


def main() -> None:
    """The command line above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", type=Path)
    parser.add_argument("--scenarios", default=DEFAULT, help=f"default: {DEFAULT}")
    parser.add_argument(
        "--peers", help=f"the first is what netfw is compared with; default: of {', '.join(PEERS)} what is installed"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", type=Path, metavar="FILE", help="replay this HAR file, or these records")
    parser.add_argument("--write", action="store_true", help="store the run, and print it into the documentation")
    wanted = parser.parse_args()
    scenarios = wanted.scenarios.split(",")
    unknown = [name for name in scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no scenario is called {unknown[0]!r}; there are {DEFAULT}")
    with harness(wanted.harness) as bench, bench.Origin() as origin:
        run = Run(bench, wanted.peers.split(",") if wanted.peers else installed(bench), wanted.rounds)
        if wanted.profile is not None:
            replay.compare(bench, [*run.peers, "netfw"], wanted.profile, wanted.rounds)
            return
        for name in scenarios:
            run.measure(name, origin)
        rows = report.rows_of(run)
        printed = report.table(rows, report.stored())
        print(printed)
        if wanted.write:
            report.write(rows, printed)


if __name__ == "__main__":
    main()
