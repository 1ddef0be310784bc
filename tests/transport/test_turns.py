"""Work in turns: in order, all of it, and never more in a row than its share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from netfw.transport.turns import SHARE, Turns


class Reactor:
    """Calls what is due in its next turn, and not what that asks for."""

    def __init__(self) -> None:
        self.due: list[Callable[[], Any]] = []

    def callLater(self, _seconds: float, function: Callable[[], Any]) -> None:  # noqa: N802 - Twisted's spelling
        self.due.append(function)

    def turn(self) -> None:
        due, self.due = self.due, []
        for function in due:
            function()


class Play:
    """A reactor, and a clock for work whose pieces take 3 ms each."""

    def __init__(self) -> None:
        self.clock: Any = Reactor()
        self.now = 0.0
        self.done: list[int] = []
        self.turns = Turns(self.clock, seconds=lambda: self.now)

    def work(self, number: int):
        def piece() -> None:
            self.now += 0.003
            self.done.append(number)

        return piece


def test_a_little_is_done_at_once():
    """Nobody waits who need not."""
    play = Play()
    play.turns.run(play.work(1))
    assert play.done == [1]
    assert len(play.turns) == 0
    play.clock.turn()
    assert play.clock.due == []


def test_a_burst_is_spread():
    """Three pieces fill a turn; those that come later wait behind those that wait."""
    play = Play()
    for number in range(7):
        play.turns.run(play.work(number))
    assert play.done == [0, 1, 2]
    play.clock.turn()
    assert play.done == [0, 1, 2, 3, 4, 5]
    play.turns.run(play.work(7))
    assert play.done == [0, 1, 2, 3, 4, 5]
    play.clock.turn()
    assert play.done == list(range(8))
    play.clock.turn()
    assert play.clock.due == []


def test_no_turn_takes_more_than_its_share_and_a_piece():
    """However much there is."""
    play = Play()
    for number in range(100):
        play.turns.run(play.work(number))
    while play.turns:
        before = play.now
        play.clock.turn()
        assert play.now - before <= SHARE + 0.003
    assert play.done == list(range(100))


def test_work_that_breaks_stops_nothing_else():
    """What it cost is counted, and the next turn comes."""
    play = Play()

    def breaks() -> None:
        play.now += SHARE
        raise ValueError("no")

    for work in (play.work(0), play.work(1), play.work(2), breaks, play.work(4)):
        play.turns.run(work)
    with pytest.raises(ValueError, match="no"):
        play.clock.turn()
    play.clock.turn()
    assert play.done == [0, 1, 2, 4]
