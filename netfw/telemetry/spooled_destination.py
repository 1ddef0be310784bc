"""Records to a server that may be away: each is stored first, and a thread of its own delivers batches in their order.

A batch that does not arrive is carried again after a pause that doubles, is drawn anew each time so that many proxies
do not come back at once, and is never shorter than the server asked for. Nothing overtakes it. What arrives may arrive
twice, if the answer got lost: records have ids. What the server refuses for good is dropped and counted.

Not here: the disk (`spool`), what is sent to whom (`carrier` and the modules that it names), and what waits in memory
(`record_log`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import uniform
from threading import Event, Thread
from time import monotonic, time
from typing import Any

from twisted.logger import Logger, LogLevel
from zope.interface import implementer

from netfw.interfaces import IRecordDestination
from netfw.telemetry.carrier import Carried, Carrier, NotCarried, Stopping, TooLarge
from netfw.telemetry.event_names import RECORD_LOG_FAILED, RECORD_LOG_RECOVERED, RECORDS_DROPPED, RECORDS_FOUND
from netfw.telemetry.log import Sparingly, tell
from netfw.telemetry.record_log import RecordLog
from netfw.telemetry.spool import Batch, Spool

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
# A server that asks for more is asked again all the same: a day's pause by a slip would cost a day's records.
_LONGEST_ASKED = 900.0
_COMPLAIN = 60.0
_ADOPT = 60.0
_GOODBYE = 1.0


@dataclass(slots=True)
class Health:
    """How deliveries went: moments are seconds since the epoch, None where there was none yet."""

    last_success: float | None = None
    errors: dict[str, float] = field(default_factory=dict)
    """When each of `carrier.REASONS` occurred last."""


@implementer(IRecordDestination)
class SpooledDestination:
    """Stores in `spool`, delivers by `carrier`. `delivered`, `refused` and `errors` only grow.

    `lost` stays 0: what this drops is counted in `dropped`, since it happens long after a record was dealt with.
    """

    longest_pause = 1.0
    lost = 0

    def __init__(
        self,
        spool: Spool,
        carrier: Carrier,
        *,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        now: Callable[[], float] = time,
        log: Any = None,
    ) -> None:
        self.shown = carrier.shown
        self.spool = spool
        self.health = Health()
        self.delivered = 0
        self.refused = 0
        self.errors = 0
        self.failing = False
        self._carrier = carrier
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._now = now
        self._log = Logger() if log is None else log
        self._complaints = Sparingly(_COMPLAIN, monotonic)
        self._wake = Event()
        self._asked = False
        self._is_idle = False
        self._adopt_at = 0.0
        self._failures = 0
        self._failures_before: int | None = None
        self._closing = False
        self._pause = 0.0
        self._at_once: int | None = None
        self._carried_of: str | None = None
        self._part = 0
        self._dropped_told = 0
        self._thread: Thread | None = None

    @property
    def dropped(self) -> int:
        """Records that were stored, or were to be, and will never arrive."""
        return self.spool.dropped + self.refused

    def open(self) -> None:
        """See `IRecordDestination`. Raises OSError where there is no directory to store records in."""
        self.spool.open()
        if self.spool.found:
            tell(self._log, RECORDS_FOUND, path=str(self.spool.directory), records=self.spool.found)
        self._thread = Thread(target=self._run, name="record-delivery", daemon=True)
        self._thread.start()

    def send(self, records: list[bytes]) -> int:
        """See `IRecordDestination`."""
        try:
            stored = self.spool.append(records)
        except OSError:
            # Whoever asks why records are dropped is not to hear of the server alone.
            self.health.errors["disk"] = self._now()
            raise
        # Not for each record: whoever delivers knows when the batch that grows is old enough.
        if (self._is_idle or self.spool.has_full_batch) and not self.failing:
            self._wake.set()
        return stored

    def reopen(self) -> None:
        """See `IRecordDestination`. Whatever it waits for, it sends now."""
        self.spool.seal()
        self._carrier.renew()
        self._asked = True
        self._wake.set()

    def adopt_soon(self) -> None:
        """Somebody has left records in this spool's directory."""
        self._adopt_at = 0.0
        self._asked = True
        self._wake.set()

    def hurry(self) -> None:
        """The end is near: whatever is stored from now on is sent at once, and what has failed is tried once more."""
        self._failures_before = self._failures
        self.spool.hurry()
        self._asked = True
        self._wake.set()

    @property
    def is_done(self) -> bool:
        """Nothing waits here, or what `hurry` asked for has failed."""
        return not self.spool.records or (self._failures_before is not None and self._failures > self._failures_before)

    def close(self) -> None:
        """See `IRecordDestination`. What has not arrived is delivered by the next process."""
        self._closing = True
        self._carrier.stop()
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_GOODBYE)
        self.spool.close()

    # The delivering thread, from here on.

    def _run(self) -> None:
        self._adopt_at = monotonic() + _ADOPT
        while not self._closing:
            try:
                if monotonic() > self._adopt_at:
                    self._adopt_at = monotonic() + _ADOPT
                    self.spool.adopt()
                wait = self._turn()
            except Stopping:
                return
            except Exception as error:
                # A bug here must not end deliveries silently.
                reason = "disk" if isinstance(error, OSError) else "failed"
                wait = self._failed(NotCarried(reason, f"{type(error).__name__}: {error}"))
            self._tell_dropped()
            self._sleep(wait)

    def _turn(self) -> float | None:
        """Deliver one batch, or a part of it. Return how long to wait; None: until something comes."""
        # Before it looks: whoever stores after that is heard.
        self._is_idle = True
        batch, wait = self.spool.take()
        self._is_idle = batch is None and wait is None
        if batch is None:
            # Somebody else's records may be waiting beside ours.
            return _ADOPT if wait is None else min(wait, _ADOPT)
        try:
            return self._deliver(batch)
        finally:
            if batch.left:
                self.spool.release(batch)

    def _deliver(self, batch: Batch) -> float:
        records = batch.records or []
        if batch.identity != self._carried_of:
            self._carried_of, self._part, self._at_once = batch.identity, 0, None
        part = records[: self._at_once]
        if not part:
            self.spool.settle(batch, [])
            return 0.0
        # Parts of a batch are told apart: they must not overwrite one another where names matter.
        identity = batch.identity if len(part) == len(records) and not self._part else f"{batch.identity}-{self._part}"
        try:
            carried = self._carrier.carry(part, identity)
        except NotCarried as error:
            return self._failed(error)
        except TooLarge as error:
            if len(part) > 1:
                self._at_once = len(part) // 2
                return 0.0
            carried = Carried(refused=1, reason="too_large", detail=str(error))
        self._part += 1
        again = [part[position] for position in carried.again]
        self.delivered += len(part) - carried.refused - len(again)
        self.refused += carried.refused
        self.spool.settle(batch, again + records[len(part) :])
        if carried.refused:
            self._note(carried.reason, f"{carried.refused} records were refused for good: {carried.detail}")
        if again:
            return self._failed(NotCarried("busy", carried.detail))
        self._succeeded()
        return 0.0

    def _succeeded(self) -> None:
        self.health.last_success = self._now()
        self._pause = 0.0
        if self.failing:
            self.failing = False
            tell(self._log, RECORD_LOG_RECOVERED, path=self.shown)

    def _failed(self, error: NotCarried) -> float:
        self.failing = True
        self._failures += 1
        self._note(error.reason, error.detail)
        self._pause = min(self._pause * 2 or self._first_pause, self._longest_pause)
        asked = min(error.retry_after or 0.0, _LONGEST_ASKED)
        return max(asked, uniform(self._pause / 2, self._pause))

    def _note(self, reason: str, detail: str) -> None:
        self.errors += 1
        self.health.errors[reason] = self._now()
        if self._complaints.may_speak():
            tell(
                self._log,
                RECORD_LOG_FAILED,
                level=LogLevel.error,
                path=self.shown,
                error=f"{reason}: {detail}",
                waiting=self.spool.records,
                dropped=self.dropped,
            )

    def _tell_dropped(self) -> None:
        dropped = self.dropped
        if dropped != self._dropped_told and self._complaints.may_speak():
            tell(self._log, RECORDS_DROPPED, level=LogLevel.error, path=self.shown, dropped=dropped)
            self._dropped_told = dropped

    def _sleep(self, seconds: float | None) -> None:
        """Until then, until a signal asks for a try, or, while all is well, until something is stored."""
        end = None if seconds is None else monotonic() + seconds
        while not self._closing and not self._asked:
            left = None if end is None else end - monotonic()
            if left is not None and left <= 0:
                break
            if self._wake.wait(left) and not self.failing:
                break
            self._wake.clear()
        self._wake.clear()
        self._asked = False


class SpooledLog(RecordLog):
    """A `RecordLog` whose records are written when they have arrived.

    Of what this process took and what it found in the spool, each is `written`, `left_out`, `dropped`, in the queue
    (`queue_length`), or in the spool.
    """

    destination: SpooledDestination

    @property
    def written(self) -> int:
        """Records that the server has taken."""
        return self.destination.delivered

    @property
    def dropped(self) -> int:
        """Records that were taken and will never arrive."""
        return super().dropped + self.destination.dropped

    @property
    def errors(self) -> int:
        """Failed attempts, to store and to deliver."""
        return super().errors + self.destination.errors

    @property
    def failing(self) -> bool:
        """The last attempt failed, and none has succeeded since."""
        return super().failing or self.destination.failing

    @property
    def is_done(self) -> bool:
        """Nothing waits in memory; nor in the spool, unless it cannot be sent (`SpooledDestination.hurry`)."""
        return not self.queue_length and self.destination.is_done
