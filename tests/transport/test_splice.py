"""What only a spliced relay does."""

import os
import socket

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from netfw.testing.deferreds import result_of
from netfw.testing.fd_reactor import FdReactor
from netfw.testing.streams import Recorder, stream_wire
from netfw.transport import pipes
from netfw.transport.deadlines import Deadlines
from netfw.transport.pipes import Buffer, PipePool
from netfw.transport.splice import SplicedRelay

pytestmark = pytest.mark.skipif(not pipes.AVAILABLE, reason="this platform has no splice")

@pytest.fixture
def pool():
    pool = PipePool(capacity=2, large=2)
    yield pool
    pool.close()


class Scene:
    def __init__(self, pool):
        self.reactor = FdReactor()
        self.deadlines = Deadlines(self.reactor)
        left, right = stream_wire(Recorder(), self.reactor), stream_wire(Recorder(), self.reactor)
        self.client, self.origin = left.peer, right.peer
        self.deferred = Deferred(lambda _: self.relay.life.cancel())
        over = self.deferred.callback
        self.relay = SplicedRelay(left.transport, right.transport, self.deadlines, 60, None, over, pool)
        self.ends = self.relay.left, self.relay.right

    def fill(self):
        """The client sends until bytes are in flight that the origin does not take."""
        while not self.ends[0].pipe:
            self.client.send(b"x" * (1 << 20))
            self.reactor.turn()


def test_an_idle_relay_owns_no_pipe(pool):
    """A pipe is borrowed while bytes are in flight, and given back when they have arrived."""
    scene = Scene(pool)
    assert [end.pipe for end in scene.ends] == [None, None]
    scene.client.send(b"x" * (1 << 15))
    scene.reactor.turn_until(lambda: scene.origin.read() is None or len(scene.origin.data) == 1 << 15)
    assert [end.pipe for end in scene.ends] == [None, None]
    assert len(pool) == 1
    scene.fill()
    assert len(pool) == 0
    scene.reactor.turn_until(lambda: scene.origin.read() is None or not scene.ends[0].pipe)
    assert len(pool) == 1
    scene.deferred.cancel()


def test_small_pieces_need_no_pipe(pool):
    """Handshakes and requests go through the process: no pipe is made for them. What comes in bulk after them has one,
    and small pieces after that have none again.
    """
    scene = Scene(pool)
    left, right = scene.ends
    for number in range(1, 4):
        scene.client.send(b"ping")
        scene.reactor.turn_until(lambda: scene.origin.read() is None or scene.origin.data == b"ping" * number)  # noqa: B023
        scene.origin.send(b"pong")
        scene.reactor.turn_until(lambda: scene.client.read() is None or scene.client.data == b"pong" * number)  # noqa: B023
    assert (len(pool), left.bulk, right.bulk) == (0, False, False)
    assert (scene.relay.life.from_left, scene.relay.life.from_right) == (12, 12)
    scene.origin.send(b"x" * (1 << 16))
    scene.reactor.turn_until(lambda: scene.client.read() is None or len(scene.client.data) == 12 + (1 << 16))
    assert len(pool) == 1
    for _ in range(2):
        scene.origin.send(b"y")
        scene.reactor.turn_until(lambda: scene.client.read() == b"y")
    assert (left.bulk, right.bulk) == (False, False)
    scene.deferred.cancel()


def test_a_small_piece_that_the_sink_does_not_take(pool):
    """It waits, its source unwatched, and arrives whole and in order."""
    scene = Scene(pool)
    left, right = scene.ends
    right.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    sent = 0
    while left.pipe is None:
        sent += scene.client.send(b"0123456789" * 500)
        scene.reactor.turn()
    assert isinstance(left.pipe, Buffer)
    assert left not in scene.reactor.getReaders()
    scene.client.end()
    scene.reactor.turn_until(lambda: scene.origin.read() is None or scene.origin.ended)
    assert scene.origin.data == b"0123456789" * (sent // 10) + b"0123456789"[: sent % 10]
    assert (scene.relay.life.from_left, scene.relay.life.from_right) == (sent, 0)
    scene.deferred.cancel()


def test_a_cut_relay_closes_its_pipe(pool):
    """Bytes in flight are dropped with the pipe that holds them."""
    scene = Scene(pool)
    scene.fill()
    pipe = scene.ends[0].pipe
    scene.deferred.cancel()
    assert (len(pool), scene.ends[0].pipe) == (0, None)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(pipe.reader)


def test_a_blocked_source_is_not_watched(pool):
    """While bytes wait for the sink the source is out of the reactor: no turn is spent on it."""
    scene = Scene(pool)
    scene.fill()
    left, right = scene.ends
    assert left not in scene.reactor.getReaders()
    assert right in scene.reactor.getWriters()
    assert "left" in repr(left)
    scene.deferred.cancel()


def test_ends_are_descriptors(pool):
    """Each socket is a descriptor of its own."""
    scene = Scene(pool)
    for end in scene.ends:
        assert verifyObject(IReadWriteDescriptor, end)
    scene.deferred.cancel()
    assert [end.fileno() for end in scene.ends] == [-1, -1]


def test_an_old_event_of_another_socket_changes_nothing(pool):
    """A hang-up or readiness that is not ours is seen through: the socket itself is asked."""
    scene = Scene(pool)
    left, right = scene.ends
    for end in (left, right):
        end.doRead()
        end.doWrite()
        scene.reactor.removeReader(end)
        end.connectionLost(Failure(ConnectionDone()))
    assert set(scene.reactor.getReaders()) == {left, right}
    scene.fill()
    scene.reactor.removeReader(right)
    scene.reactor.removeWriter(right)
    right.connectionLost(Failure(ConnectionDone()))
    assert right in scene.reactor.getWriters()
    scene.deferred.cancel()
    left.connectionLost(Failure(ConnectionDone()))


def test_the_end_of_the_reactor(pool):
    """When the reactor ends, both sockets are closed and the relay is over."""
    scene = Scene(pool)
    scene.reactor.disconnect_all()
    assert result_of(scene.deferred).reason in ("client_aborted", "origin_aborted")
    assert [end.fileno() for end in scene.ends] == [-1, -1]


def test_the_sink_is_gone_when_the_end_is_passed_on(pool):
    """An end that cannot be passed on means that the other side broke."""
    scene = Scene(pool)
    scene.origin.reset()
    scene.client.end()
    scene.ends[1].ignore()  # so that the reset is not seen first
    scene.reactor.turn_until(lambda: scene.deferred.called)
    assert result_of(scene.deferred).reason == "origin_aborted"


def test_a_hang_up_while_bytes_wait(pool):
    """The reactor's word that the sink is gone ends both."""
    scene = Scene(pool)
    scene.fill()
    left, right = scene.ends
    scene.reactor.removeWriter(right)
    right.connectionLost(Failure(ConnectionLost()))
    assert result_of(scene.deferred).reason == "origin_aborted"
