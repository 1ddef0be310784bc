"""Checks of parent proxies: what is asked how often, and what comes of it."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from netfw.config.way_model import HealthSection, ParentEntry, RouteEntry, Selector
from netfw.errors import OriginRefused
from netfw.proxy.parent_checks import ParentChecks
from netfw.testing.conversation import Conversation

ONE, TWO = ParentEntry("one", "192.0.2.11", 3128), ParentEntry("two", "192.0.2.12", 3128)


@contextmanager
def checked(**health):
    """A conversation whose parents are looked after."""
    upstream = {
        "proxies": (ONE, TWO), "routes": (RouteEntry(Selector(), ("one", "two")),),
        "health": HealthSection(**{"interval": 10.0, "timeout": 5.0, "fall": 2, "rise": 2, **health}),
    }  # fmt: skip
    with Conversation(upstream=upstream) as play:
        checks = ParentChecks(play.plane, play.plane.ways)
        checks.start()
        yield play
        checks.stop()


def states(play: Conversation) -> list[str]:
    return [row["state"] for row in play.plane.ways.rows()]


def test_a_parent_that_cannot_be_reached_goes_down_and_comes_back():
    """After as many checks as were asked for; the other one is not touched by that."""
    with checked() as play:
        play.settle()
        assert play.dialled == [(("192.0.2.11",), 3128), (("192.0.2.12",), 3128)]
        play.dialer.failures["192.0.2.11"] = OriginRefused("refused")
        play.later(11.0)
        assert states(play) == ["up", "up"]
        play.later(10.0)
        assert states(play) == ["down", "up"]
        assert play.plane.ways.rows()[0]["problem"] == "refused"
        del play.dialer.failures["192.0.2.11"]
        play.later(10.0)
        assert states(play) == ["down", "up"]
        play.later(10.0)
        assert states(play) == ["up", "up"]
        assert play.plane.ways.up() == {"one": 1.0, "two": 1.0}


@pytest.mark.parametrize("answer, state", [(b"HTTP/1.1 200 OK\r\n\r\n", "up"), (b"HTTP/1.1 503 No\r\n\r\n", "down")])
def test_a_probe_asks_for_a_tunnel(answer, state):
    """A parent that is there and reaches nothing is of no use."""
    with checked(probe=("www.example.com", 443), fall=1) as play:
        for _ in range(2):
            parent = play.origin()
            parent.hears(b"CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\nVia: 1.1 netfw\r\n\r\n")
            parent.says(answer)
            parent.leaves()
        play.settle()
        assert states(play) == [state, state]


def test_a_parent_that_does_not_answer_in_time():
    """Nothing waits for it, and the next look comes in its time."""
    with checked(probe=("www.example.com", 443), fall=1, timeout=2.0) as play:
        parents = [play.origin(), play.origin()]
        for parent in parents:
            parent.hears_head()
        play.later(3.0)
        assert states(play) == ["down", "down"]
        assert play.plane.ways.rows()[0]["problem"] in ("no answer within 2 s", "no answer to CONNECT")
        for parent in parents:
            parent.hears_reset()
        play.later(12.0)
        assert len(play.dialled) == 4


def test_nothing_is_checked_with_an_interval_of_0():
    """Exchanges alone say how parents do."""
    with checked(interval=0.0) as play:
        play.later(100.0)
        assert play.dialled == []


def test_a_check_that_is_stopped_leaves_nothing_behind():
    """Nor does it say that the parent failed."""
    with checked(probe=("www.example.com", 443), fall=1) as play:
        for parent in (play.origin(), play.origin()):
            parent.hears_head()
    assert states(play) == ["up", "up"]
