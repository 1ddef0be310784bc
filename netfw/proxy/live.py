"""What is open right now: connections that speak HTTP, those that are being opened, joined transports. For status and
draining.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred

from netfw.errors import NetfwError, ShuttingDown

if TYPE_CHECKING:
    from netfw.proxy.client_connection import ClientConnection
    from netfw.proxy.exchange import Exchange


class Opening(Protocol):
    """A connection that speaks nothing yet: it waits for a first byte, for TLS, or for what a tunnel begins with."""

    def cut(self, error: NetfwError) -> None: ...


class LiveConnections:
    """`relays` are the Deferreds of tunnels and upgrades, with what each is for; cancelling one aborts both sides."""

    def __init__(self) -> None:
        self._idle_before: dict[ClientConnection, int] = {}
        self.connections: set[ClientConnection] = set()
        self.openings: set[Opening] = set()
        self.relays: dict[Deferred[Any], Exchange] = {}

    def __len__(self) -> int:
        return len(self.connections) + len(self.openings) + len(self.relays)

    def close_idle(self) -> None:
        """Close every connection that no exchange has used since the last call."""
        former, self._idle_before = self._idle_before, {}
        for connection in list(self.connections):
            if connection.exchange is not None:
                continue
            if former.get(connection) == connection.served:
                connection.close_if_idle()
            else:
                self._idle_before[connection] = connection.served

    def abort_all(self) -> None:
        """The time to finish is over."""
        error = ShuttingDown("the proxy is stopping")
        for connection in list(self.connections):
            connection.cut(error)
        for opening in list(self.openings):
            opening.cut(error)
        for joined in list(self.relays):
            joined.cancel()
