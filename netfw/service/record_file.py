"""The record file, asked: an exchange by its id, what is busy, and what comes next of one client.

In this room: reading the file from its end, off the reactor's thread. It is the one place that the manhole's `why`,
`top` and `trace` ask; an index would take its place here. All workers write the same file, so this sees all of them.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from netfw.transport.deadlines import later

_PIECE = 1 << 20
FARTHEST = 256 << 20
"""How far back an id is looked for."""
LATEST = 4 << 20
"""What `busiest` looks at."""
_LOOK = 0.25
_ROWS = 10


class NoRecordFile(Exception):
    """Records are not in a file. `str()` says what to do."""


class RecordFile:
    """`path`: the file, None where records go to standard output."""

    def __init__(self, path: Path | None, reactor: Any) -> None:
        self._path = path
        self._reactor = reactor

    def find(self, exchange_id: str) -> Deferred[dict[str, Any] | None]:
        """A Deferred of the record with this id, the newest; None when it is not there."""
        return self._in_thread(_find, self._here(), exchange_id)

    def busiest(self) -> Deferred[dict[str, Any]]:
        """A Deferred of the latest records, counted."""
        return self._in_thread(_busiest, self._here())

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
                record = _read(line)
                if record is not None and self._wanted(record):
                    self._tell(record)
        self._call = later(self._reactor, _LOOK, self.look)

    def _stop(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _lines_backwards(path: Path, farthest: int) -> Iterator[bytes]:
    """The lines of the file, the last one first."""
    if not path.exists():
        return
    with open(path, "rb") as opened:
        at = opened.seek(0, os.SEEK_END)
        end = max(0, at - farthest)
        rest = b""
        while at > end:
            step = min(_PIECE, at - end)
            at -= step
            opened.seek(at)
            first, *lines = (opened.read(step) + rest).split(b"\n")
            yield from reversed(lines)
            rest = first
        if at == 0:
            yield rest


def _find(path: Path, exchange_id: str) -> dict[str, Any] | None:
    wanted = exchange_id.encode("utf-8", "replace")
    for line in _lines_backwards(path, FARTHEST):
        if wanted in line:
            record = _read(line)
            if record is not None and record.get("id") == exchange_id:
                return record
    return None


def _busiest(path: Path) -> dict[str, Any]:
    clients: Counter[str] = Counter()
    hosts: Counter[str] = Counter()
    denied: Counter[str] = Counter()
    number = 0
    for line in _lines_backwards(path, LATEST):
        record = _read(line)
        if record is None:
            continue
        number += 1
        host = str(record.get("dest_domain") or record.get("dest_ip") or "-").rstrip(".")
        clients[str(record.get("client_src_ip"))] += 1
        hosts[host] += 1
        if str(record.get("final_action")).lower().startswith("deny"):
            denied[host] += 1
    return {
        "records": number,
        "clients": _rows(clients, "client"),
        "destinations": _rows(hosts, "destination"),
        "denied": _rows(denied, "destination"),
    }


def _rows(counted: Counter[str], name: str) -> list[dict[str, Any]]:
    return [{name: key, "exchanges": number} for key, number in counted.most_common(_ROWS)]
