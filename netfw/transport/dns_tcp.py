"""One question to one DNS server over TCP, for answers that were cut.

In this room: `TcpAttempt`. Not here: when TCP is used, time-outs, the messages (`dns_query`). Apart from it, since
`dns_query` is compiled and classes below Twisted's are not. RFC 7766.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.python.failure import Failure


class TcpAttempt(ClientFactory):
    """One connection for one query: its factory, and the end of it that who asks holds."""

    noisy = False

    def __init__(self, query: bytes, received: Callable[[bytes], None], failed: Callable[[str], None]) -> None:
        self.connector: Any = None
        self._query = query
        self._received = received
        self._failed = failed
        self._open = True
        self._protocol: _TcpProtocol | None = None

    def buildProtocol(self, addr: Any) -> _TcpProtocol:
        self._protocol = _TcpProtocol(self._query, self.received, self.failed)
        return self._protocol

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self.failed("no TCP connection")

    def received(self, data: bytes) -> None:
        if self._open:
            self._received(data)

    def failed(self, reason: str) -> None:
        if self._open:
            self._open = False
            self._failed(reason)

    def close(self) -> None:
        self._open = False
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.abortConnection()
        elif self.connector is not None:
            self.connector.disconnect()


class _TcpProtocol(Protocol):
    """Two octets of length, then the message (RFC 1035, section 4.2.2). At most 64 KiB are ever kept."""

    transport: Any

    def __init__(self, query: bytes, received: Callable[[bytes], None], failed: Callable[[str], None]) -> None:
        self._query = query
        self._received = received
        self._failed = failed
        self._buffer = bytearray()

    def connectionMade(self) -> None:
        # One write: servers exist that do not put a length and a message from two segments together.
        self.transport.write(struct.pack("!H", len(self._query)) + self._query)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < 2:
            return
        length = struct.unpack_from("!H", self._buffer)[0]
        if len(self._buffer) >= 2 + length:
            message = bytes(self._buffer[2 : 2 + length])
            self._buffer.clear()
            self._received(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._failed("the TCP connection ended before the answer")
