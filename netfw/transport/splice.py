"""Splice: two plain TCP streams joined inside the kernel (splice(2)).

In this room: moving bytes from socket to pipe to socket without copying them into the process, and the pool of pipes.
Not here: TLS, or any look at the bytes: what must be read first is read from the Stream before.

Each socket is a descriptor of its own in the reactor. A pipe is borrowed only while bytes are in flight, so an idle
tunnel owns two descriptors and no pipe, and the kernel's limit on the memory of pipes (64 MiB for a user that is not
root) is shared by the tunnels that move something right now. Without a descriptor for a pipe bytes are copied
instead.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from netfw.transport.deadlines import Deadlines
from netfw.transport.relay_life import LEFT, RIGHT, RelayLife, RelayOutcome
from netfw.transport.stream import Stream

AVAILABLE = hasattr(os, "splice") and hasattr(os, "pipe2")
"""Whether this platform has it: Linux."""

_BULK = 1 << 18
_ROUNDS_A_TURN = 4
_FLAGS = 1 | 2  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK, which os names only since Python 3.14
_F_SETPIPE_SZ = 1031
_LARGE_PIPE = 1 << 20
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Pipe:
    """Bytes in flight in the kernel."""

    __slots__ = ("reader", "writer", "held")

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self.writer = writer
        self.held = 0

    def fill(self, fd: int) -> int:
        """Take what a socket has; 0 at its end. Raises BlockingIOError when it has nothing now."""
        moved = os.splice(fd, self.writer, _BULK, flags=_FLAGS)
        self.held += moved
        return moved

    def drain(self, fd: int) -> int:
        """Give a socket what it takes. Raises BlockingIOError when it takes nothing now."""
        moved = os.splice(self.reader, fd, self.held, flags=_FLAGS)
        self.held -= moved
        return moved

    def close(self) -> None:
        """Drop what it holds."""
        os.close(self.reader)
        os.close(self.writer)


class Buffer:
    """The same in the process's memory, for when there is no descriptor left for a pipe."""

    __slots__ = ("data", "held")

    def __init__(self) -> None:
        self.data = b""
        self.held = 0

    def fill(self, fd: int) -> int:
        """As `Pipe.fill`; only called when it is empty."""
        self.data = os.read(fd, 1 << 16)
        self.held = len(self.data)
        return self.held

    def drain(self, fd: int) -> int:
        """As `Pipe.drain`."""
        moved = os.write(fd, self.data)
        self.data = self.data[moved:]
        self.held -= moved
        return moved

    def close(self) -> None:
        """Drop what it holds."""
        self.data = b""


class PipePool:
    """Empty pipes to borrow. It keeps no more than `capacity`; no more than `large` of all are made large."""

    def __init__(self, capacity: int = 64, large: int = 32) -> None:
        self._idle: list[Pipe] = []
        self._capacity = capacity
        self._may_be_large = large

    def __len__(self) -> int:
        """How many are idle."""
        return len(self._idle)

    def borrow(self) -> Pipe | Buffer:
        """An empty pipe, or a buffer when there is no descriptor for one."""
        if self._idle:
            return self._idle.pop()
        try:
            reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return Buffer()
        if self._may_be_large > 0:
            self._may_be_large -= 1
            try:
                fcntl.fcntl(writer, _F_SETPIPE_SZ, _LARGE_PIPE)
            except OSError:  # EPERM: this user's pipes hold as much memory as they may; the usual size does too
                self._may_be_large = 0
        return Pipe(reader, writer)

    def give_back(self, pipe: Pipe | Buffer) -> None:
        """An empty pipe is kept; one that holds bytes, of a relay that was cut, is closed."""
        if isinstance(pipe, Pipe) and not pipe.held and len(self._idle) < self._capacity:
            self._idle.append(pipe)
        else:
            pipe.close()

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle:
            self._idle.pop().close()


_pipes = PipePool()


class SplicedRelay:
    """One relay in the kernel. Takes the sockets of both streams, which must be `may_detach`."""

    __slots__ = ("reactor", "pipes", "ends", "life")

    def __init__(
        self,
        left: Stream,
        right: Stream,
        deadlines: Deadlines,
        idle: float | None,
        lifetime: float | None,
        pipes: PipePool = _pipes,
    ) -> None:
        self.reactor = left.reactor
        self.pipes = pipes
        self.life = RelayLife(deadlines, idle=idle, lifetime=lifetime, abort=self.abort)
        self.ends = (_End(self, LEFT, left), _End(self, RIGHT, right))

    def start(self, left_sent: int = 0, right_sent: int = 0) -> Deferred[RelayOutcome]:
        """Begin; the counts are of first bytes that were sent before."""
        deferred: Deferred[RelayOutcome] = self.life.deferred
        self.life.moved_from[:] = [left_sent, right_sent]
        left, right = self.ends
        left.other, right.other = right, left
        left.watch()
        right.watch()
        return deferred

    def both_ended(self) -> None:
        """All is said, and handed to the kernel."""
        self.close()
        self.life.over()

    def abort(self) -> None:
        for end in self.ends:
            if end.fd >= 0:
                try:
                    end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                except OSError:
                    pass  # the socket is beyond resetting
        self.close()

    def close(self) -> None:
        for end in self.ends:
            end.close()


@implementer(IReadWriteDescriptor)
class _End:
    """One socket: the source of one direction, and the sink of the other."""

    __slots__ = (
        "relay", "index", "sock", "when_closed", "fd", "other", "pipe", "ended", "shut", "reading", "writing",
        "__weakref__",
    )  # fmt: skip

    def __init__(self, relay: SplicedRelay, index: int, stream: Stream) -> None:
        self.relay = relay
        self.index = index
        self.sock = sock = stream.detach()
        self.when_closed = stream.when_closed
        self.fd = sock.fileno()
        self.other: Any = None
        self.pipe: Pipe | Buffer | None = None  # only while bytes of this end are in flight
        self.ended = False  # this end has said all
        self.shut = False  # and the other was told so
        self.reading = False
        self.writing = False

    def __repr__(self) -> str:
        held = self.pipe.held if self.pipe else 0
        return f"<spliced {('left', 'right')[self.index]} fd={self.fd} in flight={held} ended={self.ended}>"

    def watch(self) -> None:
        if not self.reading and not self.ended:
            self.reading = True
            self.relay.reactor.addReader(self)

    def doRead(self) -> None:
        """Bytes have come: on with them."""
        if not self.reading or self.pipe is not None:
            return
        pipes = self.relay.pipes
        for _ in range(_ROUNDS_A_TURN):
            pipe = pipes.borrow()
            try:
                moved = pipe.fill(self.fd)
            except BlockingIOError:
                pipes.give_back(pipe)
                return
            except OSError:
                pipes.give_back(pipe)
                self.relay.life.broke(self.index)
                return
            if not moved:
                pipes.give_back(pipe)
                self.input_ended()
                return
            self.pipe = pipe
            if not self.push() or moved < _BULK:
                return

    def push(self) -> bool:
        """What is in flight goes to the other socket. False when it did not take all, or is gone."""
        pipe, moved = self.pipe, 0
        assert pipe is not None
        try:
            while pipe.held:
                moved += pipe.drain(self.other.fd)
        except BlockingIOError:
            pass
        except OSError:
            self.relay.life.broke(self.other.index)
            return False
        if moved:
            self.relay.life.moved(self.index, moved)
        if pipe.held:
            self.ignore()
            self.other.await_room()
            return False
        self.pipe = None
        self.relay.pipes.give_back(pipe)
        return True

    def doWrite(self) -> None:
        """There is room again for what the other end has in flight."""
        if not self.writing or not self.other.push():
            return
        self.writing = False
        self.relay.reactor.removeWriter(self)
        if self.other.ended:
            self.other.pass_end_on()
        else:
            self.other.watch()

    def await_room(self) -> None:
        if not self.writing:
            self.writing = True
            self.relay.reactor.addWriter(self)

    def input_ended(self) -> None:
        self.ended = True
        self.ignore()
        self.relay.life.ended(self.index)
        if self.pipe is None:
            self.pass_end_on()

    def pass_end_on(self) -> None:
        self.shut = True
        if self.other.shut:  # the second end: closing says it too
            self.relay.both_ended()
            return
        try:
            self.other.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.relay.life.broke(self.other.index)

    def ignore(self) -> None:
        if self.reading:
            self.reading = False
            self.relay.reactor.removeReader(self)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor's word: a hang-up, or its own end."""
        if self.fd < 0:
            return
        was_writing, self.reading, self.writing = self.writing, False, False  # the reactor has taken us out
        if reason.check(ConnectionDone):
            # The event may be an old one, of another socket that had this descriptor: the socket itself is asked.
            if was_writing:
                self.await_room()
            self.watch()
            self.doRead()
        else:
            self.relay.life.broke(self.index)

    def close(self) -> None:
        if self.fd < 0:
            return
        self.ignore()
        if self.writing:
            self.writing = False
            self.relay.reactor.removeWriter(self)
        self.fd = -1
        self.sock.close()
        if self.when_closed is not None:
            self.when_closed()
        if self.pipe is not None:
            self.relay.pipes.give_back(self.pipe)
            self.pipe = None

    def fileno(self) -> int:
        return self.fd

    def logPrefix(self) -> str:
        return "relay"
