"""One CONNECT, from its head to the end of its tunnel, in the order that the design fixes:

PreDNS, resolve, judge addresses, what of PreREQUEST is certain, TCP connection (or a pooled one), 200, first bytes,
names compared; then either intercepted (verified TLS to the origin, leaf, handshake with the client, inner requests),
or plain HTTP inside (inner requests), or passed through (PreREQUEST taken, bytes relayed untouched).

An allowed CONNECT never gets its 200 before the TCP connection exists. A denied one gets it only so that the denial
can be read inside the tunnel (`deny.style: auto`, for hosts that would be intercepted); nothing is looked up or
dialled then.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from netfw.config.model import DenyOpaque, DenyStyle
from netfw.errors import ClientGone, ClientTlsFailure, Denied, DestinationProhibited, MisdirectedRequest, NetfwError
from netfw.http1.fields import Fields
from netfw.policy.decision import Decision
from netfw.policy.facts import ABSENT
from netfw.policy.model import Phase
from netfw.proxy import phases
from netfw.proxy.binding import bind_server_name
from netfw.proxy.exchange import Exchange
from netfw.proxy.steps import Steps
from netfw.proxy.tunnel import Tunnel
from netfw.proxy.tunnel_opening import Opening, TunnelOpening
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.proxy.upstream_opening import dial_origin, dialled_address, secure_origin, start_plain
from netfw.tls.failures import TlsHandshakeError
from netfw.tls.stream import start_tls
from netfw.transport.closing import close
from netfw.transport.relay import RelayOutcome, relay

if TYPE_CHECKING:
    from netfw.proxy.client_connection import ClientConnection

Address = IPv4Address | IPv6Address
_log = Logger()

_ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
_ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"  # a fatal TLS alert, access_denied (RFC 8446, section 6)
_PLAIN_HTTP_PORT = 80


class Tunnelling:
    """Serves one CONNECT of `client`."""

    def __init__(self, client: ClientConnection, exchange: Exchange) -> None:
        self._client = client
        self._plane = client.plane
        self._exchange = exchange
        self._client_gone = False
        self._steps: Steps
        self._addresses: tuple[Address, ...] = ()
        self._stream: Any = None
        self._pooled: UpstreamConnection | None = None
        self._transport: Any = None
        assert exchange.authority is not None
        self._authority = exchange.authority
        self._intercepts = self._plane.interception is not None and self._plane.scope.intercepts(
            exchange.authority.host, client.caller.address
        )

    def start(self) -> None:
        """Run the steps."""
        self._client.serve(self)
        facts = self._exchange.facts
        facts.await_http()
        facts.tls_intercepted = self._intercepts
        self._steps = Steps(
            (self._pre_dns, self._resolve, self._judge, self._dial, self._establish, self._opened), self._failed
        )
        self._steps.run()

    # -- before the 200 -----------------------------------------------------------------------------------------------

    def _pre_dns(self, _: object) -> None:
        phases.pre_dns(self._exchange)

    def _resolve(self, _: object) -> Any:
        return phases.resolve(self._exchange, self._plane)

    def _judge(self, resolution: Any) -> tuple[Address, ...]:
        """Judge the addresses, and end here what PreREQUEST denies with certainty already."""
        exchange = self._exchange
        addresses = phases.judged_addresses(exchange, self._plane, resolution.addresses)
        if not self._intercepts and self._authority.port != _PLAIN_HTTP_PORT:
            # Judged as the opaque tunnel that it almost always is, so that a denial shows on the CONNECT. Should plain
            # HTTP
            # come after all, its requests are judged by themselves.
            exchange.facts.hide_http()
        self._addresses = phases.not_certainly_denied(exchange, addresses)
        return self._addresses

    def _dial(self, addresses: Sequence[Address]) -> Any:
        if self._intercepts:
            pooled = self._plane.pool.take(self._authority, True, addresses)
            if pooled is not None:
                self._pooled = pooled
                self._exchange.dest_ip = pooled.address_text
                self._exchange.dest_port = self._authority.port
                self._exchange.origin_tls_version = pooled.tls_version
                self._exchange.origin_certificate = pooled.certificate_facts
                return None
        return dial_origin(self._plane, self._exchange, addresses).addCallback(self._dialled)

    def _dialled(self, stream: Any) -> None:
        self._stream = stream

    def _establish(self, _: object) -> Deferred[Opening]:
        """Answer 200 and wait for the first bytes."""
        plane, client = self._plane, self._client
        self._exchange.status = 200
        client.write([_ESTABLISHED])
        transport, first = client.hand_over()
        self._transport = transport
        opening = TunnelOpening(
            plane.deadlines, plane.configuration.timeouts.head, plane.configuration.limits.client_hello
        )
        transport.switch_protocol(opening)
        if first:
            opening.dataReceived(first)
        return opening.opened

    def _failed(self, problem: BaseException) -> None:
        """The one place for every failure: answer before the 200, close behind it."""
        error = self._error_of(problem)
        self._drop_origin()
        if self._transport is not None:
            self._failed_inside(error)
            return
        exchange, client = self._exchange, self._client
        exchange.error = error
        if self._client_gone or not client.is_open:
            exchange.close_reason = "client_closed"
            exchange.status = exchange.status or error.status
            client.end_exchange(keep=False)
        elif self._shows_inside(error):
            self._steps = Steps((self._establish, self._opened_to_deny), self._failed)
            self._steps.run()
        elif self._closes_after_200(error):
            self._steps = Steps((self._establish, self._opened_to_close), self._failed)
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
        return (
            not self._intercepts
            and self._plane.configuration.deny.opaque is DenyOpaque.AFTER_200
            and isinstance(error, Denied)
            and isinstance(error.decision, Decision)
            and error.decision.phase is Phase.PRE_REQUEST
        )

    # -- after the 200 ------------------------------------------------------------------------------------------------

    def _opened(self, opening: Opening) -> Any:
        if opening.hello is None:
            return self._plain_inside(opening.data)
        exchange = self._exchange
        exchange.sni = bind_server_name(self._authority, opening.hello, intercepted=self._intercepts)
        if exchange.sni is not None:
            exchange.facts.sni = exchange.sni
        if self._intercepts:
            return self._intercept(opening.data, None)
        return self._pass_through(opening.data)

    def _opened_to_deny(self, opening: Opening) -> Any:
        error = self._exchange.error
        if opening.hello is None:
            return self._plain_inside(opening.data, error)
        exchange = self._exchange
        exchange.sni = bind_server_name(self._authority, opening.hello, intercepted=True)
        return self._intercept(opening.data, error)

    def _opened_to_close(self, _: Opening) -> None:
        """The vendor's way with a PreREQUEST denial: 200, and closed at the first bytes. Nothing was dialled."""
        error = self._exchange.error
        assert error is not None
        raise error

    def _new_tunnel(self, scheme: str) -> Tunnel:
        return Tunnel(
            self._exchange, scheme=scheme, addresses=self._addresses, when_unused=self._plane.recording.finished
        )

    def _inner_connection(self, tunnel: Tunnel) -> ClientConnection:
        # Here and not above: a connection inside a tunnel is the same class as the one outside it.
        from netfw.proxy.client_connection import ClientConnection

        return ClientConnection(self._plane, self._client.listener, self._client.caller, tunnel)

    def _plain_inside(self, data: bytes, failure: NetfwError | None = None) -> None:
        """Plain HTTP inside the tunnel: its requests run the phases."""
        tunnel = self._new_tunnel("http")
        tunnel.failure = failure
        if self._pooled is not None:
            self._plane.pool.put(self._pooled)
            self._pooled = None
        if self._stream is not None:
            stream, self._stream = self._stream, None
            tunnel.first = start_plain(self._plane, self._exchange, stream)
        inner = self._inner_connection(tunnel)
        self._transport.switch_protocol(inner)
        self._transport.resumeProducing()
        inner.dataReceived(data)

    def _intercept(self, data: bytes, failure: NetfwError | None) -> Any:
        """Verified TLS to the origin first, then our leaf to the client. A bad origin is told inside the tunnel."""
        tunnel = self._new_tunnel("https")
        tunnel.failure = failure
        self._exchange.intercepted = True
        ready: Deferred[Any] = succeed(None)
        if failure is None:
            ready.addCallback(lambda _: self._secured_upstream())
            ready.addCallbacks(
                lambda connection: setattr(tunnel, "first", connection), self._keep_failure, errbackArgs=(tunnel,)
            )
        ready.addCallback(lambda _: self._leaf_context())
        ready.addCallback(self._handshake, data)
        ready.addCallbacks(self._inside, self._no_handshake, callbackArgs=(tunnel,), errbackArgs=(tunnel,))
        return ready

    def _secured_upstream(self) -> Any:
        if self._pooled is not None:
            pooled, self._pooled = self._pooled, None
            if pooled.is_open:
                return pooled
        stream, self._stream = self._stream, None
        if stream is None:
            return None  # the pooled connection ended meanwhile: the first inner request dials
        return secure_origin(self._plane, self._exchange, stream)

    def _keep_failure(self, failure: Failure, tunnel: Tunnel) -> None:
        if not isinstance(failure.value, NetfwError):
            failure.raiseException()
        tunnel.failure = failure.value

    def _leaf_context(self) -> Deferred[Any]:
        interception = self._plane.interception
        assert interception is not None
        return maybeDeferred(interception.context_for, self._authority.host)

    def _handshake(self, context: Any, data: bytes) -> Deferred[Any]:
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
            first=data,
        )

    def _inside(self, tls: Any, tunnel: Tunnel) -> None:
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

    def _pass_through(self, data: bytes) -> Deferred[Any]:
        """Take PreREQUEST, now that all that will ever be known is known, then relay."""
        exchange, plane = self._exchange, self._plane
        stream = self._stream
        exchange.kind = "tunnel"
        facts = exchange.facts
        facts.hide_http()
        facts.tls_intercepted = False
        facts.sni = exchange.sni or ABSENT
        facts.destination_ip = dialled_address(stream)
        phases.take(exchange, phases.certain(phases.judge(exchange, Phase.PRE_REQUEST)))
        self._stream = None
        timeouts = plane.configuration.timeouts
        metrics = plane.recording.metrics
        metrics.tunnel_opened()
        self._transport.resumeProducing()
        joined = relay(
            self._transport,
            stream,
            deadlines=plane.deadlines,
            idle=timeouts.idle,
            lifetime=timeouts.lifetime,
            abort_timeout=timeouts.abort,
            left_first=data,
        )
        plane.live.relays.add(joined)
        return joined.addBoth(self._relayed, joined)

    def _relayed(self, outcome: RelayOutcome | Failure, joined: Deferred[Any]) -> None:
        plane, exchange = self._plane, self._exchange
        plane.live.relays.discard(joined)
        plane.recording.metrics.tunnel_closed()
        if isinstance(outcome, Failure):
            _log.failure("the relay of tunnel {id} broke", failure=outcome, id=exchange.id)
            exchange.close_reason = "relay_failed"
        else:
            exchange.close_reason = outcome.reason
            received, sent = self._client.handed_over_counts()
            exchange.bytes_in = received + outcome.bytes_left_to_right
            exchange.bytes_out = sent + outcome.bytes_right_to_left
            exchange.request_size = outcome.bytes_left_to_right
            exchange.response_size = outcome.bytes_right_to_left
        plane.recording.finished(exchange)
        self._client.caller.leave()

    def _failed_inside(self, error: NetfwError) -> None:
        """After the 200 nothing can be said in HTTP: close, after an alert where TLS was begun."""
        exchange = self._exchange
        exchange.error = error
        exchange.close_reason = exchange.close_reason or error.token
        if not isinstance(error, ClientGone):
            if isinstance(error, (Denied, MisdirectedRequest)):
                self._transport.write(_ACCESS_DENIED)
            close(self._transport, self._plane.deadlines, self._plane.configuration.timeouts.abort)
        self._plane.recording.finished(exchange)
        self._client.caller.leave()

    # -- RequestUser, and ending --------------------------------------------------------------------------------------

    def request_body(self, data: bytes) -> None:
        """A CONNECT has no body: the reader refuses one."""

    def request_complete(self, trailers: Fields) -> None:
        """See `request_body`."""

    def request_batch_end(self) -> None:
        """See `request_body`."""

    def request_failed(self, error: NetfwError) -> None:
        """See `request_body`."""

    def client_gone(self) -> None:
        """The client left before the 200: stop looking up and dialling."""
        self._client_gone = True
        self._steps.cancel()

    def _drop_origin(self) -> None:
        if self._pooled is not None:
            self._plane.pool.put(self._pooled)
            self._pooled = None
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.abortConnection()

    def _error_of(self, problem: BaseException) -> NetfwError:
        if self._client_gone:
            return ClientGone("the client left")
        if isinstance(problem, NetfwError):
            return problem
        _log.failure("exchange {id} failed", failure=Failure(problem), id=self._exchange.id)
        return NetfwError("an error inside the proxy; the exchange was not carried out", detail=repr(problem))
