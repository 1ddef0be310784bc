"""Ways: which exchange leaves how, what a pool of source addresses gives, and what is not shared."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.config.model import EgressSection, SourceEntry, UpstreamSection
from netfw.config.way_model import Choice, EgressPool, HealthSection, ParentEntry, RouteEntry, Selector
from netfw.names.authority import parse_authority
from netfw.proxy.exchange import Caller
from netfw.proxy.parents import ParentSecrets
from netfw.proxy.selection import Selection
from netfw.proxy.ways import SourcePool, Ways
from netfw.testing.conversation import Conversation

GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GOT = b"HTTP/1.1 200 OK\r\nVia: 1.1 netfw\r\nContent-Length: 2\r\n\r\nhi"
A, B, C = (ip_address(f"198.51.100.{number}") for number in (1, 2, 3))
SIX = ip_address("2001:db8::1")


def caller(address: str = "10.1.2.3", **known: str) -> Caller:
    """Who asks."""
    made = Caller(address=ip_address(address), port=40000, listener_name=known.pop("listener", "main"))
    for name, value in known.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    "selector, fits",
    [
        (Selector(), True),
        (Selector(domains=(".example.com", "other.test")), True),
        (Selector(domains=("example.com",)), False),
        (Selector(sources=(ip_network("10.1.0.0/16"), ip_network("::/0"))), True),
        (Selector(sources=(ip_network("10.2.0.0/16"), ip_network("::/0"))), False),
        (Selector(listeners=("main", "more")), True),
        (Selector(listeners=("more",)), False),
        (Selector(vpces=("vpce-1",), vpcs=("vpc-1",), accounts=("111122223333",), identities=("ci",)), True),
        (Selector(vpces=("vpce-2",)), False),
        (Selector(vpcs=("vpc-2",)), False),
        (Selector(accounts=("999999999999",)), False),
        (Selector(identities=("other",)), False),
        (Selector(domains=("www.example.com",), listeners=("more",)), False),
    ],
)
def test_all_that_is_there_must_fit(selector, fits):
    """By any of its values; what is known of nobody fits no selector that asks for it."""
    known = caller(source_vpce="vpce-1", source_vpc="vpc-1", source_account="111122223333", identity="ci")
    destination = parse_authority(b"www.example.com:443")
    assert Selection(selector).fits(destination, known) is fits
    asks_who = bool(selector.vpces or selector.vpcs or selector.accounts or selector.identities)
    assert Selection(selector).fits(destination, caller()) is (fits and not asks_who)


@given(st.lists(st.ip_addresses(), min_size=1, max_size=8, unique=True), st.ip_addresses(), st.integers(1, 20))
def test_a_pool_gives_its_own_addresses_only(addresses, client, times):
    """Stable: the same for the same client; spread: every address of a family once before one comes again."""
    pool = SourcePool(EgressPool("p", tuple(addresses), Selector()), {})
    for version in (4, 6):
        own = [str(address) for address in addresses if address.version == version]
        assert pool.stable(client).get(version) in (own or [None])
        assert pool.stable(client) == pool.stable(client)
        given_out = [pool.spread().get(version) for _ in range(len(own) * times)]
        assert sorted(given_out) == sorted(own * times)


def ways(upstream_routes=(), pools=(), parents=("one",)) -> Ways:
    """Ways with these."""
    entries = tuple(ParentEntry(name, "192.0.2.11", 3128) for name in parents)
    upstream = UpstreamSection(None, proxies=entries, routes=tuple(upstream_routes), health=HealthSection())
    return Ways(
        upstream, EgressSection((), tuple(pools)), {name: ParentSecrets() for name in parents},
        seconds=lambda: 0.0, results={}, departures={},
    )  # fmt: skip


def choose(made: Ways, asked):
    """The way of (destination, who)."""
    destination, who = asked
    return made.choose(parse_authority(destination), who)


def test_a_way_is_one_object_for_what_may_be_shared_and_others_for_what_may_not():
    """Route, pool, and with a stable choice the address."""
    routes = (RouteEntry(Selector(domains=("a.test",)), ("one",)), RouteEntry(Selector(), ()))
    pools = (
        EgressPool("fixed", (A, B, C), Selector(sources=(ip_network("10.1.0.0/16"),)), Choice.STABLE),
        EgressPool("rest", (A,), Selector(listeners=("main",))),
    )
    made = ways(routes, pools)
    clients = [caller(f"10.1.0.{number}") for number in range(60)]
    by_client = [choose(made, (b"b.test:80", client)) for client in clients]
    assert len({id(way) for way in by_client}) == 3, "one for each address"
    assert {way.sources()[4] for way in by_client} == {str(A), str(B), str(C)}
    assert choose(made, (b"b.test:80", clients[7])) is by_client[7]
    assert choose(made, (b"a.test:80", clients[7])) is not by_client[7]
    rest = choose(made, (b"b.test:80", caller("10.2.0.1")))
    assert rest is choose(made, (b"c.test:80", caller("10.2.0.2"))) and rest.pool.name == "rest"
    assert choose(made, (b"c.test:80", caller("10.2.0.2", listener="x"))) is None
    made.retire()
    assert not rest.in_force and choose(made, (b"b.test:80", caller("10.2.0.1"))) is not rest


def test_a_reload_keeps_what_is_known_of_parents_that_stay():
    """A parent that is down does not come up by being written down again."""
    former = ways((RouteEntry(Selector(), ("one",)),))
    for _ in range(3):
        former.parents["one"].failed("connection_refused", "no")
    arguments = {"seconds": lambda: 0.0, "results": {}, "departures": {}}
    same = Ways(former.upstream, former.egress, former.secrets, former=former, **arguments)
    assert not same.parents["one"].health.is_up
    assert Ways(former.upstream, former.egress, former.secrets, **arguments).parents["one"].health.is_up


# -- pools on the wire


def pool(*addresses, name: str = "p", choice: Choice = Choice.SPREAD, **selector) -> EgressPool:
    """A pool."""
    return EgressPool(name, addresses, Selector(**selector), choice)


def asks(play: Conversation, source: str = "127.0.0.1", *, close: bool = False, get: bytes = GET) -> None:
    """One client asks, and is answered over the connection that `play.kept` is, or over a new one."""
    client = play.client(source)
    known = len(play.dialled)
    client.says(get)
    play.settle()
    if len(play.dialled) > known:
        play.kept = play.origin()
    play.kept.hears_head()
    play.kept.says(OK if not close else OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    client.hears_head()
    client.hears(b"hi")
    client.leaves()
    if close:
        play.kept.leaves()
        play.kept = None


def test_connections_leave_from_the_pools_addresses_in_turn():
    """The record names the pool and the address, and they are counted."""
    with Conversation(egress={"pools": (pool(A, B),)}) as play:
        play.kept = None
        for _ in range(4):
            asks(play, close=True)
        assert play.dialer.sources == [{4: str(A)}, {4: str(B)}] * 2
        record = play.record(3, of=4)
        assert record["route"] == {"pool": "p", "from": "192.0.2.1"}  # what the socket says, not what was asked for
        assert record["dest_ip"] == "203.0.113.1"


def test_a_kept_connection_is_not_shared_between_pools():
    """Nor with those that leave from the usual addresses; within a pool it is."""
    pools = (
        pool(A, name="a", sources=(ip_network("10.1.0.0/16"),)),
        pool(B, name="b", sources=(ip_network("10.2.0.0/16"),)),
    )
    with Conversation(egress={"pools": pools}) as play:
        for source, expected in (("10.1.0.1", {4: str(A)}), ("10.2.0.1", {4: str(B)}), ("10.3.0.1", None)):
            play.kept = None
            asks(play, source)
            assert play.dialer.sources[-1] == expected
            asks(play, source)
        assert len(play.dialled) == 3
        shown = [record.get("route", {}).get("pool") for record in play.records]
        assert shown == ["a", "a", "b", "b", None, None]


def test_with_a_stable_choice_a_connection_is_not_shared_between_addresses():
    """Another client's would show the wrong one."""
    with Conversation(egress={"pools": (pool(A, B, C, choice=Choice.STABLE),)}) as play:
        dialled = {}
        for number in range(8):
            play.kept = None
            source = f"10.1.0.{number}"
            known = len(play.dialled)
            client = play.client(source)
            client.says(GET)
            play.settle()
            if len(play.dialled) == known:
                dialled[source] = "kept"
                client.leaves()
                continue
            origin = play.origin()
            origin.hears_head()
            origin.says(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            client.hears_head()
            client.leaves()
            origin.leaves()
            dialled[source] = play.dialer.sources[-1][4]
        expected = SourcePool(pool(A, B, C, choice=Choice.STABLE), {})
        assert dialled == {source: expected.stable(ip_address(source))[4] for source in dialled}


def test_a_destination_of_another_family_is_refused():
    """And says why; where both families are there, the one that fits is dialled."""
    hosts = {"origin.test": ("203.0.113.1", "2a00:1450::5"), "six.test": ("2a00:1450::5",)}
    with Conversation(hosts=hosts, egress={"pools": (pool(A),)}) as play:
        client = play.client()
        client.says(GET.replace(b"origin.test", b"six.test"))
        head, body = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 502 ") and b"(destination_ip_unroutable)" in head
        assert b"has IPv6 addresses only, and the egress pool has none of that kind" in body
        play.kept = None
        asks(play)
        assert play.dialled == [(("203.0.113.1",), 80)]


def test_a_tunnel_leaves_from_its_pool():
    """Passed through, by the listener."""
    with Conversation(egress={"pools": (pool(A, SIX, listeners=("main",)),)}) as play:
        client = play.client()
        client.says(b"CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
        client.hears_head()
        client.says(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)
        client.leaves()
        assert play.dialer.sources == [{4: str(A), 6: str(SIX)}]
        assert play.record(of=1)["route"]["pool"] == "p"


def test_a_parent_is_reached_from_the_pool():
    """Both are chosen by the same exchange."""
    parent = ParentEntry("one", "192.0.2.11", 3128)
    upstream = {"proxies": (parent,), "routes": (RouteEntry(Selector(), ("one",)),), "health": HealthSection(0.0)}
    with Conversation(upstream=upstream, egress={"pools": (pool(A),)}) as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(b"HTTP/1.1 200 OK\r\n\r\n")
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)
        assert play.dialer.sources == [{4: str(A)}]
        expected = {"proxy": "one", "by": "address", "pool": "p", "from": "192.0.2.1"}
        assert play.record(of=1)["route"] == expected


def test_a_pool_for_an_endpoint_and_its_account_in_the_record():
    """What `sources` says of a client chooses the pool, and is in the record beside it."""
    entry = SourceEntry(ip_network("10.9.0.0/16"), None, "vpce-0bbb", "444455556666", "vpc-0aaa", None)
    with Conversation(sources=[entry], egress={"pools": (pool(A, vpces=("vpce-0bbb",)), pool(B, name="q"))}) as play:
        for source, expected in (("10.9.0.1", "p"), ("10.8.0.1", "q")):
            play.kept = None
            asks(play, source)
            assert play.records[-1]["route"]["pool"] == expected
        first, second = play.record(0), play.record(1, of=2)
        assert (first["src_vpce"], first["src_vpc"]) == ("vpce-0bbb", "vpc-0aaa")
        assert first["vpce_account_id"] == "444455556666"
        assert "src_vpce" not in second
