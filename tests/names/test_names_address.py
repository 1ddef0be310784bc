"""Address kinds, range by range, and what is inside of other addresses."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.names.address import AddressKind, classify, unwrap

RANGES = [
    ("0.0.0.0/8", "UNSPECIFIED"),
    ("10.0.0.0/8", "PRIVATE"),
    ("100.64.0.0/10", "SHARED"),
    ("127.0.0.0/8", "LOOPBACK"),
    ("169.254.0.0/16", "LINK_LOCAL"),
    ("172.16.0.0/12", "PRIVATE"),
    ("192.0.0.0/24", "RESERVED"),
    ("192.0.2.0/24", "DOCUMENTATION"),
    ("192.88.99.0/24", "RESERVED"),
    ("192.168.0.0/16", "PRIVATE"),
    ("198.18.0.0/15", "BENCHMARKING"),
    ("198.51.100.0/24", "DOCUMENTATION"),
    ("203.0.113.0/24", "DOCUMENTATION"),
    ("224.0.0.0/4", "MULTICAST"),
    ("240.0.0.0/5", "RESERVED"),
    ("255.255.255.255/32", "BROADCAST"),
    ("::/128", "UNSPECIFIED"),
    ("::1/128", "LOOPBACK"),
    ("100::/64", "RESERVED"),
    ("2001:2::/48", "BENCHMARKING"),
    ("2001:10::/28", "RESERVED"),
    ("2001:20::/28", "RESERVED"),
    ("2001:db8::/32", "DOCUMENTATION"),
    ("3fff::/20", "DOCUMENTATION"),
    ("5f00::/16", "RESERVED"),
    ("fc00::/7", "PRIVATE"),
    ("fe80::/10", "LINK_LOCAL"),
    ("fec0::/10", "PRIVATE"),
    ("ff00::/8", "MULTICAST"),
    ("2000::/16", "GLOBAL"),
    ("2001:200::/23", "GLOBAL"),
    ("2620:4f:8000::/48", "GLOBAL"),
    ("1.0.0.0/8", "GLOBAL"),
    ("192.31.196.0/24", "GLOBAL"),
    ("192.175.48.0/24", "GLOBAL"),
]


@pytest.mark.parametrize(("network", "kind"), RANGES, ids=[network for network, _ in RANGES])
def test_first_and_last_address_of_a_range(network, kind):
    """A range has its kind from its first address to its last."""
    parsed = ip_network(network)
    assert classify(parsed.network_address) is AddressKind[kind]
    assert classify(parsed.broadcast_address) is AddressKind[kind]


@pytest.mark.parametrize(
    "outside",
    [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "8.8.8.8",
        "2606:4700::1111",
        "2a00:1450::1",
        "2001:4860::8888",
        "3ffe:ffff::1",
        "3fff:1000::",
    ],
)
def test_neighbours_of_ranges_are_global(outside):
    """One address before a special range and one behind it are global."""
    assert classify(ip_address(outside)) is AddressKind.GLOBAL


@pytest.mark.parametrize(
    "metadata",
    [
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "169.254.170.2",
        "169.254.170.23",
        "fd00:ec2::23",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
    ],
)
def test_metadata_services_have_a_kind_of_their_own(metadata):
    """Metadata services are METADATA whatever range they lie in and however they are wrapped."""
    assert classify(ip_address(metadata)) is AddressKind.METADATA


def teredo(server, client):
    """The Teredo address of a client behind a server."""
    return IPv6Address(0x20010000 << 96 | int(IPv4Address(server)) << 64 | (~int(IPv4Address(client)) & 0xFFFFFFFF))


WRAPPINGS = {
    "mapped": lambda n: IPv6Address(0xFFFF << 32 | n),
    "translated": lambda n: IPv6Address(0xFFFF0000 << 32 | n),
    "NAT64": lambda n: IPv6Address(0x64FF9B << 96 | n),
    "local NAT64": lambda n: IPv6Address(0x64FF9B0001 << 80 | n),
    "6to4": lambda n: IPv6Address(0x2002 << 112 | n << 80 | 1),
    "Teredo": lambda n: teredo("8.8.8.8", IPv4Address(n)),
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS.keys())
@pytest.mark.parametrize(
    "inner", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "8.8.8.8", "100.64.0.1", "255.255.255.255"]
)
def test_wrapped_addresses_are_what_is_inside(wrap, inner):
    """The IPv4 address inside is found, and its kind counts."""
    wrapped = wrap(int(IPv4Address(inner)))
    assert unwrap(wrapped) == IPv4Address(inner)
    assert classify(wrapped) is classify(IPv4Address(inner))


@pytest.mark.parametrize(
    ("address", "inner"),
    [
        ("::7f00:1", "127.0.0.1"),
        ("::2", "0.0.0.2"),
        ("64:ff9b:1:a00:1:0200::", "10.0.1.2"),  # the /48 layout of RFC 6052
        ("64:ff9b:1:0a:00:0102::", "10.0.1.2"),  # its /56 layout
        ("64:ff9b:1:0:a:1:200::", "10.0.1.2"),  # its /64 layout
        ("64:ff9b:1:abcd::8.8.8.8", "8.8.8.8"),
        ("2a00:1::5efe:10.0.0.1", "10.0.0.1"),
        ("2a00:1::200:5efe:127.0.0.1", "127.0.0.1"),
        ("2a00:1::5efe:8.8.8.8", "2a00:1::5efe:8.8.8.8"),
        ("2606:4700::1", "2606:4700::1"),
        ("::1", "::1"),
        ("::", "::"),
        ("fe80::1%eth0", "fe80::1"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_unwrap(address, inner):
    """Less usual wrappings, and addresses that are no wrapping."""
    assert unwrap(ip_address(address)) == ip_address(inner)


def test_a_teredo_server_that_is_not_global_counts():
    """The relay's way leads by the server: a private one makes the address private."""
    assert classify(teredo("10.0.0.1", "8.8.8.8")) is AddressKind.PRIVATE


@given(st.ip_addresses())
def test_every_address_has_the_kind_of_what_it_wraps(address):
    """Classification never fails and looks through wrappings."""
    assert classify(address) is classify(unwrap(address))


@given(st.ip_addresses(v=6))
def test_only_2000_3_and_wrapped_addresses_can_be_global(address):
    """Nothing outside the global unicast block is GLOBAL in its own right."""
    if classify(address) is AddressKind.GLOBAL:
        assert unwrap(address) != address or int(address) >> 125 == 1


@given(st.ip_addresses(v=4))
def test_no_private_address_of_python_is_global(address):
    """What Python's own tables call private, loopback, link-local, multicast or reserved is not GLOBAL here."""
    if classify(address) is AddressKind.GLOBAL:
        assert not (address.is_loopback or address.is_link_local or address.is_multicast or address.is_reserved)
        assert not address.is_private or address in ip_network("192.0.0.0/16")
