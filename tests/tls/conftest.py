"""What the tests of TLS share.

A reactor turned by hand over real sockets, and a second implementation at the other end.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from netfw.config.model import UpstreamSection
from netfw.names.host import host_from_text
from netfw.testing.fd_reactor import FdReactor
from netfw.testing.pki import TestAuthority
from netfw.tls.origin_profiles import OriginProfiles
from netfw.tls.stream import TlsStream, start_tls
from netfw.tls.upstream import UpstreamTls
from netfw.transport.deadlines import Deadlines
from netfw.transport.stream import Stream
from netfw.x509.authority import load_authority
from netfw.x509.leaf import issue_leaf

HANDSHAKE_TIMEOUT = 10.0
ABORT_TIMEOUT = 2.0


class SslPeer:
    """The other end, by Python's ssl module over a non-blocking socket: `turn()` moves what can be moved."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server: bool, name: str | None = None,
                 session: ssl.SSLSession | None = None) -> None:  # fmt: skip
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server, server_hostname=name, session=session
        )
        self.secured = False
        self.received = b""
        self.clean_end = False  # close_notify came
        self.socket_end = False  # FIN or reset came
        self.error: Exception | None = None
        self.to_send = b""  # sent when the handshake is complete, in the same flight
        self.ignore_input = False
        self.pending = b""

    def turn(self) -> None:
        """Read, shake hands or decrypt, and send."""
        if not self.ignore_input and not self.socket_end:
            try:
                data = self.sock.recv(1 << 18)
                if data:
                    self.incoming.write(data)
                else:
                    self.socket_end = True
            except BlockingIOError:
                pass
            except ConnectionError:
                self.socket_end = True
        try:
            if self.error is None and not self.secured:
                self.tls.do_handshake()
                self.secured = True
                if self.to_send:
                    self.tls.write(self.to_send)
            if self.secured and self.error is None and not self.clean_end:
                while True:
                    piece = self.tls.read(1 << 18)
                    if not piece:
                        self.clean_end = True
                        break
                    self.received += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.clean_end = True
        except ssl.SSLError as error:
            self.error = error
        self.flush()

    def flush(self) -> None:
        """Send what waits."""
        self.pending += self.outgoing.read()
        while self.pending:
            try:
                self.pending = self.pending[self.sock.send(self.pending) :]
            except (BlockingIOError, ConnectionError):
                return

    def write(self, data: bytes) -> None:
        self.tls.write(data)
        self.flush()

    def say_goodbye(self) -> None:
        """close_notify, without waiting for the other's."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()


class Inner(Protocol):
    """The protocol inside: keeps what it is told, and does what the test hands it."""

    def __init__(self) -> None:
        self.received = b""
        self.pieces: list[bytes] = []
        self.lost: list[Failure] = []
        self.when_made: Callable[[Any], object] = lambda transport: None
        self.when_data: Callable[[Any, bytes], object] = lambda transport, data: None

    def connectionMade(self) -> None:
        self.when_made(self.transport)

    def dataReceived(self, data: bytes) -> None:
        assert not self.lost, "data after the end"
        self.received += data
        self.pieces.append(data)
        self.when_data(self.transport, data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted has a default
        self.lost.append(reason)

    @property
    def reason(self) -> BaseException:
        (failure,) = self.lost
        return failure.value  # type: ignore[no-any-return]


class Bed:
    """A test bed. `pair()`, then `ours`/`serve`/`call`, then `until`."""

    def __init__(self, directory: Path) -> None:
        self.reactor = FdReactor()
        self.deadlines = Deadlines(self.reactor)
        self.directory = directory
        self.authority = TestAuthority("Bed's root")
        self.root_file = self.write("root.pem", self.authority.certificate_pem)
        self.peers: list[SslPeer] = []
        self.sockets: list[socket.socket] = []
        self.results: list[Any] = []

    def write(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path

    def pair(self) -> tuple[Stream, socket.socket]:
        """A Stream, not started, and the socket at its other end."""
        left, right = socket.socketpair()
        for end in (left, right):
            end.setblocking(False)
            self.sockets.append(end)
        return Stream(left, self.reactor), right

    def start(self, stream: Any, connection: SSL.Connection, first: bytes = b"") -> list[Any]:
        """start_tls; the list gets its TlsStream or Failure."""
        result: list[Any] = []
        start_tls(
            stream, connection, deadlines=self.deadlines, handshake_timeout=HANDSHAKE_TIMEOUT,
            abort_timeout=ABORT_TIMEOUT, first=first,
        ).addBoth(result.append)  # fmt: skip
        return result

    def secure(self, upstream: UpstreamTls, stream: Stream, host: str, port: int = 443) -> list[Any]:
        """UpstreamTls.secure; the list gets its TlsStream or Failure."""
        result: list[Any] = []
        upstream.secure(
            stream, host_from_text(host), port, deadlines=self.deadlines, handshake_timeout=HANDSHAKE_TIMEOUT,
            abort_timeout=ABORT_TIMEOUT,
        ).addBoth(result.append)  # fmt: skip
        return result

    def peer(self, sock: socket.socket, context: ssl.SSLContext, **how: Any) -> SslPeer:
        """Python's ssl module at the other end; turned with the reactor."""
        peer = SslPeer(sock, context, **how)
        self.peers.append(peer)
        return peer

    def client_context(self, version: str = "TLSv1_3") -> ssl.SSLContext:
        """Trusts this bed's root and speaks one version."""
        context = ssl.create_default_context(cafile=str(self.root_file))
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        return context

    def server_context(self, *names: str, version: str | None = None, pem: tuple[bytes, bytes] | None = None
                       ) -> ssl.SSLContext:  # fmt: skip
        """A server's with a certificate of this bed's root for these names, or with the PEM texts given."""
        certificate, key = pem or self.authority.issue(*names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Weak keys and signatures must reach the client under test.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(self.write("peer.pem", certificate), self.write("peer.key", key))
        if version is not None:
            context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        return context

    def listener(self, *names: str) -> tuple[Path, Path]:
        """Files of a certificate and its key."""
        certificate, key = self.authority.issue(*names)
        return self.write("listener.pem", certificate), self.write("listener.key", key)

    def upstream(self, *trust: Path, **how: Any) -> UpstreamTls:
        """Trusts this bed's root, or the files given."""
        section = UpstreamSection(trust or (self.root_file,), **how.pop("section", {}))
        return UpstreamTls(OriginProfiles(section), **how)

    def turn(self) -> None:
        self.reactor.turn()
        for peer in self.peers:
            peer.turn()

    def until(self, condition: Callable[[], object], turns: int = 3000) -> None:
        for _ in range(turns):
            if condition():
                return
            self.turn()
        raise AssertionError("not within so many turns")

    def settle(self, turns: int = 20) -> None:
        for _ in range(turns):
            self.turn()

    def secured(self, result: list[Any]) -> TlsStream:
        """The TlsStream that a list gets, once it is there."""
        self.until(lambda: result)
        if isinstance(result[0], Failure):
            result[0].raiseException()
        assert isinstance(result[0], TlsStream)
        return result[0]

    def failed(self, result: list[Any]) -> Any:
        """The exception that a list gets, once it is there."""
        self.until(lambda: result)
        assert isinstance(result[0], Failure), result[0]
        return result[0].value

    def nothing_waits(self) -> None:
        """No deadline is left, and after the next sweep no delayed call."""
        assert len(self.deadlines) == 0
        self.reactor.advance(0.5)
        assert self.reactor.getDelayedCalls() == []

    def check(self) -> None:
        """Nothing raised, nothing is left in the reactor."""
        assert self.reactor.failures == []


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """See `Bed`."""
    made = Bed(tmp_path)
    yield made
    made.check()
    for sock in made.sockets:
        sock.close()


@pytest.fixture
def inner() -> Callable[[], Inner]:
    """A new `Inner` each call."""
    return Inner


@pytest.fixture
def leaf_for() -> Callable[..., Any]:
    """`leaf_for(bed, host, subordinate=False)`: a leaf of the bed's root, or of a subordinate of it."""

    def make(bed: Bed, text: str, *, subordinate: bool = False, **how: Any) -> Any:
        now = datetime.now(UTC)
        signer = bed.authority.subordinate() if subordinate else bed.authority
        authority = load_authority(signer.certificate_pem, signer.key_pem, now)
        return issue_leaf(authority, host_from_text(text), ec.generate_private_key(ec.SECP256R1()), now, **how)

    return make
