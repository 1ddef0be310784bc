"""Resolutions that need no resolver, and the order of addresses."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.names.host import host_from_text
from netfw.transport.resolution import (
    FAMILIES,
    Resolution,
    interleave,
    is_localhost,
    literal_resolution,
    loopback_resolution,
)

ADDRESSES = st.lists(st.ip_addresses(), max_size=20)


def test_literal():
    """An address is its own resolution; a name is none."""
    host = host_from_text("2001:db8::1")
    assert literal_resolution(host) == Resolution(host, (ip_address("2001:db8::1"),), (), 0, "", "literal")
    with pytest.raises(ValueError, match=r"www\.example\.test"):
        literal_resolution(host_from_text("www.example.test"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("a.b.localhost", True),
        ("notlocalhost", False),
        ("localhost.test", False),
        ("localhost.localdomain", False),
    ],
)
def test_localhost(text, expected):
    """localhost and all names below it are this machine, in any spelling, and nothing else is."""
    assert is_localhost(host_from_text(text)) == expected


def test_loopback():
    """localhost is both loopback addresses, or that of the only family."""
    host = host_from_text("localhost")
    assert loopback_resolution(host, FAMILIES).addresses == (ip_address("::1"), ip_address("127.0.0.1"))
    assert loopback_resolution(host, ("ipv4",)).addresses == (ip_address("127.0.0.1"),)


def test_families_take_turns():
    """The families alternate from the first on; the longer one's rest comes at the end."""
    texts = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"]
    addresses = [ip_address(text) for text in texts]
    order = [str(address) for address in interleave(addresses, ("ipv6", "ipv4"))]
    assert order == ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"]
    order = [str(address) for address in interleave(addresses, ("ipv4", "ipv6"))]
    assert order == ["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"]


@given(ADDRESSES)
def test_interleaving_keeps_all_and_their_order(addresses):
    """Nothing is lost, nothing is there twice, and each family keeps its order."""
    result = interleave(addresses, FAMILIES)
    assert set(result) == set(addresses)
    assert len(result) == len(set(addresses))
    for version in (4, 6):
        wanted = list(dict.fromkeys(a for a in addresses if a.version == version))
        assert [a for a in result if a.version == version] == wanted


@given(ADDRESSES)
def test_other_family_is_left_out(addresses):
    """With one family only its addresses remain."""
    assert all(address.version == 6 for address in interleave(addresses, ("ipv6",)))
