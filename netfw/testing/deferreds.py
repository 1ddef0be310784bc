"""Read a Deferred that must have fired already. For tests."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

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
