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
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw.transport.deadlines import Deadlines
from netfw.transport.descriptor_set import leave
from netfw.transport.pipes import SHARED, Buffer, Pipe, PipePool
from netfw.transport.relay_life import LEFT, RIGHT, RelayLife, RelayOutcome
from netfw.transport.stream import Stream

_SMALL: Final = 1 << 14
"""A direction is copied until a read is as large as this, and again when what came was smaller."""
_MORE_MAY_BE_THERE: Final = 1 << 16
"""Where so much came at once; it is all that a pipe of the usual size takes."""
_ROUNDS_A_TURN: Final = 4
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class SplicedRelay:
    """One relay in the kernel. Takes the sockets of both streams, which must be `may_detach`; `over` as `RelayLife`."""

    __slots__ = ("reactor", "pipes", "left", "right", "life")

    def __init__(
        self,
        left: Stream,
        right: Stream,
        deadlines: Deadlines,
        idle: float | None,
        lifetime: float | None,
        over: Callable[[RelayOutcome], object],
        pipes: PipePool = SHARED,
    ) -> None:
        self.reactor: Any = left.reactor
        self.pipes = pipes
        self.life = life = RelayLife(deadlines, idle, lifetime, self.abort, over)
        self.left = near = _End(self, life, LEFT, left)
        self.right = far = _End(self, life, RIGHT, right)
        near.other, far.other = far, near

    def both_ended(self) -> None:
        """All is said, and handed to the kernel."""
        self.close()
        self.life.over()

    def abort(self) -> None:
        for end in (self.left, self.right):
            if end.fd >= 0:
                try:
                    end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                except OSError:
                    pass  # the socket is beyond resetting
        self.close()

    def close(self) -> None:
        self.left.close()
        self.right.close()


class _End:
    """One socket: the source of one direction, and the sink of the other."""

    __slots__ = (
        "relay", "life", "index", "sock", "when_closed", "fd", "other", "pipe", "bulk", "ended", "shut", "reading",
        "writing", "__weakref__",
    )  # fmt: skip

    def __init__(self, relay: SplicedRelay, life: RelayLife, index: int, stream: Stream) -> None:
        self.relay: SplicedRelay | None = relay  # and `other`: None once it is closed, so that no cycle is left behind
        self.life = life
        self.index = index
        self.fd = stream.fileno()
        self.sock: Any = stream.detach(self)  # type: ignore[arg-type]  # classImplements, below
        self.when_closed = stream.when_closed
        self.other: _End | None = None
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
            assert self.relay is not None
            self.relay.reactor.addReader(self)

    def doRead(self) -> None:
        """Bytes have come: on with them. A small piece goes through the process."""
        if not self.reading or self.pipe is not None:
            return
        if self.bulk:
            self.fill_pipes()
            return
        life, other = self.life, self.other
        assert other is not None
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
        assert self.relay is not None
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
                self.life.broke(self.index)
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
        pipe, moved, other = self.pipe, 0, self.other
        assert pipe is not None and other is not None and self.relay is not None
        try:
            while pipe.held:
                moved += pipe.drain(other.fd)
        except BlockingIOError:
            pass
        except OSError:
            self.life.broke(other.index)
            return False
        if moved:
            self.life.moved(self.index, moved)
        if pipe.held:
            self.ignore()
            other.await_room()
            return False
        self.pipe = None
        self.relay.pipes.give_back(pipe)
        return True

    def doWrite(self) -> None:
        """There is room again for what the other end has in flight."""
        other = self.other
        if not self.writing or other is None or not other.push():
            return
        self.writing = False
        assert self.relay is not None
        self.relay.reactor.removeWriter(self)
        if other.ended:
            other.pass_end_on()
        else:
            other.watch()

    def await_room(self) -> None:
        if not self.writing:
            self.writing = True
            assert self.relay is not None
            self.relay.reactor.addWriter(self)

    def input_ended(self) -> None:
        self.ended = True
        self.life.ended(self.index)
        if self.pipe is None:
            self.pass_end_on()
        self.ignore()  # last: where all is closed by now, that has done it

    def pass_end_on(self) -> None:
        self.shut = True
        other = self.other
        assert other is not None and self.relay is not None
        if other.shut:  # the second end: closing says it too
            self.relay.both_ended()
            return
        try:
            other.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.life.broke(other.index)

    def ignore(self) -> None:
        if self.reading:
            self.reading = False
            assert self.relay is not None
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
            self.life.broke(self.index)

    def close(self) -> None:
        relay, self.relay, self.other = self.relay, None, None
        if relay is None:
            return
        if self.reading or self.writing:
            self.reading = self.writing = False
            leave(relay.reactor, self)
        self.fd = -1
        self.sock.close()
        when_closed, self.when_closed = self.when_closed, None
        if when_closed is not None:
            when_closed()
        pipe, self.pipe = self.pipe, None
        if pipe is not None:
            relay.pipes.give_back(pipe)

    def fileno(self) -> int:
        return self.fd

    def logPrefix(self) -> str:
        return "relay"


# Not by a decorator: compiled, a decorated class would be an ordinary one.
classImplements(_End, IReadWriteDescriptor)
