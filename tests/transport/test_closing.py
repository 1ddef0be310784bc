"""Closing in time, and closing after an early answer."""

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.testing import StringTransport

from netfw.testing.fd_reactor import FdReactor
from netfw.testing.streams import HalfClosingRecorder, Recorder, stream_wire
from netfw.transport.closing import LINGER_SIZE, LINGER_TIMEOUT, close, linger
from netfw.transport.deadlines import Deadlines

BIG = b"x" * (1 << 24)


@pytest.fixture
def reactor():
    return FdReactor()


@pytest.fixture
def deadlines(reactor):
    return Deadlines(reactor)


@pytest.fixture
def wire(reactor):
    return stream_wire(Recorder(), reactor)


def nothing_left(reactor, deadlines):
    reactor.settle()
    reactor.advance(0.25)
    assert (reactor.getReaders(), reactor.getWriters(), reactor.getDelayedCalls()) == ([], [], [])
    assert len(deadlines) == 0


def test_close_with_nothing_to_send(reactor, deadlines, wire):
    """Closed at once, without a timer."""
    close(wire.transport, deadlines, 5)
    assert len(deadlines) == 0
    wire.read_until_end()
    wire.until(lambda: wire.protocol.lost)
    assert isinstance(wire.protocol.reason, ConnectionDone)


def test_close_waits_for_a_reader(reactor, deadlines, wire):
    """What waits is sent within the time; the timer goes with the connection."""
    wire.transport.write(BIG)
    close(wire.transport, deadlines, 5)
    close(wire.transport, deadlines, 5)
    assert len(deadlines) == 1
    reactor.advance(4)
    assert wire.read_until_end() == BIG
    wire.until(lambda: wire.protocol.lost)
    assert isinstance(wire.protocol.reason, ConnectionDone)
    nothing_left(reactor, deadlines)


def test_close_aborts_in_the_end(reactor, deadlines, wire):
    """A peer who does not read is reset when the time is over."""
    wire.transport.write(BIG)
    close(wire.transport, deadlines, 5)
    reactor.advance(5.25)
    wire.read_until_end()
    assert wire.peer.was_reset
    assert isinstance(wire.protocol.reason, ConnectionAborted)
    nothing_left(reactor, deadlines)


def test_close_of_what_is_closed(reactor, deadlines, wire):
    """Nothing happens, no timer is made."""
    wire.transport.abortConnection()
    wire.until(lambda: wire.protocol.lost)
    close(wire.transport, deadlines, 5)
    nothing_left(reactor, deadlines)


def test_close_of_a_foreign_transport(reactor, deadlines):
    """Any transport with loseConnection and abortConnection will do."""
    transport = StringTransport()
    close(transport, deadlines, 5)
    assert transport.disconnecting
    reactor.advance(5.25)
    assert transport.disconnected or transport.aborting
    assert len(deadlines) == 0


def test_linger_delivers_the_answer_to_a_peer_that_still_sends(reactor, deadlines, wire):
    """The answer arrives although the request goes on: no reset overtakes it. The protocol gets no more data."""
    wire.peer.send(b"POST")
    wire.until(lambda: wire.protocol.chunks)
    wire.transport.write(b"413")
    linger(wire.transport, deadlines)
    for _ in range(10):
        wire.peer.send(b"body")
        wire.settle()
    assert wire.read_until_end() == b"413"
    assert not wire.peer.was_reset
    assert wire.protocol.lost == []
    wire.peer.close()
    wire.until(lambda: wire.protocol.lost)
    assert isinstance(wire.protocol.reason, ConnectionDone)
    assert wire.protocol.data == b"POST"
    nothing_left(reactor, deadlines)


def test_linger_reads_up_to_a_limit(reactor, deadlines, wire):
    """A peer that sends on and on is closed when it has sent too much."""
    linger(wire.transport, deadlines)
    sent = 0
    while not wire.protocol.lost:
        try:
            sent += wire.peer.send(b"x" * 4096)
        except ConnectionError:
            break
        reactor.turn()
    wire.until(lambda: wire.protocol.lost)
    assert sent > LINGER_SIZE
    nothing_left(reactor, deadlines)


def test_linger_ends_in_time(reactor, deadlines, wire):
    """A peer that neither sends nor ends is closed when the time is over."""
    linger(wire.transport, deadlines)
    reactor.settle()
    assert wire.protocol.lost == []
    reactor.advance(LINGER_TIMEOUT + 0.25)
    wire.until(lambda: wire.protocol.lost)
    nothing_left(reactor, deadlines)


def test_linger_aborts_when_the_answer_is_not_read(reactor, deadlines, wire):
    """The time to read the answer is bounded too."""
    wire.transport.write(BIG)
    linger(wire.transport, deadlines, timeout=2, abort_timeout=3)
    reactor.advance(2.25)
    reactor.settle()
    assert wire.protocol.lost == []
    reactor.advance(3.25)
    reactor.settle()
    assert isinstance(wire.protocol.reason, ConnectionAborted)
    nothing_left(reactor, deadlines)


def test_linger_reads_though_reading_was_paused(reactor, deadlines, wire):
    """Dropping what comes is the point, so a pause does not hold it up."""
    wire.transport.pauseProducing()
    linger(wire.transport, deadlines)
    wire.peer.close()
    wire.until(lambda: wire.protocol.lost)
    nothing_left(reactor, deadlines)


def test_linger_when_the_peer_has_ended(reactor, deadlines):
    """Nothing can come any more, so it is a plain close."""
    wire = stream_wire(HalfClosingRecorder(), reactor)
    wire.peer.end()
    wire.until(lambda: wire.transport.read_ended)
    wire.transport.write(b"answer")
    linger(wire.transport, deadlines)
    assert wire.read_until_end() == b"answer"
    wire.until(lambda: wire.protocol.lost)
    nothing_left(reactor, deadlines)


def test_linger_twice_and_after_the_end(reactor, deadlines, wire):
    """Repeating it, or closing meanwhile, tells the protocol once."""
    linger(wire.transport, deadlines)
    linger(wire.transport, deadlines)
    close(wire.transport, deadlines, 1)
    wire.until(lambda: wire.protocol.lost)
    linger(wire.transport, deadlines)
    nothing_left(reactor, deadlines)
    assert len(wire.protocol.lost) == 1


def test_linger_of_other_transports(reactor, deadlines):
    """One that has its own way is asked; any other is closed."""

    class OwnWay(StringTransport):
        def linger(self, **how):
            self.how = how

    own_way, plain = OwnWay(), StringTransport()
    linger(own_way, deadlines, size=1, timeout=2)
    assert (own_way.how, own_way.disconnecting) == ({"size": 1, "timeout": 2}, False)
    linger(plain, deadlines)
    assert plain.disconnecting
