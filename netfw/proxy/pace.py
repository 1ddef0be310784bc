"""Peers that are too slow: `limits.minimum_rate`, on both sides and in both directions.

In this room: one sweep over the connections that speak HTTP, a few times in each `timeouts.body`. Not here: peers that
say or take nothing at all (each connection's own deadlines), and tunnels, in which silence is lawful: they have
`timeouts.idle`.

A peer is measured only while it alone holds the exchange up: a client that owes more of its request, an origin that
owes more of a body whose length it has told (what has no length may be a stream of events, which comes when it comes),
and either of them while bytes wait here that it does not take. Whoever moves fewer than `minimum_rate` bytes a second,
on average over `timeouts.body`, is cut. Nothing is done for a chunk: the counters of the transports are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from netfw.errors import ClientStalled, OriginTimeout, RequestTimeout
from netfw.proxy.client_connection import ClientConnection
from netfw.proxy.data_plane import DataPlane
from netfw.transport.socket_facts import carrier

SWEEPS = 4
"""In each `timeouts.body`."""


class _Leg(NamedTuple):
    """What one peer owes: how much of it has moved so far, and what to do when that is too slow."""

    name: str
    moved: int
    cut: Callable[[], object]


class _Mark(NamedTuple):
    """Where a leg stood when it was first seen to owe, or when it was last fast enough."""

    exchange: object
    since: float
    moved: int


class Pace:
    """Sweeps as long as the data path lives. Its settings are read at every sweep: a reload may have changed them."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._marks: dict[tuple[ClientConnection, str], _Mark] = {}
        self._next: Any = None

    def start(self) -> None:
        """Begin to sweep."""
        self._next = self._plane.deadlines.start(self._plane.configuration.timeouts.body / SWEEPS, self._sweep)

    def stop(self) -> None:
        """Sweep no more."""
        if self._next is not None:
            self._next.cancel()

    def _sweep(self) -> None:
        self.start()
        rate = self._plane.configuration.limits.minimum_rate
        former, self._marks = self._marks, {}
        if not rate:
            return
        now, window = self._plane.deadlines.seconds(), self._plane.configuration.timeouts.body
        for connection in list(self._plane.live.connections):
            for leg in _legs(connection):
                key = connection, leg.name
                mark = former.get(key)
                if mark is None or mark.exchange is not connection.exchange:
                    mark = _Mark(connection.exchange, now, leg.moved)
                elif now - mark.since >= window:
                    if leg.moved - mark.moved < rate * (now - mark.since):
                        leg.cut()
                        break
                    mark = _Mark(connection.exchange, now, leg.moved)
                self._marks[key] = mark


def _legs(connection: ClientConnection) -> Iterator[_Leg]:
    """What is owed to this connection's exchange right now."""
    transport = connection.transport
    if transport.unsent:  # what the kernel has taken is counted: TLS counts what it was given
        error = ClientStalled("the client reads too slowly")
        yield _Leg("client reads", carrier(transport).bytes_out, lambda: connection.cut(error))
    user = connection.user
    if user is None:
        return
    if connection.awaits_body:
        slow = RequestTimeout("the request body comes too slowly")
        yield _Leg("client sends", transport.bytes_in, lambda: user.request_failed(slow))
    origin, has_length = user.origin_side()
    if origin is None or not origin.is_open:
        return
    if origin.transport.unsent:
        stalled = OriginTimeout("the origin takes the request too slowly")
        yield _Leg("origin reads", carrier(origin.transport).bytes_out, lambda: origin.fail(stalled))
    elif has_length and not origin.is_held:
        trickles = OriginTimeout("the origin sends its answer too slowly")
        yield _Leg("origin sends", origin.transport.bytes_in, lambda: origin.fail(trickles))
