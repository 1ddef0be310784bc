"""Run one scenario in a real reactor with real sockets, and see that it leaves nothing behind. For tests.

Here: `run_in_reactor`. The reactor is a private epoll reactor of this process: the global one is neither installed nor
touched, so tests that use this live beside tests that use a Clock.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

from netfw.testing.fd_reactor import FdReactor
from netfw.transport.descriptor_set import DescriptorSet

# Closing sockets takes a turn or two, and a sweep of deadlines a quarter of a second.
_SETTLING = 1.0
_LOOK = 0.005


@cache
def private_reactor() -> Any:
    """The reactor of `run_in_reactor`. One for the process: each would keep descriptors until the process ends."""
    return EPollReactor()


def private_descriptor_set() -> DescriptorSet:
    """What watches the data path's descriptors, inside the private reactor."""
    return DescriptorSet(private_reactor())


def turn_of(reactor: Any) -> Callable[..., object]:
    """What turns this one, whichever of a test's reactors it is, or what stands in it."""
    if isinstance(reactor, FdReactor):
        return reactor.turn
    turn: Callable[..., object] = (private_reactor() if isinstance(reactor, DescriptorSet) else reactor).iterate
    return turn


def run_in_reactor(function: Callable[[Any], Any], timeout: float = 30.0) -> Any:
    """Call `function(reactor)`, run the reactor until its coroutine or Deferred is done, and return its result.

    Raises what it failed with; TimeoutError after `timeout` seconds; AssertionError when a delayed call, a reader or a
    writer is left a second after a good end. Whatever is left is disposed of either way.
    """
    reactor = private_reactor()
    readers, writers = set(reactor.getReaders()), set(reactor.getWriters())
    outcome: list[Any] = []
    running: list[Deferred[Any]] = []

    def left() -> list[Any]:
        return [
            *(call for call in reactor.getDelayedCalls() if call not in own),
            *(set(reactor.getReaders()) - readers),
            *(set(reactor.getWriters()) - writers),
        ]

    own: list[Any] = []

    def begin() -> None:
        own.append(reactor.callLater(timeout, give_up))
        running.append(_started(function, reactor))
        running[0].addBoth(finished)

    def give_up() -> None:
        own.clear()
        outcome.append(Failure(TimeoutError(f"not finished within {timeout} s; left: {left()}")))
        running[0].cancel()
        reactor.crash()

    def finished(result: Any) -> None:
        if not outcome:
            outcome.append(result)
            own.pop().cancel()
            settle(reactor.seconds() + _SETTLING)

    def settle(until: float) -> None:
        own.clear()
        if isinstance(outcome[0], Failure) or not left() or reactor.seconds() >= until:
            reactor.crash()
        else:
            own.append(reactor.callLater(_LOOK, settle, until))

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    remains = left()
    _dispose(reactor, readers, writers)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    assert not remains, f"left behind: {remains}"
    return outcome[0]


def _started(function: Callable[[Any], Any], reactor: Any) -> Deferred[Any]:
    if inspect.iscoroutinefunction(function):
        return ensureDeferred(function(reactor))
    return maybeDeferred(function, reactor)


def _dispose(reactor: Any, readers: set[Any], writers: set[Any]) -> None:
    for call in reactor.getDelayedCalls():
        call.cancel()
    for reader in set(reactor.getReaders()) - readers:
        reactor.removeReader(reader)
    for writer in set(reactor.getWriters()) - writers:
        reactor.removeWriter(writer)
