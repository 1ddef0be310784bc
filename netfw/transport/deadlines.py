"""Deadlines: every wait of the data path, on one coarse sweep.

In this room: `Deadlines`, a timer wheel that looks at what is due a few times a second, and the two plain uses of the
reactor's clock that other rooms need (`next_turn`, `later`). Not here: how long a wait may be (`config`), and what
happens when it is over (the callback's business).

A delayed call of the reactor costs more than a small request does, and nearly all deadlines are cancelled or pushed
back before they are due. So a deadline is put into the bucket of its tick, and pushing it back only writes the new
time: the sweep moves it when it comes by. A deadline fires at its time or up to one tick later, never before.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()


class Deadline:
    """One wait. Made by `Deadlines.start`; inactive once it fired or was cancelled, and then stays so."""

    __slots__ = ("_args", "_callback", "_due", "_tick", "_wheel", "__weakref__")

    def __init__(
        self, wheel: Deadlines, due: float, tick: int, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self._wheel: Deadlines | None = wheel
        self._due = due
        self._tick = tick
        self._callback: Callable[..., object] | None = callback
        self._args = args

    @property
    def active(self) -> bool:
        """Whether it can still fire."""
        return self._wheel is not None

    def restart(self, seconds: float) -> None:
        """Let the wait begin again. Without effect on an inactive one: what has fired cannot be taken back."""
        wheel = self._wheel
        if wheel is not None:
            now: float = wheel.seconds()
            self._due = due = now + seconds
            # Later is the rule, and left to the sweep. Sooner would be missed by it, so it is moved now.
            if due <= float(self._tick - 1) * wheel.granularity:
                wheel.move(self)

    def change(self, seconds: float, callback: Callable[..., object], *args: Any) -> None:
        """Begin another wait with the same object, for another callback: half of what ending one and starting one
        costs. Without effect on an inactive one.
        """
        if self._wheel is not None:
            self._callback = callback
            self._args = args
            self.restart(seconds)

    def cancel(self) -> None:
        """Never fire. Without effect on an inactive one."""
        wheel = self._wheel
        if wheel is not None:
            wheel.forget(self)

    def __repr__(self) -> str:
        wheel = self._wheel
        if wheel is None:
            return "<Deadline inactive>"
        return f"<Deadline in {self._due - wheel.seconds():.2f} s: {self._callback!r}>"


class Deadlines:
    """All deadlines of one worker, swept every `granularity` seconds while there are any."""

    def __init__(self, clock: IReactorTime, granularity: float = 0.25) -> None:
        if granularity <= 0:
            raise ValueError(f"granularity must be above 0, not {granularity}")
        self.granularity = granularity
        self.seconds: Callable[[], float] = clock.seconds
        self._clock = clock
        self._buckets: dict[int, dict[Deadline, None]] = {}
        self._count = 0
        self._swept = 0
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        """How many are active."""
        return self._count

    def start(self, seconds: float, callback: Callable[..., object], *args: Any) -> Deadline:
        """Call `callback(*args)` once, in `seconds`, unless the deadline is cancelled or restarted before.

        What the callback raises is logged. It may start, restart and cancel any deadline.
        """
        now = self.seconds()
        self._count += 1
        if self._call is None:
            self._swept = self._tick_of(now)
            self._wait_for_next_tick(now)
        due = now + seconds
        tick = self._first_tick(due)
        deadline = Deadline(self, due, tick, callback, args)
        try:
            self._buckets[tick][deadline] = None
        except KeyError:
            self._buckets[tick] = {deadline: None}
        return deadline

    def stop(self) -> None:
        """Cancel them all."""
        for bucket in list(self._buckets.values()):
            for deadline in list(bucket):
                self.forget(deadline)
        self._rest()

    def _file(self, deadline: Deadline) -> None:
        deadline._tick = tick = self._first_tick(deadline._due)
        self._buckets.setdefault(tick, {})[deadline] = None

    def _first_tick(self, due: float) -> int:
        """The first tick that is not before this time and has not been swept."""
        tick = ceil(due / self.granularity)
        return tick if tick > self._swept else self._swept + 1

    def _tick_of(self, now: float) -> int:
        # The reactor may call back a rounding error before the tick.
        return int(now / self.granularity + 1e-6)

    def _wait_for_next_tick(self, now: float) -> None:
        wait = (self._tick_of(now) + 1) * self.granularity - now
        self._call = self._clock.callLater(max(wait, self.granularity / 2), self._sweep)

    def move(self, deadline: Deadline) -> None:
        """File an active deadline anew. `Deadline.restart` calls this."""
        self._take_out(deadline)
        self._file(deadline)

    def forget(self, deadline: Deadline) -> None:
        """Make an active deadline inactive. `Deadline.cancel` calls this."""
        self._take_out(deadline)
        self._end(deadline)

    def _take_out(self, deadline: Deadline) -> None:
        bucket = self._buckets.get(deadline._tick)
        if bucket is not None:
            bucket.pop(deadline, None)

    def _end(self, deadline: Deadline) -> None:
        # The callback is often a bound method of an object that holds the deadline: no cycle is left behind.
        deadline._wheel = deadline._callback = None
        deadline._args = ()
        self._count -= 1

    def _sweep(self) -> None:
        self._call = None
        now = self.seconds()
        tick = self._tick_of(now)
        first, self._swept = self._swept + 1, tick
        if tick - first > len(self._buckets):  # the clock jumped: do not count through the ticks in between
            due = sorted(number for number in self._buckets if number <= tick)
        else:
            due = [number for number in range(first, tick + 1) if number in self._buckets]
        # Set before any callback runs, so that a callback that starts a deadline does not start a second sweep.
        self._wait_for_next_tick(now)
        for number in due:
            bucket = self._buckets.get(number, {})
            for deadline in list(bucket):
                if deadline not in bucket:
                    continue  # an earlier callback of this sweep cancelled or moved it
                del bucket[deadline]
                if deadline._due > now:
                    self._file(deadline)
                else:
                    self._fire(deadline)
            self._buckets.pop(number, None)
        if not self._count:
            self._rest()

    def _fire(self, deadline: Deadline) -> None:
        callback, args = deadline._callback, deadline._args
        self._end(deadline)
        assert callback is not None
        try:
            callback(*args)
        except Exception:
            _log.failure("A deadline's callback failed: {callback!r}", callback=callback)

    def _rest(self) -> None:
        self._buckets.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None


def next_turn(clock: IReactorTime, function: Callable[..., object], *args: Any) -> IDelayedCall:
    """Call the function in the next turn of the reactor: nobody's callback is on the stack then."""
    return clock.callLater(0, function, *args)


def later(clock: IReactorTime, seconds: float, function: Callable[..., object], *args: Any) -> IDelayedCall:
    """Call the function after exactly this time. A delayed call: for rare waits that the sweep is too coarse for."""
    return clock.callLater(seconds, function, *args)
