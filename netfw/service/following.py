"""A process beside the proxy that follows something for it: started, fed, listened to, started again when it ends.

Here: its life, and its lines. Not here: what a line means (`store_policy_source`, `indexing`), and what happens in
that process (`netfw.store.follower_process`, `netfw.telemetry.index_process`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

_log = Logger()

STORE = "netfw.store.follower_process"
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_PATIENCE = 5.0


class FollowerProcess(ProcessProtocol):
    """`about` is its first line. `heard` gets each line that it prints. `what` it follows is for the log."""

    def __init__(
        self,
        reactor: Any,
        about: dict[str, Any],
        heard: Callable[[bytes], None],
        began: Any,
        *,
        module: str = STORE,
        what: str = "the store",
    ) -> None:
        self._module = module
        self._what = what
        self._reactor = reactor
        self._about = about
        self._heard = heard
        self._began = began
        self._rest = b""
        self._delay = _FIRST_DELAY
        self._calls: list[Any] = []
        self._stopped = False
        self._process: Any = None
        self.runs = False
        self._listens = False

    def start(self) -> None:
        """Start it. Its end is heard of by a signal, so this is for when the reactor runs."""
        if self._stopped:
            return
        kept = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "PGSSLROOTCERT", "PGSSLMODE", "PGPASSFILE", "PGSERVICEFILE")
        environment = {name: value for name, value in os.environ.items() if name in kept}
        environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
        self._rest = b""
        self.runs = True
        self._began()
        self._process = self._reactor.spawnProcess(
            self,
            sys.executable,
            [sys.executable, "-m", self._module],
            env=environment,
            childFDs={0: "w", 1: "r", 2: "r"},
        )
        self._listens = True
        self.tell(self._about)

    def tell(self, message: dict[str, Any]) -> None:
        """Send it a line; nothing happens while it does not run, or ends, since it asks anew when it starts."""
        if self._listens:
            self._process.writeToChild(0, json.dumps(message).encode("ascii") + b"\n")

    def stop(self) -> None:
        """End it: it says goodbye to the store, within some time."""
        self._stopped = True
        for call in self._calls:
            if call.active():
                call.cancel()
        self._calls = []
        self._listens = False
        if self.runs and self._process is not None:
            self._process.closeChildFD(0)
            self._calls = [self._reactor.callLater(_PATIENCE, self._kill)]

    def _kill(self) -> None:
        if self.runs:
            self._process.signalProcess("KILL")

    def inConnectionLost(self) -> None:
        """It does not listen any more: it ends, or we have asked it to."""
        self._listens = False

    def outReceived(self, data: bytes) -> None:
        """Whole lines are heard."""
        *lines, self._rest = (self._rest + data).split(b"\n") if b"\n" in data else [self._rest + data]
        for line in lines:
            self._delay = _FIRST_DELAY
            self._heard(line)

    def errReceived(self, data: bytes) -> None:
        """What it complains of."""
        text = data.decode("utf-8", "replace").strip()
        _log.error("the process that follows {what} says: {text}", what=self._what, text=text)

    def processEnded(self, reason: Any) -> None:
        """Start it again, later each time; the policy stays as it is."""
        self.runs = False
        if self._stopped:
            for call in self._calls:
                if call.active():
                    call.cancel()
            return
        _log.error(
            "the process that follows {what} ended ({reason}) and is started again",
            what=self._what,
            reason=reason.value,
        )
        self._calls = [self._reactor.callLater(self._delay, self.start)]
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
