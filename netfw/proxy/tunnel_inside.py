"""What becomes of a CONNECT once its first bytes are understood.

* TLS that is intercepted: TLS to the origin is made and verified first, then our leaf is shown to the client, and
inner requests follow. A bad origin is told inside the tunnel. * Plain HTTP: inner requests follow. * TLS that is
passed through: PreREQUEST is taken, now that all that will ever be known is known, and bytes are relayed.

A tunnel that was opened only to show a denial never has an origin: every inner request is answered with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from netfw.errors import ClientTlsFailure, NetfwError
from netfw.policy.facts import ABSENT
from netfw.policy.model import Phase
from netfw.proxy import phases
from netfw.proxy.binding import bind_server_name
from netfw.proxy.exchange import Exchange
from netfw.proxy.held_origin import HeldOrigin
from netfw.proxy.joining import join
from netfw.proxy.tunnel import Tunnel
from netfw.proxy.tunnel_opening import Opening
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.proxy.upstream_opening import dialled_address
from netfw.tls.failures import TlsHandshakeError
from netfw.tls.stream import start_tls

if TYPE_CHECKING:
    from netfw.proxy.client_connection import ClientConnection

Address = IPv4Address | IPv6Address


class TunnelInside:
    """The inside of one tunnel of `client`, which has handed `transport` over."""

    def __init__(
        self,
        client: ClientConnection,
        exchange: Exchange,
        transport: Any,
        origin: HeldOrigin,
        addresses: Sequence[Address],
        *,
        intercepts: bool,
    ) -> None:
        self._client = client
        self._plane = client.plane
        self._exchange = exchange
        self._transport = transport
        self._origin = origin
        self._addresses = addresses
        self._intercepts = intercepts

    def enter(self, opening: Opening, failure: NetfwError | None) -> Any:
        """Go on with what the tunnel begins with, or only show `failure` in it. A Deferred of nothing, or None.

        Raises or fails with what the CONNECT itself is to be closed and recorded with.
        """
        exchange = self._exchange
        if opening.hello is None:
            return self._serve_plain(opening.take(), failure)
        assert exchange.authority is not None
        exchange.sni = bind_server_name(exchange.authority, opening.hello, intercepted=self._intercepts)
        exchange.facts.sni = exchange.sni or ABSENT
        if self._intercepts:
            return self._intercept(opening, failure)
        return self._pass_through(opening)

    def _tunnel(self, scheme: str, failure: NetfwError | None) -> Tunnel:
        tunnel = Tunnel(
            self._exchange, scheme=scheme, addresses=self._addresses, when_unused=self._plane.recording.finished
        )
        tunnel.failure = failure
        return tunnel

    def _inner_connection(self, tunnel: Tunnel) -> ClientConnection:
        # Here and not above: a connection inside a tunnel is the same class as the one outside it.
        from netfw.proxy.client_connection import ClientConnection

        return ClientConnection(self._plane, self._client.listener, self._client.caller, tunnel)

    # -- plain HTTP ---------------------------------------------------------------------------------------------------

    def _serve_plain(self, data: bytes, failure: NetfwError | None) -> None:
        tunnel = self._tunnel("http", failure)
        tunnel.first = self._origin.for_plain()
        inner = self._inner_connection(tunnel)
        self._transport.switch_protocol(inner)
        inner.dataReceived(data)

    # -- intercepted --------------------------------------------------------------------------------------------------

    def _intercept(self, opening: Opening, failure: NetfwError | None) -> Deferred[None]:
        tunnel = self._tunnel("https", failure)
        self._exchange.intercepted = True
        ready: Deferred[Any] = succeed(None)
        if failure is None:
            ready = maybeDeferred(self._origin.for_tls)
            ready.addCallbacks(
                self._origin_is_ready, self._origin_is_bad, callbackArgs=(tunnel,), errbackArgs=(tunnel,)
            )
        ready.addCallback(self._leaf_context)
        ready.addCallback(self._shake_hands, opening)
        ready.addCallbacks(self._begin_inside, self._no_handshake, callbackArgs=(tunnel,), errbackArgs=(tunnel,))
        return ready

    def _origin_is_ready(self, connection: UpstreamConnection | None, tunnel: Tunnel) -> None:
        tunnel.first = connection

    def _origin_is_bad(self, failure: Failure, tunnel: Tunnel) -> None:
        if not isinstance(failure.value, NetfwError):
            failure.raiseException()
        tunnel.failure = failure.value

    def _leaf_context(self, _: object) -> Any:
        interception = self._plane.interception
        assert interception is not None and self._exchange.authority is not None
        return interception.context_for(self._exchange.authority.host)

    def _shake_hands(self, context: SSL.Context, opening: Opening) -> Deferred[Any]:
        plane = self._plane
        timeouts = plane.configuration.timeouts
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        return start_tls(
            self._transport,
            connection,
            deadlines=plane.deadlines,
            handshake_timeout=timeouts.handshake,
            abort_timeout=timeouts.abort,
            first=opening.take(),
        )

    def _begin_inside(self, tls: Any, tunnel: Tunnel) -> None:
        exchange = self._exchange
        exchange.client_tls_version = tls.connection.get_protocol_version_name()
        exchange.client_alpn = tls.connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None
        tls.start(self._inner_connection(tunnel))

    def _no_handshake(self, failure: Failure, tunnel: Tunnel) -> None:
        if tunnel.first is not None:
            self._plane.pool.put(tunnel.first)
            tunnel.first = None
        problem = failure.value
        if not isinstance(problem, TlsHandshakeError):
            failure.raiseException()
        self._plane.recording.metrics.tls_failure("client", problem.alert or "handshake")
        if tunnel.failure is not None:
            raise tunnel.failure
        if problem.alert is not None and problem.from_peer:
            self._exchange.close_reason = "client_tls_alert"
            raise ClientTlsFailure(f"the client refused our certificate: {problem.alert}", detail=problem.alert)
        raise ClientTlsFailure(f"the TLS handshake with the client failed: {problem.reason}", detail=str(problem))

    # -- passed through -----------------------------------------------------------------------------------------------

    def _pass_through(self, opening: Opening) -> Deferred[None]:
        exchange = self._exchange
        exchange.kind = "tunnel"
        facts = exchange.facts
        facts.hide_http()
        facts.tls_intercepted = False
        facts.destination_ip = dialled_address(self._origin.stream)
        phases.take(exchange, phases.certain(phases.judge(exchange, Phase.PRE_REQUEST)))
        data = opening.take()
        return join(self._client, exchange, self._transport, self._origin.release_stream(), from_client=data)
