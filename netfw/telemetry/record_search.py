"""An exchange's record by its id: from the index, else from what it has not read yet, else from the files.

A record that a client has just seen is found whether or not the index lags: what lies behind it is read. In this room:
files, so nothing here belongs on the reactor's thread. Not here: what the record means (`denial_walk`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netfw.telemetry.record_follower import rotated
from netfw.telemetry.record_index import Hit, IndexReader, IndexUnusable, Place

PIECE = 1 << 20
FARTHEST = 256 << 20
"""How many bytes of files are looked through for an id."""
_SHOWN_LAG = 4 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """`record` is None where there is none; `notes` say what the reader should know of the search."""

    record: dict[str, Any] | None
    notes: tuple[str, ...] = ()


def read_record(line: bytes) -> dict[str, Any] | None:
    """A line as a record; None when it is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def lines_backwards(path: Path, begin: int) -> Iterator[bytes]:
    """The lines behind `begin`, an offset, the last one first; a negative one counts from the end, as it is now.

    An offset counts from the file's beginning: it grows meanwhile.
    """
    if not path.exists():
        return
    with open(path, "rb") as opened:
        at = opened.seek(0, os.SEEK_END)
        end = begin if begin >= 0 else max(0, at + begin)
        rest = b""
        while at > end:
            step = min(PIECE, at - end)
            at -= step
            opened.seek(at)
            first, *lines = (opened.read(step) + rest).split(b"\n")
            yield from reversed(lines)
            rest = first
        if at == 0:
            yield rest


def find_record(records: Path, index: Path | None, exchange_id: str) -> Found:
    """The record with this canonical id. Raises OSError where a file is there and cannot be read."""
    if index is None:
        return _in_files(records, exchange_id, {}, ())
    try:
        reader = IndexReader(index)
        try:
            hit = reader.find(exchange_id)
            places = {place.inode: place for place in reader.places()}
        finally:
            reader.close()
    except IndexUnusable as error:
        return _in_files(records, exchange_id, {}, (f"the index {index} cannot be read ({error}): read the records",))
    if hit is not None:
        return _from_index(records, hit, exchange_id)
    return _in_files(records, exchange_id, places, ())


def _from_index(records: Path, hit: Hit, exchange_id: str) -> Found:
    if hit.record is not None:
        return Found(hit.record)
    if hit.place is not None:
        for path in reversed(rotated(records)):
            if path.stat().st_ino == hit.place.inode and (record := _at(path, hit.at, exchange_id)) is not None:
                return Found(record)
    # Copied and cut, or moved to another file system: it may be anywhere.
    found = _in_files(records, exchange_id, {}, ())
    if found.record is not None:
        return found
    where = "" if hit.place is None else f" {hit.place.path}"
    return Found(None, (f"it was an exchange that was let pass; the file{where} that had its record is gone",))


def _at(path: Path, offset: int, exchange_id: str) -> dict[str, Any] | None:
    with open(path, "rb") as opened:
        opened.seek(offset)
        record = read_record(opened.readline())
    return record if record is not None and record.get("id") == exchange_id else None


def _in_files(records: Path, exchange_id: str, places: dict[int, Place], notes: tuple[str, ...]) -> Found:
    """Look through what no index has read, the newest first."""
    wanted = exchange_id.encode("ascii")
    left = FARTHEST
    lag = 0
    for path in reversed(rotated(records)):
        found = path.stat()
        place = places.get(found.st_ino)
        new = found.st_size - place.place if place is not None and place.place <= found.st_size else found.st_size
        lag += new
        # One more: the newline before it says that its first line is whole.
        for line in lines_backwards(path, max(0, found.st_size - min(new, left) - 1)):
            if wanted in line and (record := read_record(line)) is not None and record.get("id") == exchange_id:
                return Found(record, notes + _lagging(places, lag))
        left -= min(new, left)
        if left <= 0:
            notes += (f"only the last {FARTHEST >> 20} MiB of records were looked through",)
            break
    return Found(None, notes + _lagging(places, lag))


def _lagging(places: dict[int, Place], lag: int) -> tuple[str, ...]:
    if not places or lag < _SHOWN_LAG:
        return ()
    return (f"the index lags: {lag >> 20} MiB of records are not in it yet, and were read for this",)
