"""Records to a file, or to standard output: whole lines behind one another, whoever else writes them too.

A file that was renamed or deleted is made again, and a line that cannot be finished where it was begun is lost and
counted. Not here: when there is something to write (`record_log`), and when files are rotated (`record_rotation`).
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from time import sleep
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from netfw.interfaces import IRecordDestination
from netfw.telemetry.event_names import RECORD_LOG_REOPENED
from netfw.telemetry.log import tell
from netfw.telemetry.record_log import RecordLog

MODE = 0o640
STANDARD_OUTPUT = "standard output"
_GROWS = 0.1
_FLAGS = os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY


def file_log(path: Path | None, *, log: Any = None, **settings: Any) -> RecordLog:
    """A `RecordLog` of whole lines to this file, to standard output when it is None."""
    return RecordLog(FileDestination(path, log=log), log=log, **settings)


@implementer(IRecordDestination)
class FileDestination:
    """Appends to `path`, or to standard output when it is None."""

    longest_pause = 1.0

    def __init__(self, path: Path | None, *, log: Any = None) -> None:
        self.path = path
        self.shown = STANDARD_OUTPUT if path is None else str(path)
        self.lost = 0
        self._log = Logger() if log is None else log
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        # How much of the first record that waits is in the file already, and whether that file was left since.
        self._begun = 0
        self._is_torn = False

    def open(self) -> None:
        """See `IRecordDestination`. The file is made where there is none."""
        path = self.path
        if path is None:
            self._descriptor = os.dup(1)
            return
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, MODE)
            os.fchmod(descriptor, MODE)  # whatever the umask says
        except FileExistsError:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | _FLAGS)
            os.set_blocking(descriptor, True)
        found = os.fstat(descriptor)
        self._identity = (found.st_dev, found.st_ino)
        self._descriptor = descriptor
        if stat.S_ISREG(found.st_mode) and found.st_size:
            self._end_torn_line(path, descriptor)

    def send(self, records: list[bytes]) -> int:
        """See `IRecordDestination`."""
        self._follow_path()
        if self._is_torn:
            # The old file keeps the half line it has; the new one begins with a whole one.
            self._is_torn, self._begun = False, 0
            self.lost += 1
            return 1
        if self._descriptor is None:
            self.open()
        descriptor: int = self._descriptor  # type: ignore[assignment]  # open sets it or raises
        data = b"".join(records)
        written = os.write(descriptor, data[self._begun :] if self._begun else data) + self._begun
        if written == len(data):
            self._begun = 0
            return len(records)
        whole = 0
        while written >= len(records[whole]):
            written -= len(records[whole])
            whole += 1
        self._begun = written
        return whole

    def reopen(self) -> None:
        """See `IRecordDestination`. Standard output is left alone."""
        if self.path is None:
            return
        self.close()
        tell(self._log, RECORD_LOG_REOPENED, path=self.shown)
        self.open()

    def close(self) -> None:
        """See `IRecordDestination`."""
        descriptor, self._descriptor, self._identity = self._descriptor, None, None
        if descriptor is not None:
            os.close(descriptor)
        self._is_torn = self._begun > 0

    def _end_torn_line(self, path: Path, descriptor: int) -> None:
        """Give the last line its end when whoever wrote it died before: the next record must not be lost with it.

        Several processes may begin with the same file: one of them does it, and the others see that it is done. And
        several may write it: a line that grows is in somebody's hands.
        """
        with open(path, "rb", buffering=0) as file:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                former = None
                while (size := os.fstat(descriptor).st_size) != former:
                    file.seek(max(0, size - 1))
                    if file.read(1) in (b"\n", b""):
                        return
                    former = size
                    sleep(_GROWS)
                os.write(descriptor, b"\n")
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _follow_path(self) -> None:
        """Leave a file that is no longer the one at `path`: renamed, or deleted."""
        if self._identity is None or self.path is None:
            return
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            self.reopen()
            return
        if (found.st_dev, found.st_ino) != self._identity:
            self.reopen()
