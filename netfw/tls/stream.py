"""TLS over a running byte transport, either side of it, as a byte transport itself.

In here: the handshake with its deadline, delivery, backpressure, close_notify. Not in here: records (`record_layer`),
contexts (`contexts`), whose certificate it is and whether it is believed (`interception`, `verification`), names of
failures (`failures`).
RFC 8446, sections 5 and 6, rules what ends a connection.

Nothing is kept here for writing: what the transport below does not take at once waits there, as ciphertext, and is
counted there. Since the transport below may be a TlsStream, TLS inside TLS is nothing special.

What protocols may count on, beyond what a Stream promises:

* `connectionLost` with ConnectionDone means that the peer sent close_notify and everything before it was handed out,
  or that we closed. TlsTruncated, TlsAlertReceived and TlsRecordsBroken are ConnectionLost.
* Our side is never ended alone: `loseConnection` sends close_notify behind what was written, then the transport below
  is closed, and aborted when that takes longer than the abort timeout. After it nothing is delivered any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IProtocol, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw.interfaces import IByteTransport
from netfw.tls.failures import TlsAlertReceived, TlsHandshakeError, TlsRecordsBroken, TlsTruncated, handshake_error
from netfw.tls.record_layer import RecordLayer
from netfw.transport.closing import LINGER_SIZE, LINGER_TIMEOUT, close, linger
from netfw.transport.deadlines import Deadline, Deadlines

__all__ = ["TlsAlertReceived", "TlsHandshakeError", "TlsRecordsBroken", "TlsStream", "TlsTruncated", "start_tls"]

_DELIVERY = 1 << 16
"""The most that the protocol inside gets at once: larger blocks make malloc map and unmap memory for each."""


class _State(Enum):
    HANDSHAKE = "handshake"
    OPEN = "open"
    CLOSING = "closing"
    LOST = "lost"


# Looking a member up in its class is a call (Python 3.11).
_HANDSHAKE: Final = _State.HANDSHAKE
_OPEN: Final = _State.OPEN
_CLOSING: Final = _State.CLOSING
_LOST: Final = _State.LOST


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
        A Deferred that fires when the handshake is complete, or fails with TlsHandshakeError; the transport is closed
        then. Cancelling it aborts the transport.
    """
    tls = TlsStream(stream, connection, deadlines, abort_timeout)
    return tls.shake_hands(handshake_timeout, first)


class TlsStream:
    """A transport for the protocol inside, and the protocol of the transport below. Made by `start_tls`."""

    __slots__ = (
        "bytes_in", "bytes_out", "closing_deadline", "connection", "protocol", "stream",
        "_abort_timeout", "_after_first_data", "_deadlines", "_delivering", "_handshake_deadline", "_held", "_lost",
        "_paused", "_plaintext", "_records", "_shaking", "_state", "__weakref__",
    )  # fmt: skip

    def __init__(self, stream: Any, connection: SSL.Connection, deadlines: Deadlines, abort_timeout: float) -> None:
        self.stream = stream
        self.connection = connection
        self.protocol: Any = None
        self.bytes_in = 0
        """Plaintext received; `bytes_out` is plaintext sent."""
        self.bytes_out = 0
        self.closing_deadline: Deadline | None = None
        """Cancelled when the connection is over. `closing` keeps its abort timer here."""
        self._deadlines = deadlines
        self._abort_timeout = abort_timeout
        self._state = _HANDSHAKE
        self._records = RecordLayer(connection)
        self._shaking: Deferred[TlsStream] | None = None
        self._handshake_deadline: Deadline | None = None
        self._paused = False
        self._held = False  # paused by us, because there is no protocol yet
        self._plaintext = b""  # received and not delivered yet
        self._delivering = False
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
        if self._state is _HANDSHAKE:
            stream.resumeProducing()
        return shaking

    def _continue_handshake(self) -> None:
        if self._state is not _HANDSHAKE:
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
        self._state = _OPEN
        # Data may have come in the same flight as the last message of the handshake.
        self._plaintext = self._records.open_records(b"")
        shaking = self._end_shaking()
        if shaking is not None:
            shaking.callback(self)
        if self.protocol is None and self._state is _OPEN:
            self._hold()

    def _fail_handshake(self, error: TlsHandshakeError) -> None:
        self._state = _CLOSING
        shaking = self._end_shaking()
        close(self.stream, self._deadlines, self._abort_timeout)
        if shaking is not None:
            shaking.errback(Failure(error))

    def _handshake_timed_out(self) -> None:
        if self._state is _HANDSHAKE:
            self._state = _CLOSING
            shaking = self._end_shaking()
            self.stream.abortConnection()
            if shaking is not None:
                shaking.errback(Failure(TlsHandshakeError("the handshake took too long", timed_out=True)))

    def _give_up(self) -> None:
        """The Deferred was cancelled; it fails with CancelledError by itself."""
        self._end_shaking()
        self._state = _CLOSING
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
        return self.protocol is not None or self._state is _LOST

    @property
    def clean_end(self) -> bool:
        """Whether the peer sent close_notify."""
        return self._records.clean_end

    @property
    def connected(self) -> bool:
        """Whether the transport below is still there."""
        return self._state is not _LOST and self._lost is None

    @property
    def disconnecting(self) -> bool:
        """Whether it is being closed, by whichever side."""
        return self._state is _CLOSING

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
        """Call the function once, when the first data from the peer have been opened.

        Its session tickets came before them.
        """
        self._after_first_data = function

    # -- from below

    def makeConnection(self, transport: object) -> None:
        """The transport below is given to the constructor."""

    def dataReceived(self, data: bytes) -> None:
        """Ciphertext."""
        records = self._records
        if self._state is _OPEN:
            whole = records.is_whole(data)
            if whole:
                plaintext = records.open_record(data)
                if not plaintext:
                    self._flush()
                self._deliver(plaintext)
            elif len(data) <= _DELIVERY:
                self._open(data)
            else:
                view = memoryview(data)
                for position in range(0, len(data), _DELIVERY):
                    if self._state is _OPEN and not records.ended:
                        self._open(view[position : position + _DELIVERY])
        elif self._state is _HANDSHAKE:
            records.feed(data)
            self._continue_handshake()
        # Else we have closed: nobody waits for this.

    def _open(self, data: Any) -> None:
        plaintext = self._records.open_records(data)
        if not self._records.ended:
            self._flush()  # OpenSSL may have an answer of its own
        self._deliver(plaintext)

    def connectionLost(self, reason: Failure) -> None:
        """The transport below is gone."""
        if self._state is _LOST:
            return
        shaking = self._end_shaking()
        if shaking is not None:
            self._state = _LOST
            shaking.errback(Failure(TlsHandshakeError("the peer closed during the handshake", closed=True)))
        elif self.protocol is not None:
            self._report(reason)
        else:
            self._lost = reason

    def _report(self, reason: Failure) -> None:
        """Tell the protocol that it is over, and why: once, and with nothing of ours left that would call back."""
        outcome = self._outcome(reason)
        self._state = _LOST
        self._plaintext = b""
        self._after_first_data = None
        deadline, self.closing_deadline = self.closing_deadline, None
        if deadline is not None:
            deadline.cancel()
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connectionLost(outcome)

    def _outcome(self, reason: Failure) -> Failure:
        if self._records.fault is not None:
            return Failure(self._records.fault)
        if self.clean_end and not self._plaintext:
            return Failure(ConnectionDone())
        if reason.check(ConnectionDone) and self._state is not _CLOSING:
            return Failure(TlsTruncated("the peer closed without close_notify"))
        return reason

    # -- delivering

    def _deliver(self, more: bytes = b"") -> None:
        """Hand out what was opened, as long as it is wanted; then act upon the end, if there was one."""
        self._plaintext = self._plaintext + more if self._plaintext else more
        if self._delivering:
            return  # the loop below goes on
        while self._plaintext and self.protocol is not None and not self._paused and self._state is _OPEN:
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
        if self._records.ended and not self._plaintext and self.protocol is not None and self._state is _OPEN:
            self._close_down(goodbye=self._records.fault is None)
        elif self._plaintext and self.protocol is None:
            self._hold()

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self.stream.pauseProducing()

    # -- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._state is not _OPEN or not data:
            return
        try:
            sealed = self._records.seal(data)
        except SSL.Error as error:
            self._records.note_end(error)
            self._close_down(goodbye=False)
            return
        self.bytes_out += len(data)
        if len(sealed) == 1:
            self.stream.write(sealed[0])
        else:
            self.stream.writeSequence(sealed)

    def writeSequence(self, parts: Iterable[bytes]) -> None:
        self.write(b"".join(parts))

    def _flush(self) -> None:
        waiting = self._records.waiting()
        if waiting:
            self.stream.write(waiting)

    # -- backpressure, both ways

    def pauseProducing(self) -> None:
        self._paused = True
        self.stream.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again. What was opened before the pause is delivered at once, inside this call."""
        self._paused = False
        if self._held or self._state is not _OPEN:
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
        if self._state is _OPEN:
            self._plaintext = b""
            self._close_down(goodbye=True)

    def abortConnection(self) -> None:
        if self._state is not _LOST:
            self._state = _CLOSING
            self._plaintext = b""
            self.stream.abortConnection()

    def linger(self, *, size: int = LINGER_SIZE, timeout: float = LINGER_TIMEOUT) -> None:
        """Close after an answer that did not wait for the whole request: for a while, what comes is read and dropped.

        The lingering is done below, behind our close_notify, so that no reset overtakes the answer.
        """
        if self._state is not _OPEN:
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
            self._state = _CLOSING
            self._flush()
        close(self.stream, self._deadlines, self._abort_timeout)

    def _say_goodbye(self) -> None:
        self._state = _CLOSING
        self._records.say_goodbye()
        self._flush()

    # -- facts

    def getPeer(self) -> Any:
        return self.stream.getPeer()

    def getHost(self) -> Any:
        return self.stream.getHost()


classImplements(TlsStream, IByteTransport, ITransport, IConsumer, IPushProducer)
