"""What the tests of certificates share."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def now() -> datetime:
    """A moment that the machine's own clock agrees with, since programs look at that."""
    return NOW


@pytest.fixture
def run() -> Callable[..., str]:
    """`run(program, *arguments)`: what it prints; skips when it is missing, fails when it fails."""

    def start(program: str, *arguments: str | Path) -> str:
        if shutil.which(program) is None:
            pytest.skip(f"program missing: {program}")
        done = subprocess.run(
            [program, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return start
