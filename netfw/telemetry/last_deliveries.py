"""The last deliveries: what waits in spools when the proxy stops is sent once more, for a few seconds at most.

A container without a volume takes its spool along when it ends. Whoever carries by HTTP needs the reactor for it, so
this is waited for before anything is closed. Not here: delivering (`spooled_destination`),
and what becomes of the rest: the next process has it (`spool`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from netfw.telemetry.record_log import RecordLog
from netfw.telemetry.spooled_destination import SpooledLog

SECONDS = 3.0
"""How long that may take."""
_LOOK = 0.02


class LastDeliveries:
    """Of those of `logs` that have a spool; it is asked when that is due."""

    def __init__(self, logs: Callable[[], Iterable[RecordLog]], reactor: Any) -> None:
        self._all = logs
        self._logs: list[SpooledLog] = []
        self._reactor = reactor
        self._ends_at = 0.0
        self._cut = False

    def make(self, seconds: float = SECONDS) -> Deferred[None]:
        """Fires when all have arrived, have failed, or the time is over. It never fails."""
        self._logs = [log for log in self._all() if isinstance(log, SpooledLog)]
        if not self._logs or self._cut:
            return succeed(None)
        for log in self._logs:
            log.destination.hurry()
        self._ends_at = self._reactor.seconds() + seconds
        done: Deferred[None] = Deferred()
        self._look(done)
        return done

    def cut(self) -> None:
        """Wait no longer."""
        self._cut = True

    def _look(self, done: Deferred[None]) -> None:
        if self._cut or self._reactor.seconds() >= self._ends_at or all(log.is_done for log in self._logs):
            done.callback(None)
        else:
            self._reactor.callLater(_LOOK, self._look, done)
