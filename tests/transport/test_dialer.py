"""Dialling addresses: races, failures, deadlines, local addresses."""

import errno
import socket
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from netfw import errors
from netfw.interfaces import IDialer
from netfw.testing.deferreds import failure_of, result_of
from netfw.testing.fd_reactor import FdReactor
from netfw.testing.streams import Recorder
from netfw.transport.deadlines import Deadlines
from netfw.transport.dialer import ATTEMPT_DELAY, Dialer, failure_for
from netfw.transport.stream import Stream

V4 = ip_address("127.0.0.1")
V6 = ip_address("::1")


@pytest.fixture
def reactor():
    return FdReactor()


@pytest.fixture
def deadlines(reactor):
    return Deadlines(reactor)


@pytest.fixture
def dialer(reactor, deadlines):
    return Dialer(reactor, deadlines, connect_timeout=5)


@pytest.fixture
def origin():
    """A listening socket on 127.0.0.1 and, with the same port, on ::1."""
    four = socket.create_server(("127.0.0.1", 0))
    port = four.getsockname()[1]
    with four, socket.create_server(("::1", port), family=socket.AF_INET6) as six:
        yield SimpleNamespace(port=port, sockets={4: four, 6: six})


@pytest.fixture
def silent():
    """Listening sockets with a full queue: connections to their addresses stay unanswered. `silent(address, port)`."""
    kept = []

    def fill(address, port=0):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(0)
        kept.append(sock)
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(sock.getsockname())
            kept.append(client)
        return sock.getsockname()[1]

    yield fill
    for sock in kept:
        sock.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def nothing_left(reactor, deadlines):
    reactor.advance(0.25)
    assert (reactor.getReaders(), reactor.getWriters(), reactor.getDelayedCalls()) == ([], [], [])
    assert len(deadlines) == 0


def test_interface(dialer):
    """The dialer is an IDialer."""
    assert verifyObject(IDialer, dialer)


@pytest.mark.parametrize("address", [V4, V6])
def test_connects(reactor, deadlines, dialer, origin, address):
    """The Stream is connected, not started, knows both addresses, and sends without delay."""
    deferred = maybeDeferred(dialer.dial, [address], origin.port)
    reactor.turn_until(lambda: deferred.called)
    stream = result_of(deferred)
    assert not stream.started
    nothing_left(reactor, deadlines)
    far, _ = origin.sockets[address.version].accept()
    assert (stream.getPeer().host, stream.getPeer().port) == (str(address), origin.port)
    assert (stream.getHost().host, stream.getHost().port) == far.getpeername()[:2]
    assert stream.getTcpNoDelay()
    protocol = Recorder()
    stream.start(protocol)
    stream.write(b"ping")
    assert far.recv(10) == b"ping"
    far.send(b"pong")
    reactor.turn_until(lambda: protocol.data == b"pong")
    far.close()
    stream.abortConnection()


def test_a_refused_connection(reactor, deadlines, dialer):
    """ECONNREFUSED is OriginRefused, and names the address only."""
    port = free_port()
    deferred = maybeDeferred(dialer.dial, [V4], port)
    reactor.turn_until(lambda: deferred.called)
    problem = failure_of(deferred, errors.OriginRefused)
    assert (problem.message, problem.detail) == (f"127.0.0.1:{port} refused the connection", "ECONNREFUSED")
    nothing_left(reactor, deadlines)


def test_an_address_without_route(reactor, deadlines, dialer):
    """What the kernel has no route to is OriginUnroutable."""
    deferred = maybeDeferred(dialer.dial, [ip_address("255.255.255.255")], 80)
    reactor.turn_until(lambda: deferred.called)
    failure_of(deferred, errors.OriginUnroutable)
    nothing_left(reactor, deadlines)


def test_what_is_there_at_once_is_no_deferred(reactor, deadlines, dialer, origin):
    """On this very host the kernel has its answer at once: a stream, or an error that is raised."""
    stream = dialer.dial([V4], origin.port)
    assert type(stream) is Stream
    nothing_left(reactor, deadlines)
    stream.abortConnection()
    with pytest.raises(errors.OriginRefused):
        dialer.dial([V4], free_port())
    nothing_left(reactor, deadlines)


def test_no_address_at_all(reactor, deadlines, dialer):
    """Nothing to dial is a failure, not a wait."""
    failure_of(maybeDeferred(dialer.dial, [], 80), errors.OriginUnroutable)
    nothing_left(reactor, deadlines)


def test_a_deadline_for_the_whole(reactor, deadlines, dialer, silent):
    """No answer in time is OriginConnectTimeout, status 504; every attempt is closed."""
    port = silent("127.0.0.1")
    silent("127.0.0.2", port)
    deferred = maybeDeferred(dialer.dial, [V4, ip_address("127.0.0.2")], port)
    reactor.settle()
    reactor.advance(ATTEMPT_DELAY)
    assert len(reactor.getWriters()) == 2
    reactor.pump([0.25] * 19)
    assert deferred.called
    assert failure_of(deferred, errors.OriginConnectTimeout).status == 504
    nothing_left(reactor, deadlines)


def test_the_next_address_starts_after_a_delay(reactor, deadlines, dialer, silent, origin):
    """While one address is silent the next is tried; the first that answers wins and the others are closed."""
    silent("127.0.0.2", origin.port)
    deferred = maybeDeferred(dialer.dial, [ip_address("127.0.0.2"), V4], origin.port)
    reactor.advance(ATTEMPT_DELAY * 0.9)
    reactor.settle()
    assert not deferred.called
    reactor.advance(ATTEMPT_DELAY * 0.1)
    reactor.turn_until(lambda: deferred.called)
    stream = result_of(deferred)
    assert stream.getPeer().host == "127.0.0.1"
    nothing_left(reactor, deadlines)
    stream.abortConnection()


def test_the_next_address_starts_at_once_after_a_failure(reactor, deadlines, dialer, origin):
    """No delay is spent on an address that refuses, and the order is the given one."""
    deferred = maybeDeferred(dialer.dial, [ip_address("127.0.0.9"), ip_address("127.0.0.8"), V4], origin.port)
    reactor.turn_until(lambda: deferred.called)
    stream = result_of(deferred)
    assert (stream.getPeer().host, reactor.seconds()) == ("127.0.0.1", 0)
    nothing_left(reactor, deadlines)
    stream.abortConnection()


def test_a_slow_failure_hastens_the_next(reactor, deadlines, dialer, origin, silent):
    """When the attempt under way fails late, the next starts then; a timer that is left fires nothing."""
    silent("127.0.0.2", origin.port)
    deferred = maybeDeferred(dialer.dial, [ip_address("127.0.0.2"), V4, V6], origin.port)
    (attempt,) = reactor.getWriters()
    attempt.dial.failed(attempt, errno.EHOSTUNREACH)
    reactor.turn_until(lambda: deferred.called)
    result_of(deferred).abortConnection()
    nothing_left(reactor, deadlines)


def test_the_only_one_left_goes_on(reactor, dialer, origin, silent):
    """A failure of the second attempt does not end the first."""
    port = silent("127.0.0.2")
    deferred = maybeDeferred(dialer.dial, [ip_address("127.0.0.2"), V4], port)
    reactor.advance(ATTEMPT_DELAY)
    reactor.settle()
    assert not deferred.called
    assert len(reactor.getWriters()) == 1
    deferred.cancel()
    failure_of(deferred, CancelledError)


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_cancel(reactor, deadlines, dialer, silent, turns):
    """Cancelling closes every attempt and leaves nothing behind."""
    port = silent("127.0.0.1")
    silent("127.0.0.2", port)
    deferred = maybeDeferred(dialer.dial, [V4, ip_address("127.0.0.2"), ip_address("127.0.0.1")], port)
    for _ in range(turns):
        reactor.advance(ATTEMPT_DELAY)
    socks = [attempt.sock for attempt in reactor.getWriters()]
    assert len(socks) == turns + 1
    deferred.cancel()
    failure_of(deferred, CancelledError)
    assert [sock.fileno() for sock in socks] == [-1] * len(socks)
    nothing_left(reactor, deadlines)


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ([errno.ENETUNREACH, errno.ECONNREFUSED], errors.OriginRefused),
        ([errno.ECONNREFUSED, errno.ENETUNREACH], errors.OriginRefused),
        ([errno.ETIMEDOUT, errno.ECONNREFUSED], errors.OriginConnectTimeout),
        ([errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ENETUNREACH], errors.OriginConnectTimeout),
        ([errno.EMFILE, errno.ENETUNREACH], errors.Overloaded),
    ],
)
def test_the_most_informative_failure_is_told(reactor, dialer, silent, codes, kind):
    """Of several failures: a time-out before a refusal before a missing route."""
    port = silent("127.0.0.1")
    deferred = maybeDeferred(dialer.dial, [V4] * len(codes), port)
    for code in codes:
        (attempt,) = reactor.getWriters()
        attempt.dial.failed(attempt, code)
    failure_of(deferred, kind)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ECONNREFUSED, errors.OriginRefused),
        (errno.ENETUNREACH, errors.OriginUnroutable),
        (errno.EHOSTUNREACH, errors.OriginUnroutable),
        (errno.EADDRNOTAVAIL, errors.OriginUnroutable),
        (errno.EAFNOSUPPORT, errors.OriginUnroutable),
        (errno.EPERM, errors.OriginUnroutable),
        (errno.ETIMEDOUT, errors.OriginConnectTimeout),
        (errno.EMFILE, errors.Overloaded),
        (99999, errors.OriginUnroutable),
    ],
)
def test_names_of_failures(code, kind):
    """Each error of connect(2) has one class; its symbol is the detail."""
    problem = failure_for(code, "192.0.2.1:80")
    assert type(problem) is kind
    assert problem.detail == errno.errorcode.get(code, str(code))


def test_source_addresses_take_turns(reactor, deadlines, origin):
    """Connections are bound to the addresses of their family, one after the other."""
    dialer = Dialer(
        reactor, deadlines, connect_timeout=5, source_addresses=["127.0.0.3", "::1", ip_address("127.0.0.4")]
    )
    seen = []
    for address in (V4, V4, V6, V4):
        deferred = maybeDeferred(dialer.dial, [address], origin.port)
        reactor.turn_until(lambda deferred=deferred: deferred.called)
        stream = result_of(deferred)
        seen.append(stream.getHost().host)
        stream.abortConnection()
    assert seen == ["127.0.0.3", "127.0.0.4", "::1", "127.0.0.3"]


def test_a_family_without_source_address_is_not_dialled(reactor, deadlines, origin):
    """When only IPv4 addresses are configured, IPv6 is unroutable rather than dialled from any address."""
    dialer = Dialer(reactor, deadlines, connect_timeout=5, source_addresses=["127.0.0.1"])
    failure_of(maybeDeferred(dialer.dial, [V6], origin.port), errors.OriginUnroutable)
    deferred = maybeDeferred(dialer.dial, [V6, V4], origin.port)
    reactor.turn_until(lambda: deferred.called)
    result_of(deferred).abortConnection()


def test_a_source_address_that_is_not_ours(reactor, deadlines, origin):
    """An address that cannot be bound is a missing route."""
    dialer = Dialer(reactor, deadlines, connect_timeout=5, source_addresses=["192.0.2.1"])
    problem = failure_of(maybeDeferred(dialer.dial, [V4], origin.port), errors.OriginUnroutable)
    assert problem.detail == "EADDRNOTAVAIL"
    nothing_left(reactor, deadlines)


def test_an_old_event_does_not_connect(reactor, dialer, silent):
    """Readiness or a hang-up of another socket with the same descriptor is seen through."""
    deferred = maybeDeferred(dialer.dial, [V4], silent("127.0.0.1"))
    (attempt,) = reactor.getWriters()
    assert verifyObject(IReadWriteDescriptor, attempt)
    attempt.doWrite()
    attempt.doRead()
    for kind in (ConnectionDone, ConnectionLost):
        reactor.removeWriter(attempt)
        attempt.connectionLost(Failure(kind()))
        assert reactor.getWriters() == [attempt]
    assert not deferred.called
    deferred.cancel()
    failure_of(deferred, CancelledError)
    attempt.doWrite()
    attempt.connectionLost(Failure(ConnectionLost()))
    assert reactor.getWriters() == []


def test_a_late_answer(reactor, deadlines, dialer, silent):
    """A connection that needs more than one turn is made by the reactor's event."""
    port = silent("127.0.0.1")
    deferred = maybeDeferred(dialer.dial, [V4], port)
    assert not deferred.called
    (attempt,) = reactor.getWriters()
    near, far = socket.socketpair()
    attempt.sock.close()
    attempt.sock = Connected(near)
    attempt.doWrite()
    assert result_of(deferred).fileno() == near.fileno()
    nothing_left(reactor, deadlines)
    near.close()
    far.close()


class Connected:
    """A socket whose connect(2) has been answered."""

    def __init__(self, real):
        self.real = real

    def connect_ex(self, target):
        return errno.EISCONN

    def fileno(self):
        return self.real.fileno()
