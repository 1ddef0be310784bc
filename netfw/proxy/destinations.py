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
        self._open: dict[tuple[str, int], _Destination] = {}

    def open_to(self, authority: Authority) -> int:
        """How many are open now."""
        found = self._open.get((authority.host.text, authority.port))
        return 0 if found is None else found.open

    def enter(self, authority: Authority) -> Callable[[], None]:
        """Count a connection that is about to be made; call what is returned, once, when it is over or did not come.

        Raises `Overloaded` at the limit.
        """
        key = (authority.host.text, authority.port)
        found = self._open.get(key)
        if found is None:
            self._open[key] = found = _Destination(self._open, key)
        elif self.limit and found.open >= self.limit:
            raise Overloaded(f"{found.open} connections to {authority} are open, and no more are made at a time")
        found.open += 1
        leave = found.leave_by
        assert leave is not None
        return leave


class _Destination:
    """How many are open to one; its connections share what they call when they are over."""

    __slots__ = ("_all", "_key", "leave_by", "open")

    def __init__(self, all_open: dict[tuple[str, int], _Destination], key: tuple[str, int]) -> None:
        self._all = all_open
        self._key = key
        self.open = 0
        self.leave_by: Callable[[], None] | None = self._leave

    def _leave(self) -> None:
        self.open -= 1
        if not self.open:
            self.leave_by = None  # no cycle is left behind
            del self._all[self._key]
