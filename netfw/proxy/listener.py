"""What a listening socket builds for a new connection: admission, then the first byte says what the client speaks.

Before both, a connection from a load balancer says in its PROXY header who the client is (`proxy.sender` waits for it).

TLS on a port of type HTTP is served where there is a certificate to show, plain HTTP on a port of type HTTPS gets a
clear answer: neither hangs until somebody's time-out.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw.config.model import Address, ListenerSection, ListenerType
from netfw.errors import (
    ClientSpeaksNoTls,
    ClientTlsFailure,
    NetfwError,
    NotAClient,
    Overloaded,
    ShuttingDown,
)
from netfw.names.host import parse_host
from netfw.proxy.admission import DRAINING, NOT_A_CLIENT, TOO_FAST, TOO_MANY, TOO_MANY_FROM_CLIENT
from netfw.proxy.authentication import Gate
from netfw.proxy.client_connection import ClientConnection
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.exchange import Caller
from netfw.proxy.sender import SenderHeader
from netfw.proxy.sources import Sources
from netfw.tls.interception import HostIdentity
from netfw.tls.stream import start_tls
from netfw.transport.closing import close, linger
from netfw.transport.deadlines import Deadline
from netfw.transport.proxy_header import ProxyHeader
from netfw.transport.socket_facts import ip_of
from netfw.x509.identity import identity_of

_log = Logger()

# Looking up an enum's member in its class costs more than the comparison (Python 3.11).
_HTTPS: Final = ListenerType.HTTPS
_TLS_HANDSHAKE: Final = 0x16
_HANDSHAKE_FAILURE = b"\x15\x03\x01\x00\x02\x02\x28"  # a fatal TLS alert (RFC 8446, section 6)
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SPEAK_TLS_BODY = b"This port speaks TLS: write the proxy's address with https://, or use its HTTP port.\n"
_SPEAK_TLS = (
    b"HTTP/1.1 400 This proxy port speaks TLS\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SPEAK_TLS_BODY), _SPEAK_TLS_BODY)
)


# What a connection that was not admitted has in its record.
_WHY: dict[str, NetfwError] = {
    NOT_A_CLIENT: NotAClient("the address is not one of this listener's clients"),
    DRAINING: ShuttingDown("the proxy is stopping"),
    TOO_MANY: Overloaded("limits.connections is reached"),
    TOO_MANY_FROM_CLIENT: Overloaded("limits.connections_per_client is reached"),
    TOO_FAST: Overloaded("limits.connection_rate is reached"),
}


class ProxyFactory:
    """One listener's factory. `context` is its TLS context, None for a listener without a certificate of its own."""

    def __init__(self, plane: DataPlane, listener: ListenerSection, context: SSL.Context | None) -> None:
        self.plane = plane
        self.listener = listener
        self.context = context
        self.gate: Gate | None = None
        self._sources = Sources(plane.configuration.sources, listener.name)

    def twin(self) -> ProxyFactory:
        """The same listener's on another port."""
        made = ProxyFactory(self.plane, self.listener, self.context)
        made.gate = self.gate
        return made

    def reconfigure(self, listener: ListenerSection, context: SSL.Context | None) -> None:
        """New connections meet these; `plane.configuration` has been replaced already."""
        self.listener = listener
        self.context = context
        self._sources = Sources(self.plane.configuration.sources, listener.name)

    def buildProtocol(self, addr: Any) -> Any:
        """Admit the connection, or refuse it: with 503 over a cap, without a byte for a stranger.

        Whose connections begin with a PROXY header is admitted once it is there, as the client that it names.
        """
        peer: Address = ip_of(addr.host)
        port: int = addr.port
        if not self._is_sender(peer):
            return self._admit(peer, port, None)
        reason = self.plane.admission.admit_sender()
        if reason is not None:
            return self._refused(reason, self._caller(peer, port, None))
        return SenderHeader(self.plane, self._caller(peer, port, None), partial(self._named, peer, port))

    def _is_sender(self, peer: Address) -> bool:
        """Whether this address's connections begin with a PROXY header. Anybody else's header is no HTTP."""
        senders = self.listener.proxy_protocol_from
        if not senders:
            return False
        real = _unmapped(peer)
        return any(real.version == network.version and real in network for network in senders)

    def _named(self, peer: Address, port: int, header: ProxyHeader) -> Any:
        """Admit whom the header names, or the sender itself. A health check from outside `clients` is no trespass."""
        if header.source is not None:
            return self._admit(_unmapped(header.source), header.source_port, header.vpce)
        if not self.plane.admission.is_client(self.listener, peer):
            return None
        return self._admit(peer, port, None)

    def _admit(self, peer: Address, port: int, vpce: str | None) -> Any:
        plane, listener = self.plane, self.listener
        reason = plane.admission.admit_connection(listener, peer)
        caller = self._caller(peer, port, vpce)
        if reason is not None:
            return self._refused(reason, caller)
        caller.admission = plane.admission
        if plane.request_rates is not None:
            caller.request_rate = plane.request_rates.of(peer)
        return FirstByte(self, caller)

    def _caller(self, peer: Address, port: int, vpce: str | None) -> Caller:
        caller = Caller(address=peer, port=port, listener_name=self.listener.name)
        caller.came_by = self
        self._sources.describe(caller, vpce)
        return caller

    def _refused(self, reason: str, caller: Caller) -> Any:
        plane = self.plane
        plane.recording.metrics.refused(reason)
        if reason in (NOT_A_CLIENT, DRAINING):
            plane.refusals.record(caller, _WHY[reason])
            return None
        plane.refusals.record(caller, _WHY[reason], answered=True, bytes_out=len(_FULL))
        return _Refusal(plane)


def _unmapped(address: Address) -> Address:
    """An IPv4 client is one, however its address is written: rules and networks are compared with it."""
    return (address.ipv4_mapped if address.version == 6 else None) or address


class _Refusal:
    """Says that the proxy is full, at once, and closes."""

    transport: Any = None

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        self.transport.write(_FULL)
        linger(self.transport, self._plane.deadlines, abort_timeout=self._plane.configuration.timeouts.abort)

    def dataReceived(self, data: bytes) -> None:
        """Whoever lingers drops it."""

    def connectionLost(self, reason: Failure) -> None:
        """All was said."""


class FirstByte:
    """Waits for the first byte, then gives the transport to TLS or to HTTP."""

    transport: Any = None

    def __init__(self, factory: ProxyFactory, caller: Caller) -> None:
        self._factory = factory
        self._plane = factory.plane
        self.caller = caller
        self._deadline: Deadline | None = None

    def makeConnection(self, transport: Any) -> None:
        """Begin."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """The first byte must come in time."""
        self._plane.live.openings.add(self)
        self._deadline = self._plane.deadlines.start(self._plane.configuration.timeouts.head, self._timed_out)

    def dataReceived(self, data: bytes) -> None:
        """Decide by the first byte."""
        listener = self._factory.listener
        deadline = self._deadline
        assert deadline is not None
        if data[0] == _TLS_HANDSHAKE:
            deadline.cancel()
            # A leaf may have to be asked for: what comes meanwhile waits in the kernel. The handshake reads on.
            self.transport.pauseProducing()
            self._start_tls(data)
        elif listener.type is _HTTPS:
            deadline.cancel()
            self._refuse(_SPEAK_TLS, ClientSpeaksNoTls("this port speaks TLS, and something else came"), len(data))
        else:
            self.caller.gate = self._factory.gate
            connection = ClientConnection(self._plane, listener, self.caller, None, deadline)
            self._plane.live.openings.discard(self)
            self.transport.switch_protocol(connection)
            connection.dataReceived(data)

    def _start_tls(self, data: bytes) -> None:
        context = self._factory.context
        interception = self._plane.interception
        if context is None and interception is None:
            self._refuse(_HANDSHAKE_FAILURE, ClientTlsFailure("this port has no certificate to show"), len(data))
            return
        chosen = maybeDeferred(lambda: self._own_leaf() if context is None else SSL.Connection(context, None))
        chosen.addCallback(self._shake_hands, data)
        chosen.addCallbacks(self._secured, self._not_secured)
        chosen.addErrback(lambda failure: _log.failure("a TLS listener connection broke", failure=failure))

    def _own_leaf(self) -> Any:
        """A certificate of the interception CA for this proxy's own name, for TLS on a port without one."""
        hostname = self._plane.configuration.proxy.hostname
        name = hostname or self.transport.getHost().host
        assert self._plane.interception is not None
        found = maybeDeferred(self._plane.interception.identity_for, parse_host(name.encode("ascii")))
        return found.addCallback(HostIdentity.connection)

    def _shake_hands(self, connection: SSL.Connection, data: bytes) -> Deferred[Any]:
        connection.set_accept_state()
        timeouts = self._plane.configuration.timeouts
        return start_tls(
            self.transport,
            connection,
            deadlines=self._plane.deadlines,
            handshake_timeout=timeouts.handshake,
            abort_timeout=timeouts.abort,
            first=data,
        )

    def _secured(self, tls: Any) -> None:
        self._plane.live.openings.discard(self)
        if self._factory.listener.client_ca is not None:
            shown = tls.connection.get_peer_certificate()
            # OpenSSL has judged it; where it is optional, who shows none says nothing.
            if shown is not None:
                self.caller.identity, self.caller.is_proven = identity_of(shown.to_cryptography()), True
        self.caller.gate = self._factory.gate
        tls.start(ClientConnection(self._plane, self._factory.listener, self.caller))

    def _not_secured(self, failure: Failure) -> None:
        self._plane.live.openings.discard(self)
        plane = self._plane
        problem = failure.value
        plane.recording.metrics.tls_failure("client", getattr(problem, "alert", None) or "handshake")
        error = ClientTlsFailure("the TLS handshake with the client failed", detail=str(problem))
        plane.refusals.record(self.caller, error)
        self.caller.leave()
        close(self.transport, self._plane.deadlines, self._plane.configuration.timeouts.abort)

    def _refuse(self, data: bytes, error: NetfwError, received: int) -> None:
        plane = self._plane
        plane.live.openings.discard(self)
        answered = isinstance(error, ClientSpeaksNoTls)
        plane.refusals.record(self.caller, error, answered=answered, bytes_in=received, bytes_out=len(data))
        self.transport.write(data)
        self.caller.leave()
        linger(self.transport, self._plane.deadlines, abort_timeout=self._plane.configuration.timeouts.abort)

    def cut(self, error: NetfwError) -> None:
        """The proxy stops."""
        self.transport.abortConnection()

    def _timed_out(self) -> None:
        self._plane.live.openings.discard(self)
        self.caller.leave()
        close(self.transport, self._plane.deadlines, self._plane.configuration.timeouts.abort)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client left without a word."""
        self._plane.live.openings.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
        self.caller.leave()


# Not by Twisted's base classes: compiled, their heirs would be ordinary classes.
classImplements(_Refusal, IProtocol)
classImplements(FirstByte, IProtocol)
