"""Closing: every connection of the data path is closed through here.

In this room: an orderly close that ends in time (`close`), and the lingering close after an early answer (`linger`).
Not here: what a transport does to close (`stream`, `netfw.tls.stream`).

`loseConnection` waits for a buffer that a peer may never read, and on TLS for an alert that a peer may never send. So
a close always has an abort behind it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from netfw.interfaces import IByteTransport
from netfw.transport.deadlines import Deadlines
from netfw.transport.stream import Stream

LINGER_SIZE = 1 << 16
LINGER_TIMEOUT = 2.0


def close(transport: IByteTransport, deadlines: Deadlines, abort_timeout: float) -> None:
    """Send what waits, close, and abort when that takes longer than `abort_timeout` seconds.

    On a transport that is closed, or closing already, only the abort timer is added; calling this twice is harmless.
    A transport with an attribute `closing_deadline` cancels the timer when its connection is over; with another the
    timer runs out, and aborting what is closed does nothing.
    """
    transport.loseConnection()
    if getattr(transport, "connected", True) and getattr(transport, "closing_deadline", None) is None:
        deadline = deadlines.start(abort_timeout, transport.abortConnection)
        if hasattr(transport, "closing_deadline"):
            transport.closing_deadline = deadline


def linger(
    transport: IByteTransport,
    deadlines: Deadlines,
    *,
    size: int = LINGER_SIZE,
    timeout: float = LINGER_TIMEOUT,
    abort_timeout: float = LINGER_TIMEOUT,
) -> None:
    """Close after an answer that did not wait for the whole request (RFC 9112, section 9.6).

    Our side is ended once all is sent; what the peer still sends is read and dropped, until it ends its side, `size`
    bytes came or `timeout` seconds went by. Closing at once would send a reset, and a reset makes the peer's kernel
    drop the answer that it has not handed out yet. The protocol gets no more data; it is told `connectionLost` as
    always.

    A transport with a method `linger` of its own, such as a TlsStream, does it its own way; any other is closed by
    `close`.
    """
    if not isinstance(transport, Stream):
        own_way = getattr(transport, "linger", None)
        if own_way is not None:
            own_way(size=size, timeout=timeout)
        else:
            close(transport, deadlines, abort_timeout)
        return
    if not transport.connected or transport.disconnecting:
        return
    if transport.read_ended:
        close(transport, deadlines, abort_timeout)
        return
    drain = _Drain(transport.protocol, deadlines, size, abort_timeout)
    transport.switch_protocol(drain)
    transport.unregisterProducer()
    drain.deadline = deadlines.start(timeout, drain.finish)
    transport.loseWriteConnection()
    transport.resumeProducing()


@implementer(IHalfCloseableProtocol)
class _Drain(Protocol):
    """Reads and drops, then closes; the end is reported to the protocol that was there before."""

    deadline: Any = None

    def __init__(self, former: Any, deadlines: Deadlines, size: int, abort_timeout: float) -> None:
        self.former = former
        self.deadlines = deadlines
        self.left = size
        self.abort_timeout = abort_timeout

    def dataReceived(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left < 0:
            self.finish()

    def readConnectionLost(self) -> None:
        self.finish()

    def writeConnectionLost(self) -> None:
        pass

    def finish(self) -> None:
        assert self.transport is not None
        self.deadline.cancel()
        close(self.transport, self.deadlines, self.abort_timeout)  # type: ignore[arg-type]  # it is a Stream

    def connectionLost(self, reason: Failure) -> None:
        self.deadline.cancel()
        former, self.former = self.former, None
        if former is not None:
            former.connectionLost(reason)
