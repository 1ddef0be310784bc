"""Parent proxies: what they are asked, what becomes of their answers, who is asked next, and what is shared."""

from __future__ import annotations

import ssl
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from netfw.config.model import DestinationEntry, NameVerdict
from netfw.config.way_model import AskedBy, Balance, EgressPool, HealthSection, ParentEntry, RouteEntry, Selector
from netfw.errors import OriginRefused, Overloaded
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import condition, policy, rule
from netfw.testing.side import world

ONE, TWO = ParentEntry("one", "192.0.2.11", 3128), ParentEntry("two", "192.0.2.12", 3128)
UNCHECKED = HealthSection(interval=0.0)
CONNECT = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
GET = b"GET http://origin.test/x?y=1 HTTP/1.1\r\nHost: origin.test\r\n\r\n"
INNER = b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GOT = b"HTTP/1.1 200 OK\r\nVia: 1.1 netfw\r\nContent-Length: 2\r\n\r\nhi"
BY_RULE = policy(groups={"g": {"PreREQUEST": [
    rule("there", "DENY", condition("request:DestinationIp", "IpAddress", "203.0.113.0/24"))
]}})  # fmt: skip


def over(*parents: ParentEntry, by: AskedBy = AskedBy.ADDRESS, **route) -> dict:
    """Everything goes through these, in order."""
    entry = RouteEntry(Selector(), tuple(parent.name for parent in parents), by=by, **route)
    return {"proxies": parents, "routes": (entry,), "health": UNCHECKED}


def client_hello() -> bytes:
    """The first flight of a real client."""
    out = ssl.MemoryBIO()
    connection = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="origin.test")
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return out.read()


def connect_to(target: str, *, via: str = "1.1 netfw", more: str = "") -> bytes:
    """What a parent hears for a tunnel."""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nVia: {via}\r\n{more}\r\n".encode()


def secret(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "parent.secret"
    path.write_text(text)
    return path


# -- plain requests


def test_a_plain_request_by_name_is_asked_in_absolute_form(tmp_path):
    """Nobody looks the name up here; credentials are the parent's own, never the client's, and not in the record."""
    parent = ParentEntry("one", "192.0.2.11", 3128, credentials=secret(tmp_path, "netfw:pa:ss\n"))
    with Conversation(upstream=over(parent, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(GET.replace(b"\r\n\r\n", b"\r\nProxy-Authorization: Basic Y2xpZW50OnB3\r\nX-A: b\r\n\r\n"))
        origin = play.origin()
        origin.hears(
            b"GET http://origin.test/x?y=1 HTTP/1.1\r\nProxy-Authorization: Basic bmV0Znc6cGE6c3M=\r\n"
            b"Host: origin.test\r\nX-A: b\r\nVia: 1.1 netfw\r\n\r\n"
        )
        origin.says(OK)
        client.hears(GOT)
        record = play.record(of=1)
        assert record["route"] == {"proxy": "one", "by": "name"}
        assert "dest_ip" not in record and "dns" not in record
        assert "pa:ss" not in str(record) and "bmV0" not in str(record)
        assert play.resolver.asked == []
        assert play.dialled == [(("192.0.2.11",), 3128)]


def test_a_connection_to_a_parent_is_kept_for_the_same_target_only():
    """Another host on the same parent gets a connection of its own: one answer is never taken for another's."""
    with Conversation(upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        for number in range(2):
            client.says(GET)
            if not number:
                first = play.origin()
            first.hears_head()
            first.says(OK)
            client.hears(GOT)
        client.says(GET.replace(b"origin.test", b"other.test"))
        second = play.origin()
        assert second.hears_head().startswith(b"GET http://other.test/x?y=1 ")
        second.says(OK)
        client.hears(GOT)
        assert [record["route"] for record in play.records] == [{"proxy": "one", "by": "name"}] * 3


def test_a_plain_request_by_address_goes_through_a_tunnel_to_the_judged_address():
    """The parent is told the address, and the origin hears its own name."""
    with Conversation(upstream=over(ONE)) as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears(connect_to("203.0.113.1:80"))
        origin.says(b"HTTP/1.1 200 OK\r\n\r\n")
        origin.hears(b"GET /x?y=1 HTTP/1.1\r\nHost: origin.test\r\nVia: 1.1 netfw\r\n\r\n")
        origin.says(OK)
        client.hears(GOT)
        client.says(GET)  # the tunnel is kept
        origin.hears(b"GET /x?y=1 HTTP/1.1\r\nHost: origin.test\r\nVia: 1.1 netfw\r\n\r\n")
        origin.says(OK)
        client.hears(GOT)
        for record in [play.record(0), play.record(1, of=2)]:
            assert (record["dest_ip"], record["dest_port"]) == ("203.0.113.1", 80)
            assert record["route"] == {"proxy": "one", "by": "address"}


def test_what_switches_protocols_has_a_tunnel_of_its_own():
    """A proxy that reads the requests would have to understand the upgrade."""
    with Conversation(upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(
            b"GET http://origin.test/ws HTTP/1.1\r\nHost: origin.test\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n\r\n"
        )
        origin = play.origin()
        origin.hears(connect_to("origin.test:80"))
        origin.says(b"HTTP/1.1 200 OK\r\n\r\n")
        assert b"Upgrade: websocket" in origin.hears_head()
        origin.says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframe")
        client.hears_head()
        client.hears(b"frame")
        client.leaves()
        origin.leaves()


def test_a_body_goes_up_to_the_parent():
    """Content is framed as towards any origin."""
    with Conversation(upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(b"POST http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 5\r\n\r\nhel")
        client.says(b"lo")
        origin = play.origin()
        assert origin.hears_head().startswith(b"POST http://origin.test/ HTTP/1.1\r\n")
        origin.hears(b"hello")
        origin.says(OK)
        client.hears(GOT)


def test_a_parent_that_asks_for_credentials_asks_us():
    """The client would think that it was meant: it hears 502, and the parent counts as failing."""
    with Conversation(upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(b'HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n')
        head, body = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 502 ") and b"Proxy-Authenticate" not in head
        assert b"does not take our credentials" in body
        record = play.record(of=1)
        assert record["error"]["token"] == "proxy_configuration_error"
        assert (record["error"]["fault"], record["error"]["detail"]) == ("parent", "one answered 407")
        assert play.plane.ways.parents["one"].health.problem


def test_a_parent_that_goes_on_asking_for_credentials_goes_down():
    """Each time a connection is made to it, and each time it was of no use."""
    with Conversation(upstream=over(ONE, by=AskedBy.NAME)) as play:
        for _ in range(3):
            client = play.client()
            client.says(GET)
            origin = play.origin()
            origin.hears_head()
            origin.says(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
            assert client.hears_answer()[0].startswith(b"HTTP/1.1 502 ")
            client.leaves()
        assert not play.plane.ways.parents["one"].health.is_up


# -- tunnels


@pytest.mark.parametrize("by, target", [(AskedBy.NAME, "origin.test:443"), (AskedBy.ADDRESS, "203.0.113.1:443")])
def test_a_tunnel_is_passed_through_a_parent(by, target):
    """The origin hears the client's very bytes behind the parent's 200."""
    hello = client_hello()
    with Conversation(upstream=over(ONE, by=by)) as play:
        client = play.client()
        client.says(CONNECT)
        parent = play.origin()
        parent.hears(connect_to(target))
        client.hears_nothing()
        parent.says(ESTABLISHED)
        client.hears(ESTABLISHED)
        client.says(hello)
        parent.hears(hello)
        parent.says(b"\x16\x03\x03 anything")
        client.hears(b"\x16\x03\x03 anything")
        client.leaves()
        parent.leaves()
        record = play.record(of=1)
        assert record["route"] == {"proxy": "one", "by": by.value}
        assert record.get("dest_ip") == (None if by is AskedBy.NAME else "203.0.113.1")


@pytest.mark.parametrize("by", AskedBy)
def test_an_intercepted_tunnel_is_tls_to_the_origin_from_end_to_end(by):
    """What the parent carries is sealed for the origin, whose certificate is verified here; then it is kept."""
    with Conversation(intercept=True, upstream=over(ONE, by=by)) as play:
        client = play.client()
        client.says(CONNECT)
        parent = play.origin()
        parent.hears_head()
        parent.says(b"HTTP/1.0 200 Connection established\r\nX-Squid: yes\r\n\r\n")
        client.hears(ESTABLISHED)
        client.starts_tls()
        parent.serves_tls()
        client.is_shaken()
        client.says(INNER)
        parent.hears(b"GET / HTTP/1.1\r\nHost: origin.test\r\nVia: 1.1 netfw\r\n\r\n")
        parent.says(OK)
        client.hears(GOT)
        client.leaves()
        again = play.client()
        again.says(CONNECT)
        again.hears(ESTABLISHED)
        again.starts_tls()
        again.is_shaken()
        again.says(INNER)
        parent.hears_head()
        parent.says(OK)
        again.hears(GOT)
        for record in [play.record(0), play.record(1, of=2)]:
            assert record["route"] == {"proxy": "one", "by": by.value}
            assert record["tls"]["origin_certificate"]["names"] == "origin.test"


def test_a_parent_that_opens_tls_is_found():
    """A certificate that is not the origin's is refused, whoever shows it."""
    with Conversation(intercept=True, upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(CONNECT)
        parent = play.origin()
        parent.hears_head()
        parent.says(ESTABLISHED)
        client.hears(ESTABLISHED)
        client.starts_tls()
        parent.serves_tls("middle.test")
        client.is_shaken()
        client.says(INNER)
        head, _ = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway (tls_certificate_error)")
        client.leaves()
        assert play.record(of=1)["route"] == {"proxy": "one", "by": "name"}


def test_plain_http_inside_a_tunnel_of_a_parent():
    """Asked on the tunnel that was made for the CONNECT."""
    with Conversation(upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(b"CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
        parent = play.origin()
        parent.hears(connect_to("origin.test:80"))
        parent.says(ESTABLISHED)
        client.hears(ESTABLISHED)
        client.says(INNER)
        parent.hears(b"GET / HTTP/1.1\r\nHost: origin.test\r\nVia: 1.1 netfw\r\n\r\n")
        parent.says(OK)
        client.hears(GOT)
        client.leaves()
        assert play.record(of=1)["route"] == {"proxy": "one", "by": "name"}


@pytest.mark.parametrize("at_once", [True, False])
def test_an_origin_that_speaks_first_through_a_parent(at_once):
    """Nothing of it is lost, not even what came in one piece with the parent's 200."""
    hosts = {"hosts": (DestinationEntry("origin.test", None, 2222),)}
    banner = b"SSH-2.0-x\r\n"
    with Conversation(upstream=over(ONE), tunnels=hosts) as play:
        client = play.client()
        client.says(CONNECT.replace(b":443", b":2222"))
        parent = play.origin()
        parent.hears_head()
        parent.says(ESTABLISHED + banner if at_once else ESTABLISHED)
        client.hears(ESTABLISHED)
        if not at_once:
            parent.says(banner)
        client.hears(banner)
        client.says(b"back")
        parent.hears(b"back")
        client.leaves()
        parent.leaves()


def test_an_origin_that_speaks_first_where_it_must_not():
    """Bytes behind the parent's 200 that nobody asked for are no answer to anything."""
    with Conversation(intercept=True, upstream=over(ONE)) as play:
        client = play.client()
        client.says(CONNECT)
        parent = play.origin()
        parent.hears_head()
        parent.says(ESTABLISHED + b"HTTP/1.1 200 OK\r\n\r\n")
        client.hears(ESTABLISHED)
        client.starts_tls()
        client.is_shaken()
        client.says(INNER)
        head, body = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 502 ") and b"spoke before it was asked" in body
        client.leaves()


def test_an_answer_in_pieces_and_cut_short():
    """Wherever it is split the tunnel opens; wherever it is cut the client hears 502, once."""
    answer = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 above\r\n\r\n"
    for cut in range(0, len(answer), 3):
        with Conversation(upstream=over(ONE)) as play:
            client = play.client()
            client.says(CONNECT)
            parent = play.origin()
            parent.hears_head()
            parent.says(answer[:cut])
            if cut % 2:
                parent.leaves()
                assert client.hears_answer()[0].startswith(b"HTTP/1.1 502 ")
            else:
                client.hears_nothing()
                parent.says(answer[cut:])
                client.hears(ESTABLISHED)
                client.leaves()
                parent.leaves()
            play.record(of=1)


def test_an_interim_answer_is_waited_over():
    """As any other final one is what counts."""
    with Conversation(upstream=over(ONE)) as play:
        client = play.client()
        client.says(CONNECT)
        parent = play.origin()
        parent.hears_head()
        parent.says(b"HTTP/1.1 102 Processing\r\n\r\n" + ESTABLISHED)
        client.hears(ESTABLISHED)
        client.leaves()
        parent.leaves()


# -- TLS to the parent


def tls_parent(tmp_path: Path, **how) -> ParentEntry:
    """A parent that is spoken to over TLS, of the test's roots."""
    return ParentEntry("one", "parent.test", 3129, tls=True, trust=(world().directory / "roots.pem",), **how)


HOSTS = {"origin.test": ("203.0.113.1",), "parent.test": ("192.0.2.11",)}


@pytest.mark.parametrize("intercept", [True, False])
def test_tls_to_the_parent_carries_everything(tmp_path, intercept):
    """The parent's own certificate is verified before it is asked; inside, TLS to the origin is another layer."""
    entry = tls_parent(tmp_path, credentials=secret(tmp_path, "a:b"))
    with Conversation(intercept=intercept, hosts=HOSTS, upstream=over(entry, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(CONNECT)
        parent = play.origin()
        parent.serves_tls("parent.test")
        parent.hears(connect_to("origin.test:443", more="Proxy-Authorization: Basic YTpi\r\n"))
        parent.says(ESTABLISHED)
        client.hears(ESTABLISHED)
        if intercept:
            client.starts_tls()
            origin = parent.over()
            origin.serves_tls()
            client.is_shaken()
            client.says(INNER)
            origin.hears_head()
            origin.says(OK)
            client.hears(GOT)
        else:
            hello = client_hello()
            client.says(hello)
            parent.hears(hello)
            parent.says(b"\x16\x03\x03 back")
            client.hears(b"\x16\x03\x03 back")
        client.leaves()
        parent.leaves()
        assert play.record(of=1)["route"] == {"proxy": "one", "by": "name"}


def test_a_parent_that_does_not_prove_itself_is_not_asked(tmp_path):
    """Not for a request, nor with a password."""
    entry = tls_parent(tmp_path, credentials=secret(tmp_path, "a:b"))
    with Conversation(hosts=HOSTS, upstream=over(entry, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(GET)
        parent = play.origin()
        parent.serves_tls("another.test")
        head, _ = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway (tls_certificate_error)")
        assert parent.unheard == b""
        record = play.record(of=1)
        assert record["route"]["tried"][0].startswith("one: The certificate of parent.test")


# -- refusals


@pytest.mark.parametrize(
    "answered, status, token",
    [
        (403, 403, "http_request_denied"), (407, 502, "proxy_configuration_error"),
        (404, 502, "destination_unavailable"), (502, 502, "destination_unavailable"),
        (504, 504, "destination_unavailable"),
    ],
)  # fmt: skip
def test_a_tunnel_that_the_parent_refuses(answered, status, token):
    """The client hears what it means for it, and the record what was said by whom."""
    with Conversation(upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(CONNECT)
        parent = play.origin()
        parent.hears_head()
        parent.says(b"HTTP/1.1 %d Whatever\r\nContent-Length: 3\r\n\r\nno!" % answered)
        head, _ = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 %d " % status) and token.encode() in head
        record = play.record(of=1)
        said = f"one answered {answered} to CONNECT origin.test:443"
        assert (record["error"]["detail"], record["route"]) == (said, {"tried": [said]})
        assert play.plane.ways.parents["one"].health.problem == ("" if answered != 407 else said)


@pytest.mark.parametrize(
    "answer, token",
    [
        (b"SSH-2.0-x\r\n\r\n", "http_protocol_error"),
        (b"", "connection_terminated"),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 17, "http_protocol_error"),
        # Not what was asked for, and whatever follows it is nobody's: it must not be heaped up until the time is over.
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" + bytes(70_000),
         "destination_unavailable"),
    ],
)  # fmt: skip
def test_a_parent_that_is_no_proxy(answer, token):
    """Another parent would be asked; here is none."""
    with Conversation(upstream=over(ONE)) as play:
        client = play.client()
        client.says(CONNECT)
        parent = play.origin()
        parent.hears_head()
        parent.says(answer)
        parent.leaves()
        head, _ = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 502 ") and token.encode() in head


def test_a_parent_that_never_answers():
    """It has as long as this proxy would have itself."""
    with Conversation(upstream=over(ONE)) as play:
        client = play.client()
        client.says(CONNECT)
        play.origin().hears_head()
        play.later(25.0)
        head, _ = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 504 ") and b"connection_timeout" in head


def test_a_client_that_leaves_while_a_parent_is_asked():
    """The question is taken back."""
    with Conversation(upstream=over(ONE)) as play:
        client = play.client()
        client.says(CONNECT)
        parent = play.origin()
        parent.hears_head()
        client.leaves()
        parent.hears_reset()
        assert play.record(of=1)["error"]["token"] == "connection_terminated"


# -- which one


def test_the_next_parent_is_asked_when_one_cannot_be_reached():
    """The record says who was tried; enough failures, and the first is not even tried."""
    with Conversation(upstream=over(ONE, TWO, by=AskedBy.NAME)) as play:
        play.dialer.failures["192.0.2.11"] = OriginRefused("192.0.2.11:3128 refused the connection")
        for number in range(4):
            client = play.client()
            client.says(GET.replace(b"/x", b"/%d" % number).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            parent = play.origin()
            parent.hears_head()
            parent.says(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            client.hears_head()
            client.leaves()
        dialled = [addresses[0] for addresses, _ in play.dialled]
        assert dialled == ["192.0.2.11", "192.0.2.12"] * 3 + ["192.0.2.12"]
        first, last = play.record(0), play.record(3, of=4)
        assert first["route"]["proxy"] == last["route"]["proxy"] == "two"
        assert first["route"]["tried"] == ["one: 192.0.2.11:3128 refused the connection"]
        assert "tried" not in last["route"]
        assert [row["state"] for row in play.plane.ways.rows()] == ["down", "up"]


def test_a_parent_that_is_down_and_not_checked_is_tried_again_after_a_while():
    """By one exchange; when that works it is up."""
    with Conversation(upstream=over(ONE, by=AskedBy.NAME)) as play:
        play.dialer.failures["192.0.2.11"] = OriginRefused("refused")
        for expected in (b"502", b"502", b"502", b"503", b"503"):
            client = play.client()
            client.says(GET)
            assert client.hears_answer()[0].split()[1] == expected
            client.leaves()
        record = play.record(4, of=5)
        assert record["error"]["token"] == "destination_unavailable"
        assert record["route"]["tried"] == ["one: down, one: refused"]
        assert len(play.dialled) == 3
        del play.dialer.failures["192.0.2.11"]
        play.later(31.0)
        client = play.client()
        client.says(GET)
        parent = play.origin()
        parent.hears_head()
        parent.says(OK)
        client.hears(GOT)
        assert play.plane.ways.parents["one"].health.is_up


def test_nothing_goes_straight_when_every_parent_is_down():
    """503 with its token and when to come back, also for a tunnel."""
    with Conversation(upstream=over(ONE, TWO)) as play:
        for parent in play.plane.ways:
            for _ in range(3):
                parent.failed("connection_refused", "refused")
        client = play.client()
        client.says(CONNECT)
        head, body = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable (destination_unavailable)")
        assert b"Retry-After: 5" in head and b"every parent proxy" in body
        assert play.dialled == []
        assert play.record(of=1)["route"]["tried"] == ["one: down, refused", "two: down, refused"]


def test_what_is_no_parents_fault_takes_none_down():
    """Descriptors that ran out end the exchange; a pool without an address of the family lets the next be tried."""
    six = ParentEntry("six", "2001:db8::11", 3128)
    pools = {"pools": (EgressPool("p", (ip_address("198.51.100.1"),), Selector()),)}
    with Conversation(upstream=over(six, TWO, by=AskedBy.NAME), egress=pools) as play:
        play.dialer.failures["192.0.2.12"] = Overloaded("the proxy has no room for another connection")
        for _ in range(4):
            client = play.client()
            client.says(GET)
            assert client.hears_answer()[0].startswith(b"HTTP/1.1 503 Service Unavailable (connection_limit_reached)")
            client.leaves()
        assert [row["state"] for row in play.plane.ways.rows()] == ["up", "up"]
        assert "has IPv6 addresses only" in play.record(3, of=4)["route"]["tried"][0]


def test_parents_in_turn():
    """Each gets its share."""
    with Conversation(upstream=over(ONE, TWO, by=AskedBy.NAME, balance=Balance.ROUND_ROBIN)) as play:
        for number in range(4):
            client = play.client()
            client.says(GET.replace(b"origin.test", b"h%d.test" % number))
            parent = play.origin()
            parent.hears_head()
            parent.says(OK)
            client.hears(GOT)
            client.leaves()
        assert [addresses[0] for addresses, _ in play.dialled] == ["192.0.2.11", "192.0.2.12"] * 2


def test_another_address_is_asked_for_where_the_parent_does_not_reach_the_first():
    """Every judged address is as good as the first."""
    hosts = {"origin.test": ("203.0.113.1", "203.0.113.2")}
    with Conversation(hosts=hosts, upstream=over(ONE)) as play:
        client = play.client()
        client.says(CONNECT)
        first = play.origin()
        first.hears(connect_to("203.0.113.1:443"))
        first.says(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
        second = play.origin()
        second.hears(connect_to("203.0.113.2:443"))
        second.says(ESTABLISHED)
        client.hears(ESTABLISHED)
        client.leaves()
        second.leaves()
        record = play.record(of=1)
        assert record["dest_ip"] == "203.0.113.2"
        assert record["route"]["tried"] == ["one answered 503 to CONNECT 203.0.113.1:443"]


def test_routes_are_asked_in_order():
    """By domain, client and listener; the last fits everything."""
    routes = (
        RouteEntry(Selector(domains=(".corp.test",)), ()),
        RouteEntry(Selector(sources=(ip_network("10.1.0.0/16"),), domains=("origin.test",)), ("two",), by=AskedBy.NAME),
        RouteEntry(Selector(listeners=("other",)), ("two",), by=AskedBy.NAME),
        RouteEntry(Selector(), ("one",), by=AskedBy.NAME),
    )
    upstream = {"proxies": (ONE, TWO), "routes": routes, "health": UNCHECKED}
    hosts = {"www.corp.test": ("203.0.113.9",)}
    with Conversation(hosts=hosts, upstream=upstream) as play:
        for host, source, expected in (
            (b"www.corp.test", "127.0.0.1", "203.0.113.9"),
            (b"origin.test", "10.1.2.3", "192.0.2.12"),
            (b"origin.test", "10.2.2.3", "192.0.2.11"),
        ):
            client = play.client(source)
            client.says(GET.replace(b"origin.test", host))
            origin = play.origin()
            is_direct = expected.startswith("203")
            assert origin.hears_head().startswith(b"GET /x" if is_direct else b"GET http://" + host)
            origin.says(OK)
            client.hears(GOT)
            client.leaves()
            assert play.dialled[-1][0] == (expected,)
        assert "route" not in play.record(0)


# -- policy and guard


def test_pre_dns_rules_by_name_all_the_same():
    """A denied name is not asked for."""
    rules = policy(groups={"g": {"PreDNS": [
        rule("no", "DENY", condition("request:DestinationDomain", "StringEquals", "origin.test"))
    ]}})  # fmt: skip
    with Conversation(rules, upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(GET)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert play.dialled == []


@pytest.mark.parametrize("connect", [True, False])
def test_a_rule_on_the_address_denies_where_only_the_parent_knows_it(connect):
    """What cannot be decided is a denial, which says how it could be; by address the same rule rules."""
    with Conversation(BY_RULE, upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(CONNECT if connect else GET)
        if connect:
            parent = play.origin()
            parent.hears_head()
            parent.says(ESTABLISHED)
            client.hears(ESTABLISHED)
            client.says(client_hello())
            client.take()
            client.leaves()
            parent.hears_reset()
        else:
            head, body = client.hears_answer()
            assert head.startswith(b"HTTP/1.1 403 ") and b"by: address" in body
            assert play.dialled == []
        record = play.record(of=1)
        assert record["final_action"] == "deny" and "g/there" in record["error"]["message"]


def test_a_rule_on_the_address_rules_where_it_is_looked_up_here():
    """As ever."""
    with Conversation(BY_RULE, upstream=over(ONE)) as play:
        client = play.client()
        client.says(CONNECT)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 Blocked by netfw g/there")
        assert play.dialled == []


@pytest.mark.parametrize(
    "target", [b"localhost:443", b"a.localhost:443", b"origin.test:25", b"127.0.0.1:443", b"[::1]:443", b"10.0.0.1:443"]
)
def test_the_guard_knows_names_and_ports_without_an_address(target):
    """And literals, which are judged as ever."""
    with Conversation(upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert play.dialled == []
        assert play.record(of=1)["error"]["token"] == "destination_ip_prohibited"


# -- names that disagree


@pytest.mark.parametrize("verdict", ["allow", "evaluate"])
def test_a_name_that_was_let_through_is_not_asked_for(verdict):
    """What was judged is what the parent is asked for, also by later connections: the CONNECT's host where the server
    name was let through, the server name where that was judged."""
    names = {"origin.test": ("203.0.113.1",), "other.test": ("203.0.113.2",)}
    consistency = {"connect_sni": NameVerdict(verdict)}
    with Conversation(
        hosts=names, intercept=True, consistency=consistency, upstream=over(ONE, by=AskedBy.NAME)
    ) as play:
        client = play.client()
        client.says(CONNECT)
        parent = play.origin()
        parent.hears(connect_to("origin.test:443"))
        parent.says(ESTABLISHED)
        client.hears(ESTABLISHED)
        client.starts_tls("other.test")
        asked = "origin.test:443"
        if verdict == "evaluate":
            asked = "other.test:443"
            parent.hears_reset()
            parent = play.origin()
            parent.hears(connect_to(asked))
            parent.says(ESTABLISHED)
        parent.serves_tls("other.test")
        client.is_shaken()
        for number in range(2):
            client.says(b"GET /%d HTTP/1.1\r\nHost: other.test\r\n\r\n" % number)
            if number:
                parent = play.origin()
                parent.hears(connect_to(asked))
                parent.says(ESTABLISHED)
                parent.serves_tls("other.test")
            assert parent.hears_head().startswith(b"GET /%d HTTP/1.1\r\nHost: other.test\r\n" % number)
            parent.says(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            client.hears_head()
            client.hears(b"hi")
            parent.leaves()
        client.leaves()


def test_a_connection_that_was_made_for_another_name_is_not_used_for_this_one():
    """It proved the name, and still leads where another one was judged."""
    with Conversation(
        intercept=True, consistency={"connect_sni": NameVerdict.ALLOW}, upstream=over(ONE, by=AskedBy.NAME)
    ) as play:
        for connect in (b"origin.test", b"other.test"):
            client = play.client()
            client.says(CONNECT.replace(b"origin.test", connect))
            parent = play.origin()
            parent.hears(connect_to(f"{connect.decode()}:443"))
            parent.says(ESTABLISHED)
            client.hears(ESTABLISHED)
            client.starts_tls("other.test")
            parent.serves_tls("other.test")
            client.is_shaken()
            client.says(INNER.replace(b"origin.test", b"other.test"))
            parent.hears_head()
            parent.says(OK)
            client.hears(GOT)
            client.leaves()


def test_a_host_field_that_was_let_through_inside_plain_http():
    """The tunnel's host is asked for, and the origin hears the other name."""
    with Conversation(consistency={"sni_host": NameVerdict.ALLOW}, upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(b"CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
        for number in range(2):
            parent = play.origin()
            parent.hears(connect_to("origin.test:80"))
            parent.says(ESTABLISHED)
            if not number:
                client.hears(ESTABLISHED)
                client.says(INNER.replace(b"origin.test", b"other.test"))
            assert parent.hears_head().startswith(b"GET / HTTP/1.1\r\nHost: other.test\r\n")
            parent.says(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            client.hears_head()
            client.hears(b"hi")
            parent.leaves()
            if not number:
                client.says(INNER.replace(b"origin.test", b"other.test"))
        client.leaves()


# -- loops


def test_a_request_that_comes_round_is_found():
    """Via says so, also in CONNECT; what others put there goes on."""
    with Conversation(upstream=over(ONE, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(CONNECT.replace(b"\r\n\r\n", b"\r\nVia: 1.1 above\r\nVia: 1.0 squid (squid/5.7)\r\n\r\n"))
        parent = play.origin()
        parent.hears(connect_to("origin.test:443", via="1.1 above, 1.0 squid (squid/5.7), 1.1 netfw"))
        parent.leaves()
        client.hears_answer()
        again = play.client()
        again.says(CONNECT.replace(b"\r\n\r\n", b"\r\nVia: 1.1 netfw, 1.1 above\r\n\r\n"))
        assert again.hears_answer()[0].startswith(b"HTTP/1.1 508 ")


def test_a_parent_that_is_this_proxy_itself():
    """However its name leads there."""
    entry = ParentEntry("one", "parent.test", 3128)
    hosts = {"parent.test": ("127.0.0.1",)}
    with Conversation(hosts=hosts, upstream=over(entry, by=AskedBy.NAME)) as play:
        client = play.client()
        client.says(GET)
        head, body = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 508 ") and b"is this proxy itself" in body
        assert play.dialled == []
