"""Listening sockets and what comes out of them."""

import errno
import socket
import subprocess
import sys
import textwrap

import pytest
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from netfw.testing.fd_reactor import FdReactor
from netfw.testing.streams import Peer, Recorder
from netfw.transport.accepting import BACK_OFF, BATCH, adopt, listen


class Doorman:
    """A factory that remembers whom it let in; `verdict` makes the protocol."""

    def __init__(self, verdict=Recorder):
        self.verdict = verdict
        self.peers = []
        self.protocols = []

    def buildProtocol(self, peer):
        self.peers.append(peer)
        protocol = self.verdict()
        self.protocols.append(protocol)
        return protocol


@pytest.fixture
def reactor():
    return FdReactor()


@pytest.fixture
def logged():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def knock(listening, first=b""):
    host = listening.getHost().host
    sock = socket.create_connection((host, listening.port))
    if first:
        sock.send(first)
    return sock


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_client_comes_in(reactor, address):
    """The factory is given the peer's address, and the protocol a stream with both addresses."""
    doorman = Doorman()
    listening = listen(reactor, doorman, address, 0)
    assert verifyObject(IReadDescriptor, listening)
    sock = knock(listening, b"hello")
    reactor.turn_until(lambda: doorman.protocols)
    (protocol,) = doorman.protocols
    assert protocol.data == b"hello", "read at once, in the same turn"
    assert (doorman.peers[0].host, doorman.peers[0].port) == sock.getsockname()[:2]
    assert protocol.transport.getPeer() == doorman.peers[0]
    assert (protocol.transport.getHost().host, protocol.transport.getHost().port) == sock.getpeername()[:2]
    assert protocol.transport.getTcpNoDelay()


def test_the_local_address_behind_any_address(reactor):
    """A socket that listens on all addresses does not say that a connection came to 0.0.0.0."""
    doorman = Doorman()
    listening = listen(reactor, doorman, "0.0.0.0", 0)
    sock = socket.create_connection(("127.0.0.2", listening.port))
    reactor.turn_until(lambda: doorman.protocols)
    assert doorman.protocols[0].transport.getHost().host == "127.0.0.2"
    sock.close()


def test_ipv6_takes_no_ipv4(reactor):
    """A client has one spelling of its address: the socket for :: leaves IPv4 alone."""
    listening = listen(reactor, Doorman(), "::", 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listening.port))


def test_a_refused_client_is_closed_at_once(reactor):
    """No protocol, no connection."""
    listening = listen(reactor, Doorman(lambda: None), "127.0.0.1", 0)
    peer = Peer(knock(listening))
    reactor.turn_until(lambda: peer.read() is None or peer.ended)
    assert reactor.getReaders() == [listening]


def test_a_failing_factory_costs_one_connection(reactor, logged):
    """What the factory raises is logged, its client is closed, the next one comes in."""

    def verdict():
        if len(doorman.peers) == 1:
            raise ZeroDivisionError
        return Recorder()

    doorman = Doorman(verdict)
    listening = listen(reactor, doorman, "127.0.0.1", 0)
    first, second = Peer(knock(listening)), knock(listening)
    reactor.turn_until(lambda: len(doorman.protocols) == 1 and (first.read() or first.ended))
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError]
    second.close()


@pytest.mark.parametrize("where", ["connectionMade", "dataReceived"])
def test_a_failing_protocol_costs_one_connection(reactor, logged, where):
    """What a new protocol raises ends its own stream, not the listening socket."""

    class Failing(Recorder):
        pass

    def fail(self, *args):
        raise ZeroDivisionError

    setattr(Failing, where, fail)
    doorman = Doorman(Failing)
    listening = listen(reactor, doorman, "127.0.0.1", 0)
    peer = Peer(knock(listening, b"x"))
    reactor.turn_until(lambda: peer.read() is None or peer.ended)
    assert [failure.type for failure in doorman.protocols[0].lost] == [ZeroDivisionError]
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError]
    assert reactor.getReaders() == [listening]


def test_accepts_in_batches(reactor):
    """A burst does not keep a turn for itself, and all of it comes in."""
    doorman = Doorman()
    listening = listen(reactor, doorman, "127.0.0.1", 0)
    socks = [knock(listening) for _ in range(BATCH * 2 + 1)]
    reactor.turn_until(lambda: doorman.protocols)
    assert len(doorman.protocols) == BATCH
    reactor.turn_until(lambda: len(doorman.protocols) == len(socks))


def test_pause_and_resume(reactor):
    """While paused clients wait in the kernel's queue."""
    doorman = Doorman()
    listening = listen(reactor, doorman, "127.0.0.1", 0)
    listening.pause()
    assert "paused" in repr(listening)
    sock = knock(listening)
    reactor.settle()
    assert doorman.peers == []
    listening.resume()
    listening.resume()
    assert "open" in repr(listening)
    reactor.turn_until(lambda: doorman.peers)
    sock.close()


def test_a_pause_out_of_the_factory_ends_the_batch(reactor):
    """The last connection that fits is the last one accepted, though more are waiting in this turn."""

    def verdict():
        listening.pause()
        return Recorder()

    doorman = Doorman(verdict)
    listening = listen(reactor, doorman, "127.0.0.1", 0)
    socks = [knock(listening) for _ in range(3)]
    reactor.turn_until(lambda: doorman.peers)
    reactor.settle()
    assert len(doorman.peers) == 1
    del socks


def test_stop(reactor):
    """The port is free at once; connections that came in stay; stopping again does nothing."""
    doorman = Doorman()
    listening = listen(reactor, doorman, "127.0.0.1", 0)
    sock = knock(listening)
    reactor.turn_until(lambda: doorman.protocols)
    port = listening.port
    listening.stop()
    listening.stop()
    listening.resume()
    assert "stopped" in repr(listening)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    sock.send(b"still here")
    reactor.turn_until(lambda: doorman.protocols[0].data == b"still here")
    listen(reactor, doorman, "127.0.0.1", port).stop()


def test_adopt(reactor):
    """A socket that listens already, and blocks, is taken as it is."""
    doorman = Doorman()
    sock = socket.create_server(("127.0.0.1", 0))
    listening = adopt(reactor, doorman, sock)
    assert listening.port == sock.getsockname()[1]
    client = knock(listening)
    reactor.turn_until(lambda: doorman.protocols)
    assert doorman.protocols[0].transport.getTcpNoDelay()
    client.close()


def test_two_processes_share_an_adopted_socket(reactor):
    """The one that comes too late finds nothing, and goes on."""
    doorman, other = Doorman(), Doorman()
    sock = socket.create_server(("127.0.0.1", 0))
    ours, theirs = adopt(reactor, doorman, sock), adopt(reactor, other, sock.dup())
    client = knock(ours)
    reactor.turn_until(lambda: doorman.protocols or other.protocols)
    reactor.settle()
    assert len(doorman.protocols + other.protocols) == 1
    assert set(reactor.getReaders()) >= {ours, theirs}
    client.close()


def test_reuse_port(reactor):
    """Two sockets may share a port when both ask for it."""
    first = listen(reactor, Doorman(), "127.0.0.1", 0, reuse_port=True)
    second = listen(reactor, Doorman(), "127.0.0.1", first.port, reuse_port=True)
    assert first.port == second.port
    with pytest.raises(OSError, match=r".*"):
        listen(reactor, Doorman(), "127.0.0.1", first.port)


def test_unix_sockets_can_be_adopted(reactor, tmp_path):
    """Listening is not bound to TCP."""
    doorman = Doorman()
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "socket"))
    sock.listen()
    listening = adopt(reactor, doorman, sock)
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(tmp_path / "socket"))
    reactor.turn_until(lambda: doorman.protocols)
    assert listening.port == 0
    client.close()


class BrokenSocket:
    """A listening socket whose accept fails as it is told to."""

    family = socket.AF_INET

    def __init__(self, *codes):
        self.codes = list(codes)
        self.real = socket.create_server(("127.0.0.1", 0))
        self.calls = 0

    def accept(self):
        self.calls += 1
        if self.codes:
            raise OSError(self.codes.pop(0), "as told")
        return self.real.accept()

    def __getattr__(self, name):
        return getattr(self.real, name)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_backs_off_without_resources(reactor, logged, code):
    """Out of descriptors: one line in the log, no attempt for a second, then it goes on."""
    doorman, sock = Doorman(), BrokenSocket(code)
    listening = adopt(reactor, doorman, sock)
    client = knock(listening)
    reactor.turn_until(lambda: sock.calls)
    reactor.settle(20)
    assert sock.calls == 1
    assert len(logged) == 1
    assert "backing off" in repr(listening)
    listening.pause()
    listening.resume()
    reactor.settle()
    assert sock.calls == 1, "resume does not cut the back-off short"
    reactor.advance(BACK_OFF)
    reactor.turn_until(lambda: doorman.protocols)
    client.close()


def test_stop_while_backing_off(reactor):
    """No timer is left."""
    sock = BrokenSocket(errno.EMFILE)
    listening = adopt(reactor, Doorman(), sock)
    client = knock(listening)
    reactor.turn_until(lambda: sock.calls)
    listening.stop()
    assert reactor.getDelayedCalls() == []
    client.close()


def test_goes_on_after_a_lost_client(reactor):
    """A client that left before it was accepted is no trouble of the socket."""
    doorman = Doorman()
    listening = adopt(reactor, doorman, BrokenSocket(errno.ECONNABORTED, errno.EPROTO))
    client = knock(listening)
    reactor.turn_until(lambda: doorman.protocols)
    client.close()


def test_a_broken_socket_is_closed(reactor):
    """Any other failure goes to the reactor, which takes the socket out."""
    listening = adopt(reactor, Doorman(), BrokenSocket(errno.EBADF))
    client = knock(listening)
    reactor.turn_until(lambda: listening.fileno() == -1)
    assert [failure.value.errno for failure in reactor.failures] == [errno.EBADF]
    client.close()


def test_the_end_of_the_reactor(reactor):
    """Closes the socket."""
    listening = listen(reactor, Doorman(), "127.0.0.1", 0)
    reactor.disconnect_all()
    assert listening.fileno() == -1
    listening.connectionLost(Failure(ZeroDivisionError()))


def test_a_taken_port_leaves_no_socket(reactor):
    """What cannot be bound is an OSError."""
    taken = listen(reactor, Doorman(), "127.0.0.1", 0)
    with pytest.raises(OSError) as caught:
        listen(reactor, Doorman(), "127.0.0.1", taken.port)
    assert caught.value.errno == errno.EADDRINUSE


def test_out_of_descriptors_for_real():
    """A process at its limit of descriptors waits, uses no CPU meanwhile, and takes the client in when it can."""
    program = """
        import os, resource, socket, time
        from twisted.internet import reactor
        from twisted.internet.protocol import Protocol
        from twisted.logger import globalLogPublisher
        from netfw.transport.accepting import listen

        lines = []
        globalLogPublisher.addObserver(lambda event: lines.append(event) if "problem" in event else None)

        class Greeter(Protocol):
            def connectionMade(self):
                print(len(lines), "EMFILE" if "24" in lines[0]["problem"] else lines, flush=True)
                print("idle" if time.process_time() - cpu < 0.2 else "busy", flush=True)
                reactor.stop()

        class Factory:
            def buildProtocol(self, peer):
                return Greeter()

        listening = listen(reactor, Factory(), "127.0.0.1", 0)
        client = socket.create_connection(("127.0.0.1", listening.port))
        used = os.dup(0)
        os.close(used)
        cpu = time.process_time()
        reactor.callWhenRunning(resource.setrlimit, resource.RLIMIT_NOFILE, (used, 4096))
        reactor.callLater(0.4, resource.setrlimit, resource.RLIMIT_NOFILE, (used + 10, 4096))
        reactor.callLater(10, reactor.stop)
        reactor.run()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("1 EMFILE\nidle\n", "")
