"""Two transports joined until both have ended: a tunnel that is passed through, and whatever an upgrade switched to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from netfw.proxy.exchange import Exchange
from netfw.transport.relay import RelayOutcome, relay

if TYPE_CHECKING:
    from netfw.proxy.client_connection import ClientConnection

_log = Logger()


def join(
    client: ClientConnection,
    exchange: Exchange,
    client_side: Any,
    origin_side: Any,
    *,
    from_client: bytes,
    from_origin: bytes = b"",
) -> Deferred[None]:
    """Relay until the end, then count and record the exchange. `client` has handed its transport over.

    The Deferred never fails. What was read already from a side goes to the other first.
    """
    plane = client.plane
    timeouts = plane.configuration.timeouts
    metrics = plane.recording.metrics
    metrics.tunnel_opened()
    joined = relay(
        client_side,
        origin_side,
        deadlines=plane.deadlines,
        idle=timeouts.idle,
        lifetime=timeouts.lifetime,
        abort_timeout=timeouts.abort,
        left_first=from_client,
        right_first=from_origin,
    )
    plane.live.relays[joined] = exchange

    def ended(outcome: RelayOutcome | Failure) -> None:
        plane.live.relays.pop(joined, None)
        metrics.tunnel_closed()
        if isinstance(outcome, Failure):
            _log.failure("the relay of exchange {id} broke", failure=outcome, id=exchange.id)
            exchange.close_reason = "relay_failed"
        else:
            exchange.close_reason = outcome.reason
            received, sent = client.handed_over_counts()
            exchange.bytes_in = received + outcome.bytes_left_to_right
            exchange.bytes_out = sent + outcome.bytes_right_to_left
            metrics.origin_bytes(outcome.bytes_right_to_left, outcome.bytes_left_to_right)
            exchange.request_size = outcome.bytes_left_to_right
            exchange.response_size = outcome.bytes_right_to_left
        plane.recording.finished(exchange)
        client.caller.leave()

    return joined.addBoth(ended)
