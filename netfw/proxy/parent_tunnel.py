"""CONNECT to a parent proxy: asked on a connection to it, and its answer read (RFC 9110, section 9.3.6).

In this room: the request, the answer, and what a refusal means. Not here: the connection (`parent_dialing`), and who is
asked next (`way_opening`).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from netfw.errors import NetfwError, ParentError
from netfw.http1.errors import FramingError
from netfw.http1.events import ResponseHeadReceived
from netfw.http1.fields import FieldLine, Fields
from netfw.http1.heads import HTTP_1_1, RequestHead, ResponseHead, print_request_head
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import ResponseReader
from netfw.proxy.parents import Parent
from netfw.transport.deadlines import Deadlines
from netfw.transport.relay import hand_over


def refusal(parent: Parent, target: bytes, answered: int) -> ParentError:
    """The parent is there, and does not do what it is asked: what its status means. `target`: of CONNECT, or empty."""
    refuses = answered == 407
    message = "the parent proxy does not take our credentials" if refuses else "the parent proxy opens no tunnel"
    error = ParentError(
        f"{message} ({answered})",
        # A denial stays one: clients try 502 again.
        status=answered if answered in (403, 504) else 502,
        token="proxy_configuration_error" if refuses else "http_request_denied" if answered == 403 else None,
        detail=f"{parent.name} answered {answered}" + (f" to CONNECT {target.decode('ascii')}" if target else ""),
    )
    error.answered = answered
    return error


def connect_head(parent: Parent, target: bytes, via: bytes, received: list[bytes]) -> bytes:
    """The head of the request. `received` are the values of Via that the request came with: loops are found by them."""
    lines: list[FieldLine] = [(b"Host", target), (b"Via", b", ".join([*received, b"1.1 " + via]))]
    if parent.authorization is not None:
        lines.append((b"Proxy-Authorization", parent.authorization))
    return print_request_head(RequestHead(b"CONNECT", target, HTTP_1_1, Fields(lines)))


def ask_for_tunnel(
    transport: Any,
    parent: Parent,
    target: bytes,
    head: bytes,
    *,
    limits: HeadLimits,
    deadlines: Deadlines,
    timeout: float,
) -> Deferred[bytes]:
    """A Deferred of what came behind the parent's 2xx; the transport is paused then, and its tunnel is open.

    Fails with `ParentError`; the transport is closed then. Cancelling it closes it too.
    """
    asking = _Asking(parent, target, head, limits)
    asking.deadline = deadlines.start(timeout, asking.timed_out)
    hand_over(transport, asking)
    if asking.answer is not None:
        transport.resumeProducing()
    return asking.answered


class _Asking(Protocol):
    """Speaks to the parent until it has answered."""

    transport: Any
    deadline: Any = None

    def __init__(self, parent: Parent, target: bytes, head: bytes, limits: HeadLimits) -> None:
        self._parent = parent
        self._target = target
        self._head = head
        self._reader = ResponseReader(limits)
        self._reader.expect(b"CONNECT")
        self.answered: Deferred[bytes] = Deferred(self._cancelled)
        self.answer: Deferred[bytes] | None = self.answered
        """None once it has fired."""

    def connectionMade(self) -> None:
        self.transport.write(self._head)

    def dataReceived(self, data: bytes) -> None:
        """Some of the answer."""
        if self.answer is None:
            return
        self._reader.feed(data)
        try:
            event = self._reader.next_event()
            while isinstance(event, ResponseHeadReceived) and event.head.status < 200 and event.head.status != 101:
                event = self._reader.next_event()
        except FramingError as problem:
            self._fail(self._error("its answer is not valid HTTP/1.1", "http_protocol_error", str(problem)))
            return
        if isinstance(event, ResponseHeadReceived):
            self._judge(event.head)

    def _judge(self, head: ResponseHead) -> None:
        if 200 <= head.status < 300:
            self.transport.pauseProducing()
            self._settle().callback(self._reader.remaining())
        else:
            self._fail(refusal(self._parent, self._target, head.status))

    def timed_out(self) -> None:
        """It has had its time."""
        self.deadline = None
        self._fail(self._error("it did not answer in time", "connection_timeout", "no answer to CONNECT", 504))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It went without an answer."""
        if self.answer is not None:
            self._settle().errback(
                Failure(self._error("it closed the connection", "connection_terminated", "no answer to CONNECT"))
            )

    def _error(self, what: str, token: str, why: str, status: int = 502) -> NetfwError:
        detail = f"{self._parent.name}: {why}"
        return ParentError(f"the parent proxy opens no tunnel: {what}", status=status, token=token, detail=detail)

    def _fail(self, error: NetfwError) -> None:
        answer = self._settle()
        self.transport.abortConnection()
        answer.errback(Failure(error))

    def _cancelled(self, _: Deferred[bytes]) -> None:
        self._settle()
        self.transport.abortConnection()

    def _settle(self) -> Deferred[bytes]:
        answer, self.answer = self.answer, None
        assert answer is not None
        deadline, self.deadline = self.deadline, None
        if deadline is not None:
            deadline.cancel()
        return answer
