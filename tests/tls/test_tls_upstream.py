"""netfw.tls.upstream"""

from __future__ import annotations

import time
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from netfw.errors import OriginCertificateInvalid, OriginClosed, OriginConnectTimeout
from netfw.names.host import host_from_text
from netfw.tls.client_hello import ClientHello, read_client_hello
from netfw.tls.upstream import SESSION_LIFETIME, UpstreamTls

NAME = "www.example.com"
VERSIONS = ["TLSv1_2", "TLSv1_3"]


def visit(bed: Any, inner: Any, upstream: UpstreamTls, context: Any, host: str = NAME, port: int = 443) -> bool:
    """One connection with an answer from the origin; whether it resumed a session."""
    stream, sock = bed.pair()
    peer = bed.peer(sock, context, server=True)
    tls = bed.secured(bed.secure(upstream, stream, host, port))
    protocol = inner()
    tls.start(protocol)
    bed.until(lambda: peer.secured)
    peer.write(b"answer")
    bed.until(lambda: protocol.received)
    tls.loseConnection()
    bed.until(lambda: protocol.lost)
    return bool(peer.tls.session_reused)


def first_hello(bed: Any, host: str) -> ClientHello:
    stream, sock = bed.pair()
    bed.secure(bed.upstream(), stream, host)
    hello = read_client_hello(sock.recv(65536))
    assert hello is not None
    stream.abortConnection()
    bed.settle()
    return hello


def test_what_an_origin_hears_first(bed: Any) -> None:
    """The canonical name as SNI, http/1.1 alone as ALPN, TLS 1.2 and 1.3 alone."""
    hello = first_hello(bed, NAME)
    assert hello.server_name == NAME.encode()
    assert hello.alpn == (b"http/1.1",)
    assert set(hello.versions) == {0x0303, 0x0304}
    assert not hello.has_ech and not hello.has_early_data


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_an_address_is_never_a_server_name(bed: Any, host: str) -> None:
    """RFC 6066, section 3."""
    assert first_hello(bed, host).server_name is None


def test_a_verified_connection_carries_bytes(bed: Any, inner: Any) -> None:
    """Not started; the protocol that is attached gets what comes."""
    assert visit(bed, inner, bed.upstream(), bed.server_context(NAME)) is False


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_resume_for_the_same_host_and_port(bed: Any, inner: Any, version: str) -> None:
    """The second connection resumes, and the third as well."""
    upstream, context = bed.upstream(), bed.server_context(NAME, "other.example", version=version)
    assert [visit(bed, inner, upstream, context) for _ in range(3)] == [False, True, True]


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_resume_for_nothing_else(bed: Any, inner: Any, version: str) -> None:
    """Another host, another port, another trust store: a full handshake, though the origin would resume."""
    upstream, context = bed.upstream(), bed.server_context(NAME, "other.example", version=version)
    visit(bed, inner, upstream, context)
    assert visit(bed, inner, upstream, context, host="other.example") is False
    assert visit(bed, inner, upstream, context, port=8443) is False
    assert visit(bed, inner, bed.upstream(), context) is False


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_session_is_checked_for_the_name_again(bed: Any, inner: Any, version: str) -> None:
    """Should a session ever be filed under the wrong host, it does not let that host in."""
    upstream, context = bed.upstream(), bed.server_context(NAME, version=version)
    visit(bed, inner, upstream, context)
    ((key, kept),) = upstream._sessions.items()
    upstream._sessions["other.example", 443, key[2]] = kept
    stream, sock = bed.pair()
    bed.peer(sock, context, server=True)
    assert isinstance(bed.failed(bed.secure(upstream, stream, "other.example")), OriginCertificateInvalid)


def test_a_resumed_session_is_checked_for_its_end_again(bed: Any, inner: Any) -> None:
    """OpenSSL looks at no date then: a certificate that has ended since is refused all the same, and then anew."""
    now = [time.time()]
    upstream, context = bed.upstream(now=lambda: now[0]), bed.server_context(NAME)
    visit(bed, inner, upstream, context)
    assert visit(bed, inner, upstream, context) is True
    now[0] += 400 * 86400
    stream, sock = bed.pair()
    bed.peer(sock, context, server=True)
    error = bed.failed(bed.secure(upstream, stream, NAME))
    assert isinstance(error, OriginCertificateInvalid)
    assert error.facts["problem"] == "expired"
    assert len(upstream._sessions) == 0


def test_a_refused_origin_leaves_no_session(bed: Any, inner: Any) -> None:
    """Nor does one that was believed before."""
    upstream = bed.upstream()
    visit(bed, inner, upstream, bed.server_context(NAME))
    stream, sock = bed.pair()
    bed.peer(sock, bed.server_context("other.example"), server=True)
    bed.failed(bed.secure(upstream, stream, NAME))
    assert len(upstream._sessions) == 0


def test_a_session_ends_an_hour_after_its_chain_was_verified(bed: Any, inner: Any) -> None:
    """However often it was resumed in between."""
    now = [0.0]
    upstream, context = bed.upstream(seconds=lambda: now[0]), bed.server_context(NAME)
    assert visit(bed, inner, upstream, context) is False
    now[0] = SESSION_LIFETIME - 1
    assert visit(bed, inner, upstream, context) is True
    now[0] = SESSION_LIFETIME + 1
    assert visit(bed, inner, upstream, context) is False
    now[0] = SESSION_LIFETIME + 2
    assert visit(bed, inner, upstream, context) is True


def test_sessions_are_bounded(bed: Any, inner: Any) -> None:
    """The least recently earned goes first."""
    names = [f"h{number}.example" for number in range(4)]
    upstream, context = bed.upstream(sessions=2), bed.server_context(*names)
    for name in names:
        visit(bed, inner, upstream, context, host=name)
    assert [key[:2] for key in upstream._sessions] == [("h2.example", 443), ("h3.example", 443)]


def test_a_handshake_that_takes_too_long(bed: Any) -> None:
    """Is a connect timeout of the origin's."""
    stream, _sock = bed.pair()
    result = bed.secure(bed.upstream(), stream, NAME)
    bed.reactor.advance(11)
    assert isinstance(bed.failed(result), OriginConnectTimeout)
    bed.settle()
    assert not stream.connected
    bed.nothing_waits()


def test_an_origin_that_hangs_up(bed: Any) -> None:
    """During the handshake: OriginClosed."""
    stream, sock = bed.pair()
    result = bed.secure(bed.upstream(), stream, NAME)
    sock.close()
    assert isinstance(bed.failed(result), OriginClosed)


def test_cancelling_aborts_the_handshake(bed: Any) -> None:
    """With CancelledError, and nothing left open."""
    stream, _sock = bed.pair()
    got: list[Any] = []
    deferred = bed.upstream().secure(
        stream, host_from_text(NAME), 443, deadlines=bed.deadlines, handshake_timeout=5, abort_timeout=1
    )
    deferred.addBoth(got.append)
    deferred.cancel()
    bed.settle()
    assert isinstance(got[0], Failure) and got[0].check(CancelledError)
    assert not stream.connected
    bed.nothing_waits()
