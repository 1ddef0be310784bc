"""How many connections are open to each destination: `limits.connections_per_destination`.

In this room: the count. A destination is a host and a port; its connections are those in use, those that wait in the
pool, and tunnels. Not here: connecting (`upstream_opening`), and how many wait (`upstream_pool`).

A site that takes minutes to answer would otherwise, one client after the other, take every connection that there is.
"""

from __future__ import annotations

from collections.abc import Callable

from netfw.errors import Overloaded
from netfw.names.authority import Authority


class Destinations:
    """`limit` 0: they are only counted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: dict[tuple[str, int], int] = {}

    def open_to(self, authority: Authority) -> int:
        """How many are open now."""
        return self._open.get((authority.host.text, authority.port), 0)

    def enter(self, authority: Authority) -> Callable[[], None]:
        """Count a connection that is about to be made; call what is returned, once, when it is over or did not come.

        Raises `Overloaded` at the limit.
        """
        key = (authority.host.text, authority.port)
        count = self._open.get(key, 0)
        if self.limit and count >= self.limit:
            raise Overloaded(f"{count} connections to {authority} are open, and no more are made at a time")
        self._open[key] = count + 1

        def leave() -> None:
            left = self._open[key] - 1
            if left:
                self._open[key] = left
            else:
                del self._open[key]

        return leave
