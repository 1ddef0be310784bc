"""The origin's side: one connection, one exchange at a time, its response handed on as it arrives.

The connection belongs to a *user* (`IResponseUser`, in practice `forward.Forwarding`) while an exchange is under way,
and to nobody while it waits in the pool; a byte or an end that comes then closes it. A response that breaks framing
aborts the connection: nothing after it is interpreted, and it is never used again (security rule 4).
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from typing import Protocol as Shape

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw.errors import (
    ClientStalled,
    NetfwError,
    OriginClosed,
    OriginProtocolError,
    OriginResponseIncomplete,
    OriginTimeout,
)
from netfw.http1.errors import FramingError
from netfw.http1.events import BodyReceived, MessageComplete, ResponseHeadReceived
from netfw.http1.fields import Fields
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import ResponseReader
from netfw.names.authority import Authority
from netfw.policy.facts import Unknown
from netfw.proxy.spliced_body import splice_rest
from netfw.transport.closing import close as close_in_time
from netfw.transport.deadlines import Deadlines
from netfw.transport.pipes import Pipe
from netfw.transport.socket_facts import carrier
from netfw.x509.reading import Validity


def _count_nothing(bytes_in: int, bytes_out: int) -> None: ...


class ResponseUser(Shape):
    """Who receives what the origin says. Calls come in order; `response_batch_end` after each read."""

    def response_head(self, event: ResponseHeadReceived) -> None: ...
    def response_body(self, data: bytes) -> None: ...
    def response_complete(self, trailers: Fields) -> None: ...
    def response_failed(self, error: NetfwError) -> None: ...
    def response_batch_end(self) -> None: ...


class UpstreamConnection:
    """`tls` says whether it runs over TLS that proves `authority`; `address` is the one that was judged and dialled.

    `way` and `route` are None but for a `WayConnection`, whose `address` may be NOT_YET.
    """

    transport: Any = None
    way: Any = None
    route: dict[str, Any] | None = None
    _receive_spliced: Callable[[Pipe], object] | None = None

    def __init__(
        self,
        *,
        authority: Authority,
        address: IPv4Address | IPv6Address | Unknown,
        tls: bool,
        limits: HeadLimits,
        deadlines: Deadlines,
        response_timeout: float,
        idle_timeout: float,
        abort_timeout: float = 5.0,
        count_bytes: Callable[[int, int], object] = _count_nothing,
    ) -> None:
        self._count_bytes = count_bytes
        self._abort_timeout = abort_timeout
        self.authority = authority
        self.address = address
        self.address_text: str | None = str(address)
        self.tls = tls
        self.key: tuple[str, int, bool, Any] = (authority.host.text, authority.port, tls, None)
        """What the pool finds it by."""
        self.exchanges = 0
        self.is_open = True
        self.heard = False
        """Whether a byte came back in the exchange under way."""
        self.verified_by = 0
        """Which set of roots it was verified by: see `UpstreamPool.verified_by`."""
        self.tls_version: str | None = None
        self.certificate_facts: dict[str, str] | None = None
        self.certificate_validity: Validity | None = None
        self.when_closed_idle: Callable[[UpstreamConnection], None] | None = None
        self._user: ResponseUser | None = None
        self._reader = ResponseReader(limits)
        self._held = False
        self._head_seen = False
        self._deadlines = deadlines
        self._response_timeout = response_timeout
        self._idle_timeout = idle_timeout
        self._deadline: Any = None

    # -- used by the exchange -----------------------------------------------------------------------------------------

    def begin(self, user: ResponseUser, request_method: bytes) -> None:
        """Take the connection for one exchange; the caller writes the request next."""
        assert self._user is None
        self._user = user
        self.heard = False
        self._head_seen = False
        self.exchanges += 1
        self._reader.expect(request_method)
        if self._deadline is None:
            self._deadline = self._deadlines.start(self._response_timeout, self._timed_out)
        else:
            self._deadline.restart(self._response_timeout)

    def send_head(self, head: bytes) -> None:
        """Send the head of a request without a body, right after `begin`."""
        self.transport.write(head)

    def write(self, parts: list[bytes]) -> None:
        """Send request bytes; any that are still wanted by the origin keep the exchange alive."""
        if self._deadline is not None and not self._head_seen:
            self._deadline.restart(self._response_timeout)
        self.transport.writeSequence(parts)

    def write_spliced(self, pipe: Pipe) -> None:
        """Send request bytes that stand in the kernel."""
        if self._deadline is not None and not self._head_seen:
            self._deadline.restart(self._response_timeout)
        self.transport.write_spliced(pipe)

    def splice_body(self, sink: Any, receive: Callable[[Pipe], object]) -> None:
        """From now on `receive` gets what is still to come of the body in pipes, to be sent to `sink`, where both sides
        can do that.
        """
        self._receive_spliced = receive
        splice_rest(self.transport, self._reader, sink)

    def pauseProducing(self) -> None:
        """The client takes no more for now: stop reading from the origin."""
        self._held = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on, beginning with what is here already."""
        self._held = False
        if self._user is not None:
            self._read()
        if self.is_open and not self._held:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The client is gone."""
        self.abort()

    def release(self) -> bytes:
        """Let go of the exchange for an upgrade: returns what was read beyond the head; the caller owns the transport
        now.
        """
        self._user = None
        self._stop_deadline()
        return self._reader.remaining()

    def abort(self) -> None:
        """Close at once; the user hears nothing more."""
        self._user = None
        self._stop_deadline()
        if self.is_open:
            self.is_open = False
            self.transport.abortConnection()

    def close(self) -> None:
        """Close after what was written has gone out; for a connection without an exchange."""
        self._user = None
        self._stop_deadline()
        if self.is_open:
            self.is_open = False
            close_in_time(self.transport, self._deadlines, self._abort_timeout)

    @property
    def is_held(self) -> bool:
        """Whether the client takes no more for now."""
        return self._held

    def can_carry_more(self) -> bool:
        """Whether nothing is left over from the exchange that ended."""
        return self.is_open and self._user is None and not self._reader.buffered

    def wait_idle(self, seconds: float, when_closed: Callable[[UpstreamConnection], None]) -> None:
        """Wait for another exchange at most so long; `when_closed` hears when it ends before."""
        self.when_closed_idle = when_closed
        if self._held:
            # The client of the exchange before was slow to the end; nobody else would let the transport read again.
            self._held = False
            self.transport.resumeProducing()
        self._deadline.restart(seconds) if self._deadline is not None else self._start_idle(seconds)

    def _start_idle(self, seconds: float) -> None:
        self._deadline = self._deadlines.start(seconds, self._timed_out)

    # -- from the transport -------------------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """Begin."""
        self.transport = transport

    def connectionMade(self) -> None:
        """It is the proxy that speaks first."""

    def dataReceived(self, data: bytes) -> None:
        """The origin's bytes."""
        if self._user is None:
            self._end_idle()
            return
        self.heard = True
        self._reader.feed(data)
        if not self._held:
            self._read()
        if self._user is not None and self._head_seen and self._deadline is not None:
            self._deadline.restart(self._idle_timeout)

    def splicedReceived(self, pipe: Pipe) -> None:
        """The origin's bytes, which stay in the kernel."""
        user = self._user
        if user is None:
            return
        self._reader.pass_over(pipe.held)
        assert self._receive_spliced is not None
        self._receive_spliced(pipe)
        if self._user is user and self._reader.ends_here():
            self._user = None
            user.response_complete(Fields.EMPTY)
        user.response_batch_end()
        if self._user is not None and self._deadline is not None:
            self._deadline.restart(self._idle_timeout)

    def _read(self) -> None:
        user = self._user
        if user is None:
            return
        reader = self._reader
        try:
            while self._user is user and not self._held:
                event = reader.next_event()
                if type(event) is BodyReceived:
                    user.response_body(event.data)
                elif type(event) is ResponseHeadReceived:
                    if event.head.status >= 200 or event.head.status == 101:
                        self._head_seen = True
                    user.response_head(event)
                elif type(event) is MessageComplete:
                    self._user = None
                    user.response_complete(event.trailers)
                else:
                    break
                if self._user is user and reader.ends_here():
                    self._user = None
                    user.response_complete(Fields.EMPTY)
        except FramingError as problem:
            self.fail(OriginProtocolError("the origin's answer is not valid HTTP/1.1", detail=str(problem)))
        user.response_batch_end()

    def fail(self, error: NetfwError) -> None:
        """End the exchange under way with this error, and the connection."""
        user = self._user
        self.abort()
        if user is not None:
            user.response_failed(error)

    def _timed_out(self) -> None:
        self._deadline = None
        if self._user is None:
            heard, self.when_closed_idle = self.when_closed_idle, None
            self.close()
            if heard is not None:
                heard(self)
        elif self._held:
            self.fail(ClientStalled("the client stopped reading"))
        elif self._head_seen:
            self.fail(OriginTimeout("the origin stopped in the middle of its answer"))
        else:
            self.fail(OriginTimeout("the origin did not answer in time"))

    def _end_idle(self) -> None:
        heard, self.when_closed_idle = self.when_closed_idle, None
        self.abort()
        if heard is not None:
            heard(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport ended. Only an orderly end completes a body that lasts until close (security rule 18)."""
        self.is_open = False
        self._stop_deadline()
        wire = carrier(self.transport)
        self._count_bytes(wire.bytes_in, wire.bytes_out)
        user = self._user
        if user is None:
            heard, self.when_closed_idle = self.when_closed_idle, None
            if heard is not None:
                heard(self)
            return
        self._held = False
        if not reason.check(ConnectionDone):
            self._user = None
            user.response_failed(self._cut_off())
            return
        try:
            self._reader.feed_eof()
        except FramingError:
            self._user = None
            user.response_failed(self._cut_off())
            return
        self._read()
        if self._user is not None:
            self._user = None
            user.response_failed(self._cut_off())

    def _cut_off(self) -> NetfwError:
        if self._head_seen:
            return OriginResponseIncomplete("the origin closed the connection in the middle of its answer")
        return OriginClosed("the origin closed the connection without an answer")

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


# Not by Twisted's base class: see `client_connection`.
classImplements(UpstreamConnection, IProtocol)
