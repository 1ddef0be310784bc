"""One forwarded exchange: an absolute-form request, or a request inside an intercepted or plain tunnel.

The steps up to sending the request are a chain (`start`), what follows are the origin's events; each failure of either
falls to one place (`_failed`). Bodies do not go through the chain: from `send_request` on, request bytes flow client →
printer → origin, and from `relay_response` on, response bytes flow origin → printer → client, each side pausing the
other while more than 64 KiB wait. Whatever leaves is printed from the parsed message; heads are never relayed as they
came (security rule 3).

When the client leaves, the chain is cancelled: a lookup, a dial or a wait for the origin ends at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from netfw.errors import ClientGone, NetfwError, OriginClosed, OriginProtocolError, RequestTimeout
from netfw.http1.bodies import body_printer
from netfw.http1.events import RequestHeadReceived, ResponseHeadReceived
from netfw.http1.fields import Fields
from netfw.http1.forwarding import (
    outgoing_framing,
    print_forwarded_request,
    print_forwarded_response,
)
from netfw.http1.framing import FramingKind
from netfw.http1.heads import ResponseHead
from netfw.http1.target import RequestTarget
from netfw.http1.traits import request_traits, response_traits, wanted_upgrade
from netfw.policy.model import Action, Phase
from netfw.proxy import phases
from netfw.proxy.exchange import Exchange
from netfw.proxy.failures import error_of
from netfw.proxy.joining import join
from netfw.proxy.limits_bodies import check_request, check_response, request_excess, response_excess
from netfw.proxy.steps import Steps, exception_of
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.proxy.upstream_opening import open_origin
from netfw.transport.pipes import Pipe
from netfw.transport.resolution import Resolution

if TYPE_CHECKING:
    from netfw.proxy.client_connection import ClientConnection

Address = IPv4Address | IPv6Address
_log = Logger()

# What may be switched to. After h2c, or TLS, requests would go by that no phase sees; what is not here is not
# forwarded, and the request goes on as it is (RFC 9110, section 7.8).
_UPGRADES: dict[bytes | None, bytes] = {b"websocket": b"websocket"}
_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Enum members by name of the module: looking one up in its class costs more than the comparison (Python 3.11).
_NONE: Final = FramingKind.NONE
_UNTIL_CLOSE: Final = FramingKind.UNTIL_CLOSE


class Forwarding:
    """Serves one exchange of `client`: `RequestUser` towards it, `ResponseUser` towards the origin's connection."""

    # What most exchanges never change stands on the class: an object costs what is set on it.
    _allowed: Sequence[Address] = ()
    _upstream: UpstreamConnection | None = None
    _reused = False
    _reopening: Deferred[Any] | None = None
    _request_printer: Any = None
    _uploads = False
    _response_printer: Any = None
    _response_done = False
    _produces = False
    _origin_head: ResponseHead | None = None
    _keep = False
    _client_gone = False
    _ended = False
    _steps: Steps

    def __init__(
        self,
        client: ClientConnection,
        exchange: Exchange,
        event: RequestHeadReceived,
        target: RequestTarget,
        *,
        tls: bool,
    ) -> None:
        traits = request_traits(event.head)
        self._client = client
        self._plane = client.plane
        self._exchange = exchange
        self._request = event.head
        self._framing = event.framing
        self._target = target
        self._tls = tls
        # A request for another host than its tunnel's inherits nothing of the tunnel.
        tunnel = client.tunnel
        self._tunnel = tunnel if tunnel is not None and exchange.authority is tunnel.authority else None
        self._upgrade = None if traits.upgrade is None else _UPGRADES.get(traits.upgrade)
        self._awaits_continue = traits.expects
        self._request_done = done = client.request_is_complete
        if not done:
            self._request_printer = body_printer(event.framing)
        self._to_origin: list[bytes] = []
        self._out: list[bytes] = []

    def start(self) -> None:
        """Run the phases and everything between them."""
        self._client.serve(self)
        self._steps = Steps(self, _STEPS, self._failed)
        self._steps.run()

    # -- the steps ----------------------------------------------------------------------------------------------------

    def _pre_dns(self, _: object) -> None:
        if not self._request_done:
            check_request(self._plane.configuration.limits, self._framing)
        tunnel = self._tunnel
        if tunnel is None:
            phases.pre_dns(self._exchange)
        else:
            tunnel.inherit_pre_dns(self._exchange)

    def _resolve(self, _: object) -> Any:
        tunnel = self._tunnel
        if tunnel is not None:
            return tunnel.addresses
        found = phases.resolve(self._exchange, self._plane)
        if type(found) is Resolution:
            return self._judge(found)
        return found.addCallback(self._judge)

    def _judge(self, resolution: Any) -> tuple[Address, ...]:
        return phases.judged_addresses(self._exchange, self._plane, resolution.addresses)

    def _pre_request(self, addresses: Sequence[Address]) -> Sequence[Address]:
        self._allowed = phases.pre_request(self._exchange, addresses)
        return self._allowed

    def _open_upstream(self, allowed: Sequence[Address]) -> Any:
        exchange = self._exchange
        tunnel = self._tunnel
        waiting = tunnel.take_first(allowed) if tunnel is not None else None
        if waiting is None:
            assert exchange.authority is not None
            waiting = self._plane.pool.take(exchange.authority, self._tls, allowed)
        if waiting is None:
            return open_origin(self._plane, exchange, allowed, tls=self._tls)
        self._reused = waiting.exchanges > 0
        exchange.dest_ip = waiting.address_text
        exchange.dest_port = waiting.authority.port
        exchange.origin_tls_version = waiting.tls_version
        exchange.origin_certificate = waiting.certificate_facts
        return waiting

    def _send_request(self, upstream: UpstreamConnection, head: bytes | None = None) -> None:
        exchange = self._exchange
        self._upstream = upstream
        exchange.facts.destination_ip = upstream.address
        assert exchange.authority is not None
        if head is None:
            head = print_forwarded_request(
                self._request,
                self._target,
                authority=exchange.named or exchange.authority,
                via=self._plane.via,
                framing=self._framing,
                default_port=443 if self._tls else 80,
                upgrade=self._upgrade,
            )
        upstream.begin(self, self._request.method)
        if self._request_done:
            upstream.send_head(head)  # no body, or a second try: it was empty and has been read
            return
        self._to_origin.append(head)
        if not self._uploads:
            self._uploads = True
            upstream.transport.registerProducer(self._client, True)
        self._client.read_body()

    def _post_response(self, event: ResponseHeadReceived) -> None:
        exchange = self._exchange
        self._origin_head = event.head
        exchange.origin_status = event.head.status
        exchange.facts.show_response(event.head)
        phases.post_response(exchange)

    def _relay_response(self, event: ResponseHeadReceived) -> None:
        self._exchange.status = event.head.status
        if event.head.status == 101:
            self._switch_protocols(event)
            return
        check_response(self._plane.configuration.limits, event.framing)
        self._keep = self._client.may_keep()
        version = self._request.version
        framing = outgoing_framing(event.framing, version)
        if framing.kind is _UNTIL_CLOSE:
            self._keep = False
        head = print_forwarded_response(
            event.head, via=self._plane.via, framing=framing, client_version=version, close=not self._keep
        )
        self._response_printer = body_printer(framing)
        self._out.append(head)

    # -- from the client: RequestUser ---------------------------------------------------------------------------------

    def request_body(self, data: bytes) -> None:
        """Content on its way to the origin."""
        self._exchange.request_size += len(data)
        if error := request_excess(self._plane.configuration.limits, self._exchange.request_size):
            self._failed(error)
            return
        self._to_origin.extend(self._request_printer.data(data))

    def request_complete(self, trailers: Fields) -> None:
        """The request's last byte was read."""
        self._to_origin.extend(self._request_printer.end(trailers))
        self._request_done = True

    def request_batch_end(self) -> None:
        """All that was here has been handed on: write it at once."""
        upstream = self._upstream
        parts = self._to_origin
        if parts and upstream is not None and upstream.is_open:
            self._to_origin = []
            upstream.write(parts)
            if not self._request_done and self._request_printer.is_bare:
                self._client.splice_body(upstream.transport, self._request_spliced)
        if self._request_done:
            self._stop_uploading()

    def _request_spliced(self, pipe: Pipe) -> None:
        """Content on its way to the origin, in the kernel."""
        count = pipe.held
        self._exchange.request_size += count
        if error := request_excess(self._plane.configuration.limits, self._exchange.request_size):
            self._failed(error)
            return
        self._request_printer.pass_over(count)
        if self._upstream is not None and self._upstream.is_open:
            self._upstream.write_spliced(pipe)

    def request_failed(self, error: NetfwError) -> None:
        """The request broke framing or stopped coming in the middle of its body, or the proxy stops."""
        if self._awaits_continue and not self._exchange.request_size and isinstance(error, RequestTimeout):
            return  # it is the origin's turn, and the origin has a deadline of its own
        self._failed(error)

    def client_gone(self) -> None:
        """Stop everything that is done for this client."""
        self._client_gone = True
        if self._reopening is not None:
            self._reopening.cancel()
        elif self._steps.is_waiting:
            self._steps.cancel()
        else:
            self._failed(ClientGone("the client left"))

    def origin_side(self) -> tuple[UpstreamConnection | None, bool]:
        """The origin's connection, and whether its answer has a length that it owes."""
        head = self._origin_head
        return self._upstream, head is not None and head.fields.has(b"content-length")

    # -- from the origin: ResponseUser --------------------------------------------------------------------------------

    def response_head(self, event: ResponseHeadReceived) -> None:
        """An interim head, or the final one, which takes PostRESPONSE before anything of it is handed over."""
        status = event.head.status
        if status < 200 and status != 101:
            self._interim(event)
            return
        if status == 101 and not self._may_switch(event.head):
            self._failed(OriginProtocolError("the origin switched protocols although nobody asked for that"))
            return
        exchange = self._exchange
        exchange.first_byte_seconds = max(0.0, self._plane.now() - exchange.started)
        try:
            self._post_response(event)
            self._relay_response(event)
        except Exception as problem:
            self._failed(problem)

    def _may_switch(self, head: ResponseHead) -> bool:
        """Whether this 101 is the one asked for, and no request body is left that could be taken for it."""
        return self._upgrade is not None and wanted_upgrade(head) == self._upgrade and self._request_done

    def _interim(self, event: ResponseHeadReceived) -> None:
        """Relay 100 bare; another interim response only where no PostRESPONSE rule could have denied it (rule 9)."""
        if self._request.version != (1, 1):
            return
        if event.head.status == 100:
            self._awaits_continue = False
            self._client.write([_CONTINUE])
            return
        configuration = self._exchange.policy.configuration
        if configuration.defaults[Phase.POST_RESPONSE] is not Action.ALLOW or any(
            group.rules.get(Phase.POST_RESPONSE) for group in configuration.groups
        ):
            return
        head = print_forwarded_response(
            event.head, via=self._plane.via, framing=event.framing, client_version=self._request.version
        )
        self._client.write([head])

    def response_body(self, data: bytes) -> None:
        """Content on its way to the client."""
        self._exchange.response_size += len(data)
        if error := response_excess(self._plane.configuration.limits, self._exchange.response_size):
            self._failed(error)
            return
        self._out.extend(self._response_printer.data(data))

    def response_complete(self, trailers: Fields) -> None:
        """The response's last byte was read; the origin's connection is ours no more."""
        if self._response_printer is None:
            return
        self._out.extend(self._response_printer.end(trailers))
        self._response_done = True

    def response_batch_end(self) -> None:
        """All that was here has been handed on: write it at once."""
        if self._ended:
            return
        if self._out:
            self._exchange.response_started = True
            parts, self._out = self._out, []
            self._client.write(parts)
        if self._response_done:
            self._complete()
        elif self._response_printer is not None and not self._produces and self._client.is_open:
            self._produces = True
            assert self._upstream is not None
            self._client.transport.registerProducer(self._upstream, True)
            if self._response_printer.is_bare:
                self._upstream.splice_body(self._client.transport, self._response_spliced)

    def _response_spliced(self, pipe: Pipe) -> None:
        """Content on its way to the client, in the kernel."""
        count = pipe.held
        self._exchange.response_size += count
        if error := response_excess(self._plane.configuration.limits, self._exchange.response_size):
            self._failed(error)
            return
        self._response_printer.pass_over(count)
        self._client.write_spliced(pipe)

    def response_failed(self, error: NetfwError) -> None:
        """The origin's answer will not come, or will not end."""
        if self._may_try_again(error):
            self._try_again()
        else:
            self._failed(error)

    # -- a stale connection -------------------------------------------------------------------------------------------

    def _may_try_again(self, error: NetfwError) -> bool:
        """Once, when an idle connection turned out to be closed: idempotent, nothing came back, and no body went out
        (rule 5).
        """
        return (
            self._reused
            and isinstance(error, OriginClosed)
            and self._upstream is not None
            and not self._upstream.heard
            and self._request.method in _IDEMPOTENT
            and self._framing.kind is _NONE
            and self._request_done
        )

    def _try_again(self) -> None:
        self._reused = False
        self._upstream = None
        self._to_origin = []
        self._reopening = maybeDeferred(self._open_anew)
        self._reopening.addCallbacks(self._reopened, self._not_reopened)

    def _open_anew(self) -> Any:
        return open_origin(self._plane, self._exchange, self._allowed, tls=self._tls)

    def _reopened(self, upstream: UpstreamConnection) -> None:
        self._reopening = None
        try:
            self._send_request(upstream)
        except Exception as problem:
            self._failed(problem)

    def _not_reopened(self, failure: Failure) -> None:
        self._reopening = None
        self._failed(exception_of(failure))

    # -- upgrades -----------------------------------------------------------------------------------------------------

    def _switch_protocols(self, event: ResponseHeadReceived) -> None:
        """After 101 the bytes belong to another protocol: join both transports."""
        client, upstream = self._client, self._upstream
        assert upstream is not None
        self._stop_uploading()
        self._exchange.response_started = True
        head = print_forwarded_response(
            event.head,
            via=self._plane.via,
            framing=event.framing,
            client_version=self._request.version,
            upgrade=self._upgrade,
        )
        client.write([head])
        from_origin = upstream.release()
        transport, from_client, deadline = client.hand_over()
        deadline.cancel()
        self._ended = True
        join(client, self._exchange, transport, upstream.transport, from_client, from_origin)

    # -- ending -------------------------------------------------------------------------------------------------------

    def _complete(self) -> None:
        """Both the response and, usually, the request are through: the exchange ends well."""
        self._ended = True
        self._stop_producing()
        self._release_upstream()
        self._client.end_exchange(keep=self._keep and self._request_done)

    def _release_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        assert upstream is not None
        if not self._request_done:
            upstream.abort()  # an early answer: what is left of the request must not be read as the next one
        elif self._origin_head is not None and response_traits(self._origin_head).keeps and upstream.is_open:
            self._plane.pool.put(upstream)
        else:
            upstream.close()

    def _failed(self, problem: BaseException) -> None:
        """The one place for every failure: let go of the origin, then answer, or cut what was begun."""
        if self._ended:
            return
        self._ended = True
        error = error_of(problem, self._exchange, client_gone=self._client_gone)
        self._stop_producing()
        self._stop_uploading()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()
        exchange, client = self._exchange, self._client
        exchange.error = error
        self._out = []
        if self._client_gone or not client.is_open:
            exchange.status = exchange.status or error.status
            exchange.close_reason = "client_closed"
            client.end_exchange(keep=False)
        elif exchange.response_started:
            exchange.close_reason = error.token
            client.abort()
            client.end_exchange(keep=False)
        else:
            client.answer(error)

    def _stop_uploading(self) -> None:
        if self._uploads:
            self._uploads = False
            if self._upstream is not None and self._upstream.is_open:
                self._upstream.transport.unregisterProducer()
            self._client.let_go()

    def _stop_producing(self) -> None:
        if self._produces:
            self._produces = False
            if self._client.is_open:
                self._client.transport.unregisterProducer()


_STEPS = (
    Forwarding._pre_dns,
    Forwarding._resolve,
    Forwarding._pre_request,
    Forwarding._open_upstream,
    Forwarding._send_request,
)
