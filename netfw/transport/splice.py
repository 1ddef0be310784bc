"""Splice: two plain TCP streams joined inside the kernel (splice(2)).

In this room: moving bytes from socket to pipe to socket without copying them into the process. Not here: the pipes
(`pipes`); TLS, or any look at the bytes: what must be read first is read from the Stream before.

Each socket is a descriptor of its own in the reactor. A pipe is borrowed only while bytes are in flight, so an idle
tunnel owns two descriptors and no pipe. Without a descriptor for a pipe bytes are copied instead; and so is what comes
in small pieces (handshakes, requests), which costs the kernel the same and us less.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from netfw.transport.deadlines import Deadlines
from netfw.transport.descriptor_set import leave
from netfw.transport.pipes import SHARED, Buffer, Pipe, PipePool
from netfw.transport.relay_life import LEFT, RIGHT, RelayLife, RelayOutcome
from netfw.transport.stream import Stream

_SMALL = 1 << 14
"""A direction is copied until a read is as large as this, and again when what came was smaller."""
_MORE_MAY_BE_THERE = 1 << 16
"""Where so much came at once; it is all that a pipe of the usual size takes."""
_ROUNDS_A_TURN = 4
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


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
        pipes: PipePool = SHARED,
    ) -> None:
        self.reactor = left.reactor
        self.pipes = pipes
        self.life = RelayLife(deadlines, idle=idle, lifetime=lifetime, abort=self.abort)
        self.ends = ends = (_End(self, LEFT, left), _End(self, RIGHT, right))
        ends[LEFT].other, ends[RIGHT].other = ends[RIGHT], ends[LEFT]

    def start(self, left_sent: int = 0, right_sent: int = 0) -> Deferred[RelayOutcome]:
        """The Deferred of its end; the counts are of first bytes that were sent before."""
        deferred: Deferred[RelayOutcome] = self.life.deferred
        self.life.moved_from[:] = [left_sent, right_sent]
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
            end.other = end.relay = None  # no cycle is left behind


@implementer(IReadWriteDescriptor)
class _End:
    """One socket: the source of one direction, and the sink of the other."""

    __slots__ = (
        "relay", "index", "sock", "when_closed", "fd", "other", "pipe", "bulk", "ended", "shut", "reading", "writing",
        "__weakref__",
    )  # fmt: skip

    def __init__(self, relay: SplicedRelay, index: int, stream: Stream) -> None:
        self.relay: Any = relay  # and `other`: None once it is closed
        self.index = index
        self.fd = stream.fileno()
        self.sock = stream.detach(self)
        self.when_closed = stream.when_closed
        self.other: Any = None
        self.pipe: Pipe | Buffer | None = None  # only while bytes of this end are in flight
        self.bulk = False  # so much comes at once that it is worth a pipe
        self.ended = False  # this end has said all
        self.shut = False  # and the other was told so
        self.reading = True
        self.writing = False

    def __repr__(self) -> str:
        held = self.pipe.held if self.pipe else 0
        return f"<spliced {('left', 'right')[self.index]} fd={self.fd} in flight={held} ended={self.ended}>"

    def watch(self) -> None:
        if not self.reading and not self.ended:
            self.reading = True
            self.relay.reactor.addReader(self)

    def doRead(self) -> None:
        """Bytes have come: on with them. A small piece goes through the process."""
        if not self.reading or self.pipe is not None:
            return
        if self.bulk:
            self.fill_pipes()
            return
        life, other = self.relay.life, self.other
        try:
            data = self.sock.recv(_SMALL)
        except BlockingIOError:
            return
        except OSError:
            life.broke(self.index)
            return
        if not data:
            self.input_ended()
            return
        size = len(data)
        try:
            sent = other.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            life.broke(other.index)
            return
        if sent:
            life.moved(self.index, sent)
        if sent < size:
            self.pipe = Buffer(data[sent:])
            self.ignore()
            other.await_room()
        if size == _SMALL:
            self.bulk = True
            if self.pipe is None:
                self.fill_pipes()

    def fill_pipes(self) -> None:
        """Much has come."""
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
            self.bulk = moved >= _SMALL
            if not self.push() or moved < _MORE_MAY_BE_THERE:
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
        self.relay.life.ended(self.index)
        if self.pipe is None:
            self.pass_end_on()
        self.ignore()  # last: where all is closed by now, that has done it

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
        if self.reading or self.writing:
            self.reading = self.writing = False
            leave(self.relay.reactor, self)
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
