"""What is open right now: client connections that speak HTTP, and joined transports. For status and draining."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from netfw.proxy.client_connection import ClientConnection


class LiveConnections:
    """`relays` are the Deferreds of tunnels and upgrades; cancelling one aborts both its sides."""

    def __init__(self) -> None:
        self.connections: set[ClientConnection] = set()
        self.relays: set[Deferred[Any]] = set()

    def __len__(self) -> int:
        return len(self.connections) + len(self.relays)

    def close_idle(self) -> None:
        """Close every connection that no exchange uses."""
        for connection in list(self.connections):
            connection.close_if_idle()

    def abort_all(self) -> None:
        """The time to finish is over."""
        for connection in list(self.connections):
            connection.abort()
        for joined in list(self.relays):
            joined.cancel()
