"""The record file, asked: an exchange by its id, what is busy, and what comes next of one client.

In this room: asking off the reactor's thread. It is the one place that the manhole's `why`, `top` and `trace` ask. All
workers write the same file, so this sees all of them. Not here: finding a record (`telemetry.record_search`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from netfw.telemetry.record_search import Found, find_record, lines_backwards, read_record
from netfw.transport.deadlines import later

_PIECE = 1 << 20
LATEST = 4 << 20
"""What `busiest` looks at."""
_LOOK = 0.25
_ROWS = 10


class NoRecordFile(Exception):
    """Records are not in a file. `str()` says what to do."""


class RecordFile:
    """`path`: the file, None where records go to standard output; `index`: its index, None where there is none."""

    def __init__(self, path: Path | None, reactor: Any, index: Path | None = None) -> None:
        self._path = path
        self._index = index
        self._reactor = reactor

    def find(self, exchange_id: str) -> Deferred[Found]:
        """A Deferred of the record with this canonical id, and of what is to be said about the search."""
        return self._in_thread(find_record, self._here(), self._index, exchange_id)

    def busiest(self) -> Deferred[dict[str, Any]]:
        """A Deferred of the latest records, counted."""
        return self._in_thread(_busiest, self._here())

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
            raise NoRecordFile("records go to standard output here; write log: {path: FILE} to look at them")
        return self._path

    def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)


class _Following:
    def __init__(
        self,
        path: Path,
        reactor: Any,
        wanted: Callable[[dict[str, Any]], bool],
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        self._path = path
        self._reactor = reactor
        self._wanted = wanted
        self._tell = tell
        self._call: Any = None
        self._rest = b""
        self._at, self._file = self._end()
        self.done: Deferred[Any] = Deferred(lambda _: self._stop())

    def _end(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path)
        except OSError:
            return 0, 0
        return found.st_size, found.st_ino

    def look(self) -> None:
        """Whether something has come; a file that was rotated is read from its beginning."""
        size, file = self._end()
        if file != self._file or size < self._at:
            self._at, self._file, self._rest = 0, file, b""
        if size > self._at:
            with open(self._path, "rb") as opened:
                opened.seek(self._at)
                data = opened.read(_PIECE)
            self._at += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                record = read_record(line)
                if record is not None and self._wanted(record):
                    self._tell(record)
        self._call = later(self._reactor, _LOOK, self.look)

    def _stop(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()


def _busiest(path: Path) -> dict[str, Any]:
    clients: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    denied: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    number = 0
    for line in lines_backwards(path, LATEST):
        record = read_record(line)
        if record is None:
            continue
        number += 1
        host = str(record.get("dest_domain") or record.get("dest_ip") or "-").rstrip(".")
        clients[str(record.get("client_src_ip"))] += 1
        hosts[host] += 1
        if str(record.get("final_action")).lower().startswith("deny"):
            denied[host] += 1
            rules[_denier(record)] += 1
    return {
        "records": number,
        "clients": _rows(clients, "client"),
        "destinations": _rows(hosts, "destination"),
        "denied": _rows(denied, "destination"),
        "rules": _rows(rules, "rule"),
    }


def _denier(record: Mapping[str, Any]) -> str:
    """The rule that denied, with its group; for what no rule denied the word of the error."""
    rule, group = record.get("final_rule_name"), record.get("final_rule_group_name")
    if rule:
        return f"{group}/{rule}" if group else str(rule)
    error = record.get("error")
    return str(error.get("token", "-")) if isinstance(error, dict) else "-"


def _rows(counted: Counter[str], name: str) -> list[dict[str, Any]]:
    return [{name: key, "exchanges": number} for key, number in counted.most_common(_ROWS)]
