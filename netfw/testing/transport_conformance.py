"""What every transport of the data path must do, as tests to inherit.

A subclass says in `open_wire` how a transport comes to be; the tests are the same for a Stream, for TLS over one and
for Twisted's own. What a transport cannot do (end one side alone, reset) its `Wire` says.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from zope.interface.verify import verifyObject

from netfw.interfaces import IByteTransport
from netfw.testing.streams import HalfClosingRecorder, Recorder, RecordingProducer, Wire

BIG = bytes(range(256)) * (1 << 15)  # 8 MiB: more than the kernel buffers for one connection
HIGH_WATER = 1 << 16


class Problem(Exception):
    """Raised by a protocol under test."""


class TransportConformance:
    """Inherit it, and say how to `open_wire`."""

    declares_interface = True
    """Twisted's own transports offer IByteTransport without saying so."""

    def open_wire(self, protocol: Any) -> Wire:
        """A connected wire whose transport has this protocol and reads."""
        raise NotImplementedError

    def _open(self, protocol: Any) -> Wire:
        self._wire = self.open_wire(protocol)
        return self._wire

    def teardown_method(self) -> None:
        """Leave nothing in a reactor that other tests use too."""
        self._wire.transport.abortConnection()
        self._wire.peer.close()
        self._wire.settle()

    def test_offers_the_interface(self) -> None:
        """The transport has every method of IByteTransport."""
        wire = self._open(Recorder())
        if self.declares_interface:
            assert verifyObject(IByteTransport, wire.transport)
        assert wire.protocol.made == 1

    def test_receives_in_order(self) -> None:
        """What the peer sends arrives whole and in order."""
        wire = self._open(Recorder())
        wire.send_all(BIG)
        wire.until(lambda: sum(map(len, wire.protocol.chunks)) >= len(BIG))
        assert wire.protocol.data == BIG

    def test_sends_in_order(self) -> None:
        """Small writes, sequences and large writes arrive in the order in which they were written."""
        wire = self._open(Recorder())
        expected = b""
        for number in range(300):
            part = b"%d;" % number
            wire.transport.write(part)
            wire.transport.writeSequence([part, b"", part * 3])
            expected += part * 5
        large = BIG[: 1 << 21]
        wire.transport.write(large)
        wire.transport.writeSequence([b"a" * 100_000, b"b" * 100_000, b"c"] * 40)
        wire.transport.write(b"end")
        wire.transport.loseConnection()
        got = wire.read_until_end()
        assert got == expected + large + (b"a" * 100_000 + b"b" * 100_000 + b"c") * 40 + b"end"

    def test_writes_while_receiving(self) -> None:
        """An echo sends back all that came."""
        wire = self._open(Recorder(lambda protocol, data: protocol.transport.write(data)))
        sent = 0
        while len(wire.peer.data) < 1 << 21:
            sent += wire.peer.send(BIG[sent : 1 << 21])
            wire.turn(0.0)
            wire.peer.read()
        assert wire.peer.data == BIG[: 1 << 21]

    def test_a_producer_is_paused_and_resumed(self) -> None:
        """A streaming producer stays paused while more than 64 KiB wait, and is resumed when the peer has read."""
        wire = self._open(Recorder())
        producer = RecordingProducer()
        wire.transport.registerProducer(producer, True)
        wire.transport.write(BIG)
        wire.transport.write(BIG)
        for _ in range(5):
            wire.settle()
        assert producer.asked[-1] == "pause"
        wire.until(lambda: wire.peer.read() is None or len(wire.peer.data) == 2 * len(BIG))
        wire.until(lambda: producer.asked[-1] == "resume")

    def test_a_producer_under_the_mark_is_left_alone(self) -> None:
        """What the kernel takes does not pause anybody."""
        wire = self._open(Recorder())
        producer = RecordingProducer()
        wire.transport.registerProducer(producer, True)
        wire.transport.write(b"x" * 1000)
        wire.settle()
        assert producer.asked == []

    def test_a_producer_is_stopped_when_the_connection_is_lost(self) -> None:
        """A producer whose consumer is gone is told so, once."""
        wire = self._open(Recorder())
        producer = RecordingProducer()
        wire.transport.registerProducer(producer, True)
        wire.transport.abortConnection()
        wire.until(lambda: wire.protocol.lost)
        wire.settle()
        assert producer.asked == ["stop"]

    def test_a_forgotten_producer_is_told_nothing(self) -> None:
        """After unregisterProducer the transport asks nothing of it."""
        wire = self._open(Recorder())
        producer = RecordingProducer()
        wire.transport.registerProducer(producer, True)
        wire.transport.unregisterProducer()
        wire.transport.write(BIG)
        wire.settle()
        assert producer.asked == []

    def test_pausing_stops_reading(self) -> None:
        """Nothing is delivered while paused; nothing is lost by it."""
        wire = self._open(Recorder())
        wire.transport.pauseProducing()
        wire.peer.send(b"held")
        wire.settle()
        assert wire.protocol.chunks == []
        wire.transport.resumeProducing()
        wire.until(lambda: wire.protocol.data == b"held")

    def test_pausing_inside_data_received(self) -> None:
        """A protocol that pauses in dataReceived gets no more until it resumes."""
        wire = self._open(Recorder(lambda protocol, _data: protocol.transport.pauseProducing()))
        wire.send_all(BIG[: 1 << 16])
        wire.settle()
        assert len(wire.protocol.chunks) == 1
        for _ in range(1000):
            if len(wire.protocol.data) == 1 << 16:
                break
            wire.transport.resumeProducing()
            wire.turn(0.001)
        assert wire.protocol.data == BIG[: 1 << 16]

    def test_pausing_twice_and_resuming_twice(self) -> None:
        """Repeating a request changes nothing."""
        wire = self._open(Recorder())
        for _ in range(2):
            wire.transport.pauseProducing()
        for _ in range(2):
            wire.transport.resumeProducing()
        wire.peer.send(b"x")
        wire.until(lambda: wire.protocol.data == b"x")

    def test_lose_connection_flushes(self) -> None:
        """loseConnection sends all that waits, then ends; the protocol is told ConnectionDone, once."""
        wire = self._open(Recorder())
        wire.transport.write(BIG)
        wire.transport.loseConnection()
        wire.transport.loseConnection()
        wire.settle()
        assert wire.protocol.lost == []
        assert wire.read_until_end() == BIG
        assert not wire.peer.was_reset
        self._finish(wire)
        assert isinstance(wire.protocol.reason, ConnectionDone)

    def test_lose_connection_inside_data_received(self) -> None:
        """connectionLost does not come while the protocol is inside its own dataReceived."""

        def answer_and_close(protocol: Any, _data: bytes) -> None:
            protocol.transport.write(b"bye")
            protocol.transport.loseConnection()

        wire = self._open(Recorder(answer_and_close))
        wire.peer.send(b"hello")
        assert wire.read_until_end() == b"bye"
        self._finish(wire)
        assert not wire.protocol.lost_inside
        assert isinstance(wire.protocol.reason, ConnectionDone)

    def test_nothing_is_delivered_after_lose_connection(self) -> None:
        """A protocol that has closed is not given more data."""
        wire = self._open(Recorder())
        wire.transport.loseConnection()
        try:
            wire.peer.send(b"late")
        except ConnectionError:
            pass
        wire.settle()
        assert wire.protocol.chunks == []

    def test_abort(self) -> None:
        """abortConnection drops what waits; the protocol is told ConnectionAborted once; the peer sees a reset."""
        wire = self._open(Recorder())
        wire.transport.write(BIG)
        wire.transport.abortConnection()
        assert wire.protocol.lost == [], "told before the call returned"
        wire.until(lambda: wire.protocol.lost)
        wire.read_until_end()
        assert len(wire.peer.data) < len(BIG)
        assert wire.peer.was_reset or not wire.can_reset
        self._finish(wire)
        assert isinstance(wire.protocol.reason, ConnectionAborted)

    def test_abort_inside_data_received(self) -> None:
        """connectionLost does not come while the protocol is inside its own dataReceived."""
        wire = self._open(Recorder(lambda protocol, _data: protocol.transport.abortConnection()))
        wire.peer.send(b"x")
        wire.until(lambda: wire.protocol.lost)
        assert not wire.protocol.lost_inside
        assert isinstance(wire.protocol.reason, ConnectionAborted)

    def test_abort_while_closing(self) -> None:
        """A close that waits for a peer who does not read is cut short by an abort."""
        wire = self._open(Recorder())
        wire.transport.write(BIG)
        wire.transport.loseConnection()
        wire.settle()
        wire.transport.abortConnection()
        wire.until(lambda: wire.protocol.lost)
        self._finish(wire)
        assert isinstance(wire.protocol.reason, ConnectionAborted)

    def test_the_peer_closes(self) -> None:
        """An orderly end of the peer is ConnectionDone, after all that it sent."""
        wire = self._open(Recorder())
        wire.peer.send(b"last words")
        wire.peer.close()
        self._finish(wire)
        assert wire.protocol.data == b"last words"
        assert isinstance(wire.protocol.reason, ConnectionDone)

    def test_the_peer_resets(self) -> None:
        """A reset is not an orderly end."""
        wire = self._open(Recorder())
        if not wire.can_reset:
            return
        wire.peer.reset()
        self._finish(wire)
        assert not isinstance(wire.protocol.reason, ConnectionDone)

    def test_the_peer_resets_while_bytes_wait(self) -> None:
        """A broken connection is reported though the protocol only writes and has paused reading."""
        wire = self._open(Recorder())
        if not wire.can_reset:
            return
        wire.transport.pauseProducing()
        wire.transport.write(BIG)
        wire.settle()
        wire.peer.reset()
        self._finish(wire)
        assert not isinstance(wire.protocol.reason, ConnectionDone)

    def test_what_comes_after_the_end_is_ignored(self) -> None:
        """A closed transport takes every call and does nothing."""
        wire = self._open(Recorder())
        wire.peer.close()
        self._finish(wire)
        transport = wire.transport
        transport.write(b"x")
        transport.writeSequence([b"x", b"y"])
        transport.pauseProducing()
        transport.loseConnection()
        transport.abortConnection()
        wire.settle()
        assert len(wire.protocol.lost) == 1

    def test_a_failing_protocol_loses_its_connection(self) -> None:
        """What dataReceived raises ends this connection, and is the reason that the protocol is told."""

        def fail(_protocol: Any, _data: bytes) -> None:
            raise Problem

        wire = self._open(Recorder(fail))
        wire.peer.send(b"x")
        self._finish(wire)
        assert isinstance(wire.protocol.reason, Problem)
        wire.read_until_end()

    def test_the_peer_ends_its_side(self) -> None:
        """A protocol that knows half-closing is told, can still write, and closes when it likes."""
        protocol = HalfClosingRecorder()
        wire = self._open(protocol)
        if not wire.can_end_one_side:
            return
        wire.peer.send(b"question")
        wire.peer.end()
        wire.until(lambda: protocol.ends)
        assert (protocol.data, protocol.ends, protocol.lost) == (b"question", ["read"], [])
        wire.transport.write(BIG)
        wire.transport.loseConnection()
        assert wire.read_until_end() == BIG
        self._finish(wire)
        assert isinstance(protocol.reason, ConnectionDone)

    def test_we_end_our_side(self) -> None:
        """loseWriteConnection sends all that waits, then an end; reading goes on, writing does not."""
        protocol = HalfClosingRecorder()
        wire = self._open(protocol)
        if not wire.can_end_one_side:
            return
        wire.transport.write(BIG)
        wire.transport.loseWriteConnection()
        assert wire.read_until_end() == BIG
        wire.until(lambda: "write" in protocol.ends)
        wire.transport.write(b"too late")
        wire.peer.send(b"answer")
        wire.until(lambda: protocol.data == b"answer")
        assert protocol.lost == []
        wire.transport.loseConnection()
        self._finish(wire)
        assert isinstance(protocol.reason, ConnectionDone)

    def test_addresses(self) -> None:
        """getPeer and getHost name the two ends."""
        wire = self._open(Recorder())
        if not wire.addresses_of_sockets:
            return
        peer, host = wire.transport.getPeer(), wire.transport.getHost()
        assert wire.peer.sock.getsockname()[:2] == (peer.host, peer.port)
        assert wire.peer.sock.getpeername()[:2] == (host.host, host.port)

    def _finish(self, wire: Wire) -> None:
        """The connection ends, and is reported exactly once."""
        wire.until(lambda: wire.protocol.lost)
        wire.settle()
        assert len(wire.protocol.lost) == 1
