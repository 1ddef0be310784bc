"""What a Stream does beyond the contract of all transports."""

import gc
import socket
import weakref

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, IReadWriteDescriptor, ITCPTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from netfw.testing.fd_reactor import FdReactor
from netfw.testing.living_objects import alive
from netfw.testing.streams import HalfClosingRecorder, Recorder, RecordingProducer, stream_wire, tcp_pair
from netfw.transport.stream import HIGH_WATER, LOW_WATER, Stream

BIG = b"x" * (1 << 23)


@pytest.fixture
def reactor():
    return FdReactor()


def fill(wire):
    """Write until bytes wait in the process."""
    while not wire.transport.unsent:
        wire.transport.write(BIG)


@pytest.mark.parametrize("interface", [ITCPTransport, IConsumer, IPushProducer, IReadWriteDescriptor])
def test_interfaces(interface):
    """A Stream is what Twisted's protocols expect of a TCP transport."""
    assert verifyObject(interface, stream_wire(Recorder()).transport)


def test_sends_at_once(reactor):
    """A write is with the kernel when it returns; the reactor is asked nothing."""
    wire = stream_wire(Recorder(), reactor)
    wire.transport.write(b"now")
    wire.transport.writeSequence([b" and", b" again"])
    assert wire.peer.sock.recv(100) == b"now and again"
    assert reactor.getWriters() == []
    assert wire.transport.bytes_out == 13


def test_counts(reactor):
    """bytes_in and bytes_out count what the kernel gave and took."""
    wire = stream_wire(Recorder(), reactor)
    fill(wire)
    total = wire.transport.bytes_out + wire.transport.unsent
    wire.until(lambda: wire.peer.read() is None or wire.transport.unsent == 0)
    assert wire.transport.bytes_out == total
    wire.peer.send(b"12345")
    wire.until(lambda: wire.protocol.chunks)
    assert wire.transport.bytes_in == 5


def test_asks_for_room_only_while_bytes_wait(reactor):
    """The writer is registered when the kernel is full, and taken out when all is sent."""
    wire = stream_wire(Recorder(), reactor)
    fill(wire)
    assert reactor.getWriters() == [wire.transport]
    wire.until(lambda: wire.peer.read() is None or not wire.transport.unsent)
    assert reactor.getWriters() == []


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_what_is_kept_cannot_be_changed(reactor, kind):
    """A buffer that the caller changes after the write is sent as it was."""
    wire = stream_wire(Recorder(), reactor)
    fill(wire)
    waiting = wire.transport.unsent + wire.transport.bytes_out
    memory = bytearray(b"good")
    wire.transport.write(kind(memory))
    memory[:] = b"evil"
    wire.transport.loseConnection()
    assert wire.read_until_end()[waiting:] == b"good"


def test_a_producer_is_paused_once_and_resumed_at_the_low_mark(reactor):
    """Paused above HIGH_WATER, resumed while up to LOW_WATER wait: the kernel is not left with nothing."""
    wire = stream_wire(Recorder(), reactor)
    producer = RecordingProducer()
    wire.transport.registerProducer(producer, True)
    fill(wire)
    wire.transport.write(b"x")
    assert producer.asked == ["pause"]
    while producer.asked == ["pause"]:
        assert wire.transport.unsent > LOW_WATER
        wire.peer.read()
        reactor.turn()
    assert producer.asked == ["pause", "resume"]
    assert wire.transport.unsent <= LOW_WATER


def test_a_producer_may_write_when_resumed(reactor):
    """A producer that writes inside resumeProducing is paused again, and all arrives."""
    wire = stream_wire(Recorder(), reactor)

    class Source(RecordingProducer):
        left = 5

        def resumeProducing(self):
            super().resumeProducing()
            self.left -= 1
            if self.left >= 0:
                wire.transport.write(BIG)
            else:
                wire.transport.unregisterProducer()
                wire.transport.loseConnection()

    source = Source()
    wire.transport.registerProducer(source, True)
    wire.transport.write(BIG)
    assert len(wire.read_until_end()) == 6 * len(BIG)


def test_a_late_producer_is_paused_at_once(reactor):
    """One that registers while too much waits is paused from the start."""
    wire = stream_wire(Recorder(), reactor)
    fill(wire)
    assert wire.transport.unsent > HIGH_WATER
    producer = RecordingProducer()
    wire.transport.registerProducer(producer, True)
    assert producer.asked == ["pause"]


def test_registering_producers(reactor):
    """One at a time, streaming only; on a closed stream a producer is stopped."""
    wire = stream_wire(Recorder(), reactor)
    with pytest.raises(ValueError, match="streaming"):
        wire.transport.registerProducer(RecordingProducer(), False)
    wire.transport.registerProducer(RecordingProducer(), True)
    with pytest.raises(RuntimeError, match="has a producer"):
        wire.transport.registerProducer(RecordingProducer(), True)
    wire.transport.abortConnection()
    late = RecordingProducer()
    wire.transport.unregisterProducer()
    wire.transport.registerProducer(late, True)
    assert late.asked == ["stop"]


def test_pausing_and_resuming_costs_nothing_while_nothing_comes(reactor):
    """The reactor is asked to look away only when bytes came in spite of the pause."""
    wire = stream_wire(Recorder(), reactor)
    wire.transport.pauseProducing()
    assert reactor.getReaders() == [wire.transport]
    wire.transport.resumeProducing()
    wire.transport.pauseProducing()
    wire.peer.send(b"x")
    wire.until(lambda: reactor.getReaders() == [])
    wire.settle()
    assert wire.protocol.chunks == []
    wire.transport.resumeProducing()
    wire.until(lambda: wire.protocol.data == b"x")


def test_reading_is_bounded_in_a_turn(reactor):
    """One busy stream does not keep a turn for itself."""
    wire = stream_wire(Recorder(), reactor)
    sent = 0
    while True:
        now = wire.peer.send(BIG)
        sent += now
        if not now:
            break
    reactor.turn()
    assert 0 < len(wire.protocol.data) <= 1 << 20
    wire.until(lambda: len(wire.protocol.data) == sent)


def test_start_reads_first_when_asked(reactor):
    """With read_first what the peer has sent is delivered before start returns."""
    near, far = tcp_pair()
    far.send(b"early")
    protocol = Recorder()
    Stream(near, reactor).start(protocol, read_first=True)
    assert protocol.data == b"early"
    assert len(reactor.getReaders()) == 1


def test_a_failure_in_the_first_read_stays_in_the_stream(reactor):
    """What a protocol raises in read_now ends its stream with a reset; the caller goes on."""

    def fail(protocol, data):
        raise ZeroDivisionError

    near, far = tcp_pair()
    far.send(b"x")
    protocol = Recorder(fail)
    Stream(near, reactor).start(protocol, read_first=True)
    assert isinstance(protocol.reason, ZeroDivisionError)
    assert reactor.getReaders() == []
    with pytest.raises(ConnectionResetError):
        far.recv(1)


@pytest.mark.parametrize("ending", ["loseConnection", "abortConnection"])
def test_a_protocol_that_closes_and_then_fails(reactor, ending):
    """It is told the end all the same."""

    def close_and_fail(protocol, data):
        getattr(protocol.transport, ending)()
        raise ZeroDivisionError

    wire = stream_wire(Recorder(close_and_fail), reactor)
    wire.peer.send(b"x")
    wire.until(lambda: wire.protocol.lost)
    wire.settle()
    assert len(wire.protocol.lost) == 1
    near, far = tcp_pair()
    far.send(b"x")
    protocol = Recorder(close_and_fail)
    Stream(near, reactor).start(protocol, read_first=True)
    reactor.settle()
    assert len(protocol.lost) == 1


def test_start_paused(reactor):
    """A stream that was paused before it started does not read."""
    near, far = tcp_pair()
    stream, protocol = Stream(near, reactor), Recorder()
    stream.pauseProducing()
    stream.start(protocol)
    far.send(b"x")
    reactor.settle()
    assert (protocol.chunks, reactor.getReaders()) == ([], [])
    stream.resumeProducing()
    reactor.turn_until(lambda: protocol.chunks)


def test_read_now_before_start_and_after_the_end(reactor):
    """It does nothing when there is nobody to read for."""
    near, far = tcp_pair()
    far.send(b"x")
    stream = Stream(near, reactor)
    stream.read_now()
    stream.abortConnection()
    stream.read_now()


def test_switch_protocol_while_receiving(reactor):
    """The next protocol gets what comes next, the former one nothing more, not even the end."""
    after = Recorder()
    before = Recorder(lambda protocol, data: protocol.transport.switch_protocol(after))
    wire = stream_wire(before, reactor)
    wire.peer.send(b"one")
    wire.until(lambda: before.chunks)
    wire.peer.send(b"two")
    wire.until(lambda: after.chunks)
    wire.peer.close()
    wire.until(lambda: after.lost)
    assert (before.data, after.data, before.lost, after.made) == (b"one", b"two", [], 1)


def test_switching_keeps_the_pause(reactor):
    """A paused stream stays paused for the next protocol."""
    wire, after = stream_wire(Recorder(), reactor), Recorder()
    wire.transport.pauseProducing()
    wire.transport.switch_protocol(after)
    wire.peer.send(b"x")
    wire.settle()
    assert after.chunks == []
    wire.transport.resumeProducing()
    wire.until(lambda: after.chunks)


def test_detach_gives_an_open_socket(reactor):
    """The socket leaves the reactor and stays open; the protocol is told nothing."""
    wire = stream_wire(Recorder(), reactor)
    sock = wire.transport.detach()
    wire.settle()
    assert (reactor.getReaders(), wire.protocol.lost) == ([], [])
    sock.send(b"still open")
    assert wire.peer.sock.recv(100) == b"still open"
    assert not wire.transport.connected
    sock.close()


def test_detach_only_when_nothing_waits(reactor):
    """Bytes that wait, or an end that was asked for, forbid it."""
    wire = stream_wire(Recorder(), reactor)
    assert wire.transport.may_detach
    fill(wire)
    assert not wire.transport.may_detach
    with pytest.raises(RuntimeError, match="cannot detach"):
        wire.transport.detach()
    ended = stream_wire(HalfClosingRecorder(), reactor)
    ended.transport.loseWriteConnection()
    assert not ended.transport.may_detach


def test_closes_when_both_sides_ended(reactor):
    """Whichever side ends last, the stream closes itself then."""
    for first in ("peer", "us"):
        protocol = HalfClosingRecorder()
        wire = stream_wire(protocol, reactor)
        steps = [wire.peer.end, wire.transport.loseWriteConnection]
        for step in steps if first == "peer" else reversed(steps):
            assert protocol.lost == []
            step()
            wire.settle()
        assert isinstance(protocol.reason, ConnectionDone)
        assert wire.transport.fileno() == -1


def test_end_of_input_drops_what_waits_for_a_plain_protocol(reactor):
    """A protocol that does not know half-closing has lost its connection when the peer ends its side."""
    wire = stream_wire(Recorder(), reactor)
    fill(wire)
    wire.peer.end()
    wire.until(lambda: wire.protocol.lost)
    assert isinstance(wire.protocol.reason, ConnectionDone)


def test_an_early_answer_is_read_after_a_failed_write(reactor):
    """What the peer sent before it left is delivered although writing to it has failed; then the loss is told."""
    wire = stream_wire(Recorder(), reactor)
    wire.peer.send(b"413, go away")
    wire.transport.write(b"body")
    wire.peer.close()  # with unread input: a reset
    reached = wire.transport
    for _ in range(50):
        reached.write(b"more")
    wire.until(lambda: wire.protocol.lost)
    assert wire.protocol.data == b"413, go away"
    assert wire.protocol.reason.__class__ is ConnectionLost


def test_a_failed_write_is_told_next_turn_while_paused(reactor):
    """Nobody reads, so the write side tells; not before the write has returned."""
    wire = stream_wire(Recorder(), reactor)
    wire.transport.pauseProducing()
    wire.peer.reset()
    while wire.transport.connected:
        wire.transport.write(b"x")
        assert wire.protocol.lost == []
    wire.settle()
    assert [ConnectionLost] == [failure.type for failure in wire.protocol.lost]


def test_a_failed_write_before_a_pause(reactor):
    """Pausing after a failed write is no way to miss the loss; closing after it is not an orderly end."""
    for ending in ("pauseProducing", "loseConnection"):
        wire = stream_wire(Recorder(), reactor)
        wire.peer.reset()
        while wire.transport.may_detach:
            wire.transport.write(b"x")
        getattr(wire.transport, ending)()
        wire.settle()
        assert [ConnectionLost] == [failure.type for failure in wire.protocol.lost]


def test_an_old_event_of_another_socket_changes_nothing(reactor):
    """A hang-up, readiness to read or to write that is not ours is seen through: the socket itself is asked."""
    wire = stream_wire(Recorder(), reactor)
    stream = wire.transport
    stream.doRead()
    stream.doWrite()
    reactor.removeReader(stream)  # as the reactor does before it reports a hang-up
    stream.connectionLost(Failure(ConnectionDone()))
    wire.settle()
    assert (wire.protocol.lost, reactor.getReaders()) == ([], [stream])
    fill(wire)
    reactor.removeReader(stream)
    reactor.removeWriter(stream)
    stream.connectionLost(Failure(ConnectionDone()))
    assert (reactor.getReaders(), reactor.getWriters()) == ([stream], [stream])


def test_the_end_of_the_reactor(reactor):
    """When the reactor ends, the socket is closed and the protocol told, without another turn."""
    wire = stream_wire(Recorder(), reactor)
    reactor.disconnect_all()
    assert [ConnectionLost] == [failure.type for failure in wire.protocol.lost]
    wire.read_until_end()


def test_nothing_keeps_a_closed_stream(reactor):
    """Without the garbage collector a closed stream goes when its protocol lets go of it."""
    gc.collect()
    gc.disable()
    try:
        before = alive(Stream)
        wire = stream_wire(Recorder(), reactor)
        assert alive(Stream) == before + 1
        protocol = weakref.ref(wire.protocol)
        wire.peer.close()
        wire.until(lambda: wire.protocol.lost)
        wire.protocol.transport = None
        wire.transport = wire.protocol = None
        assert alive(Stream) == before
        assert protocol() is None
    finally:
        gc.enable()


def test_the_socket_is_closed_at_once(reactor):
    """loseConnection with nothing waiting and abortConnection free the descriptor before they return."""
    for ending in ("loseConnection", "abortConnection"):
        wire = stream_wire(Recorder(), reactor)
        getattr(wire.transport, ending)()
        assert wire.transport.fileno() == -1
        wire.until(lambda wire=wire: wire.peer.read() is None or wire.peer.ended)
        assert wire.protocol.lost == []
        wire.until(lambda wire=wire: wire.protocol.lost)


def test_calls_before_a_start(reactor):
    """A stream that nobody started can be written to and closed."""
    near, far = tcp_pair()
    stream = Stream(near, reactor)
    stream.write(b"x")
    stream.resumeProducing()
    assert reactor.getReaders() == []
    stream.loseConnection()
    reactor.settle()
    assert far.recv(10) == b"x"
    assert far.recv(10) == b""


def test_repr(reactor):
    """It says in which state the stream is."""
    near, _far = tcp_pair()
    assert "not started" in repr(Stream(near, reactor))
    wire = stream_wire(HalfClosingRecorder(), reactor)
    stream = wire.transport
    assert "reading" in repr(stream)
    stream.pauseProducing()
    assert "paused" in repr(stream)
    stream.resumeProducing()
    wire.peer.end()
    wire.until(lambda: stream.read_ended)
    assert "input ended" in repr(stream)
    fill(wire)
    assert "unsent" in repr(stream)
    stream.loseWriteConnection()
    assert "output ended" in repr(stream)
    stream.loseConnection()
    assert "closing" in repr(stream)
    stream.abortConnection()
    assert "closing" in repr(stream)
    wire.until(lambda: wire.protocol.lost)
    assert "closed" in repr(stream)


def test_many_parts(reactor):
    """More parts than one system call takes arrive in order."""
    wire = stream_wire(Recorder(), reactor)
    parts = [b"%d," % number for number in range(5000)]
    wire.transport.writeSequence(iter(parts))
    fill(wire)
    wire.transport.writeSequence(parts)
    wire.transport.loseConnection()
    got = wire.read_until_end()
    assert got.startswith(b"".join(parts))
    assert got.endswith(b"".join(parts))


def test_write_sequence_taken_in_part(reactor):
    """What the kernel takes of a sequence may end inside any part."""
    near, far = tcp_pair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    wire = stream_wire(Recorder(), reactor, pair=(near, far))
    parts = [bytes([number]) * 70_001 for number in range(12)]
    wire.transport.writeSequence(parts)
    wire.transport.loseConnection()
    assert wire.read_until_end() == b"".join(parts)
