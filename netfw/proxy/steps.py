"""Steps in a row: the chain that an exchange runs, as a list that can be read.

Each step takes what the one before gave and returns a value, or a Deferred of it; what any of them raises, or a
Deferred fails with, goes to the one `failed`. Cancelling cancels the Deferred that is being waited for, by Deferred's
own rule.

This is `Deferred.addCallback` a line, without its cost: nearly every step of nearly every exchange has its value at
once, and seven callbacks on a Deferred cost more than the seven steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Step = Callable[[Any, Any], Any]


def exception_of(failure: Failure) -> BaseException:
    """What a Failure holds; Twisted's annotations leave it open whether there is anything."""
    problem = failure.value
    assert problem is not None
    return problem


def _nobody(_: BaseException) -> None:
    """What is told when all is over."""


class Steps:
    """Runs `steps`, functions of (owner, value); `failed` gets the exception of the first that fails, and nothing runs
    after it.
    """

    __slots__ = ("_failed", "_left", "_owner", "_waiting")

    def __init__(self, owner: Any, steps: Sequence[Step], failed: Callable[[BaseException], object]) -> None:
        self._owner = owner
        self._left: Iterator[Step] = iter(steps)
        self._failed = failed
        self._waiting: Deferred[Any] | None = None

    def run(self, value: Any = None) -> None:
        """Run on from where it stands, with this value for the next step."""
        owner = self._owner
        try:
            for step in self._left:
                value = step(owner, value)
                # Not isinstance: Deferred has an abstract base class, which makes that ask Python code for every value.
                if type(value) is Deferred:
                    if not value.called or value.paused or isinstance(value.result, Failure):
                        break
                    value = value.result  # it has fired: no callback is needed to have it
            else:
                self._let_go()
                return
        except Exception as problem:
            self._end(problem)
            return
        self._waiting = value
        value.addCallbacks(self._go_on, self._broken)

    def _go_on(self, value: Any) -> None:
        self._waiting = None
        self.run(value)

    def _broken(self, failure: Failure) -> None:
        self._waiting = None
        self._end(exception_of(failure))

    def _end(self, problem: BaseException) -> None:
        self._left = iter(())
        failed = self._failed
        self._let_go()
        failed(problem)

    def _let_go(self) -> None:
        """Forget the owner, who keeps us: a cycle would hold the exchange, and by it a policy, until a collection."""
        self._owner = None
        self._failed = _nobody

    def cancel(self) -> None:
        """Stop waiting. `failed` gets the CancelledError; where nothing is waited for, nothing happens."""
        if self._waiting is not None:
            self._waiting.cancel()

    @property
    def is_waiting(self) -> bool:
        """Whether a step's Deferred has yet to fire."""
        return self._waiting is not None
