"""Whether there is a way round the proxy: `netfw doctor`'s attempts to get outside without it.

In this room: TCP to an address, and to each address of a host; QUIC, which carries HTTP/3 past a firewall that knows
TCP only. A firewall that refuses by ICMP, as the rules of `netfw nftables` do, is told from an origin that does not
listen. Not here: which addresses are tried (`doctor`).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass

CONNECT_SECONDS = 5.0
QUIC_SECONDS = 2.0
_MOST_ADDRESSES = 8
# What a kernel says of a firewall: its own, or one on the way that answers by ICMP.
_CLOSED = frozenset({errno.EPERM, errno.EACCES, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT})
_LEAK = "LEAK: a program that ignores the proxy gets out"
# A version that is none (RFC 9000, section 15): who speaks QUIC answers with the versions that it knows (section 6).
_NO_VERSION = b"\x1a\x2a\x3a\x4a"
_SMALLEST_INITIAL = 1200


@dataclass(frozen=True, slots=True)
class Check:
    """`state` is ok, warn, fail or skip; only fail makes the exit status 1."""

    name: str
    state: str
    detail: str


def check_way(way: tuple[str, int]) -> Check:
    """TCP to this address or name, and port."""
    name = f"direct way to {way[0]} port {way[1]}"
    try:
        socket.create_connection(way, CONNECT_SECONDS).close()
    except ConnectionRefusedError:
        return Check(name, "warn", "refused: by a firewall, or by the other end itself, which would be a way out")
    except OSError as error:
        return Check(name, "ok", f"closed: {error.strerror or error}")
    return Check(name, "fail", _LEAK)


def check_bypass(host: str, port: int) -> Iterator[Check]:
    """Every address of a host, by TCP and, on 443, by QUIC. A host that this machine cannot look up is none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield Check(f"direct way to {host}", "ok", f"no address without the proxy: {error.strerror or error}")
        return
    for address in sorted({str(entry[4][0]) for entry in found})[:_MOST_ADDRESSES]:
        yield check_way((address, port))
        if port == 443:
            yield check_quic(address, port)


def check_quic(address: str, port: int) -> Check:
    """A packet that every server of QUIC answers. Silence proves nothing, so it is no failure either."""
    name = f"direct way to {address} port {port} by QUIC"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(QUIC_SECONDS)
            sock.connect((address, port))
            sock.send(_hello())
            answered = bool(sock.recv(1500))
    except TimeoutError:
        return Check(name, "ok", "no answer")
    except ConnectionRefusedError:
        return Check(name, "warn", "refused by the other end itself: its TCP may be closed, its UDP is not")
    except OSError as error:
        told = "closed" if error.errno in _CLOSED else "cannot be tried"
        return Check(name, "ok", f"{told}: {error.strerror or error}")
    return Check(name, "fail", _LEAK) if answered else Check(name, "ok", "no answer")


def _hello() -> bytes:
    """A packet with a long header of a version that nobody has."""
    packet = b"\xc0" + _NO_VERSION + b"\x08" + os.urandom(8) + b"\x08" + os.urandom(8)
    return packet.ljust(_SMALLEST_INITIAL, b"\0")
