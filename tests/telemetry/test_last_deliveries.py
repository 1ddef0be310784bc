"""The last deliveries before the proxy ends: made when they can be, and never waited for longer than was said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from twisted.internet.task import Clock

from netfw.telemetry.carrier import Carried, NotCarried, Stopping
from netfw.telemetry.file_destination import FileDestination
from netfw.telemetry.last_deliveries import SECONDS, LastDeliveries
from netfw.telemetry.record_log import RecordLog
from netfw.telemetry.spool import BatchLimits, Spool
from netfw.telemetry.spooled_destination import SpooledDestination, SpooledLog
from netfw.testing.stores import wait_until

LONG = BatchLimits(1000, 100_000, 3600.0)
"""Nothing is sent by itself."""


class Server:
    """`away`: what is carried fails; `silent`: it takes for ever."""

    shown = "server"

    def __init__(self, *, away: bool = False, silent: bool = False) -> None:
        self.away = away
        self.silent = silent
        self.got: list[bytes] = []
        self.tried = 0
        self._stopping = threading.Event()

    def carry(self, records: list[bytes], identity: str) -> Carried:
        """See `Carrier`."""
        self.tried += 1
        if self.silent:
            self._stopping.wait()
            raise Stopping
        if self.away:
            raise NotCarried("unreachable", "away")
        self.got += records
        return Carried()

    def renew(self) -> None:
        """See `Carrier`."""

    def stop(self) -> None:
        """See `Carrier`."""
        self._stopping.set()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    """An output to this server that has started."""
    made: list[SpooledLog] = []

    def output(server: Server) -> SpooledLog:
        spool = Spool(tmp_path / str(len(made)), size=1_000_000, limits=LONG)
        made.append(SpooledLog(SpooledDestination(spool, server), gather=0.005))
        made[-1].start()
        return made[-1]

    yield output
    for log in made:
        log.close(2.0)


def fired(last: LastDeliveries, clock: Clock, seconds: float = SECONDS) -> list[None]:
    """Where its end is put."""
    ended: list[None] = []
    last.make(seconds).addCallback(ended.append)
    return ended


def turn(clock: Clock, ended: list[None], step: float = 0.0) -> bool:
    """The clock stands still in between, so that only what is done can end it."""
    for call in clock.getDelayedCalls():
        call.reset(0)
    clock.advance(step)
    return bool(ended)


def test_what_waits_for_its_batch_to_grow_is_sent_at_once(make: Any) -> None:
    server, other, clock = Server(), Server(), Clock()
    logs = [make(server), make(other)]
    for log in logs:
        for number in range(5):
            log.write(b"%d\n" % number)
    ended = fired(LastDeliveries(lambda: logs, clock), clock)
    wait_until(lambda: turn(clock, ended))
    assert server.got == other.got == [b"%d\n" % number for number in range(5)]
    # What comes in the meantime does not wait either.
    logs[0].write(b"late\n")
    wait_until(lambda: server.got[-1] == b"late\n")


def test_a_server_that_is_away_is_tried_once_more_and_not_waited_for(make: Any) -> None:
    server, clock = Server(away=True), Clock()
    log = make(server)
    log.write(b"kept\n")
    ended = fired(LastDeliveries(lambda: [log], clock), clock)
    wait_until(lambda: turn(clock, ended))
    assert server.tried == 1 and log.destination.spool.records == 1


def test_one_that_has_failed_before_is_tried_although_its_pause_is_not_over(make: Any) -> None:
    server, clock = Server(away=True), Clock()
    log = make(server)
    log.write(b"kept\n")
    wait_until(lambda: log.destination.spool.records == 1)
    log.reopen()
    wait_until(lambda: server.tried == 1)
    server.away = False
    ended = fired(LastDeliveries(lambda: [log], clock), clock)
    wait_until(lambda: turn(clock, ended))
    assert server.got == [b"kept\n"]


def test_a_server_that_says_nothing_is_waited_for_as_long_as_was_said(make: Any) -> None:
    server, clock = Server(silent=True), Clock()
    log = make(server)
    log.write(b"kept\n")
    ended = fired(LastDeliveries(lambda: [log], clock), clock, 2.0)
    wait_until(lambda: server.tried == 1)
    clock.pump([0.02] * 90)
    assert not ended
    clock.pump([0.02] * 20)
    assert ended
    begun = monotonic()
    log.close(5.0)
    assert monotonic() - begun < 3.0 and log.destination.spool.records == 1


def test_it_can_be_cut(make: Any) -> None:
    server, clock = Server(silent=True), Clock()
    log = make(server)
    log.write(b"kept\n")
    last = LastDeliveries(lambda: [log], clock)
    ended = fired(last, clock)
    last.cut()
    assert turn(clock, ended)
    assert fired(last, clock)


def test_outputs_without_a_spool_are_not_waited_for(tmp_path: Path) -> None:
    clock = Clock()
    assert fired(LastDeliveries(lambda: [RecordLog(FileDestination(tmp_path / "r"))], clock), clock)
    assert not clock.getDelayedCalls()
