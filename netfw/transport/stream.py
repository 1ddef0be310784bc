"""Stream: a connected TCP socket as a transport of the data path.

In this room: one socket, what waits to be sent on it, and the protocol that is told what came. Not here: how the
socket came to be (`accepting`, `dialer`), how long things may take (`closing`, `deadlines`), TLS
(`netfw.tls.stream`).

Why not Twisted's own TCP transport: that one keeps every write for the next turn of the reactor, which costs two
`epoll_ctl` and one `epoll_wait` a write. A Stream sends at once and asks the reactor, by the public IReactorFDSet,
for writability only when the kernel takes no more.

What protocols may count on:

* `connectionLost` comes exactly once, and never while a method of the stream that the protocol called is running:
  at the end of the read under way, otherwise in the next turn of the reactor. A failed write is dropped in silence;
  the read side tells, after it has handed out what the peer sent before it left, or the next turn does if reading is
  paused.
* ConnectionDone: the peer ended its side orderly, or we closed and everything was handed to the kernel.
  ConnectionAborted: we aborted. ConnectionLost: all else.
* An end of input is `readConnectionLost` for an IHalfCloseableProtocol; for any other protocol it is the end of the
  connection, and what still waits to be sent is dropped. When both sides are ended the stream closes itself.
* **While reading is paused a disconnect is not seen** unless something waits to be sent. Who waits for a decision
  must go on reading a bounded amount ahead, or have a deadline.
* Closing with input unread in the kernel sends a reset, which makes the peer's kernel drop what it has received and
  not handed out yet (RFC 9112, section 9.6). `closing.linger` is for that.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    IReactorFDSet,
    IReadWriteDescriptor,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netfw.interfaces import IByteTransport
from netfw.transport.deadlines import Deadline, next_turn

HIGH_WATER = 1 << 16
"""A producer is paused when more than this waits to be sent; Twisted's own figure."""
LOW_WATER = 1 << 14
"""And resumed when no more than this waits: above zero, so that the kernel is not left with nothing to send."""

# A read of more than 128 KiB makes malloc map and unmap memory, which costs several times the read itself. So only a
# stream whose last read was a full one asks for much.
_USUAL_READ = 1 << 16
_BULK_READ = 1 << 18
_READS_A_TURN = 4
_PARTS_A_WRITE = 64
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_DONE = Failure(ConnectionDone())

Address = IPv4Address | IPv6Address | UNIXAddress


def as_address(raw: Any) -> Address:
    """Twisted's address object for what the socket module calls an address."""
    if isinstance(raw, tuple):
        if len(raw) == 2:
            return IPv4Address("TCP", *raw)
        return IPv6Address("TCP", *raw)
    return UNIXAddress(raw or None)


@implementer(IByteTransport, ITCPTransport, IConsumer, IPushProducer, IReadWriteDescriptor)
class Stream:
    """A transport over one connected, non-blocking socket, which it owns from now on.

    `host` and `peer` may be given as addresses, as the socket module's tuples or, when they are not known, as None.
    """

    __slots__ = (
        "protocol", "connected", "disconnecting", "bytes_in", "bytes_out", "closing_deadline",
        "_reactor", "_sock", "_fd", "_host", "_peer", "_started", "_paused", "_registered", "_in_read", "_read_size",
        "_read_ended", "_direct", "_pending", "_unsent", "_writing", "_write_closing", "_write_ended", "_write_error",
        "_producer", "_producer_paused", "_outcome", "_aborted", "__weakref__",
    )  # fmt: skip

    _log = Logger()

    def __init__(self, sock: socket.socket, reactor: IReactorFDSet, *, host: Any = None, peer: Any = None) -> None:
        self.protocol: Any = None
        self.connected = True
        self.disconnecting = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.closing_deadline: Deadline | None = None
        """Cancelled when the connection is over. `closing` keeps its abort timer here."""
        self._reactor: Any = reactor
        self._sock: Any = sock
        self._fd = sock.fileno()
        self._host = host
        self._peer = peer
        self._started = False
        self._paused = False
        self._registered = False  # as a reader
        self._in_read = False
        self._read_size = _USUAL_READ
        self._read_ended = False
        self._direct = True  # a write may go straight to the kernel
        self._pending: deque[Any] = deque()
        self._unsent = 0
        self._writing = False  # registered as a writer
        self._write_closing = False
        self._write_ended = False
        self._write_error: OSError | None = None
        self._producer: Any = None
        self._producer_paused = False
        self._outcome: Failure | None = None  # closed, and the protocol is yet to be told
        self._aborted = False

    def __repr__(self) -> str:
        if self._fd < 0:
            state = "closing" if self._outcome is not None else "closed"
        elif not self._started:
            state = "not started"
        else:
            state = "paused" if self._paused else "reading"
            if self._read_ended:
                state = "input ended"
            if self.disconnecting:
                state = "closing"
            elif self._write_ended or self._write_closing:
                state += ", output ended"
        if self._unsent:
            state += f", {self._unsent} unsent"
        return f"<Stream fd={self._fd} peer={self._peer!r} {state}>"

    # -- starting, handing over

    @property
    def reactor(self) -> Any:
        """The reactor that it is registered with."""
        return self._reactor

    @property
    def started(self) -> bool:
        """Whether a protocol was ever attached."""
        return self._started

    @property
    def unsent(self) -> int:
        """How many bytes wait to be sent."""
        return self._unsent

    @property
    def read_ended(self) -> bool:
        """Whether the peer has ended its side."""
        return self._read_ended

    def start(self, protocol: IProtocol, *, read_first: bool = False) -> None:
        """Attach the first protocol and begin to read.

        With `read_first` the socket is read before the reactor is asked to watch it: for a stream that was just
        accepted, whose first bytes are often there already.
        """
        self._started = True
        self.protocol = protocol
        protocol.makeConnection(self)  # type: ignore[arg-type]  # a transport, by duck type
        if read_first:
            self.read_now()
        self._watch_input()

    def switch_protocol(self, protocol: IProtocol) -> None:
        """Hand the running stream to another protocol; the former one hears no more of it.

        Whether reading is paused, and which producer is registered, stays as it is.
        """
        self.protocol = protocol
        protocol.makeConnection(self)  # type: ignore[arg-type]  # a transport, by duck type

    def read_now(self) -> None:
        """Read once without waiting for the reactor. What the protocol raises ends this stream and nothing else."""
        if self._in_read or self._fd < 0 or not self._started:
            return
        try:
            self.doRead()
        except Exception:
            failure = Failure()
            self._log.failure("A protocol failed on what it received", failure=failure)
            self.connectionLost(failure)

    @property
    def may_detach(self) -> bool:
        """Whether the socket is all there is: open, nothing kept here to be sent, no end of ours under way."""
        return self._direct

    def detach(self) -> socket.socket:
        """Give the socket away, out of the reactor and still open. The protocol hears no more of it.

        Raises RuntimeError unless `may_detach`.
        """
        if not self.may_detach:
            raise RuntimeError(f"cannot detach {self!r}")
        sock = self._sock
        self._leave_reactor()
        self._forget()
        self.protocol = None
        self.unregisterProducer()
        if self.closing_deadline is not None:
            self.closing_deadline.cancel()
        return sock  # type: ignore[no-any-return]  # the one place where the socket leaves

    # -- writing

    def write(self, data: bytes) -> None:
        if not self._direct:
            if data and self._takes_writes():
                self._keep(data)
            return
        if not data:
            return
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            self._keep(data)
            return
        except OSError as problem:
            self._write_failed(problem)
            return
        self.bytes_out += sent
        if sent < len(data):
            self._keep(memoryview(data)[sent:])

    def writeSequence(self, parts: Iterable[bytes]) -> None:
        parts = [part for part in parts if part]
        if not self._direct:
            for part in parts:
                self.write(part)
            return
        if len(parts) > _PARTS_A_WRITE:
            for start in range(0, len(parts), _PARTS_A_WRITE):
                self.writeSequence(parts[start : start + _PARTS_A_WRITE])
            return
        if not parts:
            return
        try:
            sent = self._sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError as problem:
            self._write_failed(problem)
            return
        self.bytes_out += sent
        for part in parts:
            size = len(part)
            if sent >= size:
                sent -= size
            else:
                self._keep(memoryview(part)[sent:] if sent else part)
                sent = 0

    def _takes_writes(self) -> bool:
        return self._fd >= 0 and not self.disconnecting and not self._write_closing and self._write_error is None

    def _keep(self, data: Any) -> None:
        """Keep what the kernel did not take; in order, since nothing is sent past what is kept."""
        # What the caller may still change is copied; bytes, and views of them, are kept as they are.
        if type(data) is not bytes and not (type(data) is memoryview and type(data.obj) is bytes):
            data = bytes(data)
        self._direct = False
        self._pending.append(data)
        self._unsent += len(data)
        if not self._writing:
            self._writing = True
            self._reactor.addWriter(self)
        if self._unsent > HIGH_WATER and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def doWrite(self) -> None:
        """The kernel takes bytes again."""
        if self._fd < 0 or not self._writing:  # the read of the same turn closed, or the descriptor is a new one
            return
        pending = self._pending
        try:
            if len(pending) == 1:
                sent = self._sock.send(pending[0])
            else:
                sent = self._sock.sendmsg(list(islice(pending, _PARTS_A_WRITE)))
        except BlockingIOError:
            return
        except OSError as problem:
            self._write_failed(problem)
            return
        self.bytes_out += sent
        self._unsent -= sent
        while sent:
            size = len(pending[0])
            if sent < size:
                pending[0] = memoryview(pending[0])[sent:]
                break
            sent -= size
            pending.popleft()
        if not pending:
            self._all_sent()
        elif self._unsent <= LOW_WATER:
            self._resume_producer()

    def _all_sent(self) -> None:
        self._writing = False
        self._reactor.removeWriter(self)
        if self.disconnecting:
            self._close(_DONE)
            return
        if self._write_closing:
            self._end_output()
            return
        self._direct = True
        self._resume_producer()

    def _resume_producer(self) -> None:
        if self._producer_paused and not self.disconnecting and self._producer is not None:
            self._producer_paused = False
            self._producer.resumeProducing()

    def _write_failed(self, problem: OSError) -> None:
        """Nothing can be sent any more. What the peer sent before it left may still be worth reading."""
        self._write_error = problem
        self._direct = False
        self._pending.clear()
        self._unsent = 0
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self)
        if self._paused or self._read_ended or self.disconnecting or not self._started:
            self._close(self._orderly_end())

    def _orderly_end(self) -> Failure:
        """What the protocol is told when nothing went wrong just now: something may have before."""
        if self._write_error is not None:
            return Failure(ConnectionLost(str(self._write_error)))
        return _DONE

    # -- reading

    def doRead(self) -> None:
        """The kernel has bytes for us, or the end of them."""
        if self._paused or self._read_ended or self.disconnecting:
            # Asking the reactor to look away costs a system call, so it is asked only when bytes came in spite of the
            # pause.
            self._ignore_input()
            return
        self._in_read = True
        try:
            for _ in range(_READS_A_TURN):
                size = self._read_size
                try:
                    data = self._sock.recv(size)
                except BlockingIOError:
                    break
                except OSError as problem:
                    self._close(Failure(ConnectionLost(str(problem))))
                    break
                if not data:
                    self._input_ended()
                    break
                got = len(data)
                self.bytes_in += got
                self.protocol.dataReceived(data)
                if got < size:
                    if got < _USUAL_READ:
                        self._read_size = _USUAL_READ
                    break
                self._read_size = _BULK_READ
                if self._paused or self._fd < 0 or self.disconnecting:
                    break
        finally:
            self._in_read = False
        if self._outcome is not None:
            self._report()

    def _input_ended(self) -> None:
        self._read_ended = True
        self._ignore_input()
        if self._write_error is not None or self._write_ended or not IHalfCloseableProtocol.providedBy(self.protocol):
            self._close(self._orderly_end())
        else:
            self.protocol.readConnectionLost()

    def _watch_input(self) -> None:
        if not (self._registered or self._paused or self._read_ended or self.disconnecting or self._fd < 0):
            self._registered = True
            self._reactor.addReader(self)

    def _ignore_input(self) -> None:
        if self._registered:
            self._registered = False
            self._reactor.removeReader(self)

    def pauseProducing(self) -> None:
        self._paused = True
        if self._write_error is not None:
            self._close(self._orderly_end())

    def resumeProducing(self) -> None:
        self._paused = False
        if self._started:
            self._watch_input()

    def stopProducing(self) -> None:
        self.loseConnection()

    # -- a producer that writes to us

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause this producer while more than HIGH_WATER bytes wait to be sent."""
        if not streaming:
            raise ValueError("a Stream takes streaming producers only")
        if self._producer is not None:
            raise RuntimeError(f"{self!r} has a producer: {self._producer!r}")
        if not self.connected:
            producer.stopProducing()
            return
        self._producer = producer
        self._producer_paused = self._unsent > HIGH_WATER
        if self._producer_paused:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None
        self._producer_paused = False

    # -- ending

    def loseConnection(self) -> None:
        if self._fd < 0 or self.disconnecting:
            return
        self.disconnecting = True
        self._direct = False
        if self._pending:
            self._ignore_input()
        else:
            self._close(self._orderly_end())

    def loseWriteConnection(self) -> None:
        """End our side once all is sent; reading goes on. Writes after this are ignored."""
        if self._write_closing or self._fd < 0 or self.disconnecting:
            return
        self._write_closing = True
        self._direct = False
        if not self._pending:
            self._end_output()

    def _end_output(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as problem:
            self._write_failed(problem)
            return
        self._write_ended = True
        if self._read_ended:
            self._close(_DONE)
        elif IHalfCloseableProtocol.providedBy(self.protocol):
            next_turn(self._reactor, self._tell_output_ended)

    def _tell_output_ended(self) -> None:
        if self._fd >= 0 and IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.writeConnectionLost()

    def abortConnection(self) -> None:
        if self._fd >= 0:
            self._aborted = True
            self._close(Failure(ConnectionAborted()))

    def connectionLost(self, reason: Failure) -> None:
        """The reactor's word: a hang-up, an exception out of the protocol, or the end of the reactor itself."""
        if self._fd < 0:
            return
        self._registered = self._writing = False  # the reactor has taken us out before it called
        if reason.check(ConnectionDone):
            # A hang-up without input. The event can be an old one, of a socket that had this descriptor before us in
            # the same turn, so the socket itself is asked.
            if self._pending:
                self._writing = True
                self._reactor.addWriter(self)
            self._watch_input()
            self.read_now()
            return
        # An exception of ours must not look like an orderly end to the peer.
        self._aborted = not reason.check(ConnectionLost)
        self._in_read = True
        self._close(reason)
        self._in_read = False
        self._report()

    def _close(self, outcome: Failure) -> None:
        """Close the socket now, and tell the protocol as soon as no call of its own is on the stack."""
        if self._fd < 0:
            return
        sock = self._sock
        self._leave_reactor()
        self._forget()
        if self._aborted:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                pass  # the socket is beyond resetting
        sock.close()
        self._outcome = outcome
        if not self._in_read:
            next_turn(self._reactor, self._report)

    def _leave_reactor(self) -> None:
        self._ignore_input()
        if self._writing:
            self._writing = False
            self._reactor.removeWriter(self)

    def _forget(self) -> None:
        self.connected = self._direct = False
        self._fd = -1
        self._sock = None
        self._pending.clear()
        self._unsent = 0

    def _report(self) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is None:
            return
        protocol, self.protocol = self.protocol, None
        producer, self._producer = self._producer, None
        deadline, self.closing_deadline = self.closing_deadline, None
        if deadline is not None:
            deadline.cancel()
        if producer is not None:
            producer.stopProducing()
        if protocol is not None:
            protocol.connectionLost(outcome)

    # -- facts

    def getPeer(self) -> Address:
        if not isinstance(self._peer, Address):
            self._peer = as_address(self._peer if self._peer is not None else self._ask("getpeername"))
        return self._peer

    def getHost(self) -> Address:
        if not isinstance(self._host, Address):
            self._host = as_address(self._host if self._host is not None else self._ask("getsockname"))
        return self._host

    def _ask(self, question: str) -> Any:
        try:
            return getattr(self._sock, question)()
        except (AttributeError, OSError):  # closed before anybody asked
            return ("0.0.0.0", 0)

    def getTcpNoDelay(self) -> bool:
        return bool(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(enabled))

    def getTcpKeepAlive(self) -> bool:
        return bool(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(enabled))

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "stream"
