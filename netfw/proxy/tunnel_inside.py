"""What becomes of a CONNECT once its first bytes are understood.

* TLS that is intercepted: TLS to the origin is made and verified first, then our leaf is shown to the client, and
inner requests follow. A bad origin is told inside the tunnel. * Plain HTTP: inner requests follow. * TLS that is
passed through, and what is neither where that is allowed: PreREQUEST is taken, now that all that will ever be known
is known, and bytes are relayed.

A tunnel that was opened only to show a denial never has an origin: every inner request is answered with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from netfw.config.model import DenyStyle, NameVerdict
from netfw.errors import ClientTlsFailure, NetfwError, OriginCertificateInvalid
from netfw.names.authority import Authority
from netfw.names.host import Host, host_of_address
from netfw.policy.decision import Decision, Match, RuleRef
from netfw.policy.facts import ABSENT, INVISIBLE, Unknown
from netfw.policy.model import Action, Phase
from netfw.proxy import phases
from netfw.proxy.binding import compare_server_name, misdirected_tunnel, server_name
from netfw.proxy.exchange import Exchange
from netfw.proxy.held_origin import HeldOrigin
from netfw.proxy.joining import join
from netfw.proxy.other_name import judge_other_name
from netfw.proxy.tunnel import Tunnel
from netfw.proxy.tunnel_opening import TunnelOpening
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.telemetry.pins import CLIENT_TLS_ALERT, CLOSED_AFTER_LEAF, NO_APPLICATION_PROTOCOL
from netfw.tls.contexts import HTTP_1_1
from netfw.tls.failures import TlsHandshakeError
from netfw.tls.interception import HostIdentity
from netfw.tls.stream import start_tls

if TYPE_CHECKING:
    from netfw.proxy.client_connection import ClientConnection

Address = IPv4Address | IPv6Address

# Looking up an enum's member in its class costs more than the comparison (Python 3.11).
_PRE_REQUEST: Final = Phase.PRE_REQUEST
_NO_APPLICATION_PROTOCOL: Final = b"\x15\x03\x03\x00\x02\x02\x78"  # a fatal TLS alert (RFC 7301, section 3.2)


class TunnelInside:
    """The inside of one tunnel of `client`, which has handed `transport` over.

    `taken_over` is called when a connection inside, or a relay, has the transport.
    """

    def __init__(
        self,
        client: ClientConnection,
        exchange: Exchange,
        transport: Any,
        origin: HeldOrigin,
        addresses: Sequence[Address | Unknown],
        intercepts: bool,
        taken_over: Callable[[], object],
    ) -> None:
        self._client = client
        self._plane = client.plane
        self._exchange = exchange
        self._transport: Any = transport
        self._origin = origin
        self._addresses = addresses
        self._intercepts = intercepts
        self._taken_over = taken_over
        assert exchange.authority is not None
        self._connect: Authority = exchange.authority
        self._judged: Authority = exchange.authority
        self._leaf_host = exchange.authority.host
        self._shown_at = 0.0

    def enter(self, opening: TunnelOpening, failure: NetfwError | None) -> Any:
        """Go on with what the tunnel begins with, or only show `failure` in it. A Deferred of nothing, or None.

        Raises or fails with what the CONNECT itself is to be closed and recorded with.
        """
        exchange, connect = self._exchange, self._connect
        if opening.is_opaque:
            if failure is not None:
                raise failure
            exchange.decisions.append(_OPAQUE)
            exchange.facts.sni = ABSENT
            return self._pass_through(opening)
        if opening.hello is None:
            return self._serve_plain(opening.take(), failure)
        name = server_name(connect, opening.hello)
        exchange.sni = name.text if name is not None else None
        exchange.facts.sni = exchange.sni or ABSENT
        check = compare_server_name(connect, name)
        if check is None:
            return self._go_on(opening, failure)
        verdict = self._plane.consistency.judge(exchange, check, connect=connect.host, sni=exchange.sni)
        if verdict is NameVerdict.DENY:
            return self._refuse_name(opening, name, failure)
        if name is not None:
            self._leaf_host = name
        if failure is None and verdict is NameVerdict.EVALUATE:
            return self._evaluate(opening, name)
        if failure is None and self._intercepts and name is not None:
            # Judged and dialled for the CONNECT's host, but what is asked for there, and proved, is the server name.
            self._origin.return_pooled()
            exchange.authority = Authority(name, connect.port)
        return self._go_on(opening, failure)

    def _refuse_name(self, opening: TunnelOpening, name: Host | None, failure: NetfwError | None) -> Any:
        """With an alert; inside, where it can be explained, to who takes a certificate for the CONNECT's host."""
        refusal = misdirected_tunnel(self._connect, name)
        if name is None and self._intercepts and self._plane.configuration.deny.style is DenyStyle.AUTO:
            self._origin.let_go()
            return self._go_on(opening, failure or refusal)
        raise refusal

    def _go_on(self, opening: TunnelOpening, failure: NetfwError | None) -> Any:
        if not self._intercepts:
            return self._pass_through(opening)
        offered = opening.hello.alpn if opening.hello is not None else ()
        if offered and HTTP_1_1 not in offered:
            self._refuse_protocols(failure)
        return self._intercept(opening, failure)

    def _refuse_protocols(self, failure: NetfwError | None) -> None:
        """Nothing that the client offers is spoken here (HTTP/2 alone, say): nobody need be asked for more."""
        self._transport.write(_NO_APPLICATION_PROTOCOL)
        self._exchange.close_reason = NO_APPLICATION_PROTOCOL
        self._plane.recording.metrics.tls_failure("client", NO_APPLICATION_PROTOCOL)
        if failure is not None:
            raise failure
        self._plane.leaf_refusals.note(self._exchange, self._leaf_host, NO_APPLICATION_PROTOCOL)
        raise ClientTlsFailure(
            f"the client does not offer HTTP/1.1; `tls_intercept.bypass` for {self._leaf_host} would pass it through",
            detail=NO_APPLICATION_PROTOCOL,
        )

    # -- another name -------------------------------------------------------------------------------------------------

    def _evaluate(self, opening: TunnelOpening, name: Host | None) -> Deferred[Any]:
        """Judge the other name as if the CONNECT had named it; where there is none, the address that was dialled."""
        plane = self._plane
        proves: Authority | None = None
        if name is None:
            address = self._origin.address
            if isinstance(address, Unknown):
                # What a parent proxy reached is nobody's to judge.
                return maybeDeferred(self._refuse_name, opening, None, None)
            name = host_of_address(address)
            # Rules see an address. What we ask for there, and what it has to prove, is the CONNECT's host all the same.
            proves = self._connect if self._intercepts else None
        else:
            self._intercepts = plane.interception is not None and plane.scope.intercepts(
                Authority(name, self._connect.port), self._client.caller.address
            )
        # What was dialled for the CONNECT's host is not for this one.
        self._origin.let_go()
        self._judged = Authority(name, self._connect.port)
        judged = judge_other_name(plane, self._exchange, self._judged, self._origin, intercepts=self._intercepts)
        judged.addCallback(self._dial_other, proves)
        return judged.addCallbacks(lambda _: self._go_on(opening, None), self._other_refused, errbackArgs=(opening,))

    def _dial_other(self, addresses: tuple[Address | Unknown, ...], proves: Authority | None) -> Deferred[None] | None:
        self._addresses = addresses
        if proves is not None:
            self._exchange.authority = proves
        if self._intercepts and self._origin.take_pooled(addresses):
            return None
        return self._origin.dial(addresses)

    def _other_refused(self, failure: Failure, opening: TunnelOpening) -> Any:
        """Inside is the only place where it can still be said."""
        if self._intercepts and isinstance(failure.value, NetfwError):
            return self._go_on(opening, failure.value)
        return failure

    def _tunnel(self, scheme: str, failure: NetfwError | None) -> Tunnel:
        tunnel = Tunnel(
            self._exchange,
            scheme=scheme,
            addresses=self._addresses,
            connect=self._connect,
            judged=self._judged,
            when_unused=self._plane.recording.finished,
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
        self._taken_over()
        self._transport.switch_protocol(inner)
        inner.dataReceived(data)

    # -- intercepted --------------------------------------------------------------------------------------------------

    def _intercept(self, opening: TunnelOpening, failure: NetfwError | None) -> Deferred[None]:
        tunnel = self._tunnel("https", failure)
        self._exchange.intercepted = True
        ready: Deferred[Any] = succeed(None)
        if failure is None:
            ready = maybeDeferred(self._origin.for_tls)
            ready.addCallbacks(
                self._origin_is_ready, self._origin_is_bad, callbackArgs=(tunnel,), errbackArgs=(tunnel,)
            )
        ready.addCallback(self._identity)
        ready.addCallback(self._shake_hands, opening)
        ready.addCallbacks(self._begin_inside, self._no_handshake, callbackArgs=(tunnel,), errbackArgs=(tunnel,))
        return ready

    def _origin_is_ready(self, connection: UpstreamConnection | None, tunnel: Tunnel) -> None:
        tunnel.first = connection

    def _origin_is_bad(self, failure: Failure, tunnel: Tunnel) -> None:
        if not isinstance(failure.value, NetfwError):
            failure.raiseException()
        tunnel.failure = problem = failure.value
        if isinstance(problem, OriginCertificateInvalid) and problem.facts.get("problem") == "wrong_host":
            self._plane.consistency.note_certificate(self._exchange, connect=self._connect.host, sni=self._exchange.sni)

    def _identity(self, _: object) -> Any:
        interception = self._plane.interception
        assert interception is not None
        return interception.identity_for(self._leaf_host, self._origin.certificate_validity)

    def _shake_hands(self, identity: HostIdentity, opening: TunnelOpening) -> Deferred[Any]:
        plane = self._plane
        self._shown_at = plane.monotonic()
        timeouts = plane.configuration.timeouts
        return start_tls(
            self._transport,
            identity.connection(),
            deadlines=plane.deadlines,
            handshake_timeout=timeouts.handshake,
            abort_timeout=timeouts.abort,
            first=opening.take(),
        )

    def _ended_unused(self, alert: str | None, tunnel: Tunnel) -> None:
        """The client left, by this alert or without one, before it asked for anything."""
        exchange = self._exchange
        after = self._plane.monotonic() - self._shown_at
        noted = self._plane.leaf_refusals.note_end(
            exchange, self._leaf_host, alert=alert, after=after, shows_failure=tunnel.failure is not None
        )
        if alert is None and noted:
            exchange.close_reason = CLOSED_AFTER_LEAF

    def _begin_inside(self, tls: Any, tunnel: Tunnel) -> None:
        exchange = self._exchange
        self._shown_at = self._plane.monotonic()
        tunnel.when_ended_unused = self._ended_unused
        exchange.client_tls_version = tls.connection.get_protocol_version_name()
        exchange.client_alpn = tls.connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None
        self._taken_over()
        tls.start(self._inner_connection(tunnel))

    def _no_handshake(self, failure: Failure, tunnel: Tunnel) -> None:
        if tunnel.first is not None:
            self._plane.pool.put(tunnel.first)
            tunnel.first = None
        problem = failure.value
        if not isinstance(problem, TlsHandshakeError):
            failure.raiseException()
        self._plane.recording.metrics.tls_failure("client", problem.alert or "handshake")
        alert = problem.alert if problem.from_peer and not problem.closed else None
        if alert is not None or problem.closed:
            self._ended_unused(alert, tunnel)
        if tunnel.failure is not None:
            raise tunnel.failure
        if problem.alert is not None and problem.from_peer:
            self._exchange.close_reason = CLIENT_TLS_ALERT
            raise ClientTlsFailure(f"the client refused our certificate: {problem.alert}", detail=problem.alert)
        raise ClientTlsFailure(f"the TLS handshake with the client failed: {problem.reason}", detail=str(problem))

    # -- passed through -----------------------------------------------------------------------------------------------

    def _pass_through(self, opening: TunnelOpening) -> None:
        exchange = self._exchange
        exchange.kind = "tunnel"
        facts = exchange.facts
        if facts.method is not INVISIBLE:
            facts.hide_http()
        facts.tls_intercepted = False
        address = self._origin.address
        if isinstance(address, Unknown):
            phases.pre_request_by_name(exchange)
        else:
            facts.destination_ip = address
            phases.decide(exchange, _PRE_REQUEST)
        data = opening.take()
        self._taken_over()
        said = self._origin.take_said()
        stream = self._origin.release_stream()
        join(self._client, exchange, self._transport, stream, data, said)


# Where configuration lets a tunnel carry anything, records name that beside the rules.
_OPAQUE_RULE = RuleRef("tunnels", "opaque", Phase.PRE_REQUEST)
_OPAQUE = Decision(
    phase=Phase.PRE_REQUEST,
    action=Action.ALLOW,
    rule=_OPAQUE_RULE,
    matches=(Match(_OPAQUE_RULE, Action.ALLOW),),
    reason=None,
)
