"""Telling in time that a certificate ends: in the log at 60, 30 and 7 days, and as a gauge all the time.

Not here: which certificates there are (`credentials`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from netfw.transport.deadlines import Deadlines

THRESHOLDS = (7, 30, 60)
"""Days."""
LOOK = 3600.0
_DAY = 86_400.0
_log = Logger()


class ExpiryWatch:
    """`now`: seconds since the epoch. `watch` begins it."""

    def __init__(self, deadlines: Deadlines, now: Callable[[], float], ends: Mapping[str, float]) -> None:
        self._deadlines = deadlines
        self._now = now
        self.ends = dict(ends)
        """By name, as seconds since the epoch."""
        # Name and end, so that a new certificate is warned of anew; with the last threshold that was told.
        self._told: dict[tuple[str, float], int] = {}
        self._deadline: Any = None

    def watch(self, ends: Mapping[str, float]) -> None:
        """Watch these and no others; what is near is told at once."""
        self.ends = dict(ends)
        self._told = {key: told for key, told in self._told.items() if self.ends.get(key[0]) == key[1]}
        self._look()

    def days_left(self) -> dict[str, float]:
        """By name; negative when it has ended."""
        now = self._now()
        return {name: (end - now) / _DAY for name, end in self.ends.items()}

    def _look(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._deadlines.start(LOOK, self._look)
        for name, days in self.days_left().items():
            threshold = next((each for each in (0, *THRESHOLDS) if days <= each), None)
            key = name, self.ends[name]
            if threshold is None or self._told.get(key, THRESHOLDS[-1] + 1) <= threshold:
                continue
            self._told[key] = threshold
            if threshold == 0:
                _log.error("the certificate of {name} has expired", name=name)
            else:
                _log.warn("the certificate of {name} ends in {days} days", name=name, days=int(days))


class ExpiryService(Service):
    """Begins to watch when the proxy starts: by then there is a log."""

    def __init__(self, watch: ExpiryWatch) -> None:
        self._watch = watch

    def startService(self) -> None:
        """See `ExpiryWatch.watch`."""
        super().startService()
        self._watch.watch(self._watch.ends)
