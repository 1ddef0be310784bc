"""`make demo` works without a network and shows what it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_demonstration(tmp_path: Path) -> None:
    """It ends with 0 and shows an allowed, a denied, an alerted and two intercepted exchanges with their records."""
    done = subprocess.run(
        [sys.executable, "-m", "netfw.testing.demo"],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "LANG": "C.UTF-8"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "Hello from shop.test", "403 Blocked by netfw demo/no-ads", '"first_alert_match": "watch-news"',
        '"intercepted": true', "403 Blocked by netfw demo/no-admin",
    ):  # fmt: skip
        assert words in done.stdout
    assert list(tmp_path.glob("netfw-demo-*")) == []
