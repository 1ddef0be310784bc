"""Steps in a row: values at once, values later, failures, cancelling."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from netfw.proxy.steps import Steps


class Run:
    """Steps that are remembered."""

    def __init__(self, *steps) -> None:
        self.seen: list[object] = []
        self.failed: list[BaseException] = []
        self.steps = Steps(self, [self.noting(step) for step in steps], self.failed.append)

    def noting(self, step):
        def noted(owner, value):
            assert owner is self
            self.seen.append(value)
            return step(value)

        return noted


def raising(_):
    raise KeyError("mine")


def test_values_at_once():
    """Each gets what the one before gave."""
    run = Run(lambda _: 1, lambda value: value + 1, lambda value: value + 1)
    run.steps.run("first")
    assert run.seen == ["first", 1, 2]
    assert run.failed == []
    assert not run.steps.is_waiting


def test_values_later():
    """It waits, and goes on where it stood."""
    later: Deferred[int] = Deferred()
    run = Run(lambda _: later, lambda value: succeed(value + 1), lambda value: value)
    run.steps.run()
    assert run.seen == [None]
    assert run.steps.is_waiting
    later.callback(5)
    assert run.seen == [None, 5, 6]
    assert not run.steps.is_waiting


def test_what_is_raised():
    """It goes to the one place, and nothing runs after it."""
    run = Run(raising, lambda value: value)
    run.steps.run()
    assert [type(error) for error in run.failed] == [KeyError]
    assert run.seen == [None]


def test_what_a_deferred_fails_with():
    """The same, at once or later."""
    later: Deferred[int] = Deferred()
    for first in (lambda _: fail(KeyError("now")), lambda _: later):
        run = Run(first, lambda value: value)
        run.steps.run()
        if not later.called and not run.failed:
            later.errback(KeyError("later"))
        assert [type(error) for error in run.failed] == [KeyError]
        assert run.seen == [None]


def test_cancelling():
    """What is waited for is cancelled, once; afterwards nothing happens."""
    cancelled: list[object] = []
    run = Run(lambda _: Deferred(cancelled.append), lambda value: value)
    run.steps.run()
    run.steps.cancel()
    run.steps.cancel()
    assert len(cancelled) == 1
    assert [type(error) for error in run.failed] == [CancelledError]
    assert run.seen == [None]


def test_cancelling_when_nothing_waits():
    """Nothing happens."""
    run = Run(lambda _: 1)
    run.steps.cancel()
    run.steps.run()
    run.steps.cancel()
    assert run.failed == []


def test_many_steps():
    """A loop, not a recursion."""
    run = Run(*[lambda value: (value or 0) + 1] * 5000)
    run.steps.run()
    assert run.seen[-1] == 4999
