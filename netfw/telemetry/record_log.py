"""One output of records: a bounded queue, and a thread that prints what waits in it and hands it to a destination. No
disk, no pipe and no server holds up the reactor, or another output.

`write` appends to a deque and, only when the writer sleeps, wakes it. The writer then collects for a moment, for longer
when much comes, and delivers that in few large batches. The queue has a cap in records and in bytes; what does not fit
is dropped and counted. A destination that fails is tried again, at growing intervals if it asks for that, and the
program's log says so once a minute.

Each time the writer wants the interpreter's lock it waits up to 5 ms, and until then the kernel wakes it in vain
whenever the reactor lets go of the lock for a system call. Woken twenty times a second and writing 64 lines at a time,
that was 8,000 switches a second and a fifth of the cost of a request. And the reactor waits as long for the lock while
a writer prints: so it lets go of it after every few records.

Not here: what a record says (`exchange_record`), what is printed of it (`record_printer`), and where it goes
(`interfaces.IRecordDestination`). The thread does not survive a fork: `start` belongs after daemonising.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any

from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from netfw.interfaces import IRecordSink
from netfw.telemetry.event_names import RECORD_LOG_FAILED, RECORD_LOG_RECOVERED, RECORDS_DROPPED
from netfw.telemetry.log import Sparingly, tell

QUEUED_RECORDS = 10_000
QUEUED_BYTES = 32 * 1024 * 1024
GATHER = 0.05
RETRY = 1.0
COMPLAIN = 60.0
BATCH = 512
# So many records in one `gather` are much: the next ones are collected for this many times as long.
_MANY = 16
_LONGER = 5
_BATCH_SHARE = 8
_BLOCKED = 0.01
# Some 30 microseconds each: the reactor waits for eight of them, not for the interpreter's 5 ms.
_PRINTED_AT_ONCE = 8

Printer = Callable[[bytes], "bytes | None"]
"""From the record's line to what the destination gets; None where it gets nothing of this record."""


@implementer(IRecordSink)
class RecordLog:
    """Feeds `destination`, an `IRecordDestination`, with what `printer` makes of each line; with the lines themselves
    where it is None.

    `gather`: seconds in which records are collected; `batch`: how many are handed over at once, more when very many
    wait. `written`, `left_out` (the printer made nothing of them), `dropped` and `errors` only grow. `write`, `reopen`
    and `close` belong to one thread, the reactor's.
    """

    def __init__(
        self,
        destination: Any,
        *,
        printer: Printer | None = None,
        queued_records: int = QUEUED_RECORDS,
        queued_bytes: int = QUEUED_BYTES,
        gather: float = GATHER,
        batch: int = BATCH,
        retry: float = RETRY,
        log: Any = None,
    ) -> None:
        self.destination = destination
        self.left_out = 0
        self._written = 0
        self._errors = 0
        self._printer = printer
        self._queued_records = queued_records
        self._queued_bytes = queued_bytes
        self._gather = gather
        self._most = batch
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
        self._lost_seen = 0
        self._asleep = False
        self._wake = Event()
        self._closing = False
        self._close_by = 0.0
        self._reopen = False
        self._pause = 0.0
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._thread: Thread | None = None

    @property
    def written(self) -> int:
        """Records that arrived at the destination."""
        return self._written

    @property
    def errors(self) -> int:
        """Attempts that failed."""
        return self._errors

    @property
    def dropped(self) -> int:
        """Records that were taken and did not arrive."""
        return self._dropped_at_entry + self._dropped_by_writer + int(self.destination.lost)

    @property
    def queue_length(self) -> int:
        """Records that wait to be written."""
        return len(self._queue) + len(self._batch)

    @property
    def failing(self) -> bool:
        """The last attempt failed, and none has succeeded since."""
        return self._pause > 0

    def start(self) -> None:
        """Open the destination and start the writer. Raises OSError: a proxy that cannot write records should not
        start.
        """
        self.destination.open()
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
        """Let the writer begin anew with the destination before it writes more: after log rotation."""
        self._reopen = True
        self._asleep = False
        self._wake.set()

    def begin_close(self, timeout: float) -> None:
        """Take nothing more, and end within so many seconds, without waiting for that here."""
        if not self._closing:
            self._close_by = monotonic() + timeout
            self._closing = True
            self._wake.set()

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits, for at most `timeout` seconds. True when all of it is written; what is not, is dropped."""
        self.begin_close(timeout)
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
                    self.destination.reopen()
                wait = self._turn()
            except BlockingIOError:
                wait = _BLOCKED  # somebody made our standard output non-blocking
            except Exception as error:
                # A bug here must not end the log silently.
                self._failed(error)
                wait = self._pause
            if self._closing and (self._pause or not self.queue_length or monotonic() >= self._close_by):
                break
        self._give_up()

    def _turn(self) -> float:
        """Write once. Return how long to wait: 0 is "go on", `gather` collects, sleeping is without end."""
        if not self.queue_length:
            self._asleep = True
            # Whoever appended before it saw the flag is seen here.
            if not self._queue and not self._reopen and not self._closing:
                self._wake.wait()
                # Spent: else the wait that gathers would end at once. Whoever closes has said so before waking.
                self._wake.clear()
            self._asleep = False
            return 0.0 if self._closing else self._gather
        many = len(self._queue) >= _MANY
        self._deliver()
        if self._batch or self._closing or len(self._queue) >= self._most:
            return 0.0
        if many:
            return self._gather * _LONGER
        return self._gather if self._queue else 0.0

    def _deliver(self) -> None:
        """Hand over what is left of the last batch, else the next one."""
        if not self._batch:
            self._take_batch()
        if self._batch:
            dealt_with = self.destination.send(self._batch)
            del self._batch[:dealt_with]
            self._count(dealt_with)
        if not self._batch:
            self._done()

    def _count(self, dealt_with: int) -> None:
        # What was lost may have been dealt with earlier: a datagram's refusal comes late.
        lost, self._lost_seen = self.destination.lost - self._lost_seen, self.destination.lost
        self._written += dealt_with - lost

    def _take_batch(self) -> None:
        pop = self._queue.popleft
        waiting = len(self._queue)
        self._batch = lines = [pop() for _ in range(min(waiting, max(self._most, waiting // _BATCH_SHARE)))]
        self._batch_bytes = sum(map(len, lines))
        if self._printer is not None:
            self._batch = self._printed(lines, self._printer)

    def _printed(self, lines: list[bytes], printer: Printer) -> list[bytes]:
        """What the destination gets of these lines. One that cannot be printed must not hold up those behind it."""
        found = []
        for position, line in enumerate(lines):
            if position % _PRINTED_AT_ONCE == 0:
                sleep(0)
            try:
                printed = printer(line)
            except Exception as error:
                self._dropped_by_writer += 1
                self._complain_of(error)
                continue
            if printed is None:
                self.left_out += 1
            else:
                found.append(printed)
        return found

    def _done(self) -> None:
        self._bytes_gone += self._batch_bytes
        self._batch_bytes = 0
        if self._pause:
            self._pause = 0.0
            tell(self._log, RECORD_LOG_RECOVERED, path=self.destination.shown)
        dropped = self.dropped
        if dropped != self._dropped_told and self._complaints.may_speak():
            tell(self._log, RECORDS_DROPPED, level=LogLevel.error, path=self.destination.shown, dropped=dropped)
            self._dropped_told = dropped

    def _failed(self, error: Exception) -> None:
        self._pause = min(self._pause * 2 or self._retry, max(self._retry, self.destination.longest_pause))
        self._complain_of(error)

    def _complain_of(self, error: Exception) -> None:
        self._errors += 1
        if self._complaints.may_speak():
            tell(
                self._log,
                RECORD_LOG_FAILED,
                level=LogLevel.error,
                path=self.destination.shown,
                error=f"{type(error).__name__}: {error}",
                waiting=self.queue_length,
                dropped=self.dropped,
            )

    def _give_up(self) -> None:
        self._dropped_by_writer += len(self._batch) + len(self._queue)
        self._batch = []
        self._queue.clear()
        self.destination.close()
        self._count(0)
