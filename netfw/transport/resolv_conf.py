"""The system's resolvers: what /etc/resolv.conf says, as far as it matters to a proxy.

In this room: `parse_resolv_conf` (pure) and `read_resolv_conf`. Not here: the proxy's own list of resolvers, which goes
before this one (`config`).

resolv.conf(5): `nameserver` and `options timeout:`. `search`, `domain`, `ndots`, `sortlist` and the rest are left alone
on purpose: the names that a proxy gets are whole. Servers are asked in the file's order; `rotate` is not followed.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

MAX_SERVERS = 8
"""The C library takes three; more than a few only make a failure last longer."""

MAX_TIMEOUT = 30.0
"""Seconds; the C library's RES_MAXRETRANS."""

_MAX_SIZE = 65_536
_PORT = 53


@dataclass(frozen=True, slots=True)
class SystemResolvers:
    """`servers` as (address, port) in the file's order, never empty; `timeout` in seconds, None if the file has none.

    An IPv6 address keeps its zone.
    """

    servers: tuple[tuple[IPv4Address | IPv6Address, int], ...]
    timeout: float | None


def parse_resolv_conf(text: str) -> SystemResolvers:
    """Read the file's text. Never raises: what cannot be read is left out, as the C library does.

    Without any server it is the one on this machine, 127.0.0.1.
    """
    servers: list[tuple[IPv4Address | IPv6Address, int]] = []
    timeout: float | None = None
    for line in text.split("\n"):
        words = line.split()
        # A comment begins a line only (resolv.conf(5)); a keyword begins in the first column or behind blanks.
        if len(words) < 2 or words[0][0] in "#;":
            continue
        if words[0] == "nameserver":
            try:
                server = (ip_address(words[1]), _PORT)
            except ValueError:
                continue
            if server not in servers and len(servers) < MAX_SERVERS:
                servers.append(server)
        elif words[0] == "options":
            for word in words[1:]:
                name, _, value = word.partition(":")
                if name == "timeout" and value.isascii() and value.isdigit():
                    timeout = min(max(float(value[:6]), 1.0), MAX_TIMEOUT)
    return SystemResolvers(tuple(servers) or ((IPv4Address("127.0.0.1"), _PORT),), timeout)


def read_resolv_conf(path: Path = Path("/etc/resolv.conf")) -> SystemResolvers:
    """Read the system's file; as without any server when it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE)
    except OSError:
        data = b""
    return parse_resolv_conf(data.decode("utf-8", "replace"))
