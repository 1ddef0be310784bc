"""Following the record file into the index: whole lines, over rotations, from where the last run ended.

A file that was renamed is read to its end and for a while longer, since a writer may have been in the middle of a
batch. What a start finds beside the file under its name and more (`records.jsonl.1`) and has not read, it reads first.

Not here: the process that does this (`index_process`).
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from netfw.telemetry.record_index import Place, RecordIndex, Row, canonical_id

PIECE = 1 << 20
_LINGER = 30.0
_NO_RECORDS = (".gz", ".xz", ".bz2", ".zst", "-wal", "-shm")
_SQLITE = b"SQLite format 3\0"
_ID = b',"id":"'
_ID_LENGTH = 11
_TIME = b'{"event_timestamp":'
_DENIED = b'"final_action":"deny"'
_FAILED = b',"error":{"token"'


def rotated(path: Path) -> list[Path]:
    """The record file and what it was rotated to, as far as it can be read as it is, the oldest first."""
    found: list[tuple[float, Path]] = []
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    for name in names:
        one = path.parent / name
        if not _is_of(name, path) or name.endswith(_NO_RECORDS):
            continue
        try:
            if one.is_file() and not _is_database(one):
                found.append((one.stat().st_mtime, one))
        except OSError:
            continue
    return [one for _, one in sorted(found, key=lambda entry: (entry[1] == path, entry[0]))]


def _is_of(name: str, path: Path) -> bool:
    """`records.jsonl`, `records.jsonl.1`, `records.jsonl-20260131` or `records-20260131.jsonl`."""
    return (
        name == path.name
        or name.startswith((f"{path.name}.", f"{path.name}-"))
        or (name.startswith(f"{path.stem}-") and bool(path.suffix) and name.endswith(path.suffix))
    )


def _is_database(path: Path) -> bool:
    """An index may have any name: to follow it would be to read what following writes."""
    with open(path, "rb") as opened:
        return opened.read(len(_SQLITE)) == _SQLITE


def first_line_of(descriptor: int) -> int | None:
    """The checksum of a file's first line, None while it has none."""
    line, newline, _ = os.pread(descriptor, PIECE, 0).partition(b"\n")
    return zlib.crc32(line) if newline else None


@dataclass(slots=True)
class _Open:
    descriptor: int
    path: Path
    inode: int
    place: Place | None = None
    left_since: float | None = None


class RecordFollower:
    """`step` reads once. `now` is the wall clock, to forget by; lines that are no records are passed over."""

    def __init__(self, path: Path, index: RecordIndex, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._index = index
        self._now = now
        self._open: list[_Open] = []
        self.latest = 0.0
        """When the last record that was read ended."""
        for one in rotated(path):
            self._begin(one)

    def step(self) -> int:
        """Read at most a piece of each file; how many bytes."""
        self._look_for_new()
        taken = sum(self._read(one) for one in self._open)
        self._leave()
        return taken

    def behind(self) -> int:
        """Bytes that are written and not yet indexed."""
        return sum(max(0, os.fstat(one.descriptor).st_size - _at(one)) for one in self._open)

    def forget(self) -> None:
        """Let go of what is beyond the index's bounds."""
        if self._index.forget(self._now()):
            # Those that are still there, so that a start does not read them again.
            there = {one.stat().st_ino for one in rotated(self._path)}
            self._index.forget_files([place.number for place in self._index.places if place.inode in there])

    def close(self) -> None:
        """Leave all files."""
        for one in self._open:
            os.close(one.descriptor)
        self._open = []

    def _begin(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return
        self._open.append(_Open(descriptor, path, os.fstat(descriptor).st_ino))

    def _look_for_new(self) -> None:
        try:
            inode = os.stat(self._path).st_ino
        except OSError:
            return
        if all(one.inode != inode for one in self._open):
            self._begin(self._path)

    def _leave(self) -> None:
        """Close files that are no longer the record file and stay as they are."""
        try:
            current = os.stat(self._path).st_ino
        except OSError:
            return
        for one in list(self._open):
            if one.inode == current or os.fstat(one.descriptor).st_size > _at(one) and one.place is not None:
                one.left_since = None
            elif one.left_since is None:
                one.left_since = time.monotonic()
            elif time.monotonic() - one.left_since > _LINGER:
                os.close(one.descriptor)
                self._open.remove(one)

    def _read(self, one: _Open) -> int:
        if one.place is None or os.fstat(one.descriptor).st_size < one.place.place:
            # New here, or cut and written anew.
            first = first_line_of(one.descriptor)
            if first is None:
                return 0
            known = [place for place in self._index.places if (place.inode, place.first) == (one.inode, first)]
            one.place = known[-1] if known else self._index.begin_file(one.inode, first, one.path)
        at = one.place.place
        data = os.pread(one.descriptor, PIECE, at)
        whole = data.rfind(b"\n") + 1
        if not whole:
            if len(data) == PIECE:
                # No record is so long: this is none.
                one.place = self._index.add(one.place, (), at + len(data), self.latest)
            return 0
        rows = list(_rows(data[:whole], at))
        self.latest = _ended(data, whole) or self.latest or self._now()
        one.place = self._index.add(one.place, rows, at + whole, self.latest)
        return whole


def _at(one: _Open) -> int:
    return 0 if one.place is None else one.place.place


def _rows(data: bytes, at: int) -> Iterator[Row]:
    for line in data.split(b"\n"):
        begin = line.find(_ID) + len(_ID)
        exchange_id = None
        if begin >= len(_ID):
            exchange_id = line[begin : begin + _ID_LENGTH].decode("ascii", "replace")
        elif line[:1] == b"{":
            exchange_id = _parsed(line)
        if exchange_id is not None and canonical_id(exchange_id) == exchange_id:
            yield Row(exchange_id, at, line if _DENIED in line or _FAILED in line else None)
        at += len(line) + 1


def _parsed(line: bytes) -> str | None:
    """The id of a record that was not printed as ours are."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    found = record.get("id") if isinstance(record, dict) else None
    return found if isinstance(found, str) else None


def _ended(data: bytes, whole: int) -> float | None:
    """When the last record ended, in seconds since the epoch."""
    return ended_at(data[data.rfind(b"\n", 0, whole - 1) + 1 : whole])


def ended_at(line: bytes) -> float | None:
    """When the exchange of this record ended, in seconds since the epoch; None where it does not begin with that."""
    if not line.startswith(_TIME):
        return None
    digits = line[len(_TIME) : len(_TIME) + 20].split(b",")[0]
    return float(digits) if digits.isdigit() else None
