"""A port over a socket that listens already, for the surfaces beside the data path.

Twisted's own `adoptStreamPort` would change the mode of a Unix socket's file when it begins, and remove the file when
it ends; here both are the business of whoever opened the socket. Not here: the data path's sockets
(`transport.accepting`).
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IListeningPort, IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from netfw.transport.deadlines import later

_BATCH = 16
_BACK_OFF = 1.0
"""Seconds without accepting when the process is out of descriptors: the queue stays readable meanwhile."""
_log = Logger()


@implementer(IListeningPort, IReadDescriptor)
class AdoptedPort:
    """Accepts, and gives each connection to the reactor with a protocol of this factory."""

    def __init__(self, reactor: Any, sock: socket.socket, factory: Any) -> None:
        self._reactor = reactor
        self._socket = sock
        self._factory = factory
        self._open = False
        self._held = False

    def startListening(self) -> None:
        """Accept from now on."""
        self._socket.setblocking(False)
        self._factory.doStart()
        self._open = True
        self._watch()

    def stopListening(self) -> Deferred[None]:
        """Close our copy of the socket; who else has it can go on accepting."""
        if self._open:
            self._open = False
            self._reactor.removeReader(self)
            self._socket.close()
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IAddress:
        """Where it listens."""
        name: Any = self._socket.getsockname()
        if self._socket.family == socket.AF_UNIX:
            return UNIXAddress(name)
        kind = IPv6Address if self._socket.family == socket.AF_INET6 else IPv4Address
        return kind("TCP", *name)

    def doRead(self) -> None:
        """Somebody is waiting."""
        for _ in range(_BATCH):
            if not self._open or self._held:
                return
            try:
                connection, _peer = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                _log.error("cannot accept at {address}: {problem}", address=self.getHost(), problem=str(problem))
                self._reactor.removeReader(self)
                later(self._reactor, _BACK_OFF, self._watch)
                return
            with connection:
                connection.setblocking(False)
                try:
                    self._reactor.adoptStreamConnection(connection.fileno(), self._socket.family, self._factory)
                except OSError:
                    pass  # it is gone already

    def stopReading(self) -> None:
        """Accept nothing for now; who comes waits in the queue."""
        self._held = True
        self._reactor.removeReader(self)

    def startReading(self) -> None:
        """Accept again."""
        self._held = False
        self._watch()

    def _watch(self) -> None:
        if self._open and not self._held:
            self._reactor.addReader(self)

    def connectionLost(self, reason: Any) -> None:
        """The reactor ends."""
        self.stopListening()

    def fileno(self) -> int:
        return self._socket.fileno() if self._open else -1

    def logPrefix(self) -> str:
        return "adopted port"


def adopt_port(reactor: Any, sock: socket.socket, factory: Any) -> AdoptedPort:
    """Listen on a socket that does already."""
    port = AdoptedPort(reactor, sock, factory)
    port.startListening()
    return port
