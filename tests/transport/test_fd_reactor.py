"""The reactor of the tests dispatches as the real one does."""

import socket

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadWriteDescriptor
from zope.interface import implementer
from zope.interface.verify import verifyObject

from netfw.testing.fd_reactor import FdReactor, turn_until
from netfw.testing.reactor_runs import private_descriptor_set, private_reactor, turn_of
from netfw.testing.streams import tcp_pair


@implementer(IReadWriteDescriptor)
class Descriptor:
    """Does what it is told on an event, and remembers the event."""

    def __init__(self, sock, on_read=lambda self: None, on_write=lambda self: None):
        self.sock, self.on_read, self.on_write, self.events = sock, on_read, on_write, []

    def fileno(self):
        return self.sock.fileno()

    def logPrefix(self):
        return "test"

    def doRead(self):
        self.events.append("read")
        return self.on_read(self)

    def doWrite(self):
        self.events.append("write")
        return self.on_write(self)

    def connectionLost(self, reason):
        self.events.append(reason.type)


@pytest.fixture(params=[FdReactor, private_reactor, private_descriptor_set])
def reactor(request):
    """`DescriptorSet` is held against the real one here too: it takes its place."""
    reactor = request.param()
    before = set(reactor.getReaders()) | set(reactor.getWriters())
    yield reactor
    assert not (set(reactor.getReaders()) | set(reactor.getWriters())) - before


@pytest.fixture
def pair():
    near, far = tcp_pair()
    yield near, far
    near.close()
    far.close()


def turns(reactor, count=3):
    for _ in range(count):
        turn_of(reactor)(0.01)


def test_interfaces():
    """It is an IReactorFDSet and an IReactorTime."""
    assert verifyObject(IReactorFDSet, FdReactor())
    assert verifyObject(IReactorTime, FdReactor())


def test_reads_as_long_as_there_is_something(reactor, pair):
    """Readiness is a level: a descriptor is called each turn until it has read, and never once removed."""
    near, far = pair
    descriptor = Descriptor(near)
    reactor.addReader(descriptor)
    reactor.addReader(descriptor)
    assert descriptor in reactor.getReaders()
    far.send(b"x")
    turn_until(turn_of(reactor), lambda: len(descriptor.events) > 2)
    reactor.removeReader(descriptor)
    reactor.removeReader(descriptor)
    del descriptor.events[:]
    turns(reactor)
    assert descriptor.events == []


def test_writes_and_reads_in_one_turn(reactor, pair):
    """Of one event the read comes first."""
    near, far = pair
    descriptor = Descriptor(near, lambda self: self.sock.recv(10) and None)
    reactor.addReader(descriptor)
    far.send(b"x")
    reactor.addWriter(descriptor)
    assert descriptor in reactor.getWriters()
    turn_until(turn_of(reactor), lambda: "read" in descriptor.events)
    assert "write" in descriptor.events
    reactor.removeWriter(descriptor)
    reactor.removeReader(descriptor)


@pytest.mark.parametrize("kind", [ConnectionDone, ConnectionLost])
def test_what_is_returned_ends_the_descriptor(reactor, pair, kind):
    """A descriptor that returns an exception is taken out, then told."""
    near, far = pair
    descriptor = Descriptor(near, lambda self: kind())
    reactor.addReader(descriptor)
    reactor.addWriter(descriptor)
    far.send(b"x")
    turn_until(turn_of(reactor), lambda: kind in descriptor.events)
    count = len(descriptor.events)
    turns(reactor)
    assert count == len(descriptor.events)


def test_what_is_raised_ends_the_descriptor(reactor, pair):
    """A descriptor that raises is taken out, then told."""
    near, far = pair

    def fail(descriptor):
        raise ZeroDivisionError

    descriptor = Descriptor(near, fail)
    reactor.addReader(descriptor)
    far.send(b"x")
    turn_until(turn_of(reactor), lambda: ZeroDivisionError in descriptor.events)


def test_a_hang_up_while_writing_only(reactor, pair):
    """A reset ends a descriptor that does not read."""
    near, far = pair
    far.close()
    near.send(b"x")
    descriptor = Descriptor(near)
    turn_until(turn_of(reactor), lambda: near.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x07")
    reactor.addWriter(descriptor)
    turn_until(turn_of(reactor), lambda: descriptor.events)
    assert [ConnectionLost] == descriptor.events


def test_remove_after_close():
    """A descriptor whose number is gone already can be taken out."""
    near, far = tcp_pair()
    reactor, descriptor = FdReactor(), Descriptor(near)
    reactor.addReader(descriptor)
    near.close()
    far.close()
    reactor.removeReader(descriptor)
    assert reactor.getReaders() == []


def test_delayed_calls_are_due_in_a_turn():
    """turn() makes the calls that are due now, and time stands still otherwise."""
    reactor, called = FdReactor(), []
    reactor.callLater(0, called.append, 1)
    reactor.callLater(1, called.append, 2)
    reactor.turn()
    assert called == [1]
    reactor.advance(1)
    assert called == [1, 2]


def test_disconnect_all(pair):
    """The end of the reactor is the end of every descriptor."""
    reactor, descriptor = FdReactor(), Descriptor(pair[0])
    reactor.addReader(descriptor)
    reactor.addWriter(descriptor)
    reactor.disconnect_all()
    assert [ConnectionLost] == descriptor.events
    assert (reactor.getReaders(), reactor.getWriters()) == ([], [])


def test_turn_until_gives_up():
    """A condition that never holds is an AssertionError, not a hang."""
    with pytest.raises(AssertionError, match="not within"):
        FdReactor().turn_until(lambda: False, 0.01)
