"""Two transports joined until both have ended: a tunnel that is passed through, and whatever an upgrade switched to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from netfw.proxy.exchange import Exchange
from netfw.transport.relay import relay
from netfw.transport.relay_life import RelayLife, RelayOutcome

if TYPE_CHECKING:
    from netfw.proxy.client_connection import ClientConnection
    from netfw.proxy.data_plane import DataPlane
    from netfw.proxy.tunnel import Tunnel


def join(
    client: ClientConnection,
    exchange: Exchange,
    client_side: Any,
    origin_side: Any,
    from_client: bytes,
    from_origin: bytes,
) -> None:
    """Relay until the end, then count and record the exchange. `client` has handed its transport over.

    What was read already from a side goes to the other first.
    """
    Joined(client, exchange).start(client_side, origin_side, from_client, from_origin)


class Joined:
    """What an open tunnel keeps beside its sockets: what its record needs, not the connection that asked for it.

    In `LiveConnections.relays` while it is open.
    """

    __slots__ = ("_inside", "_life", "_plane", "_received", "_sent", "exchange")

    def __init__(self, client: ClientConnection, exchange: Exchange) -> None:
        self.exchange = exchange
        self._plane: DataPlane = client.plane
        self._inside: Tunnel | None = client.tunnel
        self._received, self._sent = client.handed_over_counts()
        self._life: RelayLife | None = None
        exchange.keep_for_record()

    def start(self, client_side: Any, origin_side: Any, from_client: bytes, from_origin: bytes) -> None:
        """Join them."""
        plane = self._plane
        timeouts = plane.configuration.timeouts
        plane.recording.metrics.tunnel_opened()
        plane.live.relays[self] = None
        life = relay(
            client_side,
            origin_side,
            self._over,
            deadlines=plane.deadlines,
            idle=timeouts.idle,
            lifetime=timeouts.lifetime,
            abort_timeout=timeouts.abort,
            left_first=from_client,
            right_first=from_origin,
        )
        if self in plane.live.relays:  # two that have ended already are over at once
            self._life = life

    def cancel(self) -> None:
        """Abort both sides."""
        if self._life is not None:
            self._life.cancel()

    def _over(self, outcome: RelayOutcome) -> None:
        plane, exchange = self._plane, self.exchange
        self._life = None
        plane.live.relays.pop(self, None)
        to_origin, to_client = outcome.bytes_left_to_right, outcome.bytes_right_to_left
        metrics = plane.recording.metrics
        metrics.tunnel_closed()
        metrics.origin_bytes(to_client, to_origin)
        exchange.close_reason = outcome.reason
        exchange.bytes_in = self._received + to_origin
        exchange.bytes_out = self._sent + to_client
        exchange.request_size = to_origin
        exchange.response_size = to_client
        plane.recording.finished(exchange)
        exchange.caller.leave()
        if self._inside is not None:
            self._inside.inner_connection_lost(Failure(ConnectionDone()))
