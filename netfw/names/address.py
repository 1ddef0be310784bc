"""What kind of address this is: the table that decides whether an address may be dialled.

In this room: `AddressKind`, `unwrap` and `classify`. Not here: which kinds are allowed (configuration and policy).

The IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890, RFC 8190), with the transition mechanisms that
carry an IPv4 address inside an IPv6 one: RFC 4291 (mapped, compatible), RFC 2765 (translated), RFC 6052 and RFC 8215
(NAT64), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 5214 (ISATAP). Python's own `is_private` and `is_global` differ from
version to version, so they are not asked.

Where a registry says "globally reachable" of an anycast service of the local network (PCP, TURN, DNS-SD), it is
RESERVED here: nothing that a client may ask for lives there.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address


class AddressKind(Enum):
    """The kinds. There is no default; only GLOBAL is the public internet."""

    GLOBAL = "global"
    METADATA = "metadata"
    LOOPBACK = "loopback"
    UNSPECIFIED = "unspecified"
    LINK_LOCAL = "link_local"
    PRIVATE = "private"
    SHARED = "shared"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"
    RESERVED = "reserved"
    DOCUMENTATION = "documentation"
    BENCHMARKING = "benchmarking"


_K = AddressKind

# The most specific network wins, whatever the order.
_IPV4_NETWORKS = {
    "0.0.0.0/0": _K.GLOBAL,
    "0.0.0.0/8": _K.UNSPECIFIED,  # "this network"; Linux connects 0.0.0.0 to itself
    "10.0.0.0/8": _K.PRIVATE,
    "100.64.0.0/10": _K.SHARED,
    "100.100.100.200/32": _K.METADATA,  # Alibaba Cloud
    "127.0.0.0/8": _K.LOOPBACK,
    "168.63.129.16/32": _K.METADATA,  # Azure's wire server, in the midst of public space
    "169.254.0.0/16": _K.LINK_LOCAL,
    "169.254.169.254/32": _K.METADATA,  # EC2, GCE, Azure, OpenStack and others
    "169.254.170.2/32": _K.METADATA,  # credentials of ECS tasks
    "169.254.170.23/32": _K.METADATA,  # credentials of EKS pods
    "172.16.0.0/12": _K.PRIVATE,
    "192.0.0.0/24": _K.RESERVED,
    "192.0.0.192/32": _K.METADATA,  # Oracle Cloud
    "192.0.2.0/24": _K.DOCUMENTATION,
    "192.88.99.0/24": _K.RESERVED,  # 6to4 relay anycast, deprecated by RFC 7526
    "192.168.0.0/16": _K.PRIVATE,
    "198.18.0.0/15": _K.BENCHMARKING,
    "198.51.100.0/24": _K.DOCUMENTATION,
    "203.0.113.0/24": _K.DOCUMENTATION,
    "224.0.0.0/4": _K.MULTICAST,
    "240.0.0.0/4": _K.RESERVED,
    "255.255.255.255/32": _K.BROADCAST,
}

_IPV6_NETWORKS = {
    "::/0": _K.RESERVED,  # only 2000::/3 has been given out as global unicast
    "::/128": _K.UNSPECIFIED,
    "::1/128": _K.LOOPBACK,
    "2000::/3": _K.GLOBAL,
    "2001::/23": _K.RESERVED,  # IETF protocol assignments
    "2001:2::/48": _K.BENCHMARKING,
    "2001:3::/32": _K.GLOBAL,  # AMT
    "2001:4:112::/48": _K.GLOBAL,  # AS112
    "2001:db8::/32": _K.DOCUMENTATION,
    "3fff::/20": _K.DOCUMENTATION,
    "fc00::/7": _K.PRIVATE,
    "fd00:ec2::23/128": _K.METADATA,  # credentials of EKS pods
    "fd00:ec2::254/128": _K.METADATA,  # EC2
    "fd20:ce::254/128": _K.METADATA,  # GCE
    "fe80::/10": _K.LINK_LOCAL,
    "fec0::/10": _K.PRIVATE,  # site-local, deprecated by RFC 3879, still routed in places
    "ff00::/8": _K.MULTICAST,
}


def _flatten(networks: dict[str, AddressKind]) -> tuple[list[int], list[AddressKind]]:
    """Turn nested networks into sorted range starts and the kind from each start on, for one bisection a look-up."""
    parsed: list[tuple[IPv4Network | IPv6Network, AddressKind]] = [(ip_network(n), k) for n, k in networks.items()]
    edges = {int(n.network_address) for n, _ in parsed} | {int(n.broadcast_address) + 1 for n, _ in parsed}
    starts: list[int] = []
    kinds: list[AddressKind] = []
    for edge in sorted(edges):
        holders = [(n.prefixlen, k) for n, k in parsed if int(n.network_address) <= edge <= int(n.broadcast_address)]
        if holders:
            starts.append(edge)
            kinds.append(max(holders, key=lambda holder: holder[0])[1])
    return starts, kinds


_IPV4_STARTS, _IPV4_KINDS = _flatten(_IPV4_NETWORKS)
_IPV6_STARTS, _IPV6_KINDS = _flatten(_IPV6_NETWORKS)

_MASK32 = 0xFFFFFFFF
_NAT64 = 0x0064FF9B << 64
_NAT64_LOCAL = 0x0064FF9B0001


def _ipv4_kind(number: int) -> AddressKind:
    return _IPV4_KINDS[bisect_right(_IPV4_STARTS, number) - 1]


def classify(address: Address) -> AddressKind:
    """The kind of the address that packets to `address` end up at, looked at through every wrapping."""
    if isinstance(address, IPv4Address):
        return _IPV4_KINDS[bisect_right(_IPV4_STARTS, int(address)) - 1]
    number = int(address)
    embedded = _embedded_ipv4(number)
    if embedded is not None:
        return _IPV4_KINDS[bisect_right(_IPV4_STARTS, embedded) - 1]
    return _IPV6_KINDS[bisect_right(_IPV6_STARTS, number) - 1]


def unwrap(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, or the address itself (without a zone) where there is none."""
    if isinstance(address, IPv4Address):
        return address
    number = int(address)
    embedded = _embedded_ipv4(number)
    return IPv6Address(number) if embedded is None else IPv4Address(embedded)


def _embedded_ipv4(number: int) -> int | None:
    """The IPv4 address, as a number, that this IPv6 address leads to.

    Where more than one could be meant, the first that is not global: a guard must assume the worst.
    """
    upper = number >> 32
    if upper < 1 << 32:
        if upper == 0xFFFF or upper == 0xFFFF0000:  # mapped, translated
            return number & _MASK32
        if upper == 0 and number > 1:  # compatible; :: and ::1 are themselves
            return number
        return None
    first = number >> 112
    if first == 0x2002:
        return number >> 80 & _MASK32
    if first == 0x0064:
        if upper == _NAT64:
            return number & _MASK32
        if number >> 80 == _NAT64_LOCAL:
            return _worst(_nat64_local_candidates(number))
        return None
    if number >> 96 == 0x20010000:
        # Packets go to the client's address, by way of the server's.
        return _worst([~number & _MASK32, number >> 64 & _MASK32])
    if upper & 0xFDFFFFFF == 0x5EFE and _ipv4_kind(number & _MASK32) is not AddressKind.GLOBAL:
        # Looks like ISATAP. Any network may number a host like this, so only a dangerous inner address counts.
        return number & _MASK32
    return None


def _nat64_local_candidates(number: int) -> list[int]:
    # RFC 8215 leaves the layout open: a /48, /56, /64 or /96 of RFC 6052, figure 1, octet 64-71 being skipped.
    # Nothing between means a /96, which is the layout that everybody uses.
    last = number & _MASK32
    if number >> 32 & 0xFFFFFFFFFFFF == 0:
        return [last]
    layouts = [
        last,
        (number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF,
        (number >> 64 & 0xFF) << 24 | number >> 32 & 0xFFFFFF,
        number >> 24 & _MASK32,
    ]
    # 0.0.0.0/8 does not cross a translator: such a candidate only says that the layout is another one.
    return [candidate for candidate in layouts if candidate >> 24] or [last]


def _worst(candidates: list[int]) -> int:
    """The first that is not global, else the first."""
    for candidate in candidates:
        if _ipv4_kind(candidate) is not AddressKind.GLOBAL:
            return candidate
    return candidates[0]
