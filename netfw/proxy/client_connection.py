"""The client's side: requests read one at a time, each given to the exchange that serves it, responses in their order.

One class serves the outer connection (absolute-form, CONNECT, pages of our own) and the connection inside a tunnel
(`tunnel` is set; origin-form). Requests that are pipelined wait unread, at most 64 KiB of them: reading goes on while
an exchange is under way so that a client that leaves is noticed (RFC 9112, section 9.3.2). One deadline object serves
the connection's whole life.

Whatever cannot be parsed, or could be read in two ways, is answered 400 and nothing after it is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from typing import Protocol as Shape

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw.config.model import ListenerSection
from netfw.errors import ClientTlsFailure, MalformedRequest, NetfwError, RequestTimeout
from netfw.http1.errors import FramingError
from netfw.http1.events import BodyReceived, MessageComplete, RequestHeadReceived
from netfw.http1.fields import Fields
from netfw.http1.reader import RequestReader
from netfw.http1.traits import request_traits
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.exchange import Caller, Exchange
from netfw.proxy.rest import Rest
from netfw.proxy.routing import route
from netfw.proxy.spliced_body import splice_rest
from netfw.tls.failures import TlsAlertReceived
from netfw.transport.closing import close, linger
from netfw.transport.deadlines import Deadline, next_turn
from netfw.transport.pipes import Pipe
from netfw.transport.socket_facts import carrier

if TYPE_CHECKING:
    from netfw.proxy.tunnel import Tunnel
    from netfw.proxy.upstream_connection import UpstreamConnection

_READ_AHEAD: Final = 64 * 1024
_IN_A_ROW: Final = 16
"""Pipelined requests that are answered in one turn of the reactor, so that one client cannot have it for itself."""


class RequestUser(Shape):
    """The exchange's side of a client connection: who takes the request body and hears that the client left."""

    def request_body(self, data: bytes) -> None: ...
    def request_complete(self, trailers: Fields) -> None: ...
    def request_batch_end(self) -> None: ...
    def request_failed(self, error: NetfwError) -> None: ...
    def client_gone(self) -> None: ...
    def origin_side(self) -> tuple[UpstreamConnection | None, bool]: ...


class ClientConnection:
    """Reads requests from one client transport. `tunnel` is the CONNECT that this connection is inside of, if any."""

    transport: Any = None  # an IByteTransport: Stream, TlsStream or Twisted's own
    _receive_spliced: Callable[[Pipe], object] | None = None

    def __init__(
        self,
        plane: DataPlane,
        listener: ListenerSection,
        caller: Caller,
        tunnel: Tunnel | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self.plane = plane
        self.listener = listener
        self.caller = caller
        self.tunnel = tunnel
        self.exchange: Exchange | None = None
        self.request_is_complete = False
        self.is_open = False
        self._user: RequestUser | None = None
        self._reads_body = False
        self._reader = RequestReader(plane.head_limits)
        self._deadline: Any = deadline  # of who had the transport before: an active one, or None
        self._served = 0
        self._received = 0
        self._consumed_before = 0
        self._sent = 0
        self._sent_before = 0
        self._held = False
        self._paused = False
        self._pumping = False
        self._resting = False
        self._handed_over = False
        self._refused = False

    # -- from the transport -------------------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """Begin."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """The first request head must come in time."""
        self.is_open = True
        self.plane.live.connections.add(self)
        plane = self.plane
        if self._deadline is None:
            self._deadline = plane.deadlines.start(plane.configuration.timeouts.head, self._timed_out)
        else:
            self._deadline.change(plane.configuration.timeouts.head, self._timed_out)

    def dataReceived(self, data: bytes) -> None:
        """The client's bytes; those after a refusal are dropped."""
        if self._refused:
            return
        self._received += len(data)
        reader = self._reader
        begins = self.exchange is None and not reader.buffered
        reader.feed(data)
        self._pump()
        if self.exchange is not None:
            # Only while an exchange is under way: a head that is read may be larger, and has a limit of its own.
            if not self._paused and reader.buffered > _READ_AHEAD:
                self._paused = True
                self.transport.pauseProducing()
        elif begins and self._served and reader.buffered and self._deadline is not None:
            # The next head began: it has as long as the first one, however long the connection was idle.
            self._deadline.restart(self.plane.configuration.timeouts.head)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client left, or we closed."""
        self.is_open = False
        self._stop_deadline()
        if self._handed_over:
            return
        self.plane.live.connections.discard(self)
        self.caller.leave()
        user, self._user = self._user, None
        if user is not None:
            user.client_gone()
        if self.tunnel is not None:
            self.tunnel.inner_connection_lost(reason)
        elif not self._served and reason.check(TlsAlertReceived):
            # In TLS 1.3 the client judges our certificate when the handshake is over for us.
            error = ClientTlsFailure("the client refused our certificate", detail=reason.value.alert)
            self.plane.refusals.record(self.caller, error, bytes_in=self._received)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Read as far as the state allows. A loop, not recursion: pipelined requests may be answered at once."""
        if self._pumping or self._resting:
            return
        self._pumping = True
        enough = self._served + _IN_A_ROW
        try:
            while self.is_open and not self._handed_over and not self._refused:
                if self.exchange is None:
                    if self._served == enough:
                        self._rest()
                        return
                    if not self._read_head():
                        return
                elif not self._reads_body or self._held or self.request_is_complete or not self._read_body():
                    return
        finally:
            self._pumping = False
        # Reading stops only by `return`; what falls out of the loop is a connection that is over.

    def _rest(self) -> None:
        """So many were answered at once: it is others' turn, and who does not read the answers gets no more of them."""
        self._resting = True
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()
        if self.transport.unsent > _READ_AHEAD:
            self.transport.registerProducer(Rest(self.transport, self._go_on), True)
        else:
            next_turn(self.plane.reactor, self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        if self.is_open and not self._handed_over:
            self._pump()
            self._resume_reading()

    def _read_head(self) -> bool:
        try:
            event = self._reader.next_event()
        except FramingError as problem:
            self._refuse(MalformedRequest(problem.message, status=problem.status_hint))
            return False
        if event is None:
            return False
        assert isinstance(event, RequestHeadReceived)
        self._begin(event)
        return True

    def _begin(self, event: RequestHeadReceived) -> None:
        plane = self.plane
        exchange = Exchange(
            kind="exchange",
            caller=self.caller,
            policy=plane.policies.current,
            proxy_name=plane.configuration.proxy.name,
            started=plane.now(),
        )
        exchange.describe_request(event.head)
        self.exchange = exchange
        self._reads_body = False
        self._served += 1
        self.request_is_complete = complete = self._reader.ends_here()
        if not complete:
            # Without a body it is the origin's turn, and the origin has deadlines of its own.
            self._deadline.restart(plane.configuration.timeouts.body)
        route(self, exchange, event)

    def _read_body(self) -> bool:
        """Hand on one event of the body; False where more bytes are needed."""
        user = self._user
        assert user is not None
        try:
            event = self._reader.next_event()
        except FramingError as problem:
            self._refused = True
            user.request_failed(MalformedRequest(problem.message, status=problem.status_hint))
            return False
        if event is None:
            user.request_batch_end()
            return False
        if type(event) is BodyReceived:
            self._deadline.restart(self.plane.configuration.timeouts.body)
            user.request_body(event.data)
        else:
            assert isinstance(event, MessageComplete)
            self.request_is_complete = True
            user.request_complete(event.trailers)
            user.request_batch_end()
        return True

    def splice_body(self, sink: Any, receive: Callable[[Pipe], object]) -> None:
        """From now on `receive` gets what is still to come of the body in pipes, to be sent to `sink`, where both sides
        can do that.
        """
        self._receive_spliced = receive
        splice_rest(self.transport, self._reader, sink)

    def splicedReceived(self, pipe: Pipe) -> None:
        """The client's bytes, which stay in the kernel."""
        user, receive = self._user, self._receive_spliced
        if self._refused or user is None or receive is None:
            return
        self._received += pipe.held
        self._deadline.restart(self.plane.configuration.timeouts.body)
        self._reader.pass_over(pipe.held)
        receive(pipe)
        if self._user is user and self._reader.ends_here():
            self.request_is_complete = True
            user.request_complete(Fields.EMPTY)
            user.request_batch_end()

    @property
    def served(self) -> int:
        """How many requests have begun."""
        return self._served

    # -- for `pace` --------------------------------------------------------------------------------------------------

    @property
    def user(self) -> RequestUser | None:
        """Who serves the exchange under way."""
        return self._user

    @property
    def awaits_body(self) -> bool:
        """Whether only the client's next bytes are waited for."""
        return self._reads_body and not (self.request_is_complete or self._held or self._refused)

    # -- used by the exchange -----------------------------------------------------------------------------------------

    def serve(self, user: RequestUser) -> None:
        """From now on this user hears that the client left."""
        self._user = user

    def read_body(self) -> None:
        """Begin to hand the request body to the user: at least `request_batch_end` is called before this returns."""
        self._reads_body = True
        if self._held:
            return
        while self.exchange is not None and not self.request_is_complete and not self._held and not self._refused:
            if not self._read_body():
                break
        self._resume_reading()

    def pauseProducing(self) -> None:
        """The origin takes no more for now: hand on no more of the body."""
        self._held = True
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Hand on again, beginning with what is here already."""
        self._held = False
        if self._reads_body and self.exchange is not None:
            self._deadline.restart(self.plane.configuration.timeouts.body)
            self._pump()
        self._resume_reading()

    def let_go(self) -> None:
        """Nobody takes the body any more: read on, so that a client that leaves is noticed."""
        if self._held:
            self.resumeProducing()

    def stopProducing(self) -> None:
        """The origin is gone; its end is reported by its own connection."""

    def _resume_reading(self) -> None:
        if self._paused and not (self._held or self._resting) and self.is_open and self._reader.buffered <= _READ_AHEAD:
            self._paused = False
            self.transport.resumeProducing()

    def write(self, parts: list[bytes]) -> None:
        """Send response bytes."""
        if self.is_open:
            for part in parts:
                self._sent += len(part)
            if len(parts) == 1:
                self.transport.write(parts[0])
            else:
                self.transport.writeSequence(parts)

    def write_spliced(self, pipe: Pipe) -> None:
        """Send response bytes that stand in the kernel."""
        if self.is_open:
            self._sent += pipe.held
            self.transport.write_spliced(pipe)

    def may_keep(self) -> bool:
        """Whether this connection may serve another request after this one, as far as the client's side goes."""
        exchange = self.exchange
        return (
            self.is_open
            and exchange is not None
            and exchange.head is not None
            and not self._refused
            and not self.plane.admission.draining
            and self._served < self.plane.configuration.limits.requests_per_connection
            and request_traits(exchange.head).keeps
        )

    def answer(self, error: NetfwError) -> None:
        """Send our own answer to the present exchange, and end it."""
        exchange = self.exchange
        assert exchange is not None
        exchange.error = error
        keep = self.may_keep() and not isinstance(error, MalformedRequest) and self._skip_rest_of_request()
        exchange.status = error.status
        explainer = self.plane.explainer
        with_body = exchange.method != b"HEAD"
        self.write([explainer.print(exchange, error, close=not keep, with_body=with_body)])
        self.end_exchange(keep=keep)

    def _skip_rest_of_request(self) -> bool:
        """Read over a body that is here already; False where more of it would have to be waited for."""
        while not self.request_is_complete:
            try:
                event = self._reader.next_event()
            except FramingError:
                return False
            if event is None:
                return False
            self.request_is_complete = type(event) is MessageComplete
        return True

    def end_exchange(self, *, keep: bool) -> None:
        """The exchange is over and its response written: record it, then read the next request or close."""
        exchange, self.exchange = self.exchange, None
        assert exchange is not None
        self._user = None
        self._reads_body = False
        self._held = False
        buffered = self._reader.buffered
        consumed = self._received - buffered
        exchange.bytes_in = consumed - self._consumed_before
        exchange.bytes_out = self._sent - self._sent_before
        self._consumed_before = consumed
        self._sent_before = self._sent
        self.plane.recording.finished(exchange)
        if not self.is_open:
            return
        if keep and self.request_is_complete:
            self._reader.start_next()
            timeouts = self.plane.configuration.timeouts
            self._deadline.restart(timeouts.head if buffered else timeouts.idle)
            if self._paused:
                self._resume_reading()
            if buffered:
                self._pump()
        else:
            self._close(everything_read=self.request_is_complete and not buffered)

    def hand_over(self) -> tuple[Any, bytes, Deadline]:
        """Give the transport away, with the bytes that came behind the head, and the connection's deadline, which is to
        be changed or cancelled; this object hears nothing more.
        """
        self._handed_over = True
        self.plane.live.connections.discard(self)
        deadline, self._deadline = self._deadline, None
        self._user = None
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        return self.transport, self._reader.remaining(), deadline

    def handed_over_counts(self) -> tuple[int, int]:
        """Bytes received and sent for the present exchange before the transport was given away."""
        return self._received - self._consumed_before, self._sent - self._sent_before

    def cut(self, error: NetfwError) -> None:
        """End whatever is under way with this error of ours, and close without waiting."""
        if self._user is not None:
            self._user.request_failed(error)
        self.abort()

    def abort(self) -> None:
        """Close with a reset, so that a cut response cannot be taken for a whole one."""
        if self.is_open:
            self.is_open = False
            self._stop_deadline()
            self.transport.abortConnection()

    # -- ending -------------------------------------------------------------------------------------------------------

    def _refuse(self, error: MalformedRequest | RequestTimeout) -> None:
        """Answer what is not a request, record it, and look at nothing more."""
        plane = self.plane
        self._refused = True
        self.request_is_complete = False
        exchange = Exchange(
            kind="connection",
            caller=self.caller,
            policy=plane.policies.current,
            proxy_name=plane.configuration.proxy.name,
            started=plane.now(),
        )
        self.exchange = exchange
        if self.tunnel is not None:
            self.tunnel.describe(exchange)
        self.answer(error)

    def _close(self, *, everything_read: bool) -> None:
        self._stop_deadline()
        self._refused = True
        abort_timeout = self.plane.configuration.timeouts.abort
        if everything_read:
            close(self.transport, self.plane.deadlines, abort_timeout)
        else:
            # Unread input in the kernel would turn the close into a reset that overtakes our answer.
            if self._paused:
                self._paused = False
                self.transport.resumeProducing()
            linger(self.transport, self.plane.deadlines, abort_timeout=abort_timeout)

    def close_if_idle(self) -> None:
        """Close when no exchange is under way, and none waits in the kernel; for draining."""
        carrier(self.transport).read_now()
        if self.is_open and self.exchange is None and not (self._handed_over or self._reader.buffered):
            self._close(everything_read=True)

    def _timed_out(self) -> None:
        self._deadline = None
        if self.exchange is None:
            if self._reader.buffered:
                self._start_deadline()
                self._refuse(RequestTimeout("the request head did not come in time"))
            else:
                self._close(everything_read=True)
            return
        self._start_deadline()
        if self._reads_body and not self.request_is_complete and not self._held and self._user is not None:
            self._user.request_failed(RequestTimeout("the request body stopped coming"))
        # Otherwise the exchange waits for the origin, which has deadlines of its own.

    def _start_deadline(self) -> None:
        self._deadline = self.plane.deadlines.start(self.plane.configuration.timeouts.body, self._timed_out)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


# Not by Twisted's base class, which brings nothing that is needed: compiled, its heirs would be ordinary classes.
classImplements(ClientConnection, IProtocol)
