"""Reading the record file as people do: the latest, those since a moment, and what comes from now on.

Rotated files are read too, as far as they are not compressed. In this room: files, for commands; nothing here belongs
on the reactor's thread. Not here: which records (`record_choice`), and finding one by its id (`record_search`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from netfw.telemetry.record_follower import rotated
from netfw.telemetry.record_search import lines_backwards, read_record

Record = dict[str, Any]

_PIECE = 1 << 20
_LOOK = 0.25
# Records are written a moment after they end, workers side by side: a file may begin with some of the one before.
_SLACK = 60.0


def latest(path: Path, count: int, wanted: Callable[[Record], bool]) -> list[Record]:
    """The last `count` records that are wanted, the oldest first. Raises OSError for files that cannot be read."""
    found: list[Record] = []
    for one in reversed(rotated(path)):
        for line in lines_backwards(one, 0):
            if len(found) >= count:
                return found[::-1]
            record = read_record(line)
            if record is not None and wanted(record):
                found.append(record)
    return found[::-1]


def since(path: Path, begin: float, wanted: Callable[[Record], bool]) -> Iterator[Record]:
    """All that are wanted, in the order of the files. Files that were ended before `begin` (seconds since the epoch)
    are not read. Raises OSError for files that cannot be read.
    """
    for one in rotated(path):
        if one.stat().st_mtime < begin - _SLACK:
            continue
        with open(one, "rb") as opened:
            for line in opened:
                if not line.endswith(b"\n"):
                    break  # still being written
                record = read_record(line)
                if record is not None and wanted(record):
                    yield record


class Following:
    """What comes after the end of the file as it is when this is made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rest = b""
        self._descriptor = -1
        self._inode = 0
        self._open(at_end=True)

    def come(self) -> list[Record]:
        """The records that have come since, a piece at a time; a rotated file is read to its end first."""
        lines = self._lines()
        if not lines and self._moved_on():
            lines = self._lines()
        return [record for line in lines if (record := read_record(line)) is not None]

    def records(self, sleep: Callable[[float], object] = time.sleep) -> Iterator[Record]:
        """One after the other, without end; `sleep` waits so many seconds where there is none."""
        while True:
            found = self.come()
            yield from found
            if not found:
                sleep(_LOOK)

    def close(self) -> None:
        """Read no more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, *, at_end: bool = False) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        self.close()
        self._descriptor, self._rest = descriptor, b""
        self._inode = os.fstat(descriptor).st_ino
        if at_end:
            os.lseek(descriptor, 0, os.SEEK_END)
        return True

    def _lines(self) -> list[bytes]:
        if self._descriptor < 0:
            return []
        *lines, self._rest = (self._rest + os.read(self._descriptor, _PIECE)).split(b"\n")
        return lines

    def _moved_on(self) -> bool:
        """Whether there is another file, or the same was cut: then it is read from its beginning."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return False
        if self._descriptor < 0 or found.st_ino != self._inode:
            return self._open()
        if found.st_size < os.lseek(self._descriptor, 0, os.SEEK_CUR):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._rest = b""
            return True
        return False
