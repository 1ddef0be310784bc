"""One output's queue and writer, over destinations that fail, lose and wait as told: everything is counted once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import pytest
from twisted.logger import Logger
from zope.interface import implementer
from zope.interface.verify import verifyObject

from netfw.interfaces import IRecordDestination, IRecordSink
from netfw.telemetry.record_log import RecordLog
from netfw.telemetry.record_outputs import RecordOutputs


@implementer(IRecordDestination)
class Scripted:
    """Each `send` takes the next step: an error to raise, or how many records to take; without steps all."""

    shown = "scripted"

    def __init__(self, *steps: Any, longest_pause: float = 0.02) -> None:
        self.steps = list(steps)
        self.longest_pause = longest_pause
        self.lost = 0
        self.got: list[bytes] = []
        self.tried: list[float] = []
        self.reopened = 0
        self.closed = 0

    def open(self) -> None:
        """Nothing to do."""

    def send(self, records: list[bytes]) -> int:
        """See `IRecordDestination`."""
        self.tried.append(monotonic())
        step = self.steps.pop(0) if self.steps else len(records)
        if isinstance(step, Exception):
            raise step
        if step == "lose one":
            self.lost += 1
            return 1
        self.got += records[:step]
        return min(step, len(records))

    def reopen(self) -> None:
        """Counted."""
        self.reopened += 1

    def close(self) -> None:
        """Counted."""
        self.closed += 1


@pytest.fixture
def events() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def start(events: list[dict[str, Any]]) -> Iterator[Callable[..., RecordLog]]:
    logs: list[RecordLog] = []

    def build(destination: Any, **settings: Any) -> RecordLog:
        settings = {"gather": 0.002, "retry": 0.005, **settings}
        log = RecordLog(destination, log=Logger(observer=events.append), **settings)
        log.start()
        logs.append(log)
        return log

    yield build
    for log in logs:
        log.close(2.0)


def until(condition: Callable[[], bool]) -> None:
    end = monotonic() + 20.0
    while not condition():
        assert monotonic() < end, "it did not happen in time"
        sleep(0.002)


def lines(count: int) -> list[bytes]:
    return [b"%d\n" % number for number in range(count)]


def test_it_is_a_sink_and_feeds_a_destination() -> None:
    verifyObject(IRecordSink, RecordLog(Scripted()))
    verifyObject(IRecordSink, RecordOutputs({"one": RecordLog(Scripted())}))
    verifyObject(IRecordDestination, Scripted())


def test_what_is_not_taken_comes_again_in_order(start: Any) -> None:
    """A destination that takes some, none, and some after an error gets each record once."""
    destination = Scripted(3, 0, OSError("away"), 2)
    log = start(destination)
    for line in lines(50):
        log.write(line)
    until(lambda: log.written == 50)
    assert log.close(5.0)
    assert destination.got == lines(50)
    assert (log.written, log.dropped, log.errors, log.queue_length) == (50, 0, 1, 0)
    assert destination.closed == 1


def test_what_a_destination_loses_is_dropped_and_not_written(start: Any) -> None:
    destination = Scripted("lose one", 2, "lose one")
    log = start(destination)
    for line in lines(10):
        log.write(line)
    assert log.close(5.0)
    assert (log.written, log.dropped, destination.lost) == (8, 2, 2)


def test_the_pauses_double_up_to_the_longest(start: Any, events: list[dict[str, Any]]) -> None:
    """A server that is away is asked less and less often, and at once when somebody says that it is back."""
    destination = Scripted(*[ConnectionRefusedError("no")] * 5, longest_pause=0.04)
    log = start(destination)
    log.write(b"1\n")
    until(lambda: log.written == 1)
    waits = [later - earlier for earlier, later in zip(destination.tried, destination.tried[1:], strict=False)]
    for waited, least in zip(waits, (0.005, 0.01, 0.02, 0.04, 0.04), strict=True):
        assert waited >= least * 0.9
    assert not log.failing
    assert [event["event_name"] for event in events] == ["record_log.failed", "record_log.recovered"]


def test_reopening_ends_a_pause(start: Any) -> None:
    destination = Scripted(OSError("away"), longest_pause=1000.0)
    log = start(destination, retry=1000.0)
    log.write(b"1\n")
    until(lambda: log.failing)
    log.reopen()
    until(lambda: log.written == 1)
    assert destination.reopened == 1


def test_a_destination_that_is_away_holds_up_no_other(start: Any) -> None:
    """One output fails for good, its queue fills and drops; the one beside it has everything."""
    dead, alive = Scripted(*[OSError("away")] * 1000, longest_pause=1000.0), Scripted()
    logs = {"dead": start(dead, queued_records=10, retry=1000.0), "alive": start(alive)}
    outputs = RecordOutputs(logs)
    for line in lines(2000):
        outputs.write(line)
    until(lambda: logs["alive"].written == 2000)
    until(lambda: logs["dead"].failing)
    began = monotonic()
    assert not outputs.close(300.0)
    assert monotonic() - began < 100.0
    assert alive.got == lines(2000)
    assert (logs["dead"].written, logs["dead"].dropped) == (0, 2000)
    assert (outputs.written, outputs.dropped) == (2000, 2000)


def test_a_printer_changes_leaves_out_and_may_fail(start: Any, events: list[dict[str, Any]]) -> None:
    """What it makes nothing of is left out; what it breaks on is dropped, counted and told, and the others go on."""

    def printer(line: bytes) -> bytes | None:
        number = int(line)
        if number == 7:
            raise ValueError("seven")
        return b"<%d>" % number if number % 2 else None

    destination = Scripted()
    log = start(destination, printer=printer)
    for line in lines(10):
        log.write(line)
    until(lambda: log.written + log.left_out + log.dropped == 10)
    assert destination.got == [b"<1>", b"<3>", b"<5>", b"<9>"]
    assert (log.written, log.left_out, log.dropped, log.errors) == (4, 5, 1, 1)
    assert [event["event_name"] for event in events][:1] == ["record_log.failed"]
    assert log.close(5.0) is False


def test_a_journal_gets_everything_and_counts_for_itself(start: Any) -> None:
    output, journal = start(Scripted()), start(Scripted())
    outputs = RecordOutputs({"file": output}, journal)
    for line in lines(20):
        outputs.write(line)
    outputs.reopen()
    assert outputs.close(5.0)
    assert output.destination.got == journal.destination.got == lines(20)
    assert (outputs.written, outputs.errors) == (20, 0)


def test_no_thread_stays(start: Any) -> None:
    log = start(Scripted())
    log.close(5.0)
    until(lambda: not any(thread.name == "record-log" for thread in threading.enumerate()))
