"""What is open right now: connections that speak HTTP, those that are being opened, joined transports. For status and
draining.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from netfw.errors import NetfwError, ShuttingDown

if TYPE_CHECKING:
    from netfw.proxy.authentication import Gate
    from netfw.proxy.client_connection import ClientConnection
    from netfw.proxy.exchange import Caller
    from netfw.proxy.joining import Joined


class Opening(Protocol):
    """A connection that speaks nothing yet: it waits for a first byte, for TLS, or for what a tunnel begins with."""

    @property
    def caller(self) -> Caller:
        """Who it is from."""

    def cut(self, error: NetfwError) -> None: ...


class LiveConnections:
    """`relays` are tunnels and upgrades, the oldest first; cancelling one aborts both sides."""

    def __init__(self) -> None:
        self.connections: set[ClientConnection] = set()
        self.openings: set[Opening] = set()
        self.relays: dict[Joined, None] = {}

    def __len__(self) -> int:
        return len(self.connections) + len(self.openings) + len(self.relays)

    def set_gate(self, came_by: object, gate: Gate | None) -> None:
        """For the next requests of what came by this door. What is inside a tunnel was let in with it."""
        for connection in self.connections:
            caller = connection.caller
            if caller.came_by is came_by and connection.tunnel is None:
                caller.gate = gate
                if not caller.is_proven:
                    caller.identity = None


class Leaving:
    """What shall end of what is open: all, or what came by one door (`Caller.came_by`)."""

    def __init__(self, live: LiveConnections, came_by: object = None) -> None:
        self._live = live
        self._came_by = came_by
        self._idle_before: dict[ClientConnection, int] = {}

    def __len__(self) -> int:
        return len(self._connections()) + len(self._openings()) + len(self._relays())

    def close_idle(self) -> None:
        """Close every connection that no exchange has used since the last call."""
        former, self._idle_before = self._idle_before, {}
        for connection in self._connections():
            if connection.exchange is not None:
                continue
            if former.get(connection) == connection.served:
                connection.close_if_idle()
            else:
                self._idle_before[connection] = connection.served

    def abort_all(self, why: str = "the proxy is stopping") -> None:
        """The time to finish is over."""
        error = ShuttingDown(why)
        for connection in self._connections():
            connection.cut(error)
        for opening in self._openings():
            opening.cut(error)
        for joined in self._relays():
            joined.cancel()

    def _connections(self) -> list[ClientConnection]:
        return [connection for connection in self._live.connections if self._has(connection.caller)]

    def _openings(self) -> list[Opening]:
        return [opening for opening in self._live.openings if self._has(opening.caller)]

    def _relays(self) -> list[Joined]:
        return [joined for joined in self._live.relays if self._has(joined.exchange.caller)]

    def _has(self, caller: Caller) -> bool:
        return self._came_by is None or caller.came_by is self._came_by
