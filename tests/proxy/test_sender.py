"""Connections from load balancers: who they are for, and what is no header."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from netfw.config.model import ListenerType, SourceEntry
from netfw.proxy.live import Leaving
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_headers import binary, endpoint, line, local
from netfw.testing.proxy_process import condition, policy, rule

GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
BALANCER = "10.0.9.1"
FROM = {"proxy_protocol_from": (ip_network("10.0.9.0/24"), ip_network("fd00::9"))}
CLIENTS = {"clients": (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))}


def conversation(rules=None, **more):
    more["listener"] = {**FROM, **more.get("listener", {})}
    return Conversation(policy(pre_dns="DENY") if rules is None else rules, **more)


def is_served(client, head=b""):
    client.says(head + GET)
    return client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")


def only(key, *values):
    """Denied but for the clients of one rule."""
    operator = "IpAddress" if key == "SourceIp" else "StringEquals"
    return policy(
        pre_dns="DENY",
        groups={"group": {"PreDNS": [rule("these", "ALLOW", condition(f"request:{key}", operator, *values))]}},
    )


@pytest.mark.parametrize("write", [line, binary])
@pytest.mark.parametrize(
    ("sender", "client"), [(BALANCER, "192.0.2.7"), ("fd00::9", "2001:db8::7"), ("::ffff:10.0.9.1", "192.0.2.7")]
)
def test_the_client_is_the_one_in_the_header(write, sender, client):
    """For `clients`, in the record, and for both versions."""
    with conversation(listener=CLIENTS) as play:
        side = play.client(sender)
        assert is_served(side, write(client, 40001))
        record = play.record(of=1)
        assert (record["client_src_ip"], record["client_src_port"]) == (client, 40001)


def test_a_mapped_address_is_the_ipv4_one():
    """As if the client had come by itself."""
    with conversation(listener=CLIENTS) as play:
        side = play.client(BALANCER)
        assert is_served(side, binary("::ffff:192.0.2.7"))
        assert play.record(of=1)["client_src_ip"] == "192.0.2.7"


def test_rules_on_the_address():
    """They go by the header's, never by the sender's."""
    with conversation(only("SourceIp", "192.0.2.7/32"), listener=CLIENTS) as play:
        side = play.client(BALANCER)
        side.says(line("192.0.2.7") + GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert side.hears_head().startswith(b"HTTP/1.1 204 ")
        assert is_served(play.client(BALANCER), line("192.0.2.8"))
    with conversation(only("SourceIp", BALANCER + "/32"), listener=CLIENTS) as play:
        assert is_served(play.client(BALANCER), line("192.0.2.7"))


def test_a_client_that_is_none():
    """The header's address is judged, not the sender's."""
    with conversation() as play:
        side = play.client(BALANCER)
        side.says(line("8.8.8.8") + GET)
        play.until(lambda: side.ended, "an end")
        assert side.unheard == b""
        assert play.plane.admission.refused == {"not_a_client": 1}


@pytest.mark.parametrize(
    "data", [GET, b"\x16\x03\x01\x00\x05hello", b"PROXY TCP4 1 2 3 4\r\n", b"\r\n\r\n\x00\r\nQUIX"]
)
def test_no_header(data):
    """Closed without a byte and counted, although the sender itself is a client."""
    with conversation() as play:
        side = play.client(BALANCER)
        side.says(data)
        play.until(lambda: side.ended, "an end")
        assert side.unheard == b""
        assert play.plane.admission.refused == {"proxy_header": 1}
        assert play.plane.admission.open == 0
        record = play.record(of=1)
        assert (record["kind"], record["client_src_ip"]) == ("connection", BALANCER)
        assert record["error"]["token"] == "http_request_error"


@pytest.mark.parametrize("start", [b"", b"PROXY TCP4", binary("192.0.2.7")[:20]])
def test_a_header_that_does_not_come(start):
    """The head's deadline."""
    with conversation() as play:
        side = play.client(BALANCER)
        side.says(start)
        play.later(4)
        assert not side.ended
        assert play.plane.admission.open == 1
        play.later(2)
        assert side.ended
        assert play.plane.admission.refused == {"proxy_header": 1}


@pytest.mark.parametrize(("start", "refused"), [(b"", {}), (b"PROX", {"proxy_header": 1})])
def test_a_sender_that_leaves(start, refused):
    """To look whether somebody listens is no trouble; half a header is."""
    with conversation() as play:
        side = play.client(BALANCER)
        side.says(start)
        play.settle()
        side.leaves()
        play.until(lambda: play.plane.admission.open == 0, "the end")
        assert play.plane.admission.refused == refused


@pytest.mark.parametrize("head", [line("192.0.2.7"), binary("192.0.2.7"), local()])
@pytest.mark.parametrize("sender", ["10.0.8.1", "127.0.0.1"])
def test_a_header_from_anybody_else(head, sender):
    """It is no HTTP; nobody is who they say they are."""
    with conversation() as play:
        side = play.client(sender)
        side.says(head + GET)
        assert side.hears_answer()[0].startswith(b"HTTP/1.1 400 ")
        side.hears_end()
        assert play.record(of=1)["client_src_ip"] == sender


def test_everybody_else_needs_none():
    """Clients that come by themselves go on as before."""
    with conversation() as play:
        assert is_served(play.client("10.0.8.1"))


@pytest.mark.parametrize("head", [local(), b"PROXY UNKNOWN\r\n"])
def test_a_health_check(head):
    """It speaks for its sender: served where that is a client, closed in peace where it is none."""
    with conversation() as play:
        assert is_served(play.client(BALANCER), head)
        assert play.record(of=1)["client_src_ip"] == BALANCER
    with conversation(listener=CLIENTS) as play:
        side = play.client(BALANCER)
        side.says(head)
        side.hears_end()
        assert play.plane.admission.refused == {}
        assert play.plane.admission.open == 0


@pytest.mark.parametrize("write", [line, binary])
def test_every_split(write):
    """The header and the request in pieces."""
    data = write("192.0.2.7")
    with conversation(listener=CLIENTS) as play:
        for size in range(1, len(data)):
            side = play.client(BALANCER, port=1000 + size)
            side.says(data[:size])
            play.settle(1)
            assert is_served(side, data[size:])
            side.leaves()
        assert play.plane.admission.refused == {}


@pytest.mark.parametrize("kind", list(ListenerType))
def test_tls_behind_a_header(kind):
    """The ClientHello follows the header, in one piece with it or not."""
    with conversation(own_tls=True, listener={**CLIENTS, "type": kind}) as play:
        side = play.client(BALANCER)
        side.says(binary("192.0.2.7"))
        side.starts_tls("proxy.test")
        side.is_shaken()
        assert is_served(side)
        assert play.record(of=1)["client_src_ip"] == "192.0.2.7"


def test_real_clients_are_counted():
    """`connections_per_client` is of the client, and all of them count while their header is awaited."""
    limits = {"connections_per_client": 1, "connections": 3}
    with conversation(listener=CLIENTS, limits=limits) as play:
        first, second, third = (play.client(BALANCER, port=port) for port in (1, 2, 3))
        fourth = play.client(BALANCER, port=4)
        assert fourth.hears_head().startswith(b"HTTP/1.1 503 ")
        first.says(line("192.0.2.1"))
        second.says(line("192.0.2.2"))
        play.settle()
        third.says(line("192.0.2.1") + GET)
        assert third.hears_head().startswith(b"HTTP/1.1 503 ")
        third.hears_end()
        assert is_served(second)
        assert is_served(first)
        assert play.plane.admission.refused == {
            "too_many_connections": 1,
            "too_many_connections_from_client": 1,
        }


def test_draining_while_a_header_is_awaited():
    """Nobody new, whoever it is for; and what waits is cut with everything else."""
    with conversation(listener=CLIENTS) as play:
        waiting, named = play.client(BALANCER, port=1), play.client(BALANCER, port=2)
        play.plane.admission.draining = True
        named.says(line("192.0.2.7") + GET)
        play.until(lambda: named.ended, "an end")
        assert play.plane.admission.refused == {"draining": 1}
        Leaving(play.plane.live).abort_all()
        play.until(lambda: waiting.ended, "an end")
        assert play.plane.admission.open == 0


SOURCES = [SourceEntry(None, None, "vpce-0a", "111122223333", "vpc-0a", "build")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SourceVpce", "vpce-0a"), ("SourceVpc", "vpc-0a"), ("SourceAccount", "111122223333"),
        ("ClientIdentity", "build"),
    ],
)  # fmt: skip
def test_rules_see_the_real_client(key, value):
    """Allowed by what the header and the table say; the same address without the endpoint is not."""
    with conversation(only(key, value), listener=CLIENTS, sources=SOURCES) as play:
        side = play.client(BALANCER)
        side.says(binary("192.0.2.7", extensions=endpoint("vpce-0a")) + GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert side.hears_head().startswith(b"HTTP/1.1 204 ")
        record = play.record(of=1)
        assert (record["src_vpce"], record["src_vpc"]) == ("vpce-0a", "vpc-0a")
        assert (record["vpce_account_id"], record["client_identity"]) == ("111122223333", "build")
        for extensions in (b"", endpoint("vpce-0b")):
            assert is_served(play.client(BALANCER), binary("192.0.2.7", extensions=extensions))
