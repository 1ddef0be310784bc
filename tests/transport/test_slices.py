"""Long work in slices."""

from __future__ import annotations

import gc
from collections.abc import Generator
from time import perf_counter

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from netfw.testing.deferreds import failure_of, result_of
from netfw.transport.slices import PAUSE, SLICE, run_in_slices


def work(steps: int, seconds: float) -> Generator[None, None, str]:
    for _ in range(steps):
        until = perf_counter() + seconds
        while perf_counter() < until:
            pass
        yield
    return "done"


def test_short_work_is_done_at_once() -> None:
    """What fits into one slice needs no reactor."""
    assert result_of(run_in_slices(Clock(), work(1, 0))) == "done"


def test_long_work_lets_others_in() -> None:
    """After each slice the clock must turn before the next one."""
    clock = Clock()
    done = run_in_slices(clock, work(5, SLICE))
    turns = 0
    while not done.called:
        assert not gc.isenabled()
        clock.advance(PAUSE)
        turns += 1
    assert result_of(done) == "done"
    assert 4 <= turns <= 5
    assert gc.isenabled()
    assert clock.getDelayedCalls() == []


def test_a_failure_is_the_results() -> None:
    """What the work raises is what the Deferred fails with; the collector is on again."""

    def breaks() -> Generator[None, None, None]:
        yield
        raise KeyError("mine")

    failure_of(run_in_slices(Clock(), breaks()), KeyError)
    assert gc.isenabled()


def test_cancelling_ends_the_work() -> None:
    """A cancelled run closes its generator and leaves no call."""
    clock = Clock()
    closed = []

    def endless() -> Generator[None, None, None]:
        try:
            while True:
                yield
        finally:
            closed.append(True)

    done = run_in_slices(clock, endless())
    done.cancel()
    failure_of(done, CancelledError)
    assert closed == [True]
    assert clock.getDelayedCalls() == []
    assert gc.isenabled()


@pytest.fixture(autouse=True)
def thaw() -> Generator[None, None, None]:
    """Whatever was frozen is the collector's again."""
    yield
    gc.unfreeze()
