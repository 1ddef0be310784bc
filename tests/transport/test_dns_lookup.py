"""One name looked up: both families, servers in turn, what is missing and what failed."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from ipaddress import ip_address

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from netfw.errors import DnsFailure, DnsTimeout
from netfw.names.host import host_from_text
from netfw.testing.dns_server import DnsServer
from netfw.testing.reactor_runs import run_in_reactor
from netfw.transport.deadlines import Deadlines
from netfw.transport.dns_cache import Absence
from netfw.transport.dns_lookup import PARTIAL_TTL, Found, lookup, settings_of
from netfw.transport.dns_servers import Server
from netfw.transport.resolution import FAMILIES, Resolution

LOOPBACK = ip_address("127.0.0.1")
WWW = host_from_text("www.test")
BOTH = {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]}
SILENT = {"hostile": "silence"}
SOON, LONG = 0.15, 30.0


def found(*zones, timeout=LONG, resolve_timeout=LONG, families=FAMILIES, cancel_after=None, check=None):
    """Look www.test up at servers that have these entries for it; None is a port where nobody listens."""
    with ExitStack() as stack:
        servers = [zone and stack.enter_context(DnsServer({"www.test": zone})) for zone in zones]
        ports = [server.port if server else closed_port() for server in servers]

        async def scenario(reactor):
            deadlines = Deadlines(reactor, granularity=0.02)
            settings = settings_of([(LOOPBACK, port) for port in ports], timeout, resolve_timeout, families)
            before = set(reactor.getReaders()) | set(reactor.getWriters())
            asked = lookup(reactor, deadlines, settings, WWW)
            if cancel_after is not None:
                await deferLater(reactor, cancel_after, lambda: None)
                asked.cancel()
            try:
                return await asked
            finally:
                assert len(deadlines) == 0
                assert set(reactor.getReaders()) | set(reactor.getWriters()) == before

        result = run_in_reactor(scenario)
        if check:
            check(servers)
        return result


def closed_port():
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def texts(result):
    return [str(address) for address in result.value.addresses]


def test_both_families():
    """A and AAAA are asked for, each once; the addresses take turns, IPv6 first; the server is named."""
    asked = []
    result = found(BOTH, check=lambda servers: asked.extend(servers))
    assert sorted(question.type for question in asked[0].questions) == ["A", "AAAA"]
    addresses = tuple(ip_address(text) for text in ("2001:db8::1", "192.0.2.1", "192.0.2.2"))
    assert result == Found(Resolution(WWW, addresses, (), 60, f"127.0.0.1:{asked[0].port}", "dns"), 60)


def test_order_of_families():
    """The first family that is configured comes first, and no other family is asked for."""

    def only_a(servers):
        assert [question.type for question in servers[0].questions] == ["A"]

    assert texts(found(BOTH, families=("ipv4", "ipv6"))) == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]
    assert texts(found(BOTH, families=("ipv4",), check=only_a)) == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize("type_", ["A", "AAAA"])
def test_one_family_only(type_):
    """A name with addresses of one family has those, and they are kept for their whole TTL."""
    result = found({type_: BOTH[type_], "ttl": 100})
    assert (texts(result), result.keep) == (BOTH[type_], 100)


def test_ttl_is_the_least():
    """The TTL is the least over both families and their chains."""
    with DnsServer(
        {"www.test": {"CNAME": "edge.test", "ttl": 50}, "edge.test": {**BOTH, "ttl": {"A": 70, "AAAA": 40}}}
    ) as server:

        async def scenario(reactor):
            settings = settings_of([(LOOPBACK, server.port)], LONG, LONG, FAMILIES)
            return await lookup(reactor, Deadlines(reactor, 0.02), settings, WWW)

        result = run_in_reactor(scenario)
    assert (result.value.chain, result.value.ttl, result.keep) == (("edge.test",), 40, 40)


@pytest.mark.parametrize(("late", "there"), [("AAAA", "A"), ("A", "AAAA")])
def test_late_family_is_not_waited_for(late, there):
    """When one family is there the other has a moment more; the result is kept for a short time only."""
    result = found({**BOTH, "delay": {late: 20}, "ttl": 3000})
    assert (texts(result), result.keep) == (BOTH[there], PARTIAL_TTL)
    assert result.value.ttl == 3000


@pytest.mark.parametrize("negative", [{}, {"rcode": {"A": "NXDOMAIN"}}])
def test_negative_answer_waits_for_the_other(negative):
    """That one family has nothing does not end the wait for the other, NXDOMAIN or not."""
    result = found({"AAAA": BOTH["AAAA"], "delay": {"AAAA": 0.3}, **negative})
    assert texts(result) == BOTH["AAAA"]


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "NOTIMP", "FORMERR", 23])
def test_failing_family_beside_addresses(code):
    """When one family fails and the other has addresses those are used, and kept for a short time only."""
    result = found({**BOTH, "rcode": {"AAAA": code}, "ttl": 3000})
    assert (texts(result), result.keep) == (BOTH["A"], PARTIAL_TTL)


def test_many_addresses():
    """At most 64 addresses are kept, of both families in turn."""
    result = found({"count": 1000, "truncate": True})
    assert len(result.value.addresses) == 64
    assert [address.version for address in result.value.addresses] == [6, 4] * 32


@pytest.mark.parametrize(
    ("zone", "exists", "keep"),
    [
        ({"rcode": "NXDOMAIN", "minimum": 30}, False, 30),
        ({"rcode": "NXDOMAIN", "minimum": None}, False, None),
        ({"minimum": 40}, True, 40),
        ({"minimum": None}, True, None),
        ({"rcode": {"A": "NXDOMAIN"}, "minimum": 50}, True, 50),
    ],
)
def test_missing(zone, exists, keep):
    """NXDOMAIN for both families: no such name. Anything else without an address: a name without addresses."""
    result = found(zone)
    assert (result.value.exists, result.keep) == (exists, keep)
    assert isinstance(result.value, Absence)


def test_negative_answer_is_not_asked_again():
    """A negative answer is an answer: the next server is not asked."""
    asked = []
    found({"rcode": "NXDOMAIN"}, BOTH, check=lambda servers: asked.extend(servers[1].questions))
    assert asked == []


@pytest.mark.parametrize("first", [{"rcode": "SERVFAIL"}, {"rcode": "REFUSED"}, {"rcode": "NOTIMP"}, None])
def test_failing_server(first):
    """A server that fails, or is not there, is followed by the next at once."""
    result = found(first, BOTH)
    assert len(texts(result)) == 3


def test_circle_at_one_server():
    """A chain that goes in a circle is a failure of that server; the next is asked."""
    assert len(texts(found({"CNAME": "www.test"}, BOTH))) == 3
    with pytest.raises(DnsFailure, match="circle"):
        found({"CNAME": "www.test"})


@pytest.mark.parametrize("first", [SILENT, {"hostile": "garbage"}, {"truncate": True, "tcp": "silence", **BOTH}])
def test_silent_server(first):
    """A server that says nothing that counts is followed by the next after its time-out."""
    assert len(texts(found(first, BOTH, timeout=SOON))) == 3


def test_lost_datagram():
    """A server that was silent is asked a second time, and not a third."""
    lossy = {"sequence": [SILENT, {"hostile": None}], **BOTH}

    def check(servers):
        assert servers[0].asked("www.test", "A") == 2

    assert len(texts(found(lossy, timeout=SOON, check=check))) == 3
    with pytest.raises(DnsTimeout, match=r"www\.test was not resolved in time: no answer from 127\.0\.0\.1:"):
        found(SILENT, timeout=SOON)


def test_failed_server_is_not_asked_twice():
    """When one server fails and another is silent, only the silent one is asked again."""

    def ask_all(first, second):
        with DnsServer({"www.test": first}) as one, DnsServer({"www.test": second}) as two:

            async def scenario(reactor):
                servers = [(LOOPBACK, one.port), (LOOPBACK, two.port)]
                settings = settings_of(servers, SOON, LONG, ("ipv4",))
                with pytest.raises(DnsFailure, match="SERVFAIL"):
                    await lookup(reactor, Deadlines(reactor, 0.02), settings, WWW)

            run_in_reactor(scenario)
            return len(one.questions), len(two.questions)

    assert ask_all({"rcode": "SERVFAIL"}, SILENT) == (1, 2)


@pytest.mark.parametrize("code", ["SERVFAIL", "REFUSED", "NOTIMP"])
def test_all_servers_fail(code):
    """When every server fails the message names the host, the code and a server."""
    with pytest.raises(DnsFailure, match=rf"www\.test cannot be resolved: the answer was {code} \(127\.0\.0\.1:\d+\)"):
        found({"rcode": code}, {"rcode": code})


def test_no_address_and_a_failure():
    """A family without addresses beside a family that failed is a failure: the name may have addresses."""
    with pytest.raises(DnsFailure, match="SERVFAIL"):
        found({"rcode": {"A": "SERVFAIL"}})
    with pytest.raises(DnsTimeout):
        found({"hostile": {"A": "silence"}}, timeout=SOON)


def test_whole_time():
    """The whole lookup ends at its own time-out, whatever one message may take."""
    with pytest.raises(DnsTimeout):
        found(SILENT, SILENT, SILENT, resolve_timeout=SOON)


@pytest.mark.parametrize("zone", [SILENT, {**BOTH, "delay": {"A": 20}}, {"truncate": True, "tcp": "silence"}])
@pytest.mark.parametrize("moment", [0, 0.02, 0.1])
def test_cancelled(zone, moment):
    """Cancelled at any moment it leaves no socket, no deadline and no delayed call."""
    try:
        found(zone, cancel_after=moment)
    except CancelledError:
        return
    assert "delay" in zone  # the resolution delay was over before the cancel came


def test_settings():
    """No server, no family and an unknown family are refused."""
    for servers, families in [((), FAMILIES), ([(LOOPBACK, 53)], ()), ([(LOOPBACK, 53)], ("ipx",))]:
        with pytest.raises(ValueError, match="server|families"):
            settings_of(servers, 1, 1, families)
    assert settings_of([Server(LOOPBACK, 53)], 1, 2, ["ipv4", "ipv4"]).families == ("ipv4",)
