"""Counts, deadlines and the end of a relay."""

import pytest
from twisted.internet.task import Clock

from netfw.transport.deadlines import Deadlines
from netfw.transport.relay_life import LEFT, RIGHT, RelayLife, RelayOutcome


class Scene:
    def __init__(self, **deadlines):
        self.clock, self.aborted = Clock(), 0
        self.deadlines = Deadlines(self.clock)
        self.outcomes = []
        waits = {"idle": None, "lifetime": None, **deadlines}
        self.life = RelayLife(self.deadlines, **waits, abort=self.abort, over=self.outcomes.append)

    def abort(self):
        self.aborted += 1

    def outcome(self):
        (outcome,) = self.outcomes
        return outcome


def test_counts():
    """Bytes are counted by the side that they came from."""
    scene = Scene()
    scene.life.moved(LEFT, 3)
    scene.life.moved(RIGHT, 5)
    scene.life.moved(LEFT, 1)
    scene.life.ended(LEFT)
    scene.life.over()
    assert scene.outcome() == RelayOutcome(4, 5, "client_closed")
    assert scene.aborted == 0


@pytest.mark.parametrize(("first", "reason"), [(LEFT, "client_closed"), (RIGHT, "origin_closed")])
def test_reasons_of_an_orderly_end(first, reason):
    """The side that ended first gives the reason."""
    scene = Scene()
    scene.life.ended(first)
    scene.life.ended(1 - first)
    scene.life.over()
    assert scene.outcome().reason == reason


@pytest.mark.parametrize(("side", "reason"), [(LEFT, "client_aborted"), (RIGHT, "origin_aborted")])
def test_a_broken_side(side, reason):
    """It aborts both, and is the reason even when the other had ended before."""
    scene = Scene(idle=5, lifetime=5)
    scene.life.ended(1 - side)
    scene.life.broke(side)
    scene.life.broke(1 - side)
    scene.life.over()
    assert (scene.outcome().reason, scene.aborted, len(scene.deadlines)) == (reason, 1, 0)


def test_idle():
    """Bytes in either direction restart it."""
    scene = Scene(idle=2)
    for side in (LEFT, RIGHT, LEFT):
        scene.clock.advance(1.75)
        scene.life.moved(side, 1)
    scene.clock.pump([0.25] * 9)
    assert (scene.outcome().reason, scene.aborted) == ("idle_timeout", 1)


def test_lifetime():
    """Nothing restarts it."""
    scene = Scene(idle=2, lifetime=3)
    for _ in range(4):
        scene.clock.advance(1)
        scene.life.moved(LEFT, 1)
    assert (scene.outcome().reason, scene.aborted) == ("lifetime_timeout", 1)


def test_cancel():
    """Cancelling aborts both, and is the end, with the counts."""
    scene = Scene(idle=2, lifetime=3)
    scene.life.moved(RIGHT, 7)
    scene.life.cancel()
    assert scene.outcome() == RelayOutcome(0, 7, "cancelled")
    assert (scene.aborted, len(scene.deadlines)) == (1, 0)
    scene.life.moved(RIGHT, 7)
    scene.life.ended(LEFT)
