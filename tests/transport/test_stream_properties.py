"""Whatever is done to a Stream in whatever order, bytes arrive in order and the end is told once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from netfw.testing.deferreds import relayed, result_of
from netfw.testing.fd_reactor import FdReactor
from netfw.testing.streams import HalfClosingRecorder, Recorder, RecordingProducer, stream_wire
from netfw.transport import pipes
from netfw.transport.closing import close, linger
from netfw.transport.deadlines import Deadlines

SIZES = st.sampled_from([1, 100, 5000, 65_536, 300_000, 5_000_000])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), SIZES),
        st.tuples(st.just("sequence"), st.lists(SIZES, max_size=5)),
        st.tuples(st.just("send"), SIZES),
        st.tuples(st.just("read"), SIZES),
        st.tuples(st.sampled_from(["pause", "resume", "turn", "turn", "turn"]), st.none()),
    ),
    max_size=30,
)
ENDINGS = st.lists(
    st.sampled_from(
        ["lose", "lose write", "abort", "peer end", "peer close", "peer reset", "close", "linger", "turn", "write"]
    ),
    max_size=6,
)


class Numbers:
    """An endless sequence of bytes that does not repeat soon, handed out in pieces."""

    def __init__(self):
        self.at = 0

    def take(self, size):
        start, self.at = self.at, self.at + size
        return self.between(start, self.at)

    @staticmethod
    def between(start, end):
        period = bytes(range(251)) * ((end - start) // 251 + 2)
        return period[start % 251 : start % 251 + end - start]


def run(wire, steps):
    written, sent = Numbers(), Numbers()
    for step, size in steps:
        if step == "write":
            wire.transport.write(written.take(size))
        elif step == "sequence":
            wire.transport.writeSequence([written.take(each) for each in size])
        elif step == "send":
            sent.at += wire.peer.send(Numbers.between(sent.at, sent.at + size))
        elif step == "read":
            wire.peer.read(size)
        elif step == "pause":
            wire.transport.pauseProducing()
        elif step == "resume":
            wire.transport.resumeProducing()
        else:
            wire.turn(0.0)
    return written.at, sent.at


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_bytes_arrive_in_order(steps):
    """Both directions deliver exactly what was put in, and a producer is paused and resumed in turn."""
    wire = stream_wire(Recorder())
    producer = RecordingProducer()
    wire.transport.registerProducer(producer, True)
    written, sent = run(wire, steps)
    assert set(producer.asked[::2]) <= {"pause"}
    assert set(producer.asked[1::2]) <= {"resume"}
    wire.transport.resumeProducing()
    wire.until(lambda: wire.transport.bytes_in == sent)
    assert wire.protocol.data == Numbers.between(0, sent)
    wire.transport.unregisterProducer()
    wire.transport.loseConnection()
    assert wire.read_until_end() == Numbers.between(0, written)
    wire.until(lambda: wire.protocol.lost)
    assert wire.transport.bytes_out == written


@settings(max_examples=150, deadline=None)
@given(STEPS, ENDINGS, st.booleans())
def test_every_connection_ends_once(steps, endings, half_closing):
    """Any mixture of endings is told once, and leaves no descriptor, delayed call or deadline behind."""
    reactor = FdReactor()
    deadlines = Deadlines(reactor)
    protocol = HalfClosingRecorder() if half_closing else Recorder()
    wire = stream_wire(protocol, reactor)
    run(wire, steps)
    gone = False
    for ending in endings:
        before = len(protocol.lost)
        match ending:
            case "lose":
                wire.transport.loseConnection()
            case "lose write":
                wire.transport.loseWriteConnection()
            case "abort":
                wire.transport.abortConnection()
            case "close":
                close(wire.transport, deadlines, 5)
            case "linger":
                linger(wire.transport, deadlines)
            case "write":
                wire.transport.write(b"x" * 100)
            case "peer end" if not gone:
                try:
                    wire.peer.end()
                except OSError:
                    pass
            case "peer close" if not gone:
                gone = True
                wire.peer.close()
            case "peer reset" if not gone:
                gone = True
                wire.peer.reset()
        assert len(protocol.lost) == before, "told inside a call"
        wire.turn(0.0)
    wire.settle()
    wire.transport.abortConnection()
    wire.until(lambda: protocol.lost)
    wire.settle()
    reactor.advance(0.25)
    assert len(protocol.lost) == 1
    assert wire.transport.fileno() == -1
    assert (reactor.getReaders(), reactor.getWriters(), reactor.getDelayedCalls()) == ([], [], [])
    assert len(deadlines) == 0
    assert reactor.failures == []
    wire.peer.close()


@settings(max_examples=60, deadline=None)
@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["send", "read", "turn"]), SIZES), max_size=30),
    st.permutations([0, 1]),
)
def test_a_relay_delivers_all(spliced, steps, order):
    """However two peers send, read and end, each gets all that the other sent before it ended."""
    available, pipes.AVAILABLE = pipes.AVAILABLE, spliced and pipes.AVAILABLE
    try:
        reactor = FdReactor()
        deadlines = Deadlines(reactor)
        left, right = stream_wire(Recorder(), reactor), stream_wire(Recorder(), reactor)
        peers, sent = [left.peer, right.peer], [0, 0]
        deferred = relayed(left.transport, right.transport, deadlines=deadlines, idle=60, lifetime=None)
        for who, what, size in steps:
            if what == "send":
                sent[who] += peers[who].send(Numbers.between(sent[who], sent[who] + size))
            elif what == "read":
                peers[who].read(size)
            reactor.turn()
        for who in order:
            peers[who].end()
            reactor.turn()
        for peer in peers:
            reactor.turn_until(lambda peer=peer: [each.read() for each in peers] and peer.ended)
        reactor.turn_until(lambda: deferred.called)
        assert [peer.data for peer in peers] == [Numbers.between(0, sent[1]), Numbers.between(0, sent[0])]
        outcome = result_of(deferred)
        assert [outcome.bytes_left_to_right, outcome.bytes_right_to_left] == sent
        reactor.advance(0.25)
        reactor.settle()
        assert (reactor.getReaders(), reactor.getWriters(), reactor.getDelayedCalls()) == ([], [], [])
        for peer in peers:
            peer.close()
    finally:
        pipes.AVAILABLE = available
