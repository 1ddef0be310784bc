"""The data path's own epoll inside the reactor's. That it dispatches as the reactor does: `test_fd_reactor`."""

import os
import select
import socket
import struct

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from netfw.testing.fd_reactor import FdReactor
from netfw.testing.streams import tcp_pair
from netfw.transport import descriptor_set as module
from netfw.transport.descriptor_set import DescriptorSet, descriptor_set, leave, replace
from tests.transport.test_fd_reactor import Descriptor


def read_all(descriptor):
    descriptor.sock.recv(100)


@pytest.fixture
def reactor():
    return FdReactor()


@pytest.fixture
def watched(reactor):
    watched = DescriptorSet(reactor)
    yield watched
    watched.removeAll()
    assert reactor.getReaders() == []


@pytest.fixture
def pairs():
    pairs = [tcp_pair() for _ in range(3)]
    yield pairs
    for sock in (sock for pair in pairs for sock in pair):
        sock.close()


def test_interfaces(watched):
    """The reactor sees a reader, streams an IReactorFDSet."""
    assert verifyObject(IReactorFDSet, watched)
    assert verifyObject(IReadDescriptor, watched)


def test_it_is_in_the_reactor_while_it_watches(reactor, watched, pairs):
    """A proxy that is over leaves nothing in the reactor; before the first descriptor there is no epoll."""
    assert (watched.fileno(), reactor.getReaders()) == (-1, [])
    one, other = Descriptor(pairs[0][0]), Descriptor(pairs[1][0])
    watched.addReader(one)
    watched.addWriter(other)
    assert reactor.getReaders() == [watched]
    watched.removeReader(one)
    assert reactor.getReaders() == [watched]
    watched.removeWriter(other)
    assert reactor.getReaders() == []
    watched.addReader(one)
    assert reactor.getReaders() == [watched]


def test_time_is_the_reactors(reactor, watched):
    """Calls later are the reactor's own."""
    called = []
    watched.callLater(1, called.append, "late")
    reactor.advance(1)
    assert called == ["late"]


def test_one_that_fails_harms_no_other(reactor, watched, pairs):
    """Both are ready in one turn; one raises."""

    def fail(descriptor):
        raise ZeroDivisionError

    bad, good = Descriptor(pairs[0][0], fail), Descriptor(pairs[1][0], read_all)
    for descriptor, (_, far) in zip((bad, good), pairs, strict=False):
        watched.addReader(descriptor)
        far.send(b"x")
    reactor.turn_until(lambda: ZeroDivisionError in bad.events and "read" in good.events)
    assert watched.getReaders() == [good]


def test_what_was_said_of_a_number_is_not_for_its_next_owner(reactor, watched, pairs):
    """Both hang up; whoever is told first gives the other's number to a new connection, which lives."""
    both, replacement = [], []

    def change_hands(descriptor):
        if replacement:
            return None
        (victim,) = (each for each in both if each is not descriptor)
        number = victim.fileno()
        watched.removeReader(victim)
        near, far = tcp_pair()
        os.dup2(near.fileno(), number)
        near.close()
        pairs.append((victim.sock, far))
        replacement.append(Descriptor(victim.sock, read_all))
        watched.addReader(replacement[0])
        return ConnectionLost()

    for near, far in pairs[:2]:
        both.append(Descriptor(near, change_hands))
        watched.addReader(both[-1])
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
    reactor.turn_until(lambda: replacement)
    reactor.settle()
    assert replacement[0].events == []
    assert watched.getReaders() == replacement


def test_somebody_elses_descriptor_stays(watched, pairs):
    """Taking out what is not in takes out nothing else of that number."""
    one, other = Descriptor(pairs[0][0]), Descriptor(pairs[0][0])
    watched.addReader(one)
    watched.removeReader(other)
    assert watched.getReaders() == [one]


def test_the_end_of_the_reactor_is_the_end_of_all(watched, pairs):
    """Also when one of them fails on hearing it."""

    class Sulking(Descriptor):
        def connectionLost(self, reason):
            raise ZeroDivisionError

    descriptors = [Sulking(pairs[0][0]), Descriptor(pairs[1][0])]
    for descriptor in descriptors:
        watched.addReader(descriptor)
        watched.addWriter(descriptor)
    watched.connectionLost(Failure(ConnectionLost()))
    assert descriptors[1].events == [ConnectionLost]
    assert (watched.getReaders(), watched.getWriters()) == ([], [])


def test_closed_before_it_was_taken_out(reactor, watched, pairs):
    """The kernel forgets it by itself; so does this."""
    descriptor = Descriptor(pairs[0][0])
    watched.addReader(descriptor)
    watched.addWriter(descriptor)
    pairs[0][0].close()
    watched.removeReader(descriptor)
    watched.removeWriter(descriptor)
    assert reactor.getReaders() == []


@pytest.mark.parametrize("kind", ["set", "reactor"])
def test_a_successor_reads_in_place_of_another(reactor, watched, pairs, kind):
    """The same descriptor, another object; what the former one does afterwards harms nobody."""
    where = watched if kind == "set" else reactor
    former, successor = Descriptor(pairs[0][0], read_all), Descriptor(pairs[0][0], read_all)
    where.addReader(former)
    replace(where, former, successor)
    assert where.getReaders() == [successor]
    pairs[0][1].send(b"x")
    reactor.turn_until(lambda: successor.events)
    assert (former.events, successor.events) == ([], ["read"])
    where.removeReader(successor)


def test_who_was_not_watched_has_a_successor_too(reactor, watched, pairs):
    """Only the kernel's work is saved, where there is any."""
    successor = Descriptor(pairs[0][0], read_all)
    watched.replace_reader(Descriptor(pairs[0][0]), successor)
    pairs[0][1].send(b"x")
    reactor.turn_until(lambda: successor.events)


@pytest.mark.parametrize("kind", ["set", "reactor"])
def test_what_leaves_and_closes_is_gone(reactor, watched, pairs, kind):
    """Its number's next owner is watched anew, and hears its own events only."""
    where = watched if kind == "set" else reactor
    former = Descriptor(pairs[0][0], read_all)
    where.addReader(former)
    where.addWriter(former)
    number = former.fileno()
    leave(where, former)
    assert (where.getReaders(), where.getWriters()) == ([], [])
    pairs[0][1].send(b"not for the next one")
    os.dup2(pairs[1][0].fileno(), number)
    following = Descriptor(pairs[0][0], read_all)
    where.addReader(following)
    reactor.settle()
    assert following.events == []
    pairs[1][1].send(b"x")
    reactor.turn_until(lambda: following.events)
    assert (former.events, following.events) == ([], ["read"])
    where.removeReader(following)


def test_leaving_takes_nobody_else_out(reactor, watched, pairs):
    """As with the other ways out."""
    one, other = Descriptor(pairs[0][0]), Descriptor(pairs[0][0])
    watched.addReader(one)
    watched.addWriter(one)
    leave(watched, other)
    assert (watched.getReaders(), watched.getWriters()) == ([one], [one])
    assert reactor.getReaders() == [watched]


def test_without_epoll_the_reactor_serves(monkeypatch, reactor):
    """Other platforms work the same, a little slower."""
    assert isinstance(descriptor_set(reactor), DescriptorSet) is hasattr(select, "epoll")
    monkeypatch.setattr(module, "_HAS_EPOLL", False)
    assert descriptor_set(reactor) is reactor


def test_what_comes_meanwhile_is_of_the_same_turn(watched, pairs):
    """Up to a limit: who never has enough leaves room for the reactor's timers and other descriptors."""
    (first, far), (second, its_far), _ = pairs
    one = Descriptor(first, lambda self: its_far.send(b"x") and read_all(self))
    other = Descriptor(second, read_all)
    greedy = Descriptor(second)
    watched.addReader(one)
    watched.addReader(other)
    far.send(b"x")
    watched.doRead()
    assert (one.events, other.events) == (["read"], ["read"])
    watched.removeReader(other)
    watched.addReader(greedy)
    its_far.send(b"x")
    watched.doRead()
    assert greedy.events == ["read"] * 4
