"""Deliveries to a server that fails, waits and refuses as told: order, pauses, and every record counted once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from twisted.logger import Logger
from zope.interface.verify import verifyObject

from netfw.interfaces import IRecordDestination
from netfw.telemetry.carrier import Carried, NotCarried, Stopping, TooLarge
from netfw.telemetry.spool import BatchLimits, Spool
from netfw.telemetry.spooled_destination import SpooledDestination, SpooledLog
from netfw.testing.stores import wait_until

Steps = list[Any]


class ScriptedCarrier:
    """Each `carry` takes the next step: an exception, a `Carried`, or None for everything; without steps everything.
    While `away` is set nothing arrives.
    """

    shown = "scripted"

    def __init__(self, *steps: Any, most: int = 1_000_000) -> None:
        self.steps: Steps = list(steps)
        self.most = most
        self.away = False
        self.got: list[bytes] = []
        self.tried: list[tuple[float, int, str]] = []
        self.renewed = 0
        self.hold = threading.Event()
        self.hold.set()
        self._stopping = threading.Event()

    def carry(self, records: list[bytes], identity: str) -> Carried:
        """See `Carrier`."""
        self.tried.append((monotonic(), len(records), identity))
        while not self.hold.wait(0.01):
            if self._stopping.is_set():
                raise Stopping
        if self.away:
            raise NotCarried("unreachable", "away")
        if len(records) > self.most:
            raise TooLarge("too many")
        step = self.steps.pop(0) if self.steps else None
        if isinstance(step, Exception):
            raise step
        carried = Carried() if step is None else step
        self.got += [record for position, record in enumerate(records) if position not in carried.again]
        if carried.refused:
            del self.got[-carried.refused :]
        return carried

    def renew(self) -> None:
        """Counted."""
        self.renewed += 1

    def stop(self) -> None:
        """See `Carrier`."""
        self._stopping.set()


class Lab:
    """Makes outputs in one directory, and ends them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[dict[str, Any]] = []
        self.logs: list[SpooledLog] = []

    def output(
        self, carrier: Any, *, limits: BatchLimits = BatchLimits(10, 10_000, 0.05), **settings: Any
    ) -> SpooledLog:
        """One that is started. `size` and `drop` are the spool's, the rest the destination's."""
        of_spool = {key: settings.pop(key) for key in ("size", "drop") if key in settings}
        spool = Spool(self.root / "spool", **{"size": 1_000_000, "limits": limits, **of_spool})
        log = Logger(observer=self.events.append)
        pauses = {"first_pause": 0.02, "longest_pause": 0.05}
        destination = SpooledDestination(spool, carrier, log=log, **{**pauses, **settings})
        output = SpooledLog(destination, gather=0.002, retry=0.02, log=log)
        output.start()
        self.logs.append(output)
        return output


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """See `Lab`."""
    found = Lab(tmp_path)
    yield found
    for output in found.logs:
        output.close(2.0)


def write(output: SpooledLog, numbers: range) -> list[bytes]:
    """Put records with these numbers in; they are given back."""
    records = [b'{"n":%d}\n' % number for number in numbers]
    for record in records:
        output.write(record)
    return records


def settled(output: SpooledLog) -> bool:
    """Nothing waits, in memory or on disk."""
    return not output.queue_length and not output.destination.spool.records


def test_it_is_a_destination(lab: Lab) -> None:
    """With all that the interface asks for."""
    assert verifyObject(IRecordDestination, lab.output(ScriptedCarrier()).destination)


def test_records_arrive_in_batches_in_their_order_and_are_counted_when_they_have(lab: Lab) -> None:
    """No batch has more records than may be in one."""
    carrier = ScriptedCarrier()
    output = lab.output(carrier)
    records = write(output, range(57))
    wait_until(lambda: output.written == 57)
    assert carrier.got == records
    assert max(count for _, count, _ in carrier.tried) == 10
    assert settled(output) and (output.dropped, output.errors, output.failing) == (0, 0, False)
    assert output.destination.health.last_success is not None
    assert output.destination.health.errors == {}


def test_what_did_not_arrive_is_carried_again_under_the_same_name_and_nothing_overtakes_it(lab: Lab) -> None:
    """Three failures, then everything, in order; how it stands can be seen all along."""
    carrier = ScriptedCarrier()
    carrier.away = True
    output = lab.output(carrier)
    records = write(output, range(35))
    wait_until(lambda: len(carrier.tried) >= 3)
    assert output.failing and output.written == 0 and set(output.destination.health.errors) == {"unreachable"}
    assert len({identity for _, _, identity in carrier.tried}) == 1
    carrier.away = False
    wait_until(lambda: output.written == 35)
    assert carrier.got == records
    assert not output.failing and output.errors >= 3
    assert [event["event_name"] for event in lab.events] == ["record_log.failed", "record_log.recovered"]


def test_pauses_double_up_to_the_longest_and_are_drawn_anew(lab: Lab) -> None:
    """Each is between half of its bound and the bound."""
    carrier = ScriptedCarrier()
    carrier.away = True
    output = lab.output(carrier, first_pause=0.04, longest_pause=0.1)
    write(output, range(1))
    wait_until(lambda: len(carrier.tried) >= 6)
    moments = [moment for moment, _, _ in carrier.tried]
    pauses = [later - earlier for earlier, later in zip(moments, moments[1:], strict=False)]
    bounds = [0.02, 0.04, 0.05, 0.05, 0.05]
    assert all(pause >= bound * 0.98 for pause, bound in zip(pauses, bounds, strict=False))


def test_a_server_that_asks_for_a_pause_gets_it(lab: Lab) -> None:
    """Longer than the longest of our own."""
    carrier = ScriptedCarrier(NotCarried("busy", "later", retry_after=0.4))
    output = lab.output(carrier)
    write(output, range(1))
    wait_until(lambda: output.written == 1)
    (first, _, _), (second, _, _) = carrier.tried
    assert second - first >= 0.39


def test_a_signal_ends_the_pause(lab: Lab) -> None:
    """Whoever has mended the server, or the credentials, need not wait for minutes."""
    carrier = ScriptedCarrier(NotCarried("credentials", "who?", retry_after=600.0))
    output = lab.output(carrier)
    write(output, range(1))
    wait_until(lambda: output.failing)
    output.reopen()
    wait_until(lambda: output.written == 1)
    assert carrier.renewed == 1


def test_what_is_refused_for_good_is_counted_and_the_rest_goes_on(lab: Lab) -> None:
    """One batch is refused as a whole, of the next the server takes a part."""
    carrier = ScriptedCarrier(Carried(refused=10, detail="no JSON"), Carried(refused=3))
    output = lab.output(carrier, limits=BatchLimits(10, 10_000, 10.0))
    write(output, range(30))
    wait_until(lambda: settled(output))
    assert (output.written, output.dropped, output.destination.refused) == (17, 13, 13)
    assert set(output.destination.health.errors) == {"refused"}
    assert "no JSON" in next(event["error"] for event in lab.events if "error" in event)


def test_a_part_that_the_server_had_no_room_for_is_carried_again_alone(lab: Lab) -> None:
    """Under another name: it is another batch."""
    carrier = ScriptedCarrier(Carried(again=(1, 4), detail="slow down"))
    output = lab.output(carrier, limits=BatchLimits(6, 10_000, 10.0))
    records = write(output, range(6))
    wait_until(lambda: output.written == 6)
    assert carrier.got == [records[0], records[2], records[3], records[5], records[1], records[4]]
    assert [count for _, count, _ in carrier.tried] == [6, 2]
    assert len({identity for _, _, identity in carrier.tried}) == 2


def test_a_batch_that_is_too_large_is_halved_until_it_fits(lab: Lab) -> None:
    """No part has the name of another."""
    carrier = ScriptedCarrier(most=3)
    output = lab.output(carrier, limits=BatchLimits(10, 10_000, 10.0))
    records = write(output, range(20))
    wait_until(lambda: output.written == 20)
    assert carrier.got == records
    arrived = [identity for _, count, identity in carrier.tried if count <= 3]
    assert len(set(arrived)) == len(arrived)


def test_a_record_that_is_too_large_alone_is_dropped(lab: Lab) -> None:
    """And holds nobody up."""
    carrier = ScriptedCarrier(TooLarge("413"))
    output = lab.output(carrier, limits=BatchLimits(1, 10_000, 10.0))
    write(output, range(3))
    wait_until(lambda: settled(output))
    assert (output.written, output.dropped) == (2, 1)
    assert set(output.destination.health.errors) == {"too_large"}


def test_a_fault_in_the_carrier_is_a_failed_attempt(lab: Lab) -> None:
    """The thread lives on, and nothing is lost."""
    carrier = ScriptedCarrier(RuntimeError("a bug"))
    output = lab.output(carrier)
    records = write(output, range(4))
    wait_until(lambda: output.written == 4)
    assert carrier.got == records and output.errors == 1


@pytest.mark.parametrize("drop", ["oldest", "newest"])
def test_above_the_limit_exactly_what_is_dropped_is_counted_and_below_it_nothing_is(lab: Lab, drop: str) -> None:
    """The server is away while three times the spool's size comes; then it takes what is left."""
    carrier = ScriptedCarrier()
    carrier.away = True
    output = lab.output(carrier, size=3000, drop=drop)
    records = write(output, range(1000, 1100))
    wait_until(lambda: output.destination.spool.records == 100)
    assert output.dropped == 0
    records += write(output, range(1100, 2000))
    wait_until(lambda: not output.queue_length and output.dropped + output.destination.spool.records == 1000)
    assert output.dropped > 500
    carrier.away = False
    wait_until(lambda: settled(output))
    assert output.written == len(carrier.got) == len(set(carrier.got))
    assert output.written + output.dropped == 1000
    kept = carrier.got
    if drop == "newest":
        assert kept == records[: len(kept)]
    else:
        assert kept == records[-len(kept) :]


def test_a_disk_that_takes_nothing_is_named_beside_a_server_that_is_away(lab: Lab) -> None:
    """What is dropped then is dropped for want of a disk. When it is back, everything that waited is delivered."""
    carrier = ScriptedCarrier()
    log = lab.output(carrier)
    directory = log.destination.spool.directory
    directory.rename(directory.with_name("gone"))
    log.write(b"kept\n")
    wait_until(lambda: log.failing and "disk" in log.destination.health.errors)
    assert log.queue_length == 1 and log.dropped == 0
    directory.with_name("gone").rename(directory)
    wait_until(lambda: carrier.got == [b"kept\n"])
    assert log.written == 1 and not log.failing


def test_the_next_process_delivers_what_the_last_one_could_not(lab: Lab) -> None:
    """Before what it takes itself, and it says so."""
    away = ScriptedCarrier()
    away.away = True
    first = lab.output(away)
    records = write(first, range(25))
    wait_until(lambda: first.destination.spool.records == 25)
    assert first.close(2.0)
    carrier = ScriptedCarrier()
    second = lab.output(carrier)
    records += write(second, range(25, 30))
    wait_until(lambda: second.written == 30)
    assert carrier.got == records and second.destination.spool.found == 25
    assert (first.written, first.dropped, second.dropped) == (0, 0, 0)
    assert "record_log.found" in {event["event_name"] for event in lab.events}


def test_the_end_does_not_wait_for_a_server_that_says_nothing(lab: Lab) -> None:
    """The batch that is under way stays in the spool."""
    carrier = ScriptedCarrier()
    carrier.hold.clear()
    output = lab.output(carrier)
    write(output, range(10))
    wait_until(lambda: carrier.tried)
    assert output.close(10.0)
    carrier.hold.set()
    after = lab.output(ScriptedCarrier())
    wait_until(lambda: after.written == 10)


def test_whoever_waits_is_not_woken_for_each_record(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a batch grows it is left alone: each waking takes the interpreter from requests."""
    looked: list[float] = []
    take = Spool.take

    def counted(spool: Spool) -> Any:
        looked.append(monotonic())
        return take(spool)

    monkeypatch.setattr(Spool, "take", counted)
    output = lab.output(ScriptedCarrier(), limits=BatchLimits(100_000, 10_000_000, 600.0))
    for number in range(30):
        write(output, range(number, number + 1))
        wait_until(lambda number=number: output.destination.spool.records > number)
    assert len(looked) <= 4
    output.reopen()
    wait_until(lambda: output.written == 30)
