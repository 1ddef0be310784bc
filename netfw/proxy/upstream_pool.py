"""Idle connections to origins, waiting to be used again.

A connection is found by authority, by whether it runs over TLS (which then proved that authority's name; roots, pins
and client certificate go by the name alone) and by the way it leaves (its parent proxy with credentials and TLS, its
source address; `ways`), and is taken only when its address is one that *this* exchange was judged
for: nothing that a newer policy denies is reached over an older connection. When roots, lists, pins or client
certificates change, none that was verified by the former ones is used again.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from netfw.names.authority import Authority
from netfw.policy.facts import Unknown
from netfw.proxy.upstream_connection import UpstreamConnection

Key = tuple[str, int, bool, Any]


class UpstreamPool:
    """At most `capacity` idle connections, each for at most `idle_seconds`; the oldest gives way."""

    def __init__(self, *, capacity: int, idle_seconds: float) -> None:
        self._capacity = capacity
        self._idle_seconds = idle_seconds
        self._waiting: dict[Key, list[UpstreamConnection]] = {}
        self._in_order: dict[UpstreamConnection, Key] = {}
        self._closed = False
        self.verified_by = 0
        """Counts the sets of roots, lists, pins and client certificates; a TLS connection knows which was its own."""

    def __len__(self) -> int:
        return len(self._in_order)

    def take(
        self,
        authority: Authority,
        tls: bool,
        addresses: Collection[IPv4Address | IPv6Address | Unknown],
        way: Any = None,
    ) -> UpstreamConnection | None:
        """The connection that was used last among those allowed, or None.

        `way`: how it must leave (`way_connection.leg`), None for those that leave by none in particular. With a way
        NOT_YET stands for an address that only a parent knows.
        """
        waiting = self._waiting.get((authority.host.text, authority.port, tls, way))
        if not waiting:
            return None
        for index in range(len(waiting) - 1, -1, -1):
            connection = waiting[index]
            if connection.address in addresses:
                del waiting[index]
                if not waiting:
                    del self._waiting[connection.key]
                del self._in_order[connection]
                connection.when_closed_idle = None
                return connection
        return None

    def put(self, connection: UpstreamConnection) -> None:
        """Keep a connection whose exchange ended well; close it where it cannot be kept."""
        former = connection.tls and connection.verified_by != self.verified_by
        if self._closed or former or self._capacity == 0 or not connection.can_carry_more():
            connection.close()
            return
        while len(self._in_order) >= self._capacity:
            oldest = next(iter(self._in_order))
            self._forget(oldest)
            oldest.close()
        key = connection.key
        self._waiting.setdefault(key, []).append(connection)
        self._in_order[connection] = key
        connection.wait_idle(self._idle_seconds, self._forget)

    def renew_verified(self) -> None:
        """TLS connections that wait, or are under way now, carry nothing more than that."""
        self.verified_by += 1
        for connection in [connection for connection in self._in_order if connection.tls]:
            self._forget(connection)
            connection.close()

    def drop_ways(self) -> None:
        """Close those that leave by a way that is not in force any more."""
        for connection in [one for one in self._in_order if one.way is not None and not one.way.in_force]:
            self._forget(connection)
            connection.close()

    def _forget(self, connection: UpstreamConnection) -> None:
        key = self._in_order.pop(connection, None)
        if key is None:
            return
        waiting = self._waiting[key]
        waiting.remove(connection)
        if not waiting:
            del self._waiting[key]

    def resize(self, *, capacity: int, idle_seconds: float) -> None:
        """From now on; those that are too many are closed when the next one comes."""
        self._capacity = capacity
        self._idle_seconds = idle_seconds

    def clear(self) -> None:
        """Close all that wait: what they were verified with holds no more."""
        for connection in list(self._in_order):
            self._forget(connection)
            connection.close()

    def close(self) -> None:
        """Close all that wait and keep none from now on."""
        self._closed = True
        self.clear()
