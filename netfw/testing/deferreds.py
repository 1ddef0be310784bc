"""Read a Deferred that must have fired already, and have one where there is none. For tests."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from netfw.transport.relay import RelayOutcome, relay

E = TypeVar("E", bound=BaseException)


def result_of(deferred: Deferred[Any]) -> Any:
    """The value it fired with; raises what it failed with, or AssertionError when it has not fired."""
    got: list[Any] = []
    deferred.addBoth(got.append)
    if not got:
        raise AssertionError(f"{deferred!r} has not fired")
    if isinstance(got[0], Failure):
        got[0].raiseException()
    return got[0]


def relayed(left: Any, right: Any, **options: Any) -> Deferred[RelayOutcome]:
    """`transport.relay.relay` as a Deferred of its outcome, which cancels it."""
    ended: Deferred[RelayOutcome] = Deferred(lambda _: life.cancel())
    life = relay(left, right, ended.callback, **options)
    return ended


def failure_of(deferred: Deferred[Any], kind: type[E]) -> E:
    """The exception of type `kind` that it failed with."""
    got: list[Any] = []
    deferred.addBoth(got.append)
    if not got:
        raise AssertionError(f"{deferred!r} has not fired")
    if not isinstance(got[0], Failure):
        raise AssertionError(f"expected a failure with {kind.__name__}, got {got[0]!r}")
    if not isinstance(got[0].value, kind):
        got[0].raiseException()
    return got[0].value  # type: ignore[return-value]  # checked one line above
