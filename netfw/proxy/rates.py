"""How often each client address may come and ask: `limits.connection_rate` and `limits.request_rate`.

In this room: one table for one kind of event. Not here: who asks it (`admission` for connections, `routing` for
requests) and what the client is told.

An address may do `rate` things a second, and after a pause up to `BURST` seconds' worth at once. What is kept of each
is one number, the time at which its allowance would be whole again (the generic cell rate algorithm, ITU-T I.371), so
that nothing has to run when nobody comes. The table is bounded: addresses whose allowance is whole are forgotten first,
which loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from math import ceil

BURST = 10.0
"""Seconds. nginx's `burst` and HAProxy's stick tables, over 10 s in their examples, do the same."""
SOURCES = 16_384
_LOOKED_AT = 8


class SourceRate:
    """One address's allowance."""

    __slots__ = ("_cost", "_now", "whole_at")

    def __init__(self, rate: int, now: Callable[[], float]) -> None:
        self._cost = 1.0 / rate
        self._now = now
        self.whole_at = 0.0

    def take(self) -> int:
        """Count one; 0 when it is allowed, else the whole seconds to wait, and then it was not counted."""
        now = self._now()
        whole_at = max(self.whole_at, now) + self._cost
        wait = whole_at - now - BURST
        # Of a sum of many small costs a rounding error is left.
        if wait > 1e-6:
            return ceil(wait)
        self.whole_at = whole_at
        return 0


class Rates:
    """The allowances of all addresses; `now` is a monotonic clock."""

    def __init__(self, rate: int, now: Callable[[], float], *, sources: int = SOURCES) -> None:
        self._rate = rate
        self._now = now
        self._sources = sources
        self._known: dict[IPv4Address | IPv6Address, SourceRate] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, address: IPv4Address | IPv6Address) -> SourceRate:
        """The allowance of this address, the same object for all its connections."""
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= self._sources:
                self._make_room()
            found = self._known[address] = SourceRate(self._rate, self._now)
        return found

    def _make_room(self) -> None:
        """Forget some of the oldest: those whose allowance is whole, else one that is not."""
        now = self._now()
        oldest = [address for address, _ in zip(self._known, range(_LOOKED_AT), strict=False)]
        whole = [address for address in oldest if self._known[address].whole_at <= now]
        for address in whole or oldest[:1]:
            del self._known[address]
