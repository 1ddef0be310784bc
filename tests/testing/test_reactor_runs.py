"""The private reactor of the tests: results, failures, time-outs, and what was left behind."""

from __future__ import annotations

import socket

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from netfw.testing.reactor_runs import private_reactor, run_in_reactor


def test_results():
    """A value, a Deferred's result and a coroutine's result come back, one run after the other."""

    async def scenario(reactor):
        return await deferLater(reactor, 0.01, lambda: "later")

    assert run_in_reactor(lambda reactor: 1) == 1
    assert run_in_reactor(lambda reactor: succeed(2)) == 2
    assert run_in_reactor(scenario) == "later"


def test_failure():
    """What the scenario raises is raised here."""

    async def scenario(reactor):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run_in_reactor(scenario)


def test_timeout():
    """A scenario that does not end is cancelled, and TimeoutError names what is left."""
    cancelled = []
    with pytest.raises(TimeoutError, match=r"0\.05 s"):
        run_in_reactor(lambda reactor: Deferred(cancelled.append), timeout=0.05)
    assert len(cancelled) == 1


@pytest.mark.parametrize(
    "leave",
    [
        lambda reactor: reactor.callLater(60, print),
        lambda reactor: reactor.listenTCP(0, Factory(), interface="127.0.0.1"),
    ],
)
def test_left_behind(leave):
    """A delayed call or a socket that stays is told of, and is gone before the next run."""
    kept = []
    with pytest.raises(AssertionError, match="left behind"):
        run_in_reactor(lambda reactor: kept.append(leave(reactor)))
    assert private_reactor().getDelayedCalls() == []
    assert run_in_reactor(lambda reactor: 1) == 1
    for one in kept:
        if isinstance(getattr(one, "socket", None), socket.socket):
            one.socket.close()
