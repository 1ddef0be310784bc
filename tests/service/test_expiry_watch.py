"""netfw.service.expiry_watch"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from netfw.service.expiry_watch import LOOK, ExpiryWatch
from netfw.transport.deadlines import Deadlines

DAY = 86_400.0


@pytest.fixture
def log() -> Iterator[list[LogEvent]]:
    """What was told."""
    events: list[LogEvent] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def told(log: list[LogEvent]) -> list[tuple[Any, str]]:
    found = [(event["log_level"], formatEvent(event)) for event in log if "certificate of" in formatEvent(event)]
    log.clear()
    return found


class Watched:
    """A watch under a clock that is turned by hand."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.watch = ExpiryWatch(Deadlines(self.clock), self.clock.seconds, {})

    def live(self, days: float) -> None:
        """In steps, as time goes."""
        for _ in range(round(days * 24)):
            self.clock.advance(LOOK)


def test_it_is_told_at_60_30_and_7_days_and_at_the_end(log: list[LogEvent]) -> None:
    """Once each, however often it is looked at."""
    watched = Watched()
    watched.watch.watch({"ca": 70 * DAY})
    assert told(log) == []
    watched.live(9)
    assert told(log) == []
    watched.live(2)
    assert told(log) == [(LogLevel.warn, "the certificate of ca ends in 60 days")]
    watched.live(28)
    assert told(log) == []
    watched.live(2)
    assert told(log) == [(LogLevel.warn, "the certificate of ca ends in 30 days")]
    watched.live(23)
    assert told(log) == [(LogLevel.warn, "the certificate of ca ends in 7 days")]
    watched.live(7)
    assert told(log) == [(LogLevel.error, "the certificate of ca has expired")]
    watched.live(30)
    assert told(log) == []


def test_what_is_near_at_the_start_is_told_at_once(log: list[LogEvent]) -> None:
    """With its nearest threshold only."""
    watched = Watched()
    watched.watch.watch({"listener main": 5 * DAY, "ca": 400 * DAY})
    assert told(log) == [(LogLevel.warn, "the certificate of listener main ends in 5 days")]
    assert watched.watch.days_left() == {"listener main": 5.0, "ca": 400.0}


def test_another_certificate_is_told_of_anew(log: list[LogEvent]) -> None:
    """The same again is not; one that is gone neither."""
    watched = Watched()
    watched.watch.watch({"ca": 20 * DAY})
    assert len(told(log)) == 1
    watched.watch.watch({"ca": 20 * DAY})
    assert told(log) == []
    watched.watch.watch({"ca": 21 * DAY})
    assert len(told(log)) == 1
    watched.watch.watch({})
    watched.live(30)
    assert told(log) == [] and watched.watch.days_left() == {}
