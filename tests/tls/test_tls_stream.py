"""netfw.tls.stream"""

from __future__ import annotations

import select
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from zope.interface.verify import verifyObject

from netfw.interfaces import IByteTransport
from netfw.tls.contexts import listener_context, upstream_context
from netfw.tls.stream import (
    TlsAlertReceived,
    TlsHandshakeError,
    TlsRecordsBroken,
    TlsTruncated,
    start_tls,
)
from netfw.transport.stream import Stream

VERSIONS = ["TLSv1_2", "TLSv1_3"]
NAME = "www.example.com"


def server_side(bed: Any) -> SSL.Connection:
    """A connection for our side, as a server for NAME."""
    connection = SSL.Connection(listener_context(*bed.listener(NAME)), None)
    connection.set_accept_state()
    return connection


def client_side(bed: Any) -> SSL.Connection:
    """A connection for our side, as a client of NAME."""
    connection = SSL.Connection(upstream_context([bed.root_file]), None)
    connection.set_tlsext_host_name(NAME.encode())
    connection.set_connect_state()
    return connection


def established(bed: Any, inner: Callable[[], Any], role: str = "server", version: str = "TLSv1_3") -> Any:
    """(TlsStream, started inner protocol, Python's peer), the handshake done."""
    stream, sock = bed.pair()
    if role == "server":
        result = bed.start(stream, server_side(bed))
        peer = bed.peer(sock, bed.client_context(version), server=False, name=NAME)
    else:
        peer = bed.peer(sock, bed.server_context(NAME, version=version), server=True)
        result = bed.start(stream, client_side(bed))
    tls = bed.secured(result)
    protocol = inner()
    tls.start(protocol)
    bed.until(lambda: peer.secured)
    return tls, protocol, peer


# -- bytes both ways


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", ["server", "client"])
def test_bytes_go_both_ways_unchanged(bed: Any, inner: Any, role: str, version: str) -> None:
    """One byte, one record, a byte more, and a megabyte: what one end writes the other reads, in order."""
    tls, protocol, peer = established(bed, inner, role, version)
    assert tls.connection.get_protocol_version_name() == version.replace("_", ".")
    sent = b""
    for size in (1, 16383, 16384, 16385, 1 << 20):
        block = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        tls.write(block)
        peer.write(block)
        sent += block
        bed.until(lambda sent=sent: peer.received == sent and protocol.received == sent)
    tls.writeSequence([b"a", b"", b"b" * 40000])
    sent += b"a" + b"b" * 40000
    bed.until(lambda: peer.received == sent)
    assert (tls.bytes_in, tls.bytes_out) == (len(protocol.received), len(sent))


def test_other_kinds_of_buffers_can_be_written(bed: Any, inner: Any) -> None:
    """bytearray and memoryview, below and above a record."""
    tls, _protocol, peer = established(bed, inner)
    tls.write(bytearray(b"abc"))
    tls.write(memoryview(b"z" * 50000))
    bed.until(lambda: peer.received == b"abc" + b"z" * 50000)


def test_it_is_a_byte_transport(bed: Any, inner: Any) -> None:
    """The interface is provided in full; addresses are those of the transport below."""
    tls, _protocol, _peer = established(bed, inner)
    assert verifyObject(IByteTransport, tls)
    assert tls.getPeer() == tls.stream.getPeer() and tls.getHost() == tls.stream.getHost()
    assert tls.connected and tls.started and not tls.disconnecting
    assert "open" in repr(tls)


def test_many_small_records_in_one_read_are_one_delivery(bed: Any, inner: Any) -> None:
    """The protocol inside is called once for what came at once."""
    tls, protocol, peer = established(bed, inner)
    bed.settle()
    for _ in range(50):
        peer.tls.write(b"abc")
    peer.flush()
    bed.until(lambda: len(protocol.received) == 150)
    assert len(protocol.pieces) == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(12))
def test_any_split_of_the_ciphertext_gives_the_same_plaintext(bed: Any, inner: Any, version: str, seed: int) -> None:
    """Records cut anywhere, headers too: nothing is lost, nothing waits for the next record."""
    random = Random(seed)
    tls, protocol, peer = established(bed, inner, "server", version)
    bed.settle(3)
    expected = b""
    for number in range(random.randint(1, 8)):
        block = bytes([number]) * random.choice([1, 5, 100, 16384, 40000])
        peer.tls.write(block)
        expected += block
    wire = peer.outgoing.read()
    largest = random.choice([1, 7, 1000, 20000, 100000])
    position = 0
    while position < len(wire):
        size = random.randint(1, largest)
        tls.dataReceived(wire[position : position + size])
        position += size
    assert protocol.received == expected


# -- the handshake


@pytest.mark.parametrize("version", VERSIONS)
def test_data_of_the_last_flight_is_kept_for_the_protocol(bed: Any, inner: Any, version: str) -> None:
    """A client that sends its request together with Finished loses nothing, however late the protocol starts."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    peer = bed.peer(sock, bed.client_context(version), server=False, name=NAME)
    peer.to_send = b"GET / HTTP/1.1\r\n\r\n"
    tls = bed.secured(result)
    bed.settle()
    peer.write(b"more" * 50000)
    bed.settle()
    protocol = inner()
    tls.start(protocol)
    assert version == "TLSv1_2" or protocol.received.startswith(b"GET / HTTP/1.1\r\n\r\n")
    bed.until(lambda: protocol.received == b"GET / HTTP/1.1\r\n\r\n" + b"more" * 50000)


def test_reading_stops_while_there_is_no_protocol(bed: Any) -> None:
    """What a peer can make us keep is bounded: after the first data nothing is read until `start`."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    peer = bed.peer(sock, bed.client_context(), server=False, name=NAME)
    bed.secured(result)
    bed.until(lambda: peer.secured)
    peer.write(b"x" * (4 << 20))
    bed.settle(200)
    assert peer.pending
    assert stream.bytes_in < 1 << 19


def test_first_bytes_may_be_given(bed: Any, inner: Any) -> None:
    """A ClientHello that was already read from a running, paused stream is not lost."""
    stream, sock = bed.pair()
    peer = bed.peer(sock, bed.client_context(), server=False, name=NAME)
    opening = inner()
    opening.when_data = lambda transport, data: transport.pauseProducing()
    stream.start(opening)
    bed.until(lambda: opening.received)
    result = bed.start(stream, server_side(bed), opening.received)
    tls = bed.secured(result)
    protocol = inner()
    tls.start(protocol)
    peer.write(b"hello")
    bed.until(lambda: protocol.received == b"hello")
    assert opening.lost == []


def test_a_handshake_that_takes_too_long_is_aborted(bed: Any) -> None:
    """At its deadline; no delayed call is left."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    bed.reactor.advance(9.5)
    bed.settle()
    assert result == []
    bed.reactor.advance(1)
    error = bed.failed(result)
    assert isinstance(error, TlsHandshakeError) and error.timed_out
    bed.settle()
    assert not stream.connected
    bed.nothing_waits()
    assert sock.recv(10) == b""


def test_a_slow_trickle_does_not_push_the_deadline(bed: Any) -> None:
    """It is counted from the beginning, whatever comes in between."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    for byte in b"\x16\x03\x01\x02\x00\x01":
        sock.send(bytes([byte]))
        bed.reactor.advance(1.6)
        bed.settle(3)
    assert result == []
    bed.reactor.advance(1.6)
    assert bed.failed(result).timed_out


def test_cancelling_aborts(bed: Any) -> None:
    """The Deferred fails with CancelledError, the transport is gone, no delayed call is left."""
    stream, sock = bed.pair()
    got: list[Any] = []
    deferred = start_tls(
        stream, server_side(bed), deadlines=bed.deadlines, handshake_timeout=5, abort_timeout=2
    ).addErrback(got.append)
    deferred.cancel()
    bed.settle()
    assert got[0].check(CancelledError)
    assert not stream.connected
    bed.nothing_waits()


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"])
def test_a_peer_that_leaves_during_the_handshake(bed: Any, said: bytes) -> None:
    """Is told from one that speaks wrongly."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    sock.send(said) if said else None
    sock.close()
    error = bed.failed(result)
    assert error.closed and not error.from_peer and error.alert is None


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05\x0b\x00\x00\x01\x00", b"\0" * 64])
def test_what_is_no_handshake_fails_it(bed: Any, said: bytes) -> None:
    """Plain HTTP, another message, zeroes: the handshake fails with OpenSSL's reason and the connection is closed."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    sock.send(said)
    error = bed.failed(result)
    assert error.reason and not error.from_peer and not error.closed and error.certificate_problem is None
    bed.settle()
    assert not stream.connected
    bed.nothing_waits()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_does_not_know_our_authority_is_understood(bed: Any, version: str) -> None:
    """Its alert ends the handshake by name."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    context = ssl.create_default_context(cafile=str(bed.write("other.pem", type(bed.authority)().certificate_pem)))
    context.maximum_version = ssl.TLSVersion[version]
    bed.peer(sock, context, server=False, name=NAME)
    error = bed.failed(result)
    assert (error.alert, error.from_peer) == ("unknown_ca", True)
    bed.settle()
    assert not stream.connected


def test_our_own_alert_reaches_the_peer(bed: Any) -> None:
    """A client that offers only TLS 1.1 hears protocol_version."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    # A ClientHello whose highest version is TLS 1.1, without extensions.
    body = b"\x03\x02" + b"r" * 32 + b"\0" + b"\x00\x02\xc0\x2f" + b"\x01\x00"
    sock.send(b"\x16\x03\x01" + (len(body) + 4).to_bytes(2, "big") + b"\x01\x00" + len(body).to_bytes(2, "big") + body)
    error = bed.failed(result)
    assert "unsupported protocol" in error.reason and not error.from_peer
    assert sock.recv(100) == b"\x15\x03\x02\x00\x02\x02\x46"


# -- ALPN


@pytest.mark.parametrize(
    ("offered", "selected"), [(["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), ([], None)]
)
def test_application_protocols(bed: Any, inner: Any, offered: list[str], selected: str | None) -> None:
    """http/1.1 when it is offered, nothing when nothing is."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    context = bed.client_context()
    if offered:
        context.set_alpn_protocols(offered)
    peer = bed.peer(sock, context, server=False, name=NAME)
    tls = bed.secured(result)
    assert peer.tls.selected_alpn_protocol() == selected
    assert tls.connection.get_alpn_proto_negotiated() == (selected or "").encode()


@pytest.mark.parametrize("version", VERSIONS)
def test_only_other_application_protocols(bed: Any, version: str) -> None:
    """A client that offers h2 alone hears no_application_protocol, and we say so."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    context = bed.client_context(version)
    context.set_alpn_protocols(["h2"])
    peer = bed.peer(sock, context, server=False, name=NAME)
    error = bed.failed(result)
    assert (error.alert, error.from_peer) == ("no_application_protocol", False)
    bed.until(lambda: peer.error)
    assert "no application protocol" in str(peer.error).lower().replace("_", " ")


# -- ends


@pytest.mark.parametrize("version", VERSIONS)
def test_close_notify_is_a_clean_end(bed: Any, inner: Any, version: str) -> None:
    """After all data: ConnectionDone; our close_notify answers."""
    tls, protocol, peer = established(bed, inner, "client", version)
    peer.tls.write(b"all of it" * 1000)
    peer.say_goodbye()
    bed.until(lambda: protocol.lost)
    assert protocol.received == b"all of it" * 1000
    assert isinstance(protocol.reason, ConnectionDone) and tls.clean_end
    bed.until(lambda: peer.socket_end)
    assert peer.clean_end or peer.error is None
    assert not tls.connected


@pytest.mark.parametrize("version", VERSIONS)
def test_an_end_without_close_notify_is_truncation(bed: Any, inner: Any, version: str) -> None:
    """A bare FIN is no orderly end: what came is delivered, and the reason is a ConnectionLost."""
    tls, protocol, peer = established(bed, inner, "client", version)
    peer.write(b"half")
    bed.settle()
    peer.sock.shutdown(socket.SHUT_RDWR)
    bed.until(lambda: protocol.lost)
    assert protocol.received == b"half"
    assert isinstance(protocol.reason, TlsTruncated) and isinstance(protocol.reason, ConnectionLost)
    assert not tls.clean_end


def test_truncation_in_the_middle_of_a_record(bed: Any, inner: Any) -> None:
    """The whole records before it are delivered."""
    tls, protocol, peer = established(bed, inner, "client")
    bed.settle()
    peer.tls.write(b"a" * 100)
    whole = peer.outgoing.read()
    peer.tls.write(b"b" * 100)
    peer.sock.send(whole + peer.outgoing.read()[:50])
    bed.settle()
    peer.sock.shutdown(socket.SHUT_RDWR)
    bed.until(lambda: protocol.lost)
    assert protocol.received == b"a" * 100 and isinstance(protocol.reason, TlsTruncated)


@pytest.mark.parametrize("version", VERSIONS)
def test_lose_connection_sends_all_and_says_goodbye(bed: Any, inner: Any, version: str) -> None:
    """What was written arrives, then close_notify, then the end; the protocol hears ConnectionDone, once."""
    tls, protocol, peer = established(bed, inner, "server", version)
    block = b"payload!" * 200000
    tls.write(block)
    tls.loseConnection()
    tls.loseConnection()
    tls.write(b"too late")
    assert tls.disconnecting
    bed.until(lambda: peer.socket_end)
    assert peer.received == block and peer.clean_end
    bed.until(lambda: protocol.lost)
    assert isinstance(protocol.reason, ConnectionDone) and not tls.clean_end
    bed.settle()
    assert len(protocol.lost) == 1
    bed.nothing_waits()


def test_nothing_is_delivered_after_lose_connection(bed: Any, inner: Any) -> None:
    """What the peer still sends is not the protocol's any more."""
    tls, protocol, peer = established(bed, inner)
    tls.write(b"x" * (1 << 22))  # more than the kernel takes, so that the connection stays
    peer.ignore_input = True
    tls.loseConnection()
    peer.write(b"late")
    bed.settle()
    assert protocol.received == b"" and protocol.lost == []


def test_a_peer_that_does_not_read_is_aborted(bed: Any, inner: Any) -> None:
    """loseConnection ends in the abort timeout, by the clock, whatever the peer does not do."""
    tls, protocol, peer = established(bed, inner)
    peer.ignore_input = True
    tls.write(b"x" * (1 << 22))
    tls.loseConnection()
    bed.settle()
    bed.reactor.advance(1.5)
    bed.settle()
    assert protocol.lost == [] and tls.unsent > 0
    bed.reactor.advance(1)
    bed.settle()
    assert isinstance(protocol.reason, ConnectionAborted)
    bed.nothing_waits()


def test_a_peer_that_ignores_close_notify_keeps_nothing_open(bed: Any, inner: Any) -> None:
    """Its answer is not waited for: the socket is closed as soon as ours is sent."""
    tls, protocol, peer = established(bed, inner)
    bed.peers.remove(peer)
    tls.loseConnection()
    bed.settle()
    assert isinstance(protocol.reason, ConnectionDone) and not tls.stream.connected
    bed.nothing_waits()


def test_abort_connection_ends_at_once(bed: Any, inner: Any) -> None:
    """Without a goodbye."""
    tls, protocol, peer = established(bed, inner)
    tls.abortConnection()
    tls.write(b"too late")
    bed.settle()
    assert isinstance(protocol.reason, ConnectionAborted)
    assert peer.socket_end and not peer.clean_end


def test_a_late_alert_is_the_reason(bed: Any, inner: Any) -> None:
    """With TLS 1.3 a refusal may come after our handshake: the protocol's reason carries the alert."""
    stream, sock = bed.pair()
    context = bed.server_context(NAME)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(str(bed.root_file))
    bed.peer(sock, context, server=True)
    tls = bed.secured(bed.start(stream, client_side(bed)))
    protocol = inner()
    tls.start(protocol)
    bed.until(lambda: protocol.lost)
    reason = protocol.reason
    assert isinstance(reason, TlsAlertReceived) and isinstance(reason, ConnectionLost)
    assert reason.alert == "certificate_required"


def test_a_late_alert_before_start_is_kept(bed: Any, inner: Any) -> None:
    """The protocol that starts after it hears of it."""
    stream, sock = bed.pair()
    context = bed.server_context(NAME)
    context.verify_mode = ssl.CERT_REQUIRED
    bed.peer(sock, context, server=True)
    tls = bed.secured(bed.start(stream, client_side(bed)))
    bed.settle()
    protocol = inner()
    tls.start(protocol)
    bed.until(lambda: protocol.lost)
    assert isinstance(protocol.reason, TlsAlertReceived)


def test_a_protocol_that_starts_after_the_end_hears_it(bed: Any, inner: Any) -> None:
    """Data first, then the reason."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    peer = bed.peer(sock, bed.client_context(), server=False, name=NAME)
    tls = bed.secured(result)
    bed.until(lambda: peer.secured)
    bed.settle()
    stream.abortConnection()
    bed.settle()
    protocol = inner()
    tls.start(protocol)
    assert isinstance(protocol.reason, ConnectionAborted)


@pytest.mark.parametrize("version", VERSIONS)
def test_damaged_records_end_the_connection(bed: Any, inner: Any, version: str) -> None:
    """The peer hears bad_record_mac; the protocol hears TlsRecordsBroken, after the data that was sound."""
    tls, protocol, peer = established(bed, inner, "server", version)
    peer.tls.write(b"sound")
    peer.tls.write(b"damaged")
    wire = bytearray(peer.outgoing.read())
    wire[-1] ^= 1
    peer.sock.send(wire)
    bed.until(lambda: protocol.lost)
    assert protocol.received == b"sound"
    assert isinstance(protocol.reason, TlsRecordsBroken)
    bed.until(lambda: peer.error or peer.socket_end)
    assert "bad record mac" in str(peer.error).lower().replace("_", " ")


def test_renegotiation_is_refused(bed: Any, inner: Any) -> None:
    """A TLS 1.2 client that begins a second handshake hears no_renegotiation, or the end.

    No second handshake happens.
    """
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    client = SSL.Connection(context, None)
    client.set_connect_state()

    def exchange() -> Exception | None:
        bed.turn()
        try:
            client.bio_write(sock.recv(1 << 16))
        except BlockingIOError:
            pass
        problem: Exception | None = None
        try:
            client.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            problem = error
        try:
            sock.send(client.bio_read(1 << 16))
        except SSL.WantReadError:
            pass
        return problem

    while not result:
        exchange()
    protocol = inner()
    result[0].start(protocol)
    assert client.renegotiate()
    problem = None
    while problem is None:
        problem = exchange()
    assert "no renegotiation" in str(problem)
    assert protocol.received == b""


# -- the protocol inside


def test_backpressure_reaches_the_producer(bed: Any, inner: Any) -> None:
    """Paused when more than 64 KiB of ciphertext wait, resumed when the peer has read."""
    tls, _protocol, peer = established(bed, inner)

    class Producer:
        calls: list[str] = []

        def pauseProducing(self) -> None:
            self.calls.append("pause")

        def resumeProducing(self) -> None:
            self.calls.append("resume")

        def stopProducing(self) -> None:
            self.calls.append("stop")

    producer = Producer()
    tls.registerProducer(producer, True)
    peer.ignore_input = True
    while not producer.calls:
        tls.write(b"x" * 65536)
    assert producer.calls == ["pause"] and tls.unsent > 1 << 16
    peer.ignore_input = False
    bed.until(lambda: producer.calls == ["pause", "resume"])
    bed.until(lambda: not tls.unsent)
    tls.unregisterProducer()


def test_pausing_stops_reading_below(bed: Any, inner: Any) -> None:
    """The peer's bytes stay in the kernel; resuming delivers them all, in order."""
    tls, protocol, peer = established(bed, inner)
    bed.settle()
    tls.pauseProducing()
    block = bytes(range(256)) * (1 << 14)
    peer.write(block)
    bed.settle(100)
    assert protocol.received == b"" and peer.pending
    tls.resumeProducing()
    bed.until(lambda: protocol.received == block)


def test_a_protocol_may_pause_and_resume_inside_its_own_callbacks(bed: Any, inner: Any) -> None:
    """In connectionMade and in dataReceived, a thousand times: in order, without recursion."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    peer = bed.peer(sock, bed.client_context(), server=False, name=NAME)
    peer.to_send = b"early"
    tls = bed.secured(result)
    bed.settle()
    depth = [0]
    protocol = inner()
    protocol.when_made = lambda transport: transport.pauseProducing()

    def when_data(transport: Any, data: bytes) -> None:
        depth[0] += 1
        assert depth[0] == 1
        transport.pauseProducing()
        transport.write(data)
        transport.resumeProducing()
        depth[0] -= 1

    protocol.when_data = when_data
    tls.start(protocol)
    assert protocol.received == b""
    tls.resumeProducing()
    assert protocol.received == b"early"
    for number in range(1000):
        peer.write(b"%04d" % number)
        if number % 100 == 0:
            bed.turn()
    expected = b"early" + b"".join(b"%04d" % number for number in range(1000))
    bed.until(lambda: peer.received == expected)


def test_a_protocol_may_close_inside_data_received(bed: Any, inner: Any) -> None:
    """Its answer arrives; connectionLost comes after dataReceived has returned."""
    tls, protocol, peer = established(bed, inner)
    inside = [False]

    def when_data(transport: Any, data: bytes) -> None:
        inside[0] = True
        transport.write(b"bye")
        transport.loseConnection()
        assert not protocol.lost
        inside[0] = False

    protocol.when_data = when_data
    peer.write(b"hello")
    bed.until(lambda: protocol.lost and peer.socket_end)
    assert peer.received == b"bye" and peer.clean_end and not inside[0]


def test_the_end_waits_for_a_paused_protocol(bed: Any, inner: Any) -> None:
    """Data and close_notify in one segment: a protocol that is paused gets the data when it resumes, then the end."""
    stream, sock = bed.pair()
    result = bed.start(stream, server_side(bed))
    peer = bed.peer(sock, bed.client_context(), server=False, name=NAME)
    tls = bed.secured(result)
    bed.until(lambda: peer.secured)
    peer.tls.write(b"last words")
    peer.say_goodbye()
    bed.settle()
    protocol = inner()
    protocol.when_made = lambda transport: transport.pauseProducing()
    tls.start(protocol)
    bed.settle()
    assert protocol.received == b"" and protocol.lost == []
    tls.resumeProducing()
    bed.until(lambda: protocol.lost)
    assert protocol.received == b"last words" and isinstance(protocol.reason, ConnectionDone)


def test_a_running_connection_can_be_handed_over(bed: Any, inner: Any) -> None:
    """switch_protocol: the next bytes and the end are the new protocol's."""
    tls, first, peer = established(bed, inner)
    peer.write(b"one")
    bed.until(lambda: first.received)
    second = inner()
    tls.switch_protocol(second)
    peer.write(b"two")
    bed.until(lambda: second.received)
    peer.say_goodbye()
    bed.until(lambda: second.lost)
    assert (first.received, first.lost, second.received) == (b"one", [], b"two")


def test_a_second_start_is_a_mistake(bed: Any, inner: Any) -> None:
    """switch_protocol is for that."""
    tls, _protocol, _peer = established(bed, inner)
    with pytest.raises(RuntimeError):
        tls.start(inner())


def test_what_a_protocol_raises_ends_its_connection(bed: Any, inner: Any) -> None:
    """As with any transport: it hears connectionLost, and nobody else is harmed."""
    tls, protocol, peer = established(bed, inner)

    def when_data(transport: Any, data: bytes) -> None:
        raise RuntimeError("a mistake")

    protocol.when_data = when_data
    peer.write(b"x")
    bed.until(lambda: protocol.lost)
    assert isinstance(protocol.reason, RuntimeError)
    assert [failure.type for failure in bed.reactor.failures] == [RuntimeError]
    bed.reactor.failures.clear()
    assert not tls.connected


def test_after_the_first_data_a_function_is_called_once(bed: Any, inner: Any) -> None:
    """For whoever wants the session that came before it."""
    tls, protocol, peer = established(bed, inner, "client")
    calls: list[bytes] = []
    tls.call_after_first_data(lambda: calls.append(protocol.received))
    peer.write(b"one")
    bed.until(lambda: protocol.received == b"one")
    peer.write(b"two")
    bed.until(lambda: protocol.received == b"onetwo")
    assert calls == [b""]


def test_lingering_lets_the_answer_arrive(bed: Any, inner: Any) -> None:
    """The peer goes on sending after our answer: it reads answer and close_notify, and is not reset for a while."""
    tls, protocol, peer = established(bed, inner)
    tls.write(b"403")
    peer.write(b"x" * 1000)
    tls.linger(size=1 << 20, timeout=2.0)
    bed.until(lambda: peer.received == b"403" and peer.clean_end)
    for _ in range(10):
        peer.write(b"x" * 1000)
        bed.turn()
    assert protocol.lost == []
    bed.reactor.advance(2.5)
    bed.settle()
    assert len(protocol.lost) == 1 and protocol.received == b""
    bed.reactor.advance(5)
    bed.nothing_waits()


# -- TLS in TLS


class _OverOurs:
    """A socket, as SslPeer uses one, over another SslPeer: TLS inside the peer's TLS."""

    def __init__(self, outer: Any) -> None:
        self.outer = outer

    def recv(self, size: int) -> bytes:
        data, self.outer.received = self.outer.received, b""
        if data:
            return bytes(data)
        if self.outer.clean_end or self.outer.socket_end:
            return b""
        raise BlockingIOError

    def send(self, data: bytes) -> int:
        self.outer.write(data)
        return len(data)


@pytest.mark.parametrize("version", VERSIONS)
def test_tls_inside_tls(bed: Any, inner: Any, version: str) -> None:
    """An intercepted CONNECT through an HTTPS listener: the same bytes arrive, and the inner end ends the outer."""
    outer_tls, _connect, outer_peer = established(bed, inner, "server", version)
    result = bed.start(outer_tls, server_side(bed))
    inner_peer = bed.peer(_OverOurs(outer_peer), bed.client_context(), server=False, name=NAME)
    tls = bed.secured(result)
    assert tls.stream is outer_tls
    protocol = inner()
    tls.start(protocol)
    bed.until(lambda: inner_peer.secured)
    block = bytes(range(256)) * 2000
    inner_peer.write(block)
    tls.write(block)
    bed.until(lambda: protocol.received == block and inner_peer.received == block)
    tls.loseConnection()
    bed.until(lambda: protocol.lost)
    assert isinstance(protocol.reason, ConnectionDone)
    bed.until(lambda: outer_peer.socket_end)
    assert inner_peer.clean_end and outer_peer.clean_end
    bed.nothing_waits()


def test_truncation_inside_a_clean_outer_end(bed: Any, inner: Any) -> None:
    """The outer close_notify does not vouch for the inner connection."""
    outer_tls, _connect, outer_peer = established(bed, inner)
    result = bed.start(outer_tls, server_side(bed))
    inner_peer = bed.peer(_OverOurs(outer_peer), bed.client_context(), server=False, name=NAME)
    tls = bed.secured(result)
    protocol = inner()
    tls.start(protocol)
    bed.until(lambda: inner_peer.secured)
    inner_peer.write(b"half")
    outer_peer.say_goodbye()
    bed.until(lambda: protocol.lost)
    assert protocol.received == b"half"
    assert isinstance(protocol.reason, TlsTruncated)
    assert outer_tls.clean_end and not tls.clean_end


def test_lingering_inside_tls_lingers_at_the_bottom(bed: Any, inner: Any) -> None:
    """Both goodbyes are said before the socket is drained."""
    outer_tls, _connect, outer_peer = established(bed, inner)
    result = bed.start(outer_tls, server_side(bed))
    inner_peer = bed.peer(_OverOurs(outer_peer), bed.client_context(), server=False, name=NAME)
    tls = bed.secured(result)
    protocol = inner()
    tls.start(protocol)
    bed.until(lambda: inner_peer.secured)
    tls.write(b"403")
    tls.linger(timeout=1.0)
    bed.until(lambda: inner_peer.clean_end and outer_peer.clean_end)
    assert inner_peer.received == b"403" and protocol.lost == []
    outer_peer.sock.shutdown(socket.SHUT_RDWR)
    bed.until(lambda: protocol.lost)
    bed.reactor.advance(5)
    bed.nothing_waits()


# -- other programs at the other end


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_peer_that_wants_small_records(bed: Any, inner: Any, version: str) -> None:
    """openssl s_client -maxfraglen 512: OpenSSL takes less than was offered, and nothing is left behind (RFC 6066)."""
    program = shutil.which("openssl", path="/usr/bin:/usr/local/bin:/bin")
    if program is None:
        pytest.skip("program missing: openssl")
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = subprocess.Popen(
            [
                program, "s_client", version, "-maxfraglen", "512", "-quiet", "-servername", NAME,
                "-CAfile", str(bed.root_file), "-connect", f"127.0.0.1:{server.getsockname()[1]}",
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip
        server.settimeout(20)
        sock, _address = server.accept()
    try:
        sock.setblocking(False)
        result = bed.start(Stream(sock, bed.reactor), server_side(bed))
        block = bytes(range(256)) * 300
        got = b""
        deadline = time.monotonic() + 20
        written = False
        while len(got) < 2 * len(block) + 1000 and time.monotonic() < deadline:
            bed.turn()
            if result and not written:
                written = True
                result[0].start(inner())
                result[0].write(block[:1000])
                result[0].write(block)
                result[0].writeSequence([block])
            assert client.stdout is not None
            if select.select([client.stdout], [], [], 0.01)[0]:
                got += client.stdout.read(1 << 16)
        assert got == block[:1000] + block + block
        result[0].abortConnection()
        bed.settle()
    finally:
        client.kill()
        client.communicate()
