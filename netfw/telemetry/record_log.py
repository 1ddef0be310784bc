"""Where records go: a file or standard output, by a thread of its own: no disk and no pipe holds up the reactor.

`write` appends to a deque and, only when the writer sleeps, wakes it. The writer then collects for a moment, for longer
when much comes, and writes that in few large writes. The queue has a cap in records and in bytes; what does not fit is
dropped and counted. A file that cannot be written is tried again, and the program's log says so once a minute.

Each time the writer wants the interpreter's lock it waits up to 5 ms, and until then the kernel wakes it in vain
whenever the reactor lets go of the lock for a system call. Woken twenty times a second and writing 64 lines at a time,
that was 8,000 switches a second and a fifth of the cost of a request.

Not here: what a record says (`exchange_record`). The thread does not survive a fork: `start` belongs after daemonising.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections import deque
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from netfw.interfaces import IRecordSink
from netfw.telemetry.event_names import RECORD_LOG_FAILED, RECORD_LOG_RECOVERED, RECORD_LOG_REOPENED, RECORDS_DROPPED
from netfw.telemetry.log import Sparingly, tell

QUEUED_RECORDS = 10_000
QUEUED_BYTES = 32 * 1024 * 1024
GATHER = 0.05
RETRY = 1.0
COMPLAIN = 60.0
# So many records in one `gather` are much: the next ones are collected for this many times as long.
_MANY = 16
_LONGER = 5
_BATCH = 512
_BATCH_SHARE = 8
_BLOCKED = 0.01
_GROWS = 0.1
_FLAGS = os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY


@implementer(IRecordSink)
class RecordLog:
    """Writes lines to `path`, or to standard output when it is None.

    `written`, `dropped` and `errors` only grow. `write`, `reopen` and `close` belong to one thread, the reactor's.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        queued_records: int = QUEUED_RECORDS,
        queued_bytes: int = QUEUED_BYTES,
        gather: float = GATHER,
        retry: float = RETRY,
        log: Any = None,
    ) -> None:
        self.path = path
        self.written = 0
        self.errors = 0
        self._queued_records = queued_records
        self._queued_bytes = queued_bytes
        self._gather = gather
        self._retry = retry
        self._log = Logger() if log is None else log
        self._complaints = Sparingly(COMPLAIN, monotonic)
        self._queue: deque[bytes] = deque()
        # Each counter has one writer: additions from two threads to one attribute would lose some.
        self._bytes_taken = 0
        self._bytes_gone = 0
        self._dropped_at_entry = 0
        self._dropped_by_writer = 0
        self._dropped_told = 0
        self._asleep = False
        self._wake = Event()
        self._closing = False
        self._close_by = 0.0
        self._reopen = False
        self._failing = False
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._batch: list[bytes] = []
        self._rest = b""
        self._thread: Thread | None = None

    @property
    def dropped(self) -> int:
        """Records that were taken and never written whole."""
        return self._dropped_at_entry + self._dropped_by_writer

    @property
    def queue_length(self) -> int:
        """Records that wait to be written."""
        return len(self._queue) + len(self._batch)

    def start(self) -> None:
        """Open the file and start the writer. Raises OSError: a proxy that cannot write records should not start."""
        self._open()
        self._thread = Thread(target=self._run, name="record-log", daemon=True)
        self._thread.start()

    def write(self, record: bytes) -> None:
        """Take one line, its newline included."""
        queue = self._queue
        if (
            len(queue) >= self._queued_records
            or self._bytes_taken - self._bytes_gone > self._queued_bytes
            or self._closing
        ):
            self._dropped_at_entry += 1
            return
        self._bytes_taken += len(record)
        queue.append(record)
        if self._asleep:
            self._asleep = False
            self._wake.set()

    def reopen(self) -> None:
        """Let the writer open `path` again before it writes more: after log rotation."""
        self._reopen = True
        self._asleep = False
        self._wake.set()

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits, for at most `timeout` seconds. True when all of it is written; what is not, is dropped."""
        self._close_by = monotonic() + timeout
        self._closing = True
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        thread.join(timeout)
        if not thread.is_alive():
            return self._dropped_by_writer == 0
        # The writer hangs in the kernel: a pipe that nobody reads. It dies with the process.
        self._dropped_at_entry += self.queue_length
        return False

    # The writer's thread, from here on.

    def _run(self) -> None:
        wait = 0.0
        while True:
            try:
                if wait:
                    self._wake.wait(min(wait, _BLOCKED) if self._closing else wait)
                self._wake.clear()
                if self._reopen:
                    self._reopen = False
                    self._reopen_file()
                wait = self._turn()
            except Exception as error:
                # A bug here must not end the log silently.
                self._failed(error)
                wait = self._retry
            if self._closing and (self._failing or not self._waiting() or monotonic() >= self._close_by):
                break
        self._give_up()

    def _waiting(self) -> bool:
        return bool(self._queue or self._batch or self._rest)

    def _turn(self) -> float:
        """Write once. Return how long to wait: 0 is "go on", `gather` collects, sleeping is without end."""
        if not self._waiting():
            self._asleep = True
            # Whoever appended before it saw the flag is seen here.
            if not self._queue and not self._reopen and not self._closing:
                self._wake.wait()
                # Spent: else the wait that gathers would end at once. Whoever closes has said so before waking.
                self._wake.clear()
            self._asleep = False
            return 0.0 if self._closing else self._gather
        many = len(self._queue) >= _MANY
        wait = self._write_batch()
        if wait or self._rest or self._closing or len(self._queue) >= _BATCH:
            return wait
        if many:
            return self._gather * _LONGER
        return self._gather if self._queue else 0.0

    def _write_batch(self) -> float:
        """Write what is left of the last batch, else the next one. Return how long to wait before the next try."""
        if not self._rest:
            pop = self._queue.popleft
            waiting = len(self._queue)
            self._batch = [pop() for _ in range(min(waiting, max(_BATCH, waiting // _BATCH_SHARE)))]
            self._rest = b"".join(self._batch)
        try:
            self._follow_path()
            if self._descriptor is None:
                self._open()
            taken = os.write(self._descriptor, self._rest)  # type: ignore[arg-type]  # _open sets it or raises
        except BlockingIOError:
            return _BLOCKED  # somebody made our standard output non-blocking
        except OSError as error:
            self._failed(error)
            return self._retry
        self._rest = self._rest[taken:]
        if not self._rest:
            self._done()
        return 0.0

    def _done(self) -> None:
        self.written += len(self._batch)
        self._bytes_gone += sum(map(len, self._batch))
        self._batch = []
        if self._failing:
            self._failing = False
            tell(self._log, RECORD_LOG_RECOVERED, path=self._shown)
        dropped = self.dropped
        if dropped != self._dropped_told and self._complaints.may_speak():
            tell(self._log, RECORDS_DROPPED, level=LogLevel.error, path=self._shown, dropped=dropped)
            self._dropped_told = dropped

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        self._failing = True
        if self._complaints.may_speak():
            tell(
                self._log,
                RECORD_LOG_FAILED,
                level=LogLevel.error,
                path=self._shown,
                error=f"{type(error).__name__}: {error}",
                waiting=self.queue_length,
                dropped=self.dropped,
            )

    @property
    def _shown(self) -> str:
        return "standard output" if self.path is None else str(self.path)

    def _open(self) -> None:
        path = self.path
        if path is None:
            self._descriptor = os.dup(1)
            return
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o640)
            os.fchmod(descriptor, 0o640)  # whatever the umask says
        except FileExistsError:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | _FLAGS)
            os.set_blocking(descriptor, True)
        found = os.fstat(descriptor)
        self._identity = (found.st_dev, found.st_ino)
        self._descriptor = descriptor
        if stat.S_ISREG(found.st_mode) and found.st_size and not self._rest_is_torn:
            self._end_torn_line(path)

    @property
    def _rest_is_torn(self) -> bool:
        """Part of the batch is in the file already: the rest goes right behind it."""
        return bool(self._batch) and len(self._rest) < sum(map(len, self._batch))

    def _end_torn_line(self, path: Path) -> None:
        """Give the last line its end when whoever wrote it died before: the next record must not be lost with it.

        Several processes may begin with the same file: one of them does it, and the others see that it is done. And
        several may write it: a line that grows is in somebody's hands.
        """
        descriptor: int = self._descriptor  # type: ignore[assignment]  # open
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
            self._reopen_file()
            return
        if (found.st_dev, found.st_ino) != self._identity:
            self._reopen_file()

    def _reopen_file(self) -> None:
        if self.path is None:
            return
        if self._rest_is_torn:
            self._finish_torn()
        descriptor, self._descriptor, self._identity = self._descriptor, None, None
        if descriptor is not None:
            os.close(descriptor)
        tell(self._log, RECORD_LOG_REOPENED, path=self._shown)
        try:
            self._open()
        except OSError as error:
            self._failed(error)

    def _finish_torn(self) -> None:
        """The old file keeps the half line it has; the new one begins with a whole one, and the torn record is lost."""
        sizes = deque(map(len, self._batch))
        gone = sum(sizes) - len(self._rest)
        whole = 0
        while sizes and gone >= sizes[0]:
            gone -= sizes.popleft()
            whole += 1
        self.written += whole
        torn = 1 if gone else 0
        self._dropped_by_writer += torn
        self._bytes_gone += sum(map(len, self._batch[: whole + torn]))
        self._batch = self._batch[whole + torn :]
        self._rest = b"".join(self._batch)

    def _give_up(self) -> None:
        self._dropped_by_writer += len(self._batch) + len(self._queue)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
