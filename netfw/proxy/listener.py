"""What a listening socket builds for a new connection: admission, then the first byte says what the client speaks.

TLS on a port of type HTTP is served where there is a certificate to show, plain HTTP on a port of type HTTPS gets a
clear answer: neither hangs until somebody's time-out.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from netfw.config.model import ListenerSection, ListenerType
from netfw.errors import NetfwError
from netfw.names.host import parse_host
from netfw.proxy.admission import DRAINING, NOT_A_CLIENT
from netfw.proxy.client_connection import ClientConnection
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.exchange import Caller
from netfw.tls.stream import start_tls
from netfw.transport.closing import close, linger

_log = Logger()

_TLS_HANDSHAKE = 0x16
_HANDSHAKE_FAILURE = b"\x15\x03\x01\x00\x02\x02\x28"  # a fatal TLS alert (RFC 8446, section 6)
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_SPEAK_TLS_BODY = b"This port speaks TLS: write the proxy's address with https://, or use its HTTP port.\n"
_SPEAK_TLS = (
    b"HTTP/1.1 400 This proxy port speaks TLS\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SPEAK_TLS_BODY), _SPEAK_TLS_BODY)
)


class ProxyFactory(Factory):
    """One listener's factory. `context` is its TLS context, None for a listener without a certificate of its own."""

    noisy = False

    def __init__(self, plane: DataPlane, listener: ListenerSection, context: SSL.Context | None) -> None:
        self.plane = plane
        self.listener = listener
        self.context = context

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:
        """Admit the connection, or refuse it: with 503 over a cap, without a byte for a stranger."""
        plane, listener = self.plane, self.listener
        peer = ip_address(addr.host.partition("%")[0])  # type: ignore[union-attr]  # our listeners are TCP
        reason = plane.admission.admit_connection(listener, peer)
        if reason is not None:
            plane.recording.metrics.refused(reason)
            if reason in (NOT_A_CLIENT, DRAINING):
                return None
            return _Refusal(plane)  # type: ignore[return-value]
        caller = Caller(
            address=peer,
            port=addr.port,  # type: ignore[union-attr]
            listener_name=listener.name,
            when_left=lambda: plane.admission.connection_closed(listener, peer),
        )
        return FirstByte(self, caller)  # type: ignore[return-value]


class _Refusal(Protocol):
    """Says that the proxy is full, at once, and closes."""

    transport: Any

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    def connectionMade(self) -> None:
        self.transport.write(_FULL)
        linger(self.transport, self._plane.deadlines, abort_timeout=self._plane.configuration.timeouts.abort)


class FirstByte(Protocol):
    """Waits for the first byte, then gives the transport to TLS or to HTTP."""

    transport: Any

    def __init__(self, factory: ProxyFactory, caller: Caller) -> None:
        self._factory = factory
        self._plane = factory.plane
        self._caller = caller
        self._deadline: Any = None

    def connectionMade(self) -> None:
        """The first byte must come in time."""
        self._plane.live.openings.add(self)
        self._deadline = self._plane.deadlines.start(self._plane.configuration.timeouts.head, self._timed_out)

    def dataReceived(self, data: bytes) -> None:
        """Decide by the first byte."""
        self._deadline.cancel()
        is_tls = data[0] == _TLS_HANDSHAKE
        listener = self._factory.listener
        if is_tls:
            # A leaf may have to be asked for: what comes meanwhile waits in the kernel. The handshake reads on.
            self.transport.pauseProducing()
            self._start_tls(data)
        elif listener.type is ListenerType.HTTPS:
            self._refuse(_SPEAK_TLS)
        else:
            connection = ClientConnection(self._plane, listener, self._caller)
            self._plane.live.openings.discard(self)
            self.transport.switch_protocol(connection)
            connection.dataReceived(data)

    def _start_tls(self, data: bytes) -> None:
        context = self._factory.context
        interception = self._plane.interception
        if context is None and interception is None:
            self._refuse(_HANDSHAKE_FAILURE)
            return
        chosen = maybeDeferred(lambda: context if context is not None else self._own_leaf())
        chosen.addCallback(self._shake_hands, data)
        chosen.addCallbacks(self._secured, self._not_secured)
        chosen.addErrback(lambda failure: _log.failure("a TLS listener connection broke", failure=failure))

    def _own_leaf(self) -> Any:
        """A certificate of the interception CA for this proxy's own name, for TLS on a port without one."""
        hostname = self._plane.configuration.proxy.hostname
        name = hostname or self.transport.getHost().host
        assert self._plane.interception is not None
        return self._plane.interception.context_for(parse_host(name.encode("ascii")))

    def _shake_hands(self, context: SSL.Context, data: bytes) -> Deferred[Any]:
        connection = SSL.Connection(context, None)
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
        tls.start(ClientConnection(self._plane, self._factory.listener, self._caller))

    def _not_secured(self, failure: Failure) -> None:
        self._plane.live.openings.discard(self)
        self._plane.recording.metrics.tls_failure("listener", getattr(failure.value, "alert", None) or "handshake")
        self._caller.leave()
        close(self.transport, self._plane.deadlines, self._plane.configuration.timeouts.abort)

    def _refuse(self, data: bytes) -> None:
        self._plane.live.openings.discard(self)
        self.transport.write(data)
        self._caller.leave()
        linger(self.transport, self._plane.deadlines, abort_timeout=self._plane.configuration.timeouts.abort)

    def cut(self, error: NetfwError) -> None:
        """The proxy stops."""
        self.transport.abortConnection()

    def _timed_out(self) -> None:
        self._plane.live.openings.discard(self)
        self._caller.leave()
        close(self.transport, self._plane.deadlines, self._plane.configuration.timeouts.abort)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client left without a word."""
        self._plane.live.openings.discard(self)
        self._deadline.cancel()
        self._caller.leave()
