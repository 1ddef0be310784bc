"""One CONNECT up to its 200, and how it fails. The order of its steps is fixed:

PreDNS, resolve, judge addresses, what of PreREQUEST is certain, TCP connection (or a pooled one), 200, first bytes;
what follows is `tunnel_inside`.

An allowed CONNECT never gets its 200 before the TCP connection exists. A denied one gets it only so that the denial
can be read inside the tunnel (`deny.style: auto`, for hosts that would be intercepted), or where `deny.opaque` asks
for the vendor's way; nothing is dialled then.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError

from netfw.config.model import DenyOpaque, DenyStyle
from netfw.errors import (
    ClientGone,
    Denied,
    DestinationProhibited,
    MisdirectedRequest,
    NetfwError,
    Overloaded,
    ShuttingDown,
    TunnelRefused,
)
from netfw.http1.fields import Fields
from netfw.policy.decision import Decision
from netfw.policy.facts import Unknown
from netfw.policy.model import Phase
from netfw.proxy import phases
from netfw.proxy.exchange import Caller, Exchange
from netfw.proxy.failures import error_of
from netfw.proxy.held_origin import HeldOrigin
from netfw.proxy.steps import Steps
from netfw.proxy.tunnel_inside import TunnelInside
from netfw.proxy.tunnel_opening import TunnelOpening
from netfw.proxy.way_opening import BY_NAME
from netfw.transport.closing import close
from netfw.transport.resolution import Resolution

if TYPE_CHECKING:
    from netfw.proxy.client_connection import ClientConnection

Address = IPv4Address | IPv6Address

_ESTABLISHED: Final = b"HTTP/1.1 200 Connection Established\r\n\r\n"
_ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"  # a fatal TLS alert, access_denied (RFC 8446, section 6)
_PLAIN_HTTP_PORT: Final = 80


class Tunnelling:
    """Serves one CONNECT of `client`."""

    def __init__(self, client: ClientConnection, exchange: Exchange) -> None:
        self._client = client
        self._plane = client.plane
        self._exchange = exchange
        self._client_gone = False
        self._steps: Steps
        self._addresses: tuple[Address | Unknown, ...] = ()
        self._origin = HeldOrigin(client.plane, exchange)
        self._transport: Any = None
        self._opening: TunnelOpening | None = None
        self._to_show: NetfwError | None = None
        assert exchange.authority is not None
        self._authority = exchange.authority
        self._intercepts = self._plane.interception is not None and self._plane.scope.intercepts(
            exchange.authority, client.caller.address
        )
        self._opaque = self._plane.opaque.has(exchange.authority, client.caller.address)

    @property
    def caller(self) -> Caller:
        """Who asks for the tunnel."""
        return self._client.caller

    def start(self) -> None:
        """Run the steps."""
        self._client.serve(self)
        self._exchange.facts.tls_intercepted = self._intercepts
        self._steps = Steps(self, _STEPS, self._failed)
        self._steps.run()

    def _admit(self, _: object) -> None:
        if self._client.caller.admit_tunnel() is not None:
            raise Overloaded("as many tunnels are open as may be")

    def _pre_dns(self, _: object) -> None:
        phases.pre_dns(self._exchange)
        if self._plane.ways is not None:
            self._origin.go_by(self._plane.ways.choose(self._authority, self._exchange.caller))

    def _resolve(self, _: object) -> Any:
        way = self._origin.way
        if way is not None and way.hides_address_of(self._authority.host):
            phases.leave_name_to_parent(self._exchange, self._plane)
            return None
        return phases.resolve(self._exchange, self._plane)

    def _judge(self, resolution: Resolution | None) -> tuple[Address | Unknown, ...]:
        """Judge the addresses, and end here what PreREQUEST denies with certainty already. No resolution: a parent
        proxy looks the name up.
        """
        exchange = self._exchange
        addresses: tuple[Address, ...] = ()
        if resolution is not None:
            addresses = phases.judged_addresses(exchange, self._plane, resolution.addresses)
        if not self._intercepts and self._authority.port != _PLAIN_HTTP_PORT:
            # Judged as the opaque tunnel that it almost always is, so that a denial shows on the CONNECT. Should plain
            # HTTP come after all, its requests are judged by themselves.
            exchange.facts.hide_http()
        if resolution is None:
            phases.not_certainly_denied_by_name(exchange)
            self._addresses = BY_NAME
        else:
            self._addresses = phases.not_certainly_denied(exchange, addresses)
        return self._addresses

    def _dial(self, addresses: Sequence[Address | Unknown]) -> Any:
        # What may carry anything needs a connection that nothing was said on, not one that speaks TLS already.
        if self._intercepts and not self._opaque and self._origin.take_pooled(addresses):
            return None
        return self._origin.dial(addresses)

    def _establish(self, _: object) -> None:
        """Answer 200 and wait for the first bytes."""
        plane, client = self._plane, self._client
        self._exchange.status = 200
        client.write([_ESTABLISHED])
        transport, first, deadline = client.hand_over()
        self._transport = transport
        self._opening = opening = TunnelOpening(
            self._opened,
            self._failed,
            deadline,
            plane.configuration.timeouts.head,
            plane.configuration.limits.client_hello,
            self._origin if self._opaque else None,
        )
        opening.when_lost = self.client_gone
        plane.live.openings.add(self)
        transport.switch_protocol(opening)
        if first:
            opening.dataReceived(first)

    def _opened(self, opening: TunnelOpening) -> None:
        self._opening = None
        self._steps = Steps(self, _INSIDE, self._failed)
        self._steps.run(opening)

    def _enter(self, opening: TunnelOpening) -> Any:
        if self._to_show is not None and not self._intercepts:
            raise self._to_show
        inside = TunnelInside(
            self._client,
            self._exchange,
            self._transport,
            self._origin,
            self._addresses,
            self._intercepts,
            self._no_longer_opening,
        )
        return inside.enter(opening, self._to_show)

    def _no_longer_opening(self) -> None:
        """Connections inside, or a relay, have taken over."""
        self._plane.live.openings.discard(self)

    # -- failing ------------------------------------------------------------------------------------------------------

    def _failed(self, problem: BaseException) -> None:
        """The one place for every failure: answer before the 200, close behind it."""
        exchange, client = self._exchange, self._client
        self._opening = None
        error = error_of(problem, exchange, client_gone=self._client_gone)
        exchange.error = error
        self._origin.let_go()
        if self._transport is not None:
            self._close_inside(error)
        elif self._client_gone or not client.is_open:
            exchange.close_reason = "client_closed"
            exchange.status = exchange.status or error.status
            client.end_exchange(keep=False)
        elif self._shows_inside(error) or self._closes_after_200(error):
            self._to_show = error
            self._steps = Steps(self, _STEPS[-1:], self._failed)
            self._steps.run()
        else:
            exchange.status = error.status
            client.write([self._plane.explainer.print(exchange, error, close=True, with_body=True)])
            client.end_exchange(keep=False)

    def _shows_inside(self, error: NetfwError) -> bool:
        return (
            self._intercepts
            and self._plane.configuration.deny.style is DenyStyle.AUTO
            and isinstance(error, (Denied, DestinationProhibited))
        )

    def _closes_after_200(self, error: NetfwError) -> bool:
        """The vendor's way with a PreREQUEST denial: 200, and closed at the first bytes."""
        return (
            not self._intercepts
            and self._plane.configuration.deny.opaque is DenyOpaque.AFTER_200
            and isinstance(error, Denied)
            and isinstance(error.decision, Decision)
            and error.decision.phase is Phase.PRE_REQUEST
        )

    def _close_inside(self, error: NetfwError) -> None:
        """After the 200 nothing can be said in HTTP: close, after an alert where TLS was begun."""
        exchange = self._exchange
        if self._to_show is not None:
            # Whatever the client did with it: the tunnel was there to show a denial, and that is what happened.
            exchange.error = self._to_show
        exchange.close_reason = exchange.close_reason or error.token
        self._plane.live.openings.discard(self)
        if isinstance(error, ShuttingDown):
            self._transport.abortConnection()
        elif not isinstance(error, ClientGone):
            if isinstance(error, (Denied, MisdirectedRequest, TunnelRefused)):
                self._transport.write(_ACCESS_DENIED)
            close(self._transport, self._plane.deadlines, self._plane.configuration.timeouts.abort)
        self._plane.recording.finished(exchange)
        self._client.caller.leave()

    # -- RequestUser --------------------------------------------------------------------------------------------------

    def client_gone(self) -> None:
        """The client left before the 200: stop looking up and dialling."""
        self._client_gone = True
        self._steps.cancel()

    def request_body(self, data: bytes) -> None:
        """A CONNECT has no body: the reader refuses one."""

    def request_complete(self, trailers: Fields) -> None:
        """See `request_body`."""

    def request_batch_end(self) -> None:
        """See `request_body`."""

    def request_failed(self, error: NetfwError) -> None:
        """The proxy is stopping."""
        self._steps.cancel()

    def origin_side(self) -> tuple[None, bool]:
        """None that speaks HTTP."""
        return None, False

    def cut(self, error: NetfwError) -> None:
        """The proxy is stopping, and the 200 was sent already."""
        if self._opening is not None and self._opening.stop():
            self._failed(CancelledError())
        else:
            self._steps.cancel()


_STEPS: Final = (
    Tunnelling._admit,
    Tunnelling._pre_dns,
    Tunnelling._resolve,
    Tunnelling._judge,
    Tunnelling._dial,
    Tunnelling._establish,
)
_INSIDE: Final = (Tunnelling._enter,)
