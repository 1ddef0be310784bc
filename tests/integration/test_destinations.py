"""Where a request may go: one spelling of each host, ports and addresses that stay closed, only judged ones dialled.

What is dialled is seen at origins that listen on several loopback addresses with one port; what is asked, at the test
DNS server.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Any

import pytest

from netfw.config.model import GuardSection
from netfw.proxy.guard import DestinationGuard
from netfw.proxy.guarded_ports import CLOSED_PORTS
from netfw.testing.dns_server import DnsServer
from netfw.testing.dns_zone import HOSTILE_MODES
from netfw.testing.proxy_process import WORKERS, ProxyProcess, condition, domain_rule, policy, rule
from netfw.testing.record_tail import RecordTail
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient, WireClient

OPEN, CLOSED = "127.0.0.1", "127.0.0.2"
HASTE = {"drain": "1s", "connect": "1s"}
DOMAIN = "request:DestinationDomain"
RULES = policy(
    groups={
        "base": {
            "PreDNS": [
                domain_rule("no-books", "DENY", "xn--bcher-kva.test"),
                rule("no-books-below", "DENY", condition(DOMAIN, "StringLike", "*.below.test")),
            ]
        }
    }
)


def answer_ok(connection: OriginConnection) -> None:
    """200 to everything."""
    while connection.read_head().endswith(b"\r\n\r\n"):
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


class Pair:
    """An origin on the open address and one on the closed address, both on one port."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        for _ in range(50):
            self.open = ScriptedOrigin(answer_ok, address=OPEN)
            try:
                listening = socket.create_server((CLOSED, self.open.port), backlog=128)
                break
            except OSError:
                self.open.start().stop()
        self.port = self.open.port
        self.closed = ScriptedOrigin(answer_ok, address=CLOSED)
        self.closed._listening.close()
        listening.settimeout(0.1)
        self.closed._listening, self.closed.port = listening, self.port

    def __enter__(self) -> Pair:
        self._stack.enter_context(self.open)
        self._stack.enter_context(self.closed)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """See `Pair`."""
    with Pair() as origins:
        yield origins


@pytest.fixture(scope="module")
def proxy(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """Only `OPEN` may be dialled; connections to origins are not kept."""
    settings = {"guard": {"allow": [f"{OPEN}/32"]}, "limits": {"idle_upstream_connections": 0}, "timeouts": HASTE}
    with proxy_maker("destinations", RULES, **settings) as process:
        yield process


@pytest.fixture(scope="module")
def hasty(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """The same, and gives up soon on a resolver that says nothing of use."""
    with proxy_maker("deceived", RULES, guard={"allow": [f"{OPEN}/32"]}, dns={"timeout": "0.2s"}) as process:
        yield process


def fetched(proxy: ProxyProcess, host: str, port: int, way: str = "absolute") -> tuple[int, dict[str, Any]]:
    """The status of one request, or of its CONNECT, and its record."""
    tail = RecordTail(proxy)
    with WireClient(proxy.port()) as client:
        if way == "connect":
            status = client.connect(f"{host}:{port}").status
        else:
            status = client.ask("GET", f"http://{host}:{port}/", host, "Connection: close").status
    return status, tail.take(1)[0]


def fetch(proxy: ProxyProcess, host: str, port: int, way: str = "absolute") -> int:
    """The status alone."""
    return fetched(proxy, host, port, way)[0]


def refused(proxy: ProxyProcess, host: str, port: int, way: str = "absolute") -> str:
    """The guard's words in the record of a request that it must refuse; nothing was dialled."""
    status, record = fetched(proxy, host, port, way)
    assert status == 403, record
    assert record["error"]["token"] == "destination_ip_prohibited", record
    assert record["final_action"] == "deny"
    assert "dest_ip" not in record
    assert "connect" not in record.get("durations", {})
    return str(record["error"]["message"])


# -- names ------------------------------------------------------------------------------------------------------------

SPELLINGS = {
    "origin.test": ["origin.test", "ORIGIN.TEST", "Origin.Test.", "oRiGiN.tEsT."],
    "127.0.0.1": ["127.0.0.1"],
    "::1": ["[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000::0001]", "[::0.0.0.1]"],
    "::ffff:a01:203": ["[::ffff:10.1.2.3]", "[::FFFF:0a01:0203]", "[0:0:0:0:0:ffff:0A01:0203]"],
    "xn--bcher-kva.test": ["xn--bcher-kva.test", "XN--BCHER-KVA.test."],
}


@pytest.mark.parametrize("way", ["absolute", "connect"])
@pytest.mark.parametrize("canonical", SPELLINGS)
def test_every_spelling_is_one_host(canonical: str, way: str, proxy: ProxyProcess, pair: Pair) -> None:
    """The record knows one spelling of a host, the outcome is the same for all, in absolute-form and in CONNECT."""
    outcomes = set()
    for spelling in SPELLINGS[canonical]:
        status, record = fetched(proxy, spelling, pair.port, way)
        outcomes.add((status, record["dest_domain"]))
    ((_, domain),) = outcomes
    assert domain.rstrip(".") == canonical


@pytest.mark.parametrize("way", ["absolute", "connect"])
def test_a_rule_holds_for_every_spelling(way: str, proxy: ProxyProcess, dns: DnsServer) -> None:
    """A rule of an exact name or a pattern denies that name in any case and with a final dot; nothing is asked."""
    for spelling in ("xn--bcher-kva.test", "XN--bcher-KVA.TEST.", "a.below.test", "a.b.BELOW.test."):
        status, record = fetched(proxy, spelling, 80, way)
        assert status == 403
        assert record["final_rule_name"].startswith("no-books")
    assert dns.asked("xn--bcher-kva.test") == dns.asked("a.below.test") == 0


def test_what_is_asked_is_canonical(proxy: ProxyProcess, dns: DnsServer, pair: Pair) -> None:
    """The resolver is asked for the canonical name, by each process once for all spellings while the answer holds."""
    dns.answers.zone["spelt.test"] = {"A": [OPEN], "ttl": 60}
    for spelling in ("Spelt.Test.", "spelt.test", "SPELT.TEST"):
        assert fetch(proxy, spelling, pair.port) == 200
    assert 1 <= dns.asked("spelt.test", "A") <= max(1, WORKERS)
    assert {question.name for question in dns.questions if "spelt" in question.name.lower()} == {"spelt.test"}


# -- addresses --------------------------------------------------------------------------------------------------------

# (address, kind of it) for every row of the special-purpose registries, each cloud's metadata service, each wrapping.
ADDRESSES = {
    "0.0.0.0": "unspecified", "0.1.2.3": "unspecified", "10.0.0.1": "private", "10.255.255.255": "private",
    "100.64.0.1": "shared", "100.127.255.254": "shared", "127.0.0.2": "loopback", "127.255.255.254": "loopback",
    "169.254.0.1": "link-local", "169.254.169.253": "link-local", "172.16.0.1": "private", "172.31.255.255": "private",
    "192.0.0.8": "reserved", "192.0.2.1": "documentation", "192.88.99.1": "reserved", "192.168.0.1": "private",
    "198.18.0.1": "benchmarking", "198.19.255.255": "benchmarking", "198.51.100.1": "documentation",
    "203.0.113.1": "documentation", "224.0.0.1": "multicast", "239.255.255.255": "multicast", "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    # metadata: EC2 and most others, ECS, EKS, Alibaba, Azure's wire server, Oracle, EC2, EKS and GCE over IPv6
    "169.254.169.254": "metadata", "169.254.170.2": "metadata", "169.254.170.23": "metadata",
    "100.100.100.200": "metadata", "168.63.129.16": "metadata", "192.0.0.192": "metadata",
    "fd00:ec2::254": "metadata", "fd00:ec2::23": "metadata", "fd20:ce::254": "metadata",
    # IPv6
    "::": "unspecified", "::1": "loopback", "fc00::1": "private", "fdff::1": "private", "fe80::1": "link-local",
    "febf::1": "link-local", "fec0::1": "private", "ff02::1": "multicast", "2001:db8::1": "documentation",
    "3fff::1": "documentation", "2001:2::1": "benchmarking", "100::1": "reserved", "4000::1": "reserved",
    # IPv4 inside IPv6: mapped, compatible, translated, NAT64 (well-known and local), 6to4, Teredo, ISATAP
    "::ffff:10.0.0.1": "private", "::ffff:169.254.169.254": "metadata", "::ffff:127.0.0.2": "loopback",
    "::10.0.0.1": "private", "::ffff:0:10.0.0.1": "private", "64:ff9b::10.0.0.1": "private",
    "64:ff9b::169.254.169.254": "metadata", "64:ff9b:1::10.0.0.1": "private",
    "2002:a00:1::1": "private", "2002:a9fe:a9fe::": "metadata", "2002:7f00:2::": "loopback",
    "2001:0:a00:1::": "broadcast", "2001:0:4136:e378:8000:63bf:f5ff:fffe": "private",
    "2001:470:1f0b:1::5efe:10.0.0.1": "private",
}  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_that_stay_closed(address: str, proxy: ProxyProcess, dns: DnsServer) -> None:
    """As a literal and as what a name resolves to: 403, nothing dialled, the setting named."""
    kind = ADDRESSES[address]
    family = "AAAA" if ":" in address else "A"
    name = f"k{address.replace('.', '-').replace(':', 'x')}k.test"
    dns.answers.zone[name] = {"A": [], "AAAA": [], family: [address]}
    literal = f"[{address}]" if ":" in address else address
    for host, way in ((name, "absolute"), (literal, "connect")):
        message = refused(proxy, host, 80, way)
        assert f" is a {kind} address" in message
        assert "guard." in message


def test_only_open_addresses_of_a_mixture_are_dialled(proxy: ProxyProcess, dns: DnsServer, pair: Pair) -> None:
    """A name with open and closed addresses is served by the open ones, in any order."""
    before = len(pair.closed.connections)
    mixture = [CLOSED, "10.0.0.1", OPEN, "169.254.169.254", "127.0.0.3"]
    for turn in range(len(mixture)):
        name = f"mixed{turn}.test"
        dns.answers.zone[name] = {"A": mixture[turn:] + mixture[:turn], "AAAA": ["::1", "::ffff:127.0.0.2"]}
        for way in ("absolute", "connect"):
            assert fetch(proxy, name, pair.port, way) == 200
    assert len(pair.closed.connections) == before


def test_no_closed_address_is_the_last_resort(proxy: ProxyProcess, dns: DnsServer) -> None:
    """Where the open address refuses, the closed ones are not tried."""
    with ScriptedOrigin(answer_ok, address=CLOSED) as closed:
        dns.answers.zone["last.test"] = {"A": [OPEN, CLOSED]}
        assert fetch(proxy, "last.test", closed.port) == 502
        assert closed.connections == []


# -- rebinding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["absolute", "connect"])
def test_rebinding_never_reaches_a_closed_address(way: str, proxy: ProxyProcess, dns: DnsServer, pair: Pair) -> None:
    """Answers change with every question: each exchange is judged by the answer that it got itself."""
    before = len(pair.closed.connections)
    name = f"rebind-{way}.test"
    dns.answers.zone[name] = {"ttl": 0, "sequence": [[OPEN], [CLOSED]] * 12}
    statuses = [fetch(proxy, name, pair.port, way) for _ in range(24)]
    assert statuses == [200, 403] * 12
    assert len(pair.closed.connections) == before


def test_a_tunnel_keeps_its_addresses(proxy: ProxyProcess, dns: DnsServer, pair: Pair) -> None:
    """Requests inside a tunnel ask nothing again, though the name has moved to a closed address."""
    dns.answers.zone["moving.test"] = {"ttl": 0, "sequence": [[OPEN], [CLOSED]]}
    before = len(pair.closed.connections)
    tail = RecordTail(proxy)
    with RoutedClient(proxy.port(), "tunnel", "moving.test", pair.port) as client:
        assert [client.fetch("/").status for _ in range(3)] == [200] * 3
    tail.take(3)
    assert dns.asked("moving.test", "A") == 1
    assert len(pair.closed.connections) == before


def test_a_kept_connection_is_not_a_way_round(make_proxy: Any, dns: DnsServer, pair: Pair) -> None:
    """A name that has moved to a closed address is denied, although a connection to its old one is waiting."""
    proxy = make_proxy(policy(), guard={"allow": [f"{OPEN}/32"]})
    dns.answers.zone["moved-on.test"] = {"ttl": 0, "sequence": [[OPEN], [CLOSED]]}
    with RoutedClient(proxy.port(), "absolute", "moved-on.test", pair.port) as client:
        assert client.fetch("/").status == 200
        assert client.fetch("/").status == 403


def test_families_are_judged_each(proxy: ProxyProcess, dns: DnsServer, pair: Pair) -> None:
    """A good IPv4 answer does not carry a bad IPv6 one, nor the other way round."""
    dns.answers.zone["both-ways.test"] = {"A": [OPEN], "AAAA": ["::ffff:10.0.0.1", "fd00:ec2::254", "::1"]}
    status, record = fetched(proxy, "both-ways.test", pair.port)
    assert (status, record["dest_ip"]) == (200, OPEN)


# -- answers ----------------------------------------------------------------------------------------------------------


def test_an_alias_for_a_closed_address(proxy: ProxyProcess, dns: DnsServer) -> None:
    """A CNAME into the inside is judged by the address at its end."""
    dns.answers.zone["inside.test"] = {"A": ["10.0.0.7"]}
    dns.answers.zone["alias.test"] = {"CNAME": "second.test"}
    dns.answers.zone["second.test"] = {"CNAME": "inside.test"}
    assert "private" in refused(proxy, "alias.test", 80)


@pytest.mark.parametrize(("length", "status"), [(8, 200), (40, 502)])
def test_chains_of_aliases(length: int, status: int, proxy: ProxyProcess, dns: DnsServer, pair: Pair) -> None:
    """A chain of eight is followed, one of forty is not."""
    for step in range(length):
        dns.answers.zone[f"c{length}-{step}.test"] = {"CNAME": f"c{length}-{step + 1}.test"}
    dns.answers.zone[f"c{length}-{length}.test"] = {"A": [OPEN]}
    assert fetch(proxy, f"c{length}-0.test", pair.port) == status


@pytest.mark.parametrize("targets", [("loop-a.test",), ("loop-b.test", "loop-c.test", "loop-b.test")])
def test_loops_of_aliases(targets: tuple[str, ...], proxy: ProxyProcess, dns: DnsServer) -> None:
    """They end in an answer."""
    for owner, target in zip(targets, (*targets[1:], targets[0]), strict=True):
        dns.answers.zone[owner] = {"CNAME": target}
    assert fetch(proxy, targets[0], 80) == 502


def test_a_thousand_addresses(proxy: ProxyProcess, dns: DnsServer, pair: Pair) -> None:
    """An answer without measure is no way past the guard, and takes no time."""
    dns.answers.zone["thousand.test"] = {"count": 1000, "truncate": True}
    dns.answers.zone["thousand-open.test"] = {"A": [OPEN] * 1000, "truncate": True}
    begun = time.monotonic()
    refused(proxy, "thousand.test", pair.port)
    status, record = fetched(proxy, "thousand-open.test", pair.port)
    assert status == 200
    assert len(record["dns"]["addresses"]) <= 64
    assert time.monotonic() - begun < 20


def test_an_answer_without_time_to_live_is_used_once(proxy: ProxyProcess, dns: DnsServer, pair: Pair) -> None:
    """TTL 0 is asked for each time, TTL 2^32-1 counts as 0 (RFC 2181, section 8)."""
    for name, ttl in (("ttl-zero.test", 0), ("ttl-huge.test", 0xFFFFFFFF)):
        dns.answers.zone[name] = {"A": [OPEN], "ttl": ttl}
        for _ in range(3):
            assert fetch(proxy, name, pair.port) == 200
        assert dns.asked(name, "A") == 3


@pytest.mark.parametrize("mode", HOSTILE_MODES)
def test_forged_answers(mode: str, hasty: ProxyProcess, dns: DnsServer, pair: Pair) -> None:
    """None of them brings the forger's address into play: alone it is a failure, before the right answer nothing."""
    dns.answers.zone[f"forged-{mode.replace('_', '-')}.test"] = {"A": [OPEN], "hostile": mode}
    status, record = fetched(hasty, f"forged-{mode.replace('_', '-')}.test", pair.port)
    assert status in (502, 504), record
    assert "6.6.6.6" not in str(record)
    assert "666::6" not in str(record)
    assert record["error"]["token"] in ("dns_error", "dns_timeout")


@pytest.mark.parametrize("mode", ["wrong_id", "wrong_question", "other_address", "other_port", "garbage", "empty"])
def test_a_forged_answer_before_the_right_one(mode: str, proxy: ProxyProcess, dns: DnsServer, pair: Pair) -> None:
    """Who shoots first does not win: the right answer behind is taken."""
    name = f"race-{mode.replace('_', '-')}.test"
    dns.answers.zone[name] = {"A": [OPEN], "hostile": mode, "then_right": True}
    assert fetch(proxy, name, pair.port) == 200


def test_questions_are_hard_to_guess(proxy: ProxyProcess, dns: DnsServer) -> None:
    """Identities and source ports of questions are all over the place."""
    for number in range(30):
        fetch(proxy, f"guess{number}.test", 80)
    asked = [question for question in dns.questions if question.name.startswith("guess")]
    assert len({question.id for question in asked}) > len(asked) * 0.9
    assert len({question.port for question in asked}) > len(asked) * 0.7


# -- the proxy itself -------------------------------------------------------------------------------------------------


def test_the_proxy_and_its_administration_are_closed(make_proxy: Any, dns: DnsServer) -> None:
    """By any local address where it listens on all, mapped and by name, though the guard opens all of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        admin_port = taken.getsockname()[1]
    everywhere = [{"name": "plain", "type": "HTTP", "address": "0.0.0.0", "port": 0, "clients": ["127.0.0.0/8"]}]
    proxy = make_proxy(
        policy(),
        listeners=everywhere,
        admin={"address": "127.0.0.1", "port": admin_port},
        guard={"allow": ["127.0.0.0/8", "::/0"]},
    )
    dns.answers.zone["self.test"] = {"A": ["127.0.0.1"], "AAAA": ["::ffff:127.0.0.1"]}
    for port in (proxy.port(), admin_port):
        for host in ("127.0.0.1", "self.test", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"):
            assert "this proxy itself" in refused(proxy, host, port, "connect"), (host, port)
    for host in ("127.0.0.9", "127.1.2.3", "[::ffff:127.9.9.9]"):
        assert "this proxy itself" in refused(proxy, host, proxy.port(), "connect")
    with WireClient(proxy.port()) as client:
        assert client.ask("GET", f"http://127.0.0.1:{admin_port}/reload", "x", "Connection: close").status == 403


def test_own_addresses_follow_the_machine() -> None:
    """A listener on every address is reached by what this machine has, and by nothing else with that port."""
    guard = DestinationGuard(GuardSection((), True), [(ip_address("0.0.0.0"), 3128)])
    assert "itself" in (guard.prohibits(ip_address("127.3.2.1"), 3128) or "")
    assert guard.prohibits(ip_address("10.254.253.252"), 3128) is None
    assert guard.prohibits(ip_address("8.8.8.8"), 3128) is None


# -- ports ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["absolute", "connect"])
@pytest.mark.parametrize("port", [22, 25, 53, 110, 143, 465, 587, 993, 6000, 6379, 6667, 11211])
def test_ports_of_other_protocols_stay_closed(port: int, way: str, proxy: ProxyProcess, dns: DnsServer) -> None:
    """403 whatever the rules and the address say, before anything is asked, and the answer names the setting."""
    message = refused(proxy, f"never-asked{port}.test", port, way)
    assert dns.asked(f"never-asked{port}.test") == 0
    assert f"port {port} (" in message
    assert "guard.allow_ports" in message


def test_the_table_of_ports_is_the_browsers_and_two() -> None:
    """Each is refused, each can be opened alone, and the web's own ports are not among them."""
    section = GuardSection((), False)
    closed = DestinationGuard(section)
    address = ip_address("8.8.8.8")
    assert len(CLOSED_PORTS) == 84
    for port in CLOSED_PORTS:
        assert f"({CLOSED_PORTS[port]})" in (closed.prohibits(address, port) or "")
        opened = DestinationGuard(GuardSection((), False, frozenset({port})))
        assert [p for p in CLOSED_PORTS if opened.prohibits(address, p) is None] == [port]
    for port in (80, 443, 3128, 5000, 8000, 8080, 8443, 9000, 32768, 65535):
        assert closed.prohibits(address, port) is None


def test_a_port_that_was_opened(make_proxy: Any) -> None:
    """`guard.allow_ports` opens that port and no other; addresses are judged as before."""
    proxy = make_proxy(policy(), guard={"allow": [f"{OPEN}/32"], "allow_ports": [6667]})
    assert fetch(proxy, "origin.test", 6667) == 502
    assert "port 6666" in refused(proxy, "origin.test", 6666)
    assert "private" in refused(proxy, "private.test", 6667)
