"""What resolving a name gives. PURE: plain data, and the answers that need no resolver.

In this room: `Resolution`, literals, localhost, the order of addresses. Not here: whether an address may be dialled
(`names.address` and the guard), asking anybody (`resolver`).

RFC 8305, section 4 (families take turns), RFC 6761, section 6.3 (localhost never leaves this machine).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import chain, zip_longest

from netfw.names.host import Host

Address = IPv4Address | IPv6Address

FAMILIES = ("ipv6", "ipv4")
"""Every family, in the order that RFC 8305, section 4 prefers."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The addresses of a host, in the order they are to be dialled in.

    `chain` is the CNAME targets in order, `ttl` the seconds that this may still be used, `resolver` who said so
    ("192.0.2.53:53", the hosts file's path, or "" when nobody was asked), `source` one of dns, cache, hosts, literal.
    """

    host: Host
    addresses: tuple[Address, ...]
    chain: tuple[str, ...]
    ttl: int
    resolver: str
    source: str


def literal_resolution(host: Host) -> Resolution:
    """The resolution of an IP literal: itself."""
    if host.address is None:
        raise ValueError(f"{host} is a name, not an address")
    return Resolution(host, (host.address,), (), 0, "", "literal")


def is_localhost(host: Host) -> bool:
    """Whether the name means this machine by definition, so that neither DNS nor the hosts file is asked."""
    return host.text == "localhost" or host.text.endswith(".localhost")


def loopback_resolution(host: Host, families: Sequence[str]) -> Resolution:
    """The resolution of a name that `is_localhost`."""
    loopback = (IPv6Address("::1"), IPv4Address("127.0.0.1"))
    return Resolution(host, interleave(loopback, families), (), 0, "", "hosts")


def interleave(addresses: Iterable[Address], families: Sequence[str]) -> tuple[Address, ...]:
    """The families take turns, the first one begins; within a family the order stays. Other families are left out.

    Addresses that come twice are kept once.
    """
    unique = list(dict.fromkeys(addresses))
    columns = [[address for address in unique if f"ipv{address.version}" == family] for family in families]
    return tuple(address for address in chain(*zip_longest(*columns)) if address is not None)
