"""A process beside the proxy: what it is told while it ends is dropped, and is no error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
# Prints what it is told, and takes a moment to end.
CHILD = """\
import sys, time
for line in sys.stdin:
    print(line, end="", flush=True)
time.sleep(0.2)
"""
# Processes are waited for by the main reactor only, so this has one of its own.
PARENT = """\
import os, signal, sys
from twisted.internet import reactor
from netfw.service.following import FollowerProcess

class Watched(FollowerProcess):
    def inConnectionLost(self):
        super().inConnectionLost()
        self.tell({"too": "late"})
        print("deaf")

    def processEnded(self, reason):
        super().processEnded(reason)
        self.tell({"later": "still"})
        print("ended", self.runs)
        self.stop()
        reactor.stop()

def heard(line):
    print(line.decode())
    if sys.argv[1] == "asked":
        child.stop()
        child.tell({"too": "late"})
    else:
        os.kill(child._process.pid, signal.SIGKILL)

child = Watched(reactor, {"about": 1}, heard, lambda: None, module="follower_of_a_test")
reactor.callWhenRunning(child.start)
reactor.callLater(30, reactor.stop)
reactor.run()
"""


@pytest.mark.parametrize("how", ["asked", "killed"])
def test_one_that_ends_hears_no_more(how: str, tmp_path: Path) -> None:
    """Its input is closed before its end is known, whether it was asked to end or was killed."""
    (tmp_path / "follower_of_a_test.py").write_text(CHILD)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(TREE)])}
    done = subprocess.run(
        [sys.executable, "-c", PARENT, how], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ['{"about": 1}', "deaf", "ended False"]
