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
from collections.abc import Callable, Iterable
from typing import Any, Final

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
from zope.interface import classImplements

from netfw.interfaces import IByteTransport
from netfw.transport.deadlines import Deadline, next_turn
from netfw.transport.descriptor_set import leave, replace
from netfw.transport.splicing import Splicing
from netfw.transport.unsent import PARTS_A_WRITE, Unsent

HIGH_WATER: Final = 1 << 16
"""A producer is paused when more than this waits to be sent; Twisted's own figure."""
LOW_WATER: Final = 1 << 14
"""And resumed when no more than this waits: above zero, so that the kernel is not left with nothing to send."""

# A read of more than 128 KiB makes malloc map and unmap memory, which costs several times the read itself. So only a
# stream whose last read was a full one asks for much.
_USUAL_READ: Final = 1 << 16
_BULK_READ: Final = 1 << 18
_READS_A_TURN: Final = 4
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_DONE: Final = Failure(ConnectionDone())
_log = Logger()


class Stream(Splicing):
    """A transport over one connected, non-blocking socket, which it owns from now on.

    `host` and `peer` may be given as addresses, as the socket module's tuples or, when they are not known, as None.
    """

    __slots__ = (
        "reactor", "protocol", "started", "connected", "disconnecting", "read_ended",
        "closing_deadline", "when_closed", "_fd", "_paused", "_registered", "_in_read", "_read_size", "_direct",
        "_unsent", "_writing", "_write_closing", "_write_ended", "_write_error", "_producer", "_producer_paused",
        "_outcome", "_aborted", "__weakref__",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, reactor: IReactorFDSet, *, host: Any = None, peer: Any = None) -> None:
        self.reactor: Any = reactor
        self.protocol: Any = None
        self.started = False
        """Whether a protocol was ever attached."""
        self.connected = True
        self.disconnecting = False
        self.read_ended = False
        """Whether the peer has ended its side."""
        self.bytes_in = self.bytes_out = 0
        self.closing_deadline: Deadline | None = None
        """Cancelled when the connection is over. `closing` keeps its abort timer here."""
        self.when_closed: Callable[[], object] | None = None
        self._sock: Any = sock
        self._fd = sock.fileno()
        self._host = host
        self._peer = peer
        self._paused = self._in_read = False
        self._to_splice = 0  # of the next bytes, this many are read into pipes
        self._registered = False  # as a reader
        self._read_size = _USUAL_READ
        self._direct = True  # a write may go straight to the kernel
        self._unsent = Unsent()
        self._writing = False  # registered as a writer
        self._write_closing = False
        self._write_ended = False
        self._write_error: OSError | None = None
        self._producer: Any = None
        self._producer_paused = False
        self._outcome: Failure | None = None  # closed, and the protocol is yet to be told
        self._aborted = False

    def __repr__(self) -> str:
        states = {
            "closed": self._fd < 0 and self._outcome is None,
            "closing": self.disconnecting or self._outcome is not None,
            "not started": not self.started,
            "paused": self._paused,
            "input ended": self.read_ended,
            "output ended": self._write_closing,
            f"{self._unsent.size} unsent": bool(self._unsent.size),
        }
        state = ", ".join(name for name, holds in states.items() if holds) or "reading"
        return f"<Stream fd={self._fd} peer={self._peer!r} {state}>"

    # -- starting, handing over

    @property
    def unsent(self) -> int:
        """How many bytes wait to be sent."""
        return self._unsent.size

    def start(self, protocol: IProtocol, *, read_first: bool = False) -> None:
        """Attach the first protocol and begin to read.

        With `read_first` the socket is read before the reactor is asked to watch it: for a stream that was just
        accepted, whose first bytes are often there already.
        """
        self.started = True
        self.protocol = protocol
        protocol.makeConnection(self)
        if read_first:
            self.read_now()
        self._watch_input()

    def switch_protocol(self, protocol: IProtocol) -> None:
        """Hand the running stream to another protocol; the former one hears no more of it.

        Whether reading is paused, and which producer is registered, stays as it is.
        """
        self._to_splice = 0
        self.protocol = protocol
        protocol.makeConnection(self)

    def read_now(self) -> None:
        """Read once without waiting for the reactor. What the protocol raises ends this stream and nothing else."""
        if self._in_read or self._fd < 0 or not self.started:
            return
        try:
            self.doRead()
        except Exception:
            failure = Failure()
            _log.failure("A protocol failed on what it received", failure=failure)
            self.connectionLost(failure)

    @property
    def may_detach(self) -> bool:
        """Whether the socket is all there is: open, nothing kept here to be sent, no end of ours under way."""
        return self._direct

    def detach(self, reader: IReadWriteDescriptor | None = None) -> socket.socket:
        """Give the socket away, open, and watched for `reader`, which has the same descriptor; the taker calls
        `when_closed`. The protocol hears no more of it. Raises RuntimeError unless `may_detach`."""
        if not self._direct:
            raise RuntimeError(f"cannot detach {self!r}")
        sock = self._sock
        if reader is None:
            self._ignore_input()
        elif self._registered:
            self._registered = False
            replace(self.reactor, self, reader)
        else:
            self.reactor.addReader(reader)
        self._forget()
        self.protocol = self._producer = None
        if self.closing_deadline is not None:
            self.closing_deadline.cancel()
        return sock

    # -- writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not data:
            return
        if not self._direct:
            self._queue(data)
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
                self._queue(part)
            return
        if len(parts) > PARTS_A_WRITE:
            for start in range(0, len(parts), PARTS_A_WRITE):
                self.writeSequence(parts[start : start + PARTS_A_WRITE])
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
                self._keep(memoryview(part)[sent:])
                sent = 0

    def _queue(self, data: Any) -> None:
        """A write behind bytes that wait; or behind the end, and then ignored."""
        if self._fd >= 0 and not self.disconnecting and not self._write_closing and self._write_error is None:
            self._keep(data)

    def _keep(self, data: Any) -> None:
        """Keep what the kernel did not take; in order, since nothing is sent past what is kept."""
        self._direct = False
        self._unsent.keep(data)
        if not self._writing:
            self._writing = True
            self.reactor.addWriter(self)
        if self._unsent.size > HIGH_WATER and self._producer is not None and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def doWrite(self) -> None:
        """The kernel takes bytes again."""
        if self._fd < 0 or not self._writing:  # the read of the same turn closed, or the descriptor is a new one
            return
        try:
            self.bytes_out += self._unsent.send(self._sock)
        except BlockingIOError:
            return
        except OSError as problem:
            self._write_failed(problem)
            return
        if not self._unsent.size:
            self._all_sent()
        elif self._unsent.size <= LOW_WATER:
            self._resume_producer()

    def _all_sent(self) -> None:
        self._writing = False
        self.reactor.removeWriter(self)
        if self.disconnecting:
            self._close(_DONE)
        elif self._write_closing:
            self._end_output()
        else:
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
        self._unsent.clear()
        if self._writing:
            self._writing = False
            self.reactor.removeWriter(self)
        if self._paused or self.read_ended or self.disconnecting or not self.started:
            self._close(self._orderly_end())

    def _orderly_end(self) -> Failure:
        """What the protocol is told when nothing went wrong just now: something may have before."""
        if self._write_error is not None:
            return Failure(ConnectionLost(str(self._write_error)))
        return _DONE

    # -- reading

    def doRead(self) -> None:
        """The kernel has bytes for us, or the end of them."""
        if self._paused or self.read_ended or self.disconnecting:
            # Looking away costs a system call, so the reactor is asked to only when bytes came in spite of the pause.
            self._ignore_input()
            return
        self._in_read = True
        try:
            for _ in range(_READS_A_TURN):
                if self._to_splice:
                    self._read_spliced()
                    break
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
        self.read_ended = True
        self._ignore_input()
        if self._write_error is not None or self._write_ended or not IHalfCloseableProtocol.providedBy(self.protocol):
            self._close(self._orderly_end())
        else:
            self.protocol.readConnectionLost()

    def _watch_input(self) -> None:
        if not (self._registered or self._paused or self.read_ended or self.disconnecting or self._fd < 0):
            self._registered = True
            self.reactor.addReader(self)

    def _ignore_input(self) -> None:
        if self._registered:
            self._registered = False
            self.reactor.removeReader(self)

    def pauseProducing(self) -> None:
        self._paused = True
        if self._write_error is not None:
            self._close(self._orderly_end())

    def resumeProducing(self) -> None:
        self._paused = False
        if self.started:
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
        self._producer_paused = self._unsent.size > HIGH_WATER
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
        if self._unsent.size:
            self._ignore_input()
        else:
            self._close(self._orderly_end())

    def loseWriteConnection(self) -> None:
        """End our side once all is sent; reading goes on. Writes after this are ignored."""
        if self._write_closing or self._fd < 0 or self.disconnecting:
            return
        self._write_closing = True
        self._direct = False
        if not self._unsent.size:
            self._end_output()

    def _end_output(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as problem:
            self._write_failed(problem)
            return
        self._write_ended = True
        if self.read_ended:
            self._close(_DONE)
        elif IHalfCloseableProtocol.providedBy(self.protocol):
            next_turn(self.reactor, self._tell_output_ended)

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
            self._report()  # the protocol closed, and then raised
            return
        self._registered = self._writing = False  # the reactor has taken us out before it called
        if reason.check(ConnectionDone):
            # A hang-up. It may be that of a socket that had this descriptor earlier in this turn: ask the socket.
            if self._unsent.size:
                self._writing = True
                self.reactor.addWriter(self)
            self._watch_input()
            self.read_now()
            return
        # An exception of ours must not look like an orderly end to the peer.
        self._aborted = not reason.check(ConnectionLost)
        self._close(reason, tell_now=True)

    def _close(self, outcome: Failure, tell_now: bool = False) -> None:
        """Close the socket now, and tell the protocol as soon as no call of its own is on the stack."""
        if self._fd < 0:
            return
        sock = self._sock
        if self._registered or self._writing:
            self._registered = self._writing = False
            leave(self.reactor, self)
        self._forget()
        if self._aborted:
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                pass  # the socket is beyond resetting
        sock.close()
        if self.when_closed is not None:
            self.when_closed()
        self._outcome = outcome
        if tell_now:
            self._report()
        elif not self._in_read:
            next_turn(self.reactor, self._report)

    def _forget(self) -> None:
        self.connected = self._direct = False
        self._fd = -1
        self._sock = None
        self._unsent.clear()

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


# Not by a decorator: compiled, a decorated class would be an ordinary one.
classImplements(Stream, IByteTransport, ITCPTransport, IConsumer, IPushProducer, IReadWriteDescriptor)
