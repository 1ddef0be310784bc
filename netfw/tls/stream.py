"""TLS over a running byte transport, either side of it, as a byte transport itself.

In here: the handshake with its deadline, records in and out, close_notify. Not in here: contexts (`contexts`), whose
certificate it is and whether it is believed (`interception`, `verification`), names of failures (`failures`).
RFC 8446, sections 5 and 6, rules what ends a connection.

pyOpenSSL's Connection works on memory buffers: bytes from below go in, plaintext comes out, and the other way round. Nothing
is kept here for writing: what the transport below does not take at once waits there, as ciphertext, and is counted there.
Since the transport below may be a TlsStream, TLS inside TLS is nothing special.

What protocols may count on, beyond what a Stream promises:

* `connectionLost` with ConnectionDone means that the peer sent close_notify and everything before it was handed out, or that
  we closed. TlsTruncated, TlsAlertReceived and TlsRecordsBroken are ConnectionLost.
* Our side is never ended alone: `loseConnection` sends close_notify behind what was written, then the transport below
  is closed, and aborted when that takes longer than the abort timeout. After it nothing is delivered any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IProtocol, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from netfw.interfaces import IByteTransport
from netfw.tls.failures import (
    TlsAlertReceived,
    TlsHandshakeError,
    TlsRecordsBroken,
    TlsTruncated,
    handshake_error,
    peer_alert,
    text_of,
)
from netfw.tls.records import RecordBoundary
from netfw.transport.closing import LINGER_SIZE, LINGER_TIMEOUT, close, linger
from netfw.transport.deadlines import Deadline, Deadlines

__all__ = ["TlsAlertReceived", "TlsHandshakeError", "TlsRecordsBroken", "TlsStream", "TlsTruncated", "start_tls"]

_RECORD = 1 << 14
"""The most plaintext that one record holds, and so the most that one call of OpenSSL takes or gives."""
_FEED = 1 << 15
"""How much goes into OpenSSL's memory buffers at once: they keep their largest size for as long as the connection lives."""
_OVERHEAD = 1 << 10
"""More than the heads and tags of the records that `_FEED` bytes become, so that one read empties the buffer."""


class _State(Enum):
    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSING = "closing"
    LOST = "lost"


def start_tls(
    stream: Any,
    connection: SSL.Connection,
    *,
    deadlines: Deadlines,
    handshake_timeout: float,
    abort_timeout: float,
    first: bytes = b"",
) -> Deferred[TlsStream]:
    """Take a transport over and make the TLS handshake on it.

    `connection` was made without a socket and knows its side. `first` is what was already read from the transport. The
    transport is read from now on, whether it was paused or not.

    Returns:
        A Deferred that fires when the handshake is complete, or fails with TlsHandshakeError; the transport is closed then.
        Cancelling it aborts the transport.
    """
    tls = TlsStream(stream, connection, deadlines, abort_timeout)
    return tls.shake_hands(handshake_timeout, first)


@implementer(IByteTransport, ITransport, IConsumer, IPushProducer)
class TlsStream:
    """A transport for the protocol inside, and the protocol of the transport below. Made by `start_tls`."""

    __slots__ = (
        "bytes_in", "bytes_out", "clean_end", "closing_deadline", "connection", "protocol", "stream",
        "_abort_timeout", "_after_first_data", "_boundary", "_deadlines", "_delivering", "_ended", "_fault",
        "_handshake_deadline", "_held", "_lost", "_paused", "_plaintext", "_shaking", "_state", "__weakref__",
    )  # fmt: skip

    def __init__(self, stream: Any, connection: SSL.Connection, deadlines: Deadlines, abort_timeout: float) -> None:
        self.stream = stream
        self.connection = connection
        self.protocol: Any = None
        self.clean_end = False
        """Whether the peer sent close_notify."""
        self.bytes_in = 0
        """Plaintext received; `bytes_out` is plaintext sent."""
        self.bytes_out = 0
        self.closing_deadline: Deadline | None = None
        """Cancelled when the connection is over. `closing` keeps its abort timer here."""
        self._deadlines = deadlines
        self._abort_timeout = abort_timeout
        self._state = _State.HANDSHAKE
        self._boundary = RecordBoundary()
        self._shaking: Deferred[TlsStream] | None = None
        self._handshake_deadline: Deadline | None = None
        self._paused = False
        self._held = False  # paused by us, because there is no protocol yet
        self._plaintext = b""  # received and not delivered yet
        self._delivering = False
        self._ended = False  # by the peer; acted upon when the plaintext is delivered
        self._fault: ConnectionLost | None = None  # why, when not by close_notify
        self._lost: Failure | None = None  # the transport below is gone, and no protocol was there to be told
        self._after_first_data: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"<TlsStream {self._state.value} over {self.stream!r}>"

    # -- the handshake

    def shake_hands(self, timeout: float, first: bytes) -> Deferred[TlsStream]:
        """What `start_tls` does. Once only."""
        self._shaking = shaking = Deferred(lambda _deferred: self._give_up())
        self._handshake_deadline = self._deadlines.start(timeout, self._handshake_timed_out)
        stream = self.stream
        if getattr(stream, "started", True):
            stream.switch_protocol(self)
        else:
            stream.start(self)
        if first:
            self.dataReceived(first)
        else:
            self._continue_handshake()
        if self._state is _State.HANDSHAKE:
            stream.resumeProducing()
        return shaking

    def _continue_handshake(self) -> None:
        if self._state is not _State.HANDSHAKE:
            return
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        except Exception as error:  # what a callback raised comes out here as it is
            self._flush()  # OpenSSL's own alert
            self._fail_handshake(handshake_error(error, self.connection.get_app_data()))
            return
        self._flush()
        self._state = _State.OPEN
        # Data may have come in the same flight as the last message of the handshake.
        self._plaintext = self._all_plaintext()
        shaking = self._end_shaking()
        if shaking is not None:
            shaking.callback(self)
        if self.protocol is None and self._state is _State.OPEN:
            self._hold()

    def _fail_handshake(self, error: TlsHandshakeError) -> None:
        self._state = _State.CLOSING
        shaking = self._end_shaking()
        close(self.stream, self._deadlines, self._abort_timeout)
        if shaking is not None:
            shaking.errback(Failure(error))

    def _handshake_timed_out(self) -> None:
        if self._state is _State.HANDSHAKE:
            self._state = _State.CLOSING
            shaking = self._end_shaking()
            self.stream.abortConnection()
            if shaking is not None:
                shaking.errback(Failure(TlsHandshakeError("the handshake took too long", timed_out=True)))

    def _give_up(self) -> None:
        """The Deferred was cancelled; it fails with CancelledError by itself."""
        self._end_shaking()
        self._state = _State.CLOSING
        self.stream.abortConnection()

    def _end_shaking(self) -> Deferred[TlsStream] | None:
        shaking, self._shaking = self._shaking, None
        deadline, self._handshake_deadline = self._handshake_deadline, None
        if deadline is not None:
            deadline.cancel()
        return shaking

    # -- the protocol inside

    @property
    def started(self) -> bool:
        """Whether a protocol was ever attached."""
        return self.protocol is not None or self._state is _State.LOST

    @property
    def connected(self) -> bool:
        """Whether the transport below is still there."""
        return self._state is not _State.LOST and self._lost is None

    @property
    def disconnecting(self) -> bool:
        """Whether it is being closed, by whichever side."""
        return self._state is _State.CLOSING

    def start(self, protocol: IProtocol) -> None:
        """Attach the first protocol. What came before it is delivered at once, within the bounds of pauseProducing."""
        if self.started:
            raise RuntimeError(f"{self!r} has a protocol already")
        self.protocol = protocol
        protocol.makeConnection(self)
        if self._held:
            self._held = False
            if not self._paused:
                self.stream.resumeProducing()
        self._deliver()
        if self._lost is not None:
            self._report(self._lost)

    def switch_protocol(self, protocol: IProtocol) -> None:
        """Hand the running connection to another protocol; the former one hears no more of it.

        Whether reading is paused, and which producer is registered, stays as it is.
        """
        self.protocol = protocol
        protocol.makeConnection(self)

    def call_after_first_data(self, function: Callable[[], object]) -> None:
        """Call the function once, when the first data from the peer have been opened: its session tickets came before."""
        self._after_first_data = function

    # -- from below

    def makeConnection(self, transport: object) -> None:
        """The transport below is given to the constructor."""

    def dataReceived(self, data: bytes) -> None:
        """Ciphertext."""
        whole = self._boundary.take(data)
        if self._state is _State.OPEN:
            plaintext = self._open_record(data) if whole else self._open_records(data)
            if self._plaintext:
                self._plaintext += plaintext
            else:
                self._plaintext = plaintext
            self._deliver()
        elif self._state is _State.HANDSHAKE:
            self.connection.bio_write(data)
            self._continue_handshake()
        # Else we have closed: nobody waits for this.

    def connectionLost(self, reason: Failure) -> None:
        """The transport below is gone."""
        if self._state is _State.LOST:
            return
        shaking = self._end_shaking()
        if shaking is not None:
            self._state = _State.LOST
            shaking.errback(Failure(TlsHandshakeError("the peer closed during the handshake", closed=True)))
        elif self.protocol is not None:
            self._report(reason)
        else:
            self._lost = reason

    def _report(self, reason: Failure) -> None:
        """Tell the protocol that it is over, and why: once, and with nothing of ours left that would call back."""
        outcome = self._outcome(reason)
        self._state = _State.LOST
        self._plaintext = b""
        self._after_first_data = None
        deadline, self.closing_deadline = self.closing_deadline, None
        if deadline is not None:
            deadline.cancel()
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(outcome)

    def _outcome(self, reason: Failure) -> Failure:
        if self._fault is not None:
            return Failure(self._fault)
        if self.clean_end and not self._plaintext:
            return Failure(ConnectionDone())
        if reason.check(ConnectionDone) and self._state is not _State.CLOSING:
            return Failure(TlsTruncated("the peer closed without close_notify"))
        return reason

    # -- opening

    def _open_record(self, data: bytes) -> bytes:
        """Feed exactly one record: asking once is enough, and spares the exception that says there is no more."""
        try:
            self.connection.bio_write(data)
            return self.connection.recv(_RECORD)
        except SSL.WantReadError:  # not data but a message: a session ticket, say
            self._flush()
        except SSL.Error as error:
            self._peer_ended(error)
        return b""

    def _open_records(self, data: bytes) -> bytes:
        if len(data) <= _FEED:
            self.connection.bio_write(data)
            return self._all_plaintext()
        parts = []
        view = memoryview(data)
        for position in range(0, len(data), _FEED):
            self.connection.bio_write(view[position : position + _FEED])
            parts.append(self._all_plaintext())
            if self._ended:
                break
        return b"".join(parts)

    def _all_plaintext(self) -> bytes:
        """What the records fed so far hold."""
        recv = self.connection.recv
        parts = []
        try:
            while True:
                parts.append(recv(_RECORD))
        except SSL.WantReadError:
            self._flush()  # OpenSSL may have an answer of its own
        except SSL.Error as error:
            self._peer_ended(error)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _peer_ended(self, error: SSL.Error) -> None:
        self._ended = True
        if isinstance(error, SSL.ZeroReturnError):
            self.clean_end = True
            return
        alert = peer_alert(error)
        self._fault = TlsAlertReceived(alert) if alert is not None else TlsRecordsBroken(text_of(error))

    def _deliver(self) -> None:
        """Hand out what was opened, as long as it is wanted; then act upon the end, if there was one."""
        if self._delivering:
            return  # the loop below goes on
        while self._plaintext and self.protocol is not None and not self._paused and self._state is _State.OPEN:
            plaintext, self._plaintext = self._plaintext, b""
            self.bytes_in += len(plaintext)
            if self._after_first_data is not None:
                function, self._after_first_data = self._after_first_data, None
                function()
            self._delivering = True
            try:
                self.protocol.dataReceived(plaintext)
            finally:
                self._delivering = False
        if self._ended and not self._plaintext and self.protocol is not None and self._state is _State.OPEN:
            self._close_down(goodbye=self._fault is None)
        elif self._plaintext and self.protocol is None:
            self._hold()

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self.stream.pauseProducing()

    # -- writing

    def write(self, data: bytes) -> None:
        size = len(data)
        if self._state is not _State.OPEN or not size:
            return
        connection = self.connection
        try:
            if size <= _RECORD:
                sent = connection.send(data)
                if sent == size:
                    self.bytes_out += size
                    self.stream.write(connection.bio_read(size + _OVERHEAD))
                    return
            else:
                sent = 0
            self._write_pieces(memoryview(data)[sent:])
            self.bytes_out += size
        except SSL.Error as error:
            self._peer_ended(error)
            self._close_down(goodbye=False)

    def _write_pieces(self, view: memoryview) -> None:
        connection = self.connection
        sealed = []
        while view:
            piece, view = view[:_FEED], view[_FEED:]
            sent = 0
            while sent < len(piece):
                sent += connection.send(piece[sent:])
            sealed.append(connection.bio_read(sent + _OVERHEAD))
        self.stream.writeSequence(sealed)

    def writeSequence(self, parts: Iterable[bytes]) -> None:
        self.write(b"".join(parts))

    def _flush(self) -> None:
        """Send what OpenSSL made by itself: handshake messages and alerts."""
        try:
            while True:
                self.stream.write(self.connection.bio_read(_FEED))
        except SSL.WantReadError:
            pass

    # -- backpressure, both ways

    def pauseProducing(self) -> None:
        self._paused = True
        self.stream.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again. What was opened before the pause is delivered at once, inside this call."""
        self._paused = False
        if self._held or self._state is not _State.OPEN:
            return
        self.stream.resumeProducing()
        if self._plaintext:
            self._deliver()

    def stopProducing(self) -> None:
        self.loseConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause this producer by the amount of ciphertext that waits below."""
        self.stream.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self.stream.unregisterProducer()

    @property
    def unsent(self) -> int:
        """How many bytes of ciphertext wait to be sent."""
        return int(self.stream.unsent)

    # -- ending

    def loseConnection(self) -> None:
        if self._state is _State.OPEN:
            self._plaintext = b""
            self._close_down(goodbye=True)

    def abortConnection(self) -> None:
        if self._state is not _State.LOST:
            self._state = _State.CLOSING
            self._plaintext = b""
            self.stream.abortConnection()

    def linger(self, *, size: int = LINGER_SIZE, timeout: float = LINGER_TIMEOUT) -> None:
        """Close after an answer that did not wait for the whole request: what still comes is read and dropped for a while.

        The lingering is done below, behind our close_notify, so that no reset overtakes the answer.
        """
        if self._state is not _State.OPEN:
            return
        self._plaintext = b""
        self._say_goodbye()
        if isinstance(self.stream, TlsStream):
            self.stream.linger(size=size, timeout=timeout)
        else:
            linger(self.stream, self._deadlines, size=size, timeout=timeout, abort_timeout=self._abort_timeout)

    def _close_down(self, *, goodbye: bool) -> None:
        if goodbye:
            self._say_goodbye()
        else:
            self._state = _State.CLOSING
            self._flush()
        close(self.stream, self._deadlines, self._abort_timeout)

    def _say_goodbye(self) -> None:
        self._state = _State.CLOSING
        try:
            self.connection.shutdown()
        except SSL.Error:
            pass  # close_notify cannot be said any more
        self._flush()

    # -- facts

    def getPeer(self) -> Any:
        return self.stream.getPeer()

    def getHost(self) -> Any:
        return self.stream.getHost()
