"""Accepting: listening sockets, bound here or adopted, and the streams that come out of them.

In this room: accepting in batches, pausing, and not spinning when the process is out of descriptors. Not here: who
may come in (the factory returns None for those who may not), and what is said (the protocol).

Each stream is read at once: the first bytes of a client are often there already, and the read costs less than a turn
of the reactor. An IPv6 socket takes IPv6 only, so that a client has one spelling of its address; listen twice for
both.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw.transport.deadlines import later
from netfw.transport.socket_facts import Address, as_address
from netfw.transport.stream import Stream

_log = Logger()

BATCH: Final = 64
"""Accepted in one turn: enough that a flood of new clients does not queue for seconds when turns are long, and so few
that it does not hold up those who are in. HAProxy's maxaccept was 64 for years.
"""
BACK_OFF: Final = 1.0
"""Seconds without accepting after the process ran out of descriptors or memory."""

_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# Errors of the one connection that was waiting, not of the socket (accept(2), "Error handling").
_LOST_BEFORE_ACCEPTED = frozenset(
    {errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.EINTR, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN}
    | {errno.ENONET, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.ECONNRESET, errno.ETIMEDOUT}
)


class StreamFactory(Protocol):
    """What a listening socket asks for protocols."""

    def buildProtocol(self, peer: Address) -> IProtocol | None:
        """The protocol for a connection from `peer`, or None: the connection is closed at once."""


class ListeningSocket:
    """A listening socket in the reactor, which it owns from now on."""

    def __init__(self, reactor: IReactorFDSet, factory: StreamFactory, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # What is accepted inherits it: one system call less for each connection.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reactor: Any = reactor
        self._factory = factory
        self._sock: Any = sock
        self._fd = sock.fileno()
        self._address: Any = as_address(sock.getsockname())
        # The local address of a connection is that of the socket, unless that one is any address.
        host = getattr(self._address, "host", None)
        self._host_of_streams: Address | None = None if host in ("0.0.0.0", "::") else self._address
        self._paused = False
        self._registered = False
        self._back_off: IDelayedCall | None = None
        self._watch()

    def __repr__(self) -> str:
        state = "paused" if self._paused else "backing off" if self._back_off else "open"
        if self._fd < 0:
            state = "stopped"
        return f"<ListeningSocket {self._address!r} {state}>"

    @property
    def port(self) -> int:
        """The port, which the kernel may have chosen; 0 for a UNIX socket."""
        return int(getattr(self._address, "port", 0))

    def getHost(self) -> Address:
        """Where it listens."""
        return self._address

    def pause(self) -> None:
        """Leave new connections in the kernel's queue."""
        self._paused = True
        self._ignore()

    def resume(self) -> None:
        """Accept again."""
        self._paused = False
        self._watch()

    def stop(self) -> None:
        """Close the socket; the connections that came out of it stay. What the kernel still has queued is reset,
        unless another process has the socket too."""
        if self._fd < 0:
            return
        self._ignore()
        if self._back_off is not None:
            self._back_off.cancel()
            self._back_off = None
        self._fd = -1
        self._sock.close()

    def doRead(self) -> None:
        """Clients are waiting."""
        self._accept(BATCH)

    def accept_waiting(self, most: int = 4096) -> None:
        """Accept what the kernel has queued: these clients believe that they are in."""
        self._accept(most)

    def _accept(self, most: int) -> None:
        for _ in range(most):
            if not self._registered:  # paused or stopped by what came in
                return
            try:
                sock, peer = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno in _LOST_BEFORE_ACCEPTED:
                    continue
                if problem.errno in _OUT_OF_RESOURCES:
                    self._wait_for_resources(problem)
                    return
                raise
            try:
                self._welcome(sock, peer)
            except Exception:
                _log.failure("No protocol for a connection from {peer!r}", peer=peer)

    def _welcome(self, sock: socket.socket, raw_peer: Any) -> None:
        stream = None
        try:
            sock.setblocking(False)
            peer = as_address(raw_peer)
            protocol = self._factory.buildProtocol(peer)
            if protocol is not None:
                stream = Stream(sock, self._reactor, host=self._host_of_streams, peer=peer)
                stream.start(protocol, read_first=True)
        except Exception:
            if stream is not None:
                stream.connectionLost(Failure())
            raise
        finally:
            if stream is None:
                sock.close()

    def _wait_for_resources(self, problem: OSError) -> None:
        """The queue stays readable, so going on would spin; every retry would fail until something is closed."""
        _log.error(
            "Cannot accept connections at {address!r}: {problem}; trying again in {seconds} s",
            address=self._address, problem=str(problem), seconds=BACK_OFF,
        )  # fmt: skip
        self._ignore()
        self._back_off = later(self._reactor, BACK_OFF, self._try_again)

    def _try_again(self) -> None:
        self._back_off = None
        self._watch()

    def _watch(self) -> None:
        if not (self._registered or self._paused or self._back_off or self._fd < 0):
            self._registered = True
            self._reactor.addReader(self)

    def _ignore(self) -> None:
        if self._registered:
            self._registered = False
            self._reactor.removeReader(self)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, or the socket is broken."""
        self._registered = False
        self.stop()

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "listening"


# Not by a decorator: compiled, a decorated class would be an ordinary one.
classImplements(ListeningSocket, IReadDescriptor)


def listen(
    reactor: IReactorFDSet,
    factory: StreamFactory,
    address: str,
    port: int,
    *,
    backlog: int = 1024,
    reuse_port: bool = False,
) -> ListeningSocket:
    """Bind and listen; `address` is an IP address, port 0 lets the kernel choose. Raises OSError.

    With `reuse_port` several processes bind the same port and the kernel spreads connections evenly among them.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bind(sock, address, port)
        sock.listen(backlog)
        return ListeningSocket(reactor, factory, sock)
    except BaseException:
        sock.close()
        raise


def bind(sock: socket.socket, address: str, port: int) -> None:
    """Bind it; an OSError names the place."""
    try:
        sock.bind((address, port))
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"{address} port {port}") from None


def adopt(reactor: IReactorFDSet, factory: StreamFactory, sock: socket.socket) -> ListeningSocket:
    """Accept from a socket that listens already: from systemd, or from the supervisor."""
    return ListeningSocket(reactor, factory, sock)
