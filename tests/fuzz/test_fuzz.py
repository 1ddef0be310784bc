"""Every fuzz target for a few seconds, and everything that was ever found again."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import mutation
import pytest
import targets

SECONDS = 3.0
FOUND = Path(__file__).parents[1] / "corpus" / "hostile" / "fuzz"


@pytest.mark.parametrize("name", targets.TARGETS)
def test_a_few_seconds_of_mutations(name: str) -> None:
    """No input breaks a promise of its target; the seed in the message repeats the run."""
    seed = random.randrange(1 << 31)
    tried, ways, found = mutation.fuzz(targets.TARGETS[name], targets.seeds(name), SECONDS, seed=seed)
    assert found is None, f"seed {seed}: {found.data!r}: {found.problem!r}"
    assert tried > 100
    assert ways > 3


KEPT = sorted(FOUND.glob("*/*.bin"))


@pytest.mark.parametrize("path", KEPT, ids=[f"{path.parent.name}/{path.stem}" for path in KEPT])
def test_what_was_found_once(path: Path) -> None:
    """It is found no more."""
    if path.parent.name not in targets.TARGETS:
        pytest.skip("library missing: httptools 0.6")
    targets.TARGETS[path.parent.name](path.read_bytes())


def test_the_fuzzer_finds_what_is_there() -> None:
    """A target that breaks at one octet behind a keyword is broken within a second."""

    def fragile(data: bytes) -> str:
        assert b"chunked\x0b" not in data
        return str(b"chunked" in data)

    _, _, found = mutation.fuzz(fragile, [b"Transfer-Encoding: chunked"], 20.0, seed=1)
    assert found is not None
    assert b"chunked\x0b" in found.data


def test_the_script_runs(tmp_path: Path) -> None:
    """As a person starts it."""
    script = Path(__file__).with_name("run.py")
    done = subprocess.run(
        [sys.executable, str(script), "--seconds", "0.2", "--target", "host", "--keep", str(tmp_path), "--plain"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ways to behave" in done.stdout
