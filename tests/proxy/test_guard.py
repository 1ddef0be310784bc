"""Which addresses may be dialled at all."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from netfw.config.model import GuardSection
from netfw.proxy.guard import DestinationGuard

CLOSED = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "100.64.0.1", "169.254.169.254", "169.254.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1",
    "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.0.0.1",
    "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "fec0::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::",
    "2002:a00:1::1", "64:ff9b:1::a00:1",
]  # fmt: skip
OPEN = ["1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.255.255", "100.128.0.1", "2606:4700:4700::1111"]


def guard(*allow: str, private: bool = False, own: tuple[tuple[str, int], ...] = ()) -> DestinationGuard:
    section = GuardSection(tuple(ip_network(network) for network in allow), private)
    return DestinationGuard(section, [(ip_address(address), port) for address, port in own])


@pytest.mark.parametrize("address", CLOSED)
def test_closed(address):
    """Special addresses, in whatever wrapping; the sentence names the address. Asked twice, told twice."""
    judge = guard()
    for _ in range(2):
        assert str(ip_address(address)) in str(judge.prohibits(ip_address(address), 80))


@pytest.mark.parametrize("address", OPEN)
def test_open(address):
    """The public internet."""
    assert guard().prohibits(ip_address(address), 80) is None


@pytest.mark.parametrize(
    ("address", "opened"),
    [
        ("10.1.2.3", True), ("192.168.1.1", True), ("100.64.0.1", True), ("fd00::1", True), ("::ffff:10.0.0.1", True),
        ("127.0.0.1", False), ("169.254.169.254", False), ("::1", False), ("fe80::1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("192.0.2.1", False), ("::ffff:127.0.0.1", False), ("::ffff:169.254.169.254", False),
    ],
)  # fmt: skip
def test_private_opens_private_and_shared_space_only(address, opened):
    """Never loopback, link-local, the metadata service or the rest."""
    verdict = guard(private=True).prohibits(ip_address(address), 80)
    assert (verdict is None) is opened


def test_the_setting_that_would_open_is_named():
    """`guard.private` only where it would help."""
    assert "guard.private" in str(guard().prohibits(ip_address("10.0.0.1"), 80))
    assert "guard.private" not in str(guard().prohibits(ip_address("127.0.0.1"), 80))
    assert "guard.allow" in str(guard().prohibits(ip_address("127.0.0.1"), 80))


def test_allow():
    """Networks open what is in them, wrapped or not, and nothing beside it."""
    judge = guard("127.0.0.0/8", "fd00:1::/32", "10.0.0.0/24")
    for address in ("127.0.0.1", "127.9.9.9", "fd00:1::5", "10.0.0.255", "::ffff:10.0.0.1", "64:ff9b::a00:1"):
        assert judge.prohibits(ip_address(address), 80) is None, address
    for address in ("10.0.1.0", "fd00:2::1", "::1", "::ffff:10.0.1.1", "169.254.169.254"):
        assert judge.prohibits(ip_address(address), 80) is not None, address


def test_allow_of_a_wrapped_network():
    """A network of IPv6 wrappings opens these and not the addresses inside."""
    judge = guard("64:ff9b::/96")
    assert judge.prohibits(ip_address("64:ff9b::a00:1"), 80) is None
    assert judge.prohibits(ip_address("10.0.0.1"), 80) is not None


def test_the_proxy_itself():
    """Nothing opens an own listener: not allow, not another form of its address; other ports are not concerned."""
    judge = guard("127.0.0.0/8", "::1/128", own=(("127.0.0.1", 3128),))
    assert "itself" in str(judge.prohibits(ip_address("127.0.0.1"), 3128))
    assert "itself" in str(judge.prohibits(ip_address("::ffff:127.0.0.1"), 3128))
    assert judge.prohibits(ip_address("127.0.0.1"), 3129) is None
    assert judge.prohibits(ip_address("127.0.0.2"), 3128) is None


def test_a_listener_on_every_address():
    """It is reached by every address that this machine has."""
    judge = guard("127.0.0.0/8", "10.0.0.0/8", "::1/128", own=(("0.0.0.0", 3128), ("::", 9901)))
    for address in ("127.0.0.1", "127.8.8.8"):
        for port in (3128, 9901):
            assert "itself" in str(judge.prohibits(ip_address(address), port))
    assert judge.prohibits(ip_address("1.1.1.1"), 3128) is None


def test_listeners_are_added_as_they_are_bound():
    """A verdict from before does not count any more."""
    judge = guard("127.0.0.0/8")
    assert judge.prohibits(ip_address("127.0.0.1"), 3128) is None
    judge.add_own(ip_address("127.0.0.1"), 3128)
    assert judge.prohibits(ip_address("127.0.0.1"), 3128) is not None
    judge.remove_own(ip_address("127.0.0.1"), 3128)
    assert judge.prohibits(ip_address("127.0.0.1"), 3128) is None


def test_memory_is_bounded():
    """However many addresses are asked for, and the answers stay right."""
    judge = guard()
    for number in range(10_000):
        assert judge.prohibits(ip_address(0x0A000000 + number), 80) is not None
        assert judge.prohibits(ip_address(0x01000000 + number), 80) is None
    assert judge.prohibits(ip_address("127.0.0.1"), 80) is not None


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_the_unspecified_address_is_this_machine(address):
    """The kernel connects it to itself: a port of ours stays closed by it, whatever is allowed."""
    opened = guard("0.0.0.0/0", "::/0", own=(("127.0.0.1", 9901),))
    assert "this proxy itself" in opened.prohibits(ip_address(address), 9901)
    assert opened.prohibits(ip_address(address), 9902) is None


def test_the_open_ones():
    """All of them as they were given, or those that are open and why one is not."""
    judge, local = guard(), ip_address("127.0.0.1")
    public = tuple(map(ip_address, OPEN))
    for _ in range(2):  # the second time it is remembered
        assert judge.open_ones(public, 443) == (public, None)
        assert judge.open_ones(public, 443)[0] is public
        found, why = judge.open_ones((*public, local), 443)
        assert found == public
        assert "127.0.0.1" in str(why)
        assert judge.open_ones((local,), 443)[0] == ()
        assert judge.open_ones(public, 22) == ((), judge.prohibits_port(22))
    assert judge.open_ones((), 443) == ((), "the name has no address")


def test_what_was_open_is_not_open_for_a_listener_of_our_own():
    """What is remembered of a set of addresses is forgotten when one of them becomes the proxy itself."""
    judge = guard()
    addresses = (ip_address("8.8.8.8"), ip_address("1.1.1.1"))
    assert judge.open_ones(addresses, 3128) == (addresses, None)
    judge.add_own(ip_address("8.8.8.8"), 3128)
    found, why = judge.open_ones(addresses, 3128)
    assert found == (ip_address("1.1.1.1"),)
    assert "this proxy itself" in str(why)
    assert judge.open_ones(addresses, 443) == (addresses, None)
