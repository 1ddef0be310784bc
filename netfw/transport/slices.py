"""Long work in short slices: a generator that yields often is run a few milliseconds at a time, with the reactor's
other work in between. For work that must happen in this process and would stall it if done at once.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from time import perf_counter
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from netfw.transport.deadlines import later

T = TypeVar("T")

SLICE = 0.003
PAUSE = 0.003
"""As long as a slice: half of the process's time is left for its connections."""


def run_in_slices(clock: IReactorTime, work: Generator[None, None, T], pause: float = PAUSE) -> Deferred[T]:
    """Run the generator to its end, with a `pause` between slices; a Deferred of what it returns. Cancelling closes it.

    The garbage collector is held off meanwhile: a full collection over what such work makes is a stall of its own.
    What is alive at the end is then taken out of its sight for good.
    """
    waiting: list[Any] = []
    was_on = gc.isenabled()
    gc.disable()

    def end() -> None:
        if was_on:
            gc.freeze()
            gc.enable()

    def stop(_: Deferred[T]) -> None:
        for call in waiting:
            call.cancel()
        work.close()
        end()

    done: Deferred[T] = Deferred(stop)

    def run() -> None:
        waiting.clear()
        until = perf_counter() + SLICE
        try:
            while perf_counter() < until:
                next(work)
        except StopIteration as stopped:
            end()
            done.callback(stopped.value)
        except Exception:
            end()
            done.errback(Failure())
        else:
            waiting.append(later(clock, pause, run))

    run()
    return done


def run_to_the_end(work: Generator[None, None, T]) -> T:
    """The same work at once, where nobody is kept waiting."""
    while True:
        try:
            next(work)
        except StopIteration as stopped:
            result: T = stopped.value
            return result
