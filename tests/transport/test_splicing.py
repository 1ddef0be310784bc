"""Reading into pipes: what a Stream's protocol gets, what the other Stream sends on, and what is left of pipes."""

import errno
import os

import pytest

from netfw.testing.fd_reactor import FdReactor
from netfw.testing.streams import Recorder, RecordingProducer, stream_wire
from netfw.transport import pipes
from netfw.transport.pipes import SHARED
from netfw.transport.stream import HIGH_WATER

pytestmark = pytest.mark.skipif(not pipes.AVAILABLE, reason="this platform has no splice")


class Passing(Recorder):
    """Sends on what comes in pipes, and remembers how much that was; `takes` False leaves it in there."""

    def __init__(self, sink=None):
        super().__init__()
        self.sink = sink
        self.spliced = []
        self.takes = True

    def splicedReceived(self, pipe):
        self.spliced.append(len(pipe))
        if self.takes:
            self.sink.write_spliced(pipe)

    def dataReceived(self, data):
        super().dataReceived(data)
        if self.sink is not None and self.takes:
            self.sink.write(data)


class Scene:
    """A source whose bytes go to a sink."""

    def __init__(self):
        self.reactor = FdReactor()
        self.sink = stream_wire(Recorder(), self.reactor)
        self.source = stream_wire(Passing(self.sink.transport), self.reactor)
        self.passing = self.source.protocol

    def fill(self):
        """Send until bytes wait in the sink; returns all that was sent."""
        sent = 0
        while not self.sink.transport.unsent:
            sent += self.source.peer.send(b"x" * (1 << 20))
            self.reactor.turn()
        return sent


@pytest.fixture
def scene():
    SHARED.close()
    scene = Scene()
    yield scene
    for wire in (scene.source, scene.sink):
        wire.transport.abortConnection()
        wire.peer.close()
    scene.reactor.settle()
    assert scene.reactor.failures == []
    SHARED.close()


def test_so_many_bytes_and_no_more(scene):
    """The next bytes come in pipes, those behind them as ever; the counters have both."""
    scene.source.transport.splice_next(5)
    scene.source.peer.send(b"hello")
    scene.reactor.turn_until(lambda: scene.sink.peer.read() == b"hello")
    scene.source.transport.splice_next(3)
    scene.source.peer.send(b"abcdef")
    scene.reactor.turn_until(lambda: scene.sink.peer.read() is not None and scene.sink.peer.data == b"helloabcdef")
    assert (scene.passing.spliced, scene.passing.data) == ([5, 3], b"def")
    assert scene.source.transport.bytes_in == scene.sink.transport.bytes_out == 11
    assert len(SHARED) == 1


def test_asked_for_while_reading(scene):
    """A protocol that has read the head of something asks in the middle of a read; nothing is read past that."""

    def ask(protocol, data):
        if data.startswith(b"head"):
            scene.source.transport.splice_next(1 << 20)

    scene.passing._on_data = ask
    body = os.urandom(1 << 20)
    scene.source.peer.send(b"head")
    scene.reactor.turn_until(lambda: scene.passing.chunks)
    scene.source.send_all(body)
    scene.source.send_all(b"tail")
    scene.reactor.turn_until(
        lambda: scene.sink.peer.read() is not None and scene.sink.peer.data == b"head" + body + b"tail"
    )
    assert (sum(scene.passing.spliced), scene.passing.chunks) == (1 << 20, [b"head", b"tail"])


def test_the_sink_takes_no_more(scene):
    """What it did not take waits there with its pipe, is counted, and pauses the producer; then it goes out."""
    producer = RecordingProducer()
    scene.sink.transport.registerProducer(producer, True)
    scene.source.transport.splice_next(1 << 30)
    sent = scene.fill()
    while "pause" not in producer.asked:
        sent += scene.source.peer.send(b"y" * (1 << 20))
        scene.reactor.turn()
    assert HIGH_WATER < scene.sink.transport.unsent <= HIGH_WATER + pipes.BULK
    scene.sink.transport.write(b"behind")
    scene.reactor.turn_until(lambda: scene.sink.peer.read() is not None and len(scene.sink.peer.data) == sent + 6)
    assert scene.sink.peer.data.count(b"behind") == 1
    assert "resume" in producer.asked
    assert scene.sink.transport.unsent == 0
    assert len(SHARED) >= 1


def test_paused(scene):
    """Nothing is read while reading is paused."""
    scene.source.transport.splice_next(10)
    scene.source.transport.pauseProducing()
    scene.source.peer.send(b"hello")
    scene.reactor.settle()
    assert scene.passing.spliced == []
    scene.source.transport.resumeProducing()
    scene.reactor.turn_until(lambda: scene.passing.spliced == [5])


def test_the_source_ends(scene):
    """An end in the middle is told as ever, behind what came before it."""
    scene.source.transport.splice_next(10)
    scene.source.peer.send(b"hello")
    scene.source.peer.close()
    scene.reactor.turn_until(lambda: scene.passing.lost)
    assert scene.passing.spliced == [5]
    assert len(SHARED) == 1


def test_the_source_is_reset(scene):
    """A reset too."""
    scene.source.transport.splice_next(10)
    scene.source.peer.reset()
    scene.reactor.turn_until(lambda: scene.passing.lost)
    assert "reset" in str(scene.passing.reason)
    assert len(SHARED) == 1


def test_the_sink_is_gone(scene):
    """What it cannot get is dropped, with the pipe."""
    scene.source.transport.splice_next(1 << 30)
    scene.sink.peer.reset()
    scene.reactor.turn_until(lambda: scene.sink.protocol.lost)
    scene.source.peer.send(b"hello")
    scene.reactor.turn_until(lambda: scene.passing.spliced)
    assert len(SHARED) == 0
    assert scene.source.transport.connected


def test_the_sink_breaks_under_a_pipe(scene):
    """The write that fails is dropped in silence, as any other; the sink's own reading tells."""
    scene.sink.transport.pauseProducing()
    scene.sink.peer.reset()
    scene.source.transport.splice_next(1 << 30)
    scene.source.peer.send(b"hello")
    scene.reactor.turn_until(lambda: scene.sink.protocol.lost)
    assert len(SHARED) == 0


def test_the_sink_is_aborted_while_it_keeps_a_pipe(scene):
    """The pipe is closed with what it holds."""
    scene.source.transport.splice_next(1 << 30)
    scene.fill()
    assert len(SHARED) == 0
    before = len(os.listdir("/proc/self/fd"))
    scene.sink.transport.abortConnection()
    assert len(os.listdir("/proc/self/fd")) == before - 3  # two of the pipe, and the socket
    assert (len(SHARED), scene.sink.transport.unsent) == (0, 0)


def test_aborted_while_it_is_given_a_pipe(scene):
    """A pipe that the sink kept and gave up again within one call is not given back twice."""

    def give_and_abort(pipe):
        scene.passing.spliced.append(len(pipe))
        scene.sink.transport.write_spliced(pipe)
        scene.sink.transport.abortConnection()

    scene.sink.transport.write(b"x" * (1 << 25))
    scene.passing.splicedReceived = give_and_abort
    scene.source.transport.splice_next(10)
    scene.source.peer.send(b"hello")
    scene.reactor.turn_until(lambda: scene.passing.spliced == [5])
    assert len(SHARED) == 0


def test_what_the_protocol_leaves_is_dropped(scene):
    """Nobody else gets it, and its pipe is not used again."""
    scene.passing.takes = False
    scene.source.transport.splice_next(5)
    scene.source.peer.send(b"hello")
    scene.reactor.turn_until(lambda: scene.passing.spliced == [5])
    assert len(SHARED) == 0
    scene.reactor.settle()
    assert scene.sink.peer.read() == b""


def test_the_protocol_closes(scene):
    """A protocol that closes its own transport from within is told so once."""
    scene.passing.splicedReceived = lambda pipe: scene.source.transport.abortConnection()
    scene.source.transport.splice_next(5)
    scene.source.peer.send(b"hello")
    scene.reactor.turn_until(lambda: scene.passing.lost)
    assert len(scene.passing.lost) == 1


def test_another_protocol_gets_bytes(scene):
    """Whoever takes the stream over did not ask for pipes."""
    scene.source.transport.splice_next(1 << 20)
    other = Recorder()
    scene.source.transport.switch_protocol(other)
    scene.source.peer.send(b"hello")
    scene.reactor.turn_until(lambda: other.data == b"hello")


def test_without_descriptors_bytes_come(scene, monkeypatch):
    """Where no pipe is to be had the same bytes come as bytes, and no more of them at once."""

    def none_left(flags):
        raise OSError(errno.EMFILE, "none left")

    monkeypatch.setattr(os, "pipe2", none_left)
    scene.source.transport.splice_next(5)
    scene.source.peer.send(b"helloworld")
    scene.reactor.turn_until(lambda: scene.sink.peer.read() is not None and scene.sink.peer.data == b"helloworld")
    assert scene.passing.chunks == [b"hello", b"world"]
    assert scene.source.transport.bytes_in == 10
    scene.source.transport.splice_next(5)
    scene.source.transport.read_now()
    scene.source.peer.close()
    scene.reactor.turn_until(lambda: scene.passing.lost)


def test_without_descriptors_a_reset_is_told(scene, monkeypatch):
    """As ever."""

    def none_left(flags):
        raise OSError(errno.EMFILE, "none left")

    SHARED.close()
    monkeypatch.setattr(os, "pipe2", none_left)
    scene.source.transport.splice_next(5)
    scene.source.peer.reset()
    scene.reactor.turn_until(lambda: scene.passing.lost)
    assert "reset" in str(scene.passing.reason)
