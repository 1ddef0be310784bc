"""Work of a millisecond or so, so much of it in a row and no more: the rest waits for the reactor's next turns.

For what has to be done in this thread when many ask for it at once: a burst of new names would otherwise hold up every
connection until all their certificates are made. Not here: work that is long by itself (`transport.slices`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter

from twisted.internet.interfaces import IReactorTime

from netfw.transport.deadlines import later

SHARE = 0.008
"""Seconds of a turn. What is begun is ended: a turn takes as much longer as its last piece."""


class Turns:
    """`run` does a piece of work now, or in a later turn, in the order in which they came."""

    def __init__(self, clock: IReactorTime, *, seconds: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._seconds = seconds
        self._waiting: deque[Callable[[], object]] = deque()
        self._spent = 0.0
        self._called = False

    def __len__(self) -> int:
        return len(self._waiting)

    def run(self, work: Callable[[], object]) -> None:
        """Do it. What it raises is the caller's only where it is done at once: work should not raise."""
        if self._waiting or self._spent >= SHARE:
            self._waiting.append(work)
        else:
            self._do(work)

    def _do(self, work: Callable[[], object]) -> None:
        if not self._called:
            self._called = True
            later(self._clock, 0, self._next_turn)
        begun = self._seconds()
        try:
            work()
        finally:
            self._spent += self._seconds() - begun

    def _next_turn(self) -> None:
        self._called = False
        self._spent = 0.0
        while self._waiting and self._spent < SHARE:
            self._do(self._waiting.popleft())
