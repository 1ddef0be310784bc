"""The record file, asked: an exchange by its id, what is busy, and what comes next of one client.

In this room: asking off the reactor's thread. It is the one place that the manhole's `why`, `top` and `trace` ask. All
workers write the same file, so this sees all of them. Not here: finding a record (`telemetry.record_search`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from netfw.config.log_model import LogSection
from netfw.telemetry.record_choice import Choice
from netfw.telemetry.record_follower import rotated
from netfw.telemetry.record_reading import Following
from netfw.telemetry.record_search import FARTHEST, Found, find_record, lines_backwards, read_record
from netfw.telemetry.record_summary import Summary
from netfw.transport.deadlines import later

LATEST = 4 << 20
"""What `busiest` looks at."""
_LOOK = 0.25
_SLACK = 60.0


class NoRecordFile(Exception):
    """Records are not in a file. `str()` says what to do."""


class RecordFile:
    """The file of `log` that has whole records, and its index."""

    def __init__(self, log: LogSection, reactor: Any) -> None:
        self._log = log
        self._path = log.readable
        self._index = None if log.index is None else log.index.path
        self._reactor = reactor

    def find(self, exchange_id: str) -> Deferred[Found]:
        """A Deferred of the record with this canonical id, and of what is to be said about the search."""
        return self.in_thread(find_record, self._here(), self._index, exchange_id)

    def latest(self, most: int, choice: Choice) -> Deferred[list[dict[str, Any]]]:
        """A Deferred of the last records that are asked for, at most so many, the oldest first."""
        return self.in_thread(_latest, self._here(), most, choice)

    def busiest(self) -> Deferred[dict[str, Any]]:
        """A Deferred of the latest records, counted."""
        return self.in_thread(_busiest, self._here())

    def busiest_or_why(self) -> Deferred[dict[str, Any]]:
        """The same; where there is no record file, `why` says so."""
        try:
            return self.busiest()
        except NoRecordFile as missing:
            return succeed({"records": 0, "why": str(missing)})

    def follow(self, wanted: Callable[[dict[str, Any]], bool], tell: Callable[[dict[str, Any]], None]) -> Deferred[Any]:
        """Tell each record that comes from now on; goes on until the Deferred is cancelled."""
        following = _Following(self._here(), self._reactor, wanted, tell)
        following.look()
        return following.done

    def _here(self) -> Path:
        if self._path is None:
            raise NoRecordFile(
                f"{self._log.why_unreadable}; write log: {{path: FILE}}, or log: {{index: {{path: FILE}}}} beside it, "
                "to look at them"
            )
        return self._path

    def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Off the reactor's."""
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)


class _Following:
    def __init__(
        self,
        path: Path,
        reactor: Any,
        wanted: Callable[[dict[str, Any]], bool],
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        self._following = Following(path)
        self._reactor = reactor
        self._wanted = wanted
        self._tell = tell
        self._call: Any = None
        self.done: Deferred[Any] = Deferred(lambda _: self._stop())

    def look(self) -> None:
        """Tell what has come."""
        for record in self._following.come():
            if self._wanted(record):
                self._tell(record)
        self._call = later(self._reactor, _LOOK, self.look)

    def _stop(self) -> None:
        self._following.close()
        if self._call is not None and self._call.active():
            self._call.cancel()


def _latest(path: Path, most: int, choice: Choice) -> list[dict[str, Any]]:
    """Of the newest files alone, and of no more of them than a search for an id looks through."""
    begin = choice.since
    found: list[dict[str, Any]] = []
    left = FARTHEST
    for one in reversed(rotated(path)):
        size = one.stat().st_size
        if left <= 0 or len(found) >= most or (begin is not None and one.stat().st_mtime < begin - _SLACK):
            break
        for line in lines_backwards(one, max(0, size - left)):
            record = read_record(line)
            if record is not None and choice.takes(record):
                found.append(record)
                if len(found) >= most:
                    break
        left -= size
    return found[::-1]


def _busiest(path: Path) -> dict[str, Any]:
    found = (read_record(line) for line in lines_backwards(path, -LATEST))
    counted = Summary().add(record for record in found if record is not None).as_data()
    return {
        "records": counted["records"],
        "clients": counted["clients"],
        "destinations": counted["destinations"],
        "denied": counted["denied_destinations"],
        "rules": counted["denied_by"],
    }
