"""Both ends of a connection under a test: a transport with a protocol that remembers, and a bare socket as its peer.

In this room: `Recorder` and its kin, `Peer`, `Wire`, and a wire over a socketpair. For tests.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from netfw.testing.fd_reactor import FdReactor, turn_until
from netfw.testing.reactor_runs import turn_of
from netfw.transport.stream import Stream


class Recorder(Protocol):
    """Remembers all that its transport tells it."""

    def __init__(self, on_data: Callable[[Any, bytes], object] | None = None) -> None:
        self.made = 0
        self.chunks: list[bytes] = []
        self.lost: list[Failure] = []
        self.inside = False
        self.lost_inside = False
        """Whether connectionLost came while this protocol was inside dataReceived."""
        self._on_data = on_data

    @property
    def data(self) -> bytes:
        """All that was received."""
        return b"".join(self.chunks)

    @property
    def reason(self) -> BaseException | None:
        """Why the connection was lost."""
        return self.lost[0].value if self.lost else None

    def connectionMade(self) -> None:
        self.made += 1

    def dataReceived(self, data: bytes) -> None:
        self.chunks.append(data)
        if self._on_data is not None:
            self.inside = True
            try:
                self._on_data(self, data)
            finally:
                self.inside = False

    def connectionLost(self, reason: Failure) -> None:
        self.lost_inside = self.lost_inside or self.inside
        self.lost.append(reason)


@implementer(IHalfCloseableProtocol)
class HalfClosingRecorder(Recorder):
    """One that is told of each side's end."""

    def __init__(self, on_data: Callable[[Any, bytes], object] | None = None) -> None:
        super().__init__(on_data)
        self.ends: list[str] = []

    def readConnectionLost(self) -> None:
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        self.ends.append("write")


@implementer(IPushProducer)
class RecordingProducer:
    """Remembers what its consumer asks of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pauseProducing(self) -> None:
        self.asked.append("pause")

    def resumeProducing(self) -> None:
        self.asked.append("resume")

    def stopProducing(self) -> None:
        self.asked.append("stop")


class Peer:
    """The other end: a plain, non-blocking socket. `read()` and `send()` do what is possible now."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._data = bytearray()
        self.ended = False
        self.was_reset = False

    def read(self, limit: int = 1 << 20) -> bytes:
        """Read once; remembers the end, and a reset."""
        try:
            data = self.sock.recv(limit)
        except BlockingIOError:
            return b""
        except ConnectionError:
            self.was_reset = self.ended = True
            return b""
        self.ended = self.ended or not data
        self._data += data
        return data

    @property
    def data(self) -> bytes:
        """All that was read."""
        return bytes(self._data)

    def forget(self) -> None:
        """Keep nothing of what was read."""
        self._data.clear()

    def send(self, data: bytes) -> int:
        """Send what the kernel takes now."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    def end(self) -> None:
        """End this side alone."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close orderly (as far as all was read)."""
        self.sock.close()

    def reset(self) -> None:
        """Close with a reset (TCP only)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@dataclass
class Wire:
    """A transport under test with its protocol, the peer, and the reactor's turn."""

    transport: Any
    protocol: Any
    peer: Any
    turn: Callable[[float], object]
    can_end_one_side: bool = True
    can_reset: bool = True
    addresses_of_sockets: bool = True
    """Whether getPeer and getHost are the peer's own names for the two ends."""

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until the condition holds."""
        turn_until(self.turn, condition)

    def settle(self) -> None:
        """A few turns more, for what must not happen."""
        for _ in range(5):
            self.turn(0.001)

    def read_until_end(self) -> bytes:
        """All that the peer gets."""
        self.until(lambda: self.peer.read() is None or self.peer.ended)
        data: bytes = self.peer.data
        return data

    def send_all(self, data: bytes) -> None:
        """Let the peer send all of it, turning the reactor as long as the kernel takes no more."""
        rest = memoryview(data)
        while rest:
            sent = self.peer.send(rest)
            rest = rest[sent:]
            if not sent:
                self.turn(0.001)


def tcp_pair(address: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets over loopback, both non-blocking: the accepted one and the one that connected."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.bind((address, 0))
        listening.listen(1)
        far = socket.socket(family, socket.SOCK_STREAM)
        far.connect(listening.getsockname())
        near, _ = listening.accept()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


def stream_wire(protocol: Any, reactor: Any = None, *, pair: tuple[socket.socket, socket.socket] | None = None) -> Wire:
    """A Stream with this protocol: over loopback TCP, on an FdReactor of its own unless one is given."""
    reactor = FdReactor() if reactor is None else reactor
    near, far = pair or tcp_pair()
    near.setblocking(False)
    tcp = near.family != socket.AF_UNIX
    stream = Stream(near, reactor)
    stream.start(protocol)
    turn = turn_of(reactor)
    return Wire(stream, protocol, Peer(far), turn, can_reset=tcp, addresses_of_sockets=tcp)
