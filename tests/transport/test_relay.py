"""Two transports joined: by copying, and inside the kernel."""

import errno
import gc
import os
import socket
import weakref

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from netfw.testing.deferreds import relayed, result_of
from netfw.testing.fd_reactor import FdReactor, turn_until
from netfw.testing.living_objects import alive
from netfw.testing.reactor_runs import private_descriptor_set, private_reactor
from netfw.testing.streams import HalfClosingRecorder, Peer, Recorder, stream_wire, tcp_pair
from netfw.transport import pipes
from netfw.transport.deadlines import Deadlines
from netfw.transport.relay import RelayOutcome
from netfw.transport.stream import HIGH_WATER, Stream

BIG = bytes(range(256)) * (1 << 15)  # 8 MiB


class Joined:
    """A client, a relay and an origin."""

    def __init__(self, reactor=None, start_right=True, **options):
        self.reactor = reactor or FdReactor()
        self.deadlines = Deadlines(self.reactor)
        self.before = [Recorder(), Recorder()]
        left = stream_wire(self.before[0], self.reactor)
        right = stream_wire(self.before[1], self.reactor)
        self.client, self.origin = left.peer, right.peer
        self.left, self.right = left.transport, right.transport
        if not start_right:
            self.right.detach().close()
            near, far = tcp_pair()
            self.right, self.origin = Stream(near, self.reactor), Peer(far)
        self.turn = left.turn
        self.options = {"idle": 60, "lifetime": None, **options}

    def join(self, **first):
        self.deferred = relayed(self.left, self.right, deadlines=self.deadlines, **self.options, **first)
        return self

    def until(self, condition):
        turn_until(self.turn, condition)

    def settle(self):
        for _ in range(5):
            self.turn(0.001)

    def pour(self, source, sink, data):
        """All of data goes in at one end and comes out at the other."""
        rest, end = memoryview(data), len(sink.data) + len(data)
        while len(sink.data) < end:
            if rest:
                rest = rest[source.send(rest) :]
            self.turn(0.0)
            sink.read()
        assert sink.data[-len(data) :] == data

    def end_of(self, peer):
        self.until(lambda: peer.read() is None or peer.ended)
        return peer.data

    def outcome(self):
        self.until(lambda: self.deferred.called)
        outcome = result_of(self.deferred)
        self.settle()
        if isinstance(self.reactor, FdReactor):
            self.reactor.advance(0.25)
            left_over = self.reactor.getReaders(), self.reactor.getWriters(), self.reactor.getDelayedCalls()
            assert left_over == ([], [], [])
        assert len(self.deadlines) == 0
        assert [protocol.lost for protocol in self.before] == [[], []], "the former protocols hear no more"
        return outcome


@pytest.fixture(params=["copied", "spliced", "spliced without pipes"])
def way(request, monkeypatch):
    if request.param == "copied":
        monkeypatch.setattr(pipes, "AVAILABLE", False)
    elif request.param == "spliced without pipes":

        def no_pipe(flags):
            raise OSError(errno.EMFILE, "none left")

        pipes.SHARED.close()
        monkeypatch.setattr(os, "pipe2", no_pipe)
    return request.param


@pytest.fixture(params=[FdReactor, private_reactor, private_descriptor_set])
def joined(request, way):
    joined = Joined(request.param())
    yield joined
    joined.deadlines.stop()
    for stream in (joined.left, joined.right):
        stream.abortConnection()


def test_carries_both_directions(joined):
    """What one side sends arrives at the other, whole and in order."""
    joined.join()
    joined.pour(joined.client, joined.origin, BIG)
    joined.pour(joined.origin, joined.client, BIG)
    joined.pour(joined.client, joined.origin, b"x")
    joined.client.end()
    joined.end_of(joined.origin)
    joined.origin.close()
    assert joined.outcome() == RelayOutcome(len(BIG) + 1, len(BIG), "client_closed")


def test_both_at_once(joined):
    """Neither direction waits for the other."""
    joined.join()
    rest = {joined.client: memoryview(BIG), joined.origin: memoryview(BIG)}
    while len(joined.client.data) < len(BIG) or len(joined.origin.data) < len(BIG):
        for peer, data in rest.items():
            rest[peer] = data[peer.send(data) :] if data else data
            peer.read()
        joined.turn(0.0)
    assert joined.client.data == joined.origin.data == BIG
    joined.deferred.cancel()
    assert joined.outcome() == RelayOutcome(len(BIG), len(BIG), "cancelled")


def test_first_bytes_go_first(joined):
    """What was read before is sent before what comes, and counted."""
    joined.client.send(b" world")
    joined.left.pauseProducing()
    joined.join(left_first=b"hello", right_first=b"greetings")
    joined.until(lambda: joined.origin.read() and joined.origin.data == b"hello world")
    joined.until(lambda: joined.client.read() and joined.client.data == b"greetings")
    joined.origin.close()
    joined.end_of(joined.client)
    joined.client.close()
    assert joined.outcome() == RelayOutcome(11, 9, "origin_closed")


def test_first_bytes_that_do_not_fit(joined):
    """More than the kernel takes at once goes on when there is room."""
    joined.join(left_first=BIG)
    joined.client.send(b"more")
    joined.client.end()
    joined.until(lambda: joined.origin.read() is None or joined.origin.ended)
    assert joined.origin.data == BIG + b"more"
    joined.origin.close()
    assert joined.outcome() == RelayOutcome(len(BIG) + 4, 0, "client_closed")


def test_half_close_keeps_the_other_direction(joined):
    """A client that has ended its side still gets the whole answer."""
    joined.join()
    joined.client.send(b"question")
    joined.client.end()
    assert joined.end_of(joined.origin) == b"question"
    joined.pour(joined.origin, joined.client, BIG)
    joined.origin.close()
    joined.end_of(joined.client)
    assert joined.outcome() == RelayOutcome(8, len(BIG), "client_closed")


def test_an_end_waits_for_what_was_sent_before_it(joined):
    """The end arrives behind the last byte, though the sink is slow."""
    joined.join()
    sent = 0
    while True:
        now = joined.origin.send(BIG)
        sent += now
        joined.settle()
        if not now:
            break
    joined.origin.end()
    joined.settle()
    assert len(joined.end_of(joined.client)) == sent
    joined.client.close()
    assert joined.outcome() == RelayOutcome(0, sent, "origin_closed")


def test_backpressure(joined):
    """A sink that does not read stops the source; what waits in the process is bounded."""
    joined.join()
    for _ in range(200):
        joined.client.send(BIG)
        joined.turn(0.0)
    # The kernel may make room for more while it sorts its buffers. A byte at a time would never fill it.
    for _ in range(100):
        joined.settle()
        if not (last := joined.client.send(BIG)):
            break
    assert last == 0
    unsent = getattr(joined.right, "unsent", 0)
    assert unsent <= HIGH_WATER + (1 << 20)
    joined.deferred.cancel()
    joined.outcome()


@pytest.mark.parametrize(("who", "reason"), [("client", "client_aborted"), ("origin", "origin_aborted")])
def test_a_reset_goes_through(joined, who, reason):
    """When one connection breaks the other is reset, so that the truncation is seen."""
    joined.join()
    joined.pour(joined.client, joined.origin, b"some")
    joined.pour(joined.origin, joined.client, b"thing")
    other = joined.origin if who == "client" else joined.client
    getattr(joined, who).reset()
    joined.end_of(other)
    assert other.was_reset
    assert joined.outcome() == RelayOutcome(4, 5, reason)


def test_a_reset_while_bytes_are_in_flight(joined):
    """A sink that breaks while the source waits for it ends both."""
    joined.join()
    for _ in range(50):
        joined.client.send(BIG)
        joined.turn(0.0)
    joined.origin.reset()
    joined.until(lambda: joined.deferred.called)
    assert joined.outcome().reason == "origin_aborted"


def test_cancel(joined):
    """Cancelling resets both sides and fires."""
    joined.join()
    joined.pour(joined.client, joined.origin, b"x")
    joined.deferred.cancel()
    assert result_of(joined.deferred) is None or True
    for peer in (joined.client, joined.origin):
        joined.end_of(peer)
        assert peer.was_reset


def test_idle_and_lifetime(way):
    """Both deadlines abort both sides; bytes restart the idle one only."""
    for options, reason in (({"idle": 10}, "idle_timeout"), ({"idle": 10, "lifetime": 30}, "lifetime_timeout")):
        joined = Joined(**options).join()
        for _ in range(4):
            joined.reactor.advance(8)
            if joined.deferred.called:
                break
            joined.pour(joined.origin, joined.client, b"tick")
            if reason == "idle_timeout":
                joined.reactor.advance(10.25)
        assert joined.outcome().reason == reason
        for peer in (joined.client, joined.origin):
            joined.end_of(peer)
            assert peer.was_reset


def test_a_stream_that_nobody_started(way):
    """The dialer's stream goes into a relay as it is."""
    joined = Joined(start_right=False).join(left_first=b"hello")
    joined.pour(joined.origin, joined.client, b"banner")
    joined.until(lambda: joined.origin.read() == b"hello")
    joined.origin.close()
    joined.client.close()
    joined.outcome()


def test_a_side_that_is_gone_already(way):
    """A relay with a closed transport ends at once, and closes the other side."""
    joined = Joined()
    joined.left.abortConnection()
    joined.before[0].lost.clear()
    joined.deferred = relayed(joined.left, joined.right, deadlines=joined.deadlines, idle=60, lifetime=None)
    joined.end_of(joined.origin)
    joined.until(lambda: joined.deferred.called)
    assert result_of(joined.deferred).reason == "client_closed"


def test_a_side_that_has_ended_its_output(way):
    """An end of input that came before the relay is passed on."""
    joined = Joined()
    protocol = HalfClosingRecorder()
    joined.left.switch_protocol(protocol)
    joined.client.end()
    joined.until(lambda: protocol.ends)
    joined.join(left_first=b"all")
    assert joined.end_of(joined.origin) == b"all"
    joined.pour(joined.origin, joined.client, b"answer")
    joined.origin.close()
    assert joined.outcome() == RelayOutcome(3, 6, "client_closed")


def test_nothing_keeps_a_relay(way):
    """Without the garbage collector a finished relay is gone."""
    gc.collect()
    gc.disable()
    try:
        before = alive(Stream)
        joined = Joined().join()
        assert alive(Stream) == before + 2
        joined.pour(joined.client, joined.origin, b"x")
        joined.client.close()
        joined.origin.close()
        joined.outcome()
        deferred = weakref.ref(joined.deferred)
        joined.left = joined.right = joined.deferred = None
        joined.before.clear()
        assert deferred() is None
        if way != "copied":
            assert alive(Stream) == before
    finally:
        gc.enable()


class OneWayTransport(StringTransport):
    """A transport that cannot end one side alone, as a TlsStream: told by hand what it received."""

    connected = True
    closing_deadline = None
    started = True

    def __init__(self):
        super().__init__()
        self.calls = []
        self.protocol = None

    def switch_protocol(self, protocol):
        self.protocol = protocol
        protocol.makeConnection(self)

    def registerProducer(self, producer, streaming):
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def loseWriteConnection(self):
        raise AssertionError("TLS cannot be half-closed")

    def loseConnection(self):
        self.calls.append("lose")

    def abortConnection(self):
        self.calls.append("abort")

    def gone(self, reason):
        self.connected = False
        self.protocol.connectionLost(Failure(reason))
        if self.closing_deadline is not None:
            self.closing_deadline.cancel()


@pytest.fixture
def mixed():
    """A plain client in front of a TLS origin."""
    joined = Joined()
    joined.right.detach().close()
    joined.right = OneWayTransport()
    return joined.join(left_first=b"<", right_first=b">")


def test_tls_carries_bytes(mixed):
    """Both directions, first bytes first."""
    mixed.client.send(b"abc")
    mixed.until(lambda: mixed.right.value() == b"<abc")
    mixed.right.protocol.dataReceived(b"def")
    mixed.until(lambda: mixed.client.read() is None or mixed.client.data == b">def")
    mixed.deferred.cancel()
    assert (result_of(mixed.deferred), mixed.right.calls) == (RelayOutcome(4, 4, "cancelled"), ["abort"])


def test_tls_backpressure(mixed):
    """A TLS side with too much to send pauses the plain one, and the other way round."""
    mixed.right.producer.pauseProducing()
    mixed.client.send(b"held")
    mixed.settle()
    assert mixed.right.value() == b"<"
    mixed.right.producer.resumeProducing()
    mixed.until(lambda: mixed.right.value() == b"<held")
    mixed.right.protocol.dataReceived(BIG)
    assert mixed.right.producerState == "paused"
    mixed.until(lambda: mixed.client.read() is None or mixed.right.producerState == "producing")
    mixed.deferred.cancel()


def test_the_plain_side_ends(mixed):
    """An end of input closes the TLS side orderly: it is never half-closed."""
    mixed.client.end()
    mixed.until(lambda: mixed.right.calls)
    assert mixed.right.calls == ["lose"]
    mixed.right.gone(ConnectionDone())
    assert mixed.outcome().reason == "client_closed"


def test_the_tls_side_ends(mixed):
    """Its orderly end closes the plain side once all is sent."""
    mixed.right.protocol.dataReceived(BIG)
    mixed.right.gone(ConnectionDone())
    assert mixed.end_of(mixed.client) == b">" + BIG
    assert mixed.outcome() == RelayOutcome(1, len(BIG) + 1, "origin_closed")


@pytest.mark.parametrize("reason", [ConnectionLost(), ConnectionAborted()])
def test_the_tls_side_breaks(mixed, reason):
    """A truncated TLS connection is a reset for the plain side, never an orderly end."""
    mixed.right.protocol.dataReceived(b"half a mess")
    mixed.right.gone(reason)
    mixed.end_of(mixed.client)
    assert mixed.client.was_reset
    assert mixed.outcome().reason == "origin_aborted"


def test_the_tls_side_does_not_end(mixed):
    """A close that the TLS side does not answer is cut by its abort timer."""
    mixed.client.end()
    mixed.until(lambda: mixed.right.calls)
    mixed.reactor.advance(10.25)
    assert mixed.right.calls == ["lose", "abort"]
    mixed.right.gone(ConnectionAborted())
    assert mixed.outcome().reason == "origin_aborted"


def test_twisted_transports():
    """Twisted's own TCP transports can be relayed too, each end closing both."""
    reactor = private_reactor()
    deadlines = Deadlines(reactor)
    protocols, peers = [], []
    for _ in range(2):
        protocol, factory = Recorder(), Factory()
        factory.buildProtocol = lambda address, protocol=protocol: protocol
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        peers.append(Peer(socket.create_connection(("127.0.0.1", port.getHost().port))))
        turn_until(reactor.iterate, lambda protocol=protocol: protocol.made)
        port.stopListening()
        protocols.append(protocol)
    left, right = (protocol.transport for protocol in protocols)
    deferred = relayed(left, right, deadlines=deadlines, idle=5, lifetime=None, left_first=b"one ")
    peers[0].send(b"two")
    turn_until(reactor.iterate, lambda: peers[1].read() is None or peers[1].data == b"one two")
    peers[0].end()
    turn_until(reactor.iterate, lambda: peers[1].read() is None or peers[1].ended)
    turn_until(reactor.iterate, lambda: deferred.called)
    assert result_of(deferred) == RelayOutcome(7, 0, "client_closed")
    deadlines.stop()
