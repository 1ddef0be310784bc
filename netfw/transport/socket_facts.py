"""Socket facts: the two addresses of a connection, and the options of ITCPTransport.

In this room: what can be asked of a connected socket, in Twisted's words. Not here: moving bytes (`stream`).
"""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import IPv4Address as Ip4
from ipaddress import IPv6Address as Ip6
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

Address: TypeAlias = IPv4Address | IPv6Address | UNIXAddress


def as_address(raw: Any) -> Address:
    """Twisted's address object for what the socket module calls an address."""
    if isinstance(raw, tuple):
        if len(raw) == 2:
            return IPv4Address("TCP", *raw)
        return IPv6Address("TCP", *raw)
    return UNIXAddress(raw or None)


_known_address: Final = lru_cache(maxsize=4096)(as_address)


@lru_cache(maxsize=4096)
def ip_of(host: str) -> Ip4 | Ip6:
    """The address that the `host` of an address of Twisted's writes, without its zone: few, again and again."""
    return ip_address(host.partition("%")[0])


class SocketFacts:
    """A part of Stream. `_host` and `_peer` are addresses, tuples of the socket module, or None: not known yet.

    Address objects are made when somebody asks: most connections end without anybody asking for both.
    """

    __slots__ = ("_host", "_peer", "_sock")

    _sock: Any
    _host: Any
    _peer: Any
    _fd: int

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "stream"

    def getPeer(self) -> Address:
        if not isinstance(self._peer, Address):
            # What was dialled is few, again and again.
            self._peer = _known_address(self._peer if self._peer is not None else self._ask("getpeername"))
        peer: Address = self._peer
        return peer

    def getHost(self) -> Address:
        if not isinstance(self._host, Address):
            self._host = as_address(self._host if self._host is not None else self._ask("getsockname"))
        host: Address = self._host
        return host

    def _ask(self, question: str) -> Any:
        try:
            return getattr(self._sock, question)()
        except (AttributeError, OSError):  # closed before anybody asked
            return ("0.0.0.0", 0)

    def getTcpNoDelay(self) -> bool:
        return bool(self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(enabled))

    def getTcpKeepAlive(self) -> bool:
        return bool(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(enabled))


def carrier(transport: Any) -> Any:
    """The Stream at the bottom of layers of TLS."""
    while (below := getattr(transport, "stream", None)) is not None:
        transport = below
    return transport
