"""CONNECT: what is opened, what is read inside, how a denial shows, and who leaves when."""

from __future__ import annotations

import ssl

import pytest

from netfw.config.model import DenyOpaque, DenyStyle, DestinationEntry
from netfw.errors import NameNotFound, OriginRefused
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import condition, policy, rule

CONNECT = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nHost: origin.test\r\nVia: 1.1 netfw\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GOT = b"HTTP/1.1 200 OK\r\nVia: 1.1 netfw\r\nContent-Length: 2\r\n\r\nhi"
ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"
GET_ONLY = policy(
    pre_request="DENY",
    groups={"g": {"PreREQUEST": [rule("get", "ALLOW", condition("request:Http:Method", "StringEquals", "GET"))]}},
)
DENY_DNS = policy(groups={"g": {"PreDNS": [
    rule("no", "DENY", condition("request:DestinationDomain", "StringEquals", "origin.test"))
]}})  # fmt: skip


def client_hello(server_name: str | None = "origin.test") -> bytes:
    """The first flight of a real client."""
    context = ssl.create_default_context()
    if server_name is None:
        context.check_hostname = False
    out = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return out.read()


def opened(play: Conversation, connect: bytes = CONNECT):
    """A client whose CONNECT was answered with 200."""
    client = play.client()
    client.says(connect)
    client.hears(ESTABLISHED)
    return client


def intercepted(play: Conversation, **how):
    """The client and the origin of an intercepted tunnel, both handshakes complete."""
    client = opened(play)
    client.starts_tls(**how)
    origin = play.origin()
    origin.serves_tls()
    client.is_shaken()
    return client, origin


# -- passed through


def test_an_opaque_tunnel():
    """The origin gets the client's very bytes, the ClientHello too; one record, with both counts."""
    hello = client_hello()
    with Conversation() as play:
        client = opened(play)
        origin = play.origin()
        origin.hears_nothing()
        client.says(hello)
        origin.hears(hello)
        origin.says(b"\x16\x03\x03 anything")
        client.hears(b"\x16\x03\x03 anything")
        client.says(b"more")
        origin.hears(b"more")
        client.leaves()
        origin.hears_end()
        origin.leaves()
        record = play.record(of=1)
        assert (record["kind"], record["http_status_code"], record["tls"]["sni"]) == ("tunnel", 200, "origin.test")
        assert record["bytes_in"] == len(CONNECT) + len(hello) + 4
        assert record["bytes_out"] == len(ESTABLISHED) + 12 + 0
        assert (record["request_size"], record["response_size"]) == (len(hello) + 4, 12)
        assert record["close_reason"] == "client_closed"
        assert [match["hook"] for match in record["all_matches"]["matches"]] == ["pre_dns", "pre_request"]


def test_end_to_end_tls_through_a_tunnel():
    """The client shakes hands with the origin itself."""
    with Conversation() as play:
        client = opened(play)
        client.starts_tls()
        origin = play.origin()
        origin.serves_tls()
        client.is_shaken()
        client.says(b"hello")
        origin.hears(b"hello")
        assert ("organizationName", "netfw") not in [pair for part in client.certificate()["subject"] for pair in part]


def test_bytes_behind_the_connect_are_kept():
    """A ClientHello in the same segment is neither lost nor sent before the 200 (CVE-2025-64763)."""
    hello = client_hello()
    with Conversation() as play:
        play.dialer.held = True
        client = play.client()
        client.says(CONNECT + hello)
        client.hears_nothing()
        play.dialer.connect()
        client.hears(ESTABLISHED)
        play.origin().hears(hello)


@pytest.mark.parametrize("fragment", [1, 5, 100])
def test_a_client_hello_in_pieces(fragment):
    """It is held until it is whole."""
    hello = client_hello()
    with Conversation() as play:
        client = opened(play)
        origin = play.origin()
        for at in range(0, len(hello) - 1, fragment):
            client.says(hello[at : min(at + fragment, len(hello) - 1)])
            play.turn()
        origin.hears_nothing()
        client.says(hello[-1:])
        origin.hears(hello)


def test_half_close_passes_through():
    """The client ends its side; the origin's answer still comes."""
    hello = client_hello()
    with Conversation() as play:
        client = opened(play)
        origin = play.origin()
        client.says(hello)
        origin.hears(hello)
        client.ends()
        origin.hears_end()
        origin.says(b"late")
        client.hears(b"late")
        origin.leaves()
        client.hears_end()


def test_a_tunnel_in_which_nothing_moves():
    """Both sides are aborted after the idle deadline."""
    hello = client_hello()
    with Conversation() as play:
        client = opened(play)
        origin = play.origin()
        client.says(hello)
        origin.hears(hello)
        play.later(19)
        client.hears_nothing()
        play.later(2)
        client.hears_reset()
        assert play.record(of=1)["close_reason"] == "idle_timeout"


# -- names that must agree


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("name", ["evil.test", "sub.origin.test"])
def test_another_server_name(intercept, name):
    """Alert, close, nothing to the origin (domain fronting)."""
    with Conversation(intercept=intercept) as play:
        client = opened(play)
        client.says(client_hello(name))
        client.hears(ACCESS_DENIED)
        client.hears_end()
        for side in play.dialer.accepted:
            assert side.unheard == b""
        record = play.record(of=1)
        assert (record["final_action"], record["error"]["token"]) == ("deny", "http_request_denied")


def test_no_server_name_in_an_opaque_tunnel():
    """Nothing would bind it to the name that was allowed."""
    with Conversation() as play:
        client = opened(play)
        client.says(client_hello(None))
        client.hears(ACCESS_DENIED)
        client.hears_end()
        assert play.record(of=1)["final_action"] == "deny"


def test_no_server_name_towards_an_address():
    """There is no name to bind."""
    with Conversation() as play:
        client = opened(play, b"CONNECT 203.0.113.5:443 HTTP/1.1\r\nHost: 203.0.113.5:443\r\n\r\n")
        hello = client_hello(None)
        client.says(hello)
        play.origin().hears(hello)
        assert play.dialled == [(("203.0.113.5",), 443)]


def test_no_server_name_in_an_intercepted_tunnel():
    """The leaf is for the CONNECT's host; what is asked for there is refused, and says why."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls(server_name=None)
        client.is_shaken()
        assert ("DNS", "origin.test") in client.certificate()["subjectAltName"]
        client.says(GET)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 421 ")


def test_no_server_name_in_an_intercepted_tunnel_to_an_address():
    """Where there can be none, none is missing; the origin proves the address."""
    with Conversation(intercept=True) as play:
        client = opened(play, b"CONNECT 203.0.113.5:443 HTTP/1.1\r\nHost: 203.0.113.5:443\r\n\r\n")
        client.starts_tls(server_name=None)
        play.origin().serves_tls("203.0.113.5")
        client.is_shaken()
        assert ("IP Address", "203.0.113.5") in client.certificate()["subjectAltName"]


def test_two_server_names():
    """A list of names is refused (rule 12)."""
    hello = client_hello()
    at = hello.index(b"origin.test")
    # type 0, length, name: twice in one list
    entry = b"\x00\x00\x0borigin.test"
    start = at - 3
    assert hello[start : start + len(entry)] == entry

    def longer(where: int, width: int, by: int, data: bytes) -> bytes:
        value = int.from_bytes(data[where : where + width], "big") + by
        return data[:where] + value.to_bytes(width, "big") + data[where + width :]

    by = len(entry)
    two = hello[: start + by] + entry + hello[start + by :]
    two = longer(start - 2, 2, by, two)  # the list
    two = longer(start - 4, 2, by, two)  # the extension
    session = 43 + 1 + two[43]
    suites = session + 2 + int.from_bytes(two[session : session + 2], "big")
    extensions = suites + 1 + two[suites]
    two = longer(extensions, 2, by, two)
    two = longer(6, 3, by, two)  # the message
    two = longer(3, 2, by, two)  # the record
    with Conversation() as play:
        client = opened(play)
        client.says(two)
        client.take()
        assert client.ended
        assert play.dialer.accepted[0].unheard == b""
        assert play.record(of=1)["final_action"] == "deny"


@pytest.mark.parametrize(
    "host", [b"evil.test", b"origin.test:8443", b"origin.test.evil.test", b"origin.test:80", b"203.0.113.1"]
)
def test_another_host_inside(host):
    """421 for a request whose Host is not the tunnel's authority."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET.replace(b"Host: origin.test", b"Host: " + host))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 421 ")
        record = play.record(of=1)
        assert (record["final_action"], record["http_status_code"]) == ("deny", 421)
        assert "parent_id" in record
        assert origin.unheard == b""


@pytest.mark.parametrize("host", [b"ORIGIN.test", b"origin.test:443", b"origin.test."])
def test_the_same_host_in_another_spelling(host):
    """Names are compared in their one form."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET.replace(b"Host: origin.test", b"Host: " + host))
        origin.hears(SENT)


def test_each_inner_request_is_bound():
    """Not only the first."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)
        client.says(GET.replace(b"origin.test", b"evil.test"))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize(
    "target",
    [b"GET http://origin.test/", b"GET https://origin.test/", b"CONNECT origin.test:443", b"CONNECT other.test:22"],
)
def test_only_origin_form_inside(target):
    """Absolute-form and CONNECT inside a tunnel are refused; the records know their tunnel."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(target + b" HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 400 ")
        assert "parent_id" in play.record(of=1)
        assert origin.unheard == b""


def test_asterisk_form_inside():
    """OPTIONS * is for the origin."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(b"OPTIONS * HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert origin.hears_head().startswith(b"OPTIONS * HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\r\n\r\n",
        GET[:-2] + b"Via: 1.1 netfw\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: origin.test\r\n\r\n",
    ],
)
def test_what_is_no_request_inside(said):
    """It is answered inside, and its record knows its tunnel, which then has none of its own."""
    with Conversation(intercept=True) as play:
        client, _ = intercepted(play)
        client.says(said)
        head, _ = client.hears_answer()
        assert head[9:12] in (b"400", b"508")
        record = play.record(of=1)
        assert "parent_id" in record
        assert record["dest_domain"] == "origin.test."


# -- intercepted


def test_an_intercepted_request():
    """Verified TLS on both sides, phases inside, a record with the parent's id."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)
        assert play.dialled == [(("203.0.113.1",), 443)]
        record = play.record(of=1)
        assert record["url"]["scheme"] == "https"
        assert record["tls"]["intercepted"] is True
        hooks = [match["hook"] for match in record["all_matches"]["matches"]]
        assert hooks == ["pre_dns", "pre_request", "post_response"]


def test_tls_1_2_and_a_close_notify():
    """Our side answers a goodbye with an orderly end."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)
        client.says_goodbye()
        client.hears_end()
        assert client.clean_end


def test_several_inner_requests():
    """They share the origin's connection, and each has its record."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        for _ in range(3):
            client.says(GET)
            origin.hears(SENT)
            origin.says(OK)
            client.hears(GOT)
        assert len(play.dialled) == 1
        assert len({record["parent_id"] for record in play.records}) == 1
        assert len(play.records) == 3
        assert play.resolver.asked == ["origin.test"]


def test_nothing_goes_to_an_origin_that_proved_nothing():
    """Not a byte of the request before the certificate is verified."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls()
        origin = play.origin()
        hello = origin.take()
        assert hello[:1] == b"\x16"
        client.hears_nothing()
        assert client.is_secure is False


@pytest.mark.parametrize("how", [{"expired": True}, {"self_signed": True}])
def test_a_bad_certificate_is_told_inside(how):
    """502 under our leaf, for every request on the connection; the origin gets none."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls()
        origin = play.origin()
        origin.serves_tls(**how)
        client.is_shaken()
        client.says(GET + GET)
        for _ in range(2):
            head, body = client.hears_answer()
            assert head.startswith(b"HTTP/1.1 502 ")
            assert b"tls_certificate_error" in head
        assert origin.ended
        assert not origin.unheard
        assert [record["error"]["token"] for record in play.records] == ["tls_certificate_error"] * 2


def test_a_certificate_for_another_name():
    """The same."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls()
        play.origin().serves_tls("evil.test")
        client.is_shaken()
        client.says(GET)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 502 ")


def test_an_origin_that_speaks_no_tls():
    """502 inside."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls()
        origin = play.origin()
        origin.hears_exactly(1)
        origin.says(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        client.is_shaken()
        client.says(GET)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 502 ")


def test_an_origin_that_never_shakes_hands():
    """504 or 502 inside after the handshake deadline."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls()
        play.origin()
        play.settle()
        play.later(4)
        client.is_shaken()
        client.says(GET)
        assert client.hears_answer()[0][9:12] in (b"502", b"504")


def test_a_kept_connection_serves_the_next_connect():
    """A second tunnel takes the idle connection, verified for this name, instead of dialling."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)
        client.says_goodbye()
        client.leaves()
        play.settle()
        second = opened(play)
        second.starts_tls()
        second.is_shaken()
        second.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        second.hears(GOT)
        assert len(play.dialled) == 1
        assert play.record(1, of=2)["tls"]["origin_certificate"]["names"] == "origin.test"


def test_a_tunnel_that_is_never_used():
    """It has a record of its own; the connection that was made for it is closed."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.leaves()
        record = play.record(of=1)
        assert (record["kind"], record["final_action"]) == ("connect", "allow")
        play.until(lambda: origin.ended, "the end of the origin's connection")


def test_a_client_that_does_not_trust_us():
    """Its alert is in the record; the origin's verified connection is not lost."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls(trust=False)
        play.origin().serves_tls()
        play.until(lambda: client.alert, "an alert")
        client.leaves()
        record = play.record(of=1)
        assert record["error"]["token"] == "tls_protocol_error"
        assert record["kind"] == "connect"


def test_bypassed_hosts_are_passed_through():
    """The bypass list is asked per client and host."""
    bypass = {"bypass": (DestinationEntry("origin.test", None),)}
    with Conversation(intercept=True, tls_intercept=bypass) as play:
        client = opened(play)
        hello = client_hello()
        client.says(hello)
        play.origin().hears(hello)


def test_tls_inside_a_tls_listener():
    """A client that speaks TLS to the proxy gets its CONNECT intercepted all the same."""
    with Conversation(intercept=True, own_tls=True) as play:
        outer = play.client()
        outer.starts_tls("proxy.test")
        outer.is_shaken()
        outer.says(CONNECT)
        outer.hears(ESTABLISHED)
        client = outer.over()
        client.starts_tls()
        origin = play.origin()
        origin.serves_tls()
        client.is_shaken()
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)


def test_an_opaque_tunnel_from_a_tls_listener():
    """Relayed by copying; an end of one side ends both."""
    hello = client_hello()
    with Conversation(own_tls=True) as play:
        client = play.client()
        client.starts_tls("proxy.test")
        client.is_shaken()
        client.says(CONNECT + hello)
        client.hears(ESTABLISHED)
        origin = play.origin()
        origin.hears(hello)
        origin.says(b"answer")
        client.hears(b"answer")
        origin.leaves()
        client.hears_end()
        assert client.clean_end


# -- plain HTTP inside


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("port", [80, 443, 8080])
def test_plain_http_inside(intercept, port):
    """Its requests run the phases one by one, over plain connections."""
    with Conversation(intercept=intercept) as play:
        authority = b"origin.test" if port == 80 else b"origin.test:%d" % port
        client = opened(play, b"CONNECT origin.test:%d HTTP/1.1\r\nHost: origin.test:%d\r\n\r\n" % (port, port))
        origin = play.origin()
        for _ in range(2):
            client.says(b"GET / HTTP/1.1\r\nHost: " + authority + b"\r\n\r\n")
            origin.hears(b"GET / HTTP/1.1\r\nHost: " + authority + b"\r\nVia: 1.1 netfw\r\n\r\n")
            origin.says(OK)
            client.hears(GOT)
        assert len(play.dialled) == 1
        assert [record["url"]["scheme"] for record in play.records] == ["http", "http"]


def test_plain_http_inside_is_judged():
    """Rules on methods hold there too."""
    with Conversation(GET_ONLY) as play:
        client = opened(play, b"CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
        origin = play.origin()
        client.says(GET.replace(b"GET", b"POST"))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert origin.unheard == b""
        client.says(GET)
        origin.hears(SENT)


@pytest.mark.parametrize("said", [b"\x00\x01", b"SSH-2.0-OpenSSH_9\r\n", b"\x80\x2e\x01", b"\x16\x02\x00\x00", b"(: "])
@pytest.mark.parametrize("intercept", [False, True])
def test_neither_tls_nor_http(said, intercept):
    """Closed; the origin gets nothing; a record says so."""
    with Conversation(intercept=intercept) as play:
        client = opened(play)
        client.says(said)
        play.later(6)
        client.take()
        play.until(lambda: client.ended, "an end")
        for side in play.dialer.accepted:
            assert side.unheard == b""
        record = play.record(of=1)
        assert record["error"]["fault"] == "client"


def test_a_client_hello_without_end():
    """The limit holds."""
    with Conversation(limits={"client_hello": 1000}) as play:
        client = opened(play)
        client.says(b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb" + bytes(2000))
        play.until(lambda: client.ended, "an end")
        assert play.record(of=1)["error"]["fault"] == "client"


def test_silence_inside():
    """Closed after the head deadline."""
    with Conversation() as play:
        client = opened(play)
        play.later(4)
        client.hears_nothing()
        play.later(2)
        client.hears_end()
        assert play.record(of=1)["error"]["token"] == "connection_read_timeout"


# -- denials


def test_a_denied_connect():
    """403 that explains itself, nothing looked up, nothing dialled."""
    with Conversation(DENY_DNS) as play:
        client = play.client()
        client.says(CONNECT + client_hello())
        head, body = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 403 Blocked by netfw g/no ")
        assert b"origin.test:443" in body
        client.hears_end()
        assert (play.resolver.asked, play.dialled) == ([], [])
        assert play.record(of=1)["kind"] == "connect"


def test_a_denial_is_shown_inside():
    """Style auto, a host that would be intercepted: 200, then 403 under our leaf for every request; nothing dialled."""
    with Conversation(DENY_DNS, intercept=True) as play:
        client = opened(play)
        client.starts_tls()
        client.is_shaken()
        client.says(GET + GET)
        for _ in range(2):
            assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 Blocked by netfw g/no ")
        assert (play.resolver.asked, play.dialled) == ([], [])
        assert [record["final_action"] for record in play.records] == ["deny", "deny"]
        assert play.records[0]["final_rule_name"] == "no"


def test_a_denial_is_shown_inside_plain_http():
    """The same without TLS."""
    with Conversation(DENY_DNS, intercept=True) as play:
        client = opened(play)
        client.says(GET)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("style", [DenyStyle.CONNECT, DenyStyle.AWS])
def test_a_denial_on_the_connect(style):
    """The other styles answer the CONNECT itself."""
    with Conversation(DENY_DNS, intercept=True, deny={"style": style}) as play:
        client = play.client()
        client.says(CONNECT)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        client.hears_end()


def test_a_denied_client_that_leaves_without_a_word():
    """The record says deny."""
    with Conversation(DENY_DNS, intercept=True) as play:
        opened(play).leaves()
        assert play.record(of=1)["final_action"] == "deny"


@pytest.mark.parametrize("how", ["leaves", "waits", "garbage", "hello"])
def test_a_guarded_client_that_leaves_without_a_word(how):
    """A prohibited destination stays a denial in the record, whatever the client does inside."""
    with Conversation(intercept=True, hosts={"origin.test": ("127.0.0.1",)}) as play:
        client = opened(play)
        if how == "garbage":
            client.says(b"\x00\x00")
        elif how == "waits":
            play.later(8)
        elif how == "hello":
            client.says(client_hello())
            play.settle()
        play.settle()
        client.leaves()
        record = play.record(of=1)
        assert record["final_action"] == "deny"
        assert play.dialled == []


def test_get_is_let_through_and_post_stopped():
    """PreREQUEST default DENY with one ALLOW on the method: open for the CONNECT, decided for each inner request."""
    with Conversation(GET_ONLY, intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)
        client.says(GET.replace(b"GET", b"POST"))
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 Blocked by netfw default ")
        assert origin.unheard == b""
        assert [record["final_action"] for record in play.records] == ["allow", "deny"]


def test_http_rules_match_nothing_in_an_opaque_tunnel():
    """Without interception the same policy denies the CONNECT."""
    with Conversation(GET_ONLY) as play:
        client = play.client()
        client.says(CONNECT)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert play.dialled == []


def test_certain_pre_request_denial_dials_nothing():
    """A default DENY without a rule that could allow ends the CONNECT before anything is dialled."""
    with Conversation(policy(pre_request="DENY"), intercept=True, deny={"style": DenyStyle.CONNECT}) as play:
        client = play.client()
        client.says(CONNECT)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert play.dialled == []
        assert play.resolver.asked == ["origin.test"]


def test_opaque_after_200():
    """The tunnel is opened, closed with an alert once its hello is here, and the origin gets nothing."""
    with Conversation(GET_ONLY, deny={"opaque": DenyOpaque.AFTER_200}) as play:
        client = opened(play)
        client.says(client_hello())
        client.hears(ACCESS_DENIED)
        client.hears_end()
        for side in play.dialer.accepted:
            assert side.unheard == b""
        assert play.record(of=1)["final_action"] == "deny"


def test_post_response_inside():
    """Every byte of the origin is hidden there too."""
    with Conversation(policy(post_response="DENY"), intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET)
        origin.hears(SENT)
        origin.says(b"HTTP/1.1 299 Secret\r\nContent-Length: 6\r\n\r\nSecret")
        head, body = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 403 ")
        assert b"ecret" not in head + body
        assert origin.is_told_an_end()


def test_a_newer_policy_judges_inner_requests():
    """An old tunnel is no way round a new rule."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)
        play.policies.change(DENY_DNS)
        client.says(GET)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert play.record(1, of=2)["generation"] == 2


# -- failures before the 200


@pytest.mark.parametrize("intercept", [False, True])
def test_no_200_before_the_connection_exists(intercept):
    """Rule 11."""
    with Conversation(intercept=intercept) as play:
        play.resolver.held.add("origin.test")
        play.dialer.held = True
        client = play.client()
        client.says(CONNECT)
        client.hears_nothing()
        play.resolver.answer("origin.test")
        client.hears_nothing()
        play.dialer.connect()
        client.hears(ESTABLISHED)


@pytest.mark.parametrize("intercept", [False, True])
def test_failures_before_the_200(intercept):
    """They are the answer to the CONNECT, whatever the style."""
    hosts = {"a.test": NameNotFound("no such name"), "b.test": ("203.0.113.7",)}
    with Conversation(intercept=intercept, hosts=hosts) as play:
        play.dialer.failures["203.0.113.7"] = OriginRefused("the origin refused the connection")
        for host, token in ((b"a.test", b"dns_error"), (b"b.test", b"connection_refused")):
            client = play.client()
            client.says(CONNECT.replace(b"origin.test", host))
            head, _ = client.hears_answer()
            assert head.startswith(b"HTTP/1.1 502 ")
            assert token in head
            client.hears_end()


def test_a_guarded_connect():
    """403, nothing dialled."""
    with Conversation(hosts={"origin.test": ("169.254.169.254",)}) as play:
        client = play.client()
        client.says(CONNECT)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 Blocked by netfw guard ")
        assert play.dialled == []


# -- who leaves when


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("how", ["leaves", "resets"])
@pytest.mark.parametrize("when", ["dns", "dial", "hello", "half_hello", "upstream_handshake", "client_handshake"])
def test_the_client_leaves(intercept, how, when):
    """At whichever step: everything towards the origin ends, there is one record."""
    with Conversation(intercept=intercept) as play:
        if when == "dns":
            play.resolver.held.add("origin.test")
        if when == "dial":
            play.dialer.held = True
        client = play.client()
        client.says(CONNECT)
        if when == "dns":
            play.until(lambda: play.resolver.asked, "a question")
        elif when == "dial":
            play.until(lambda: play.dialled, "dialling")
        else:
            client.hears(ESTABLISHED)
        if when == "half_hello":
            client.says(client_hello()[:50])
        elif when == "upstream_handshake":
            client.says(client_hello())
            if intercept:
                play.origin().hears_exactly(1)
        elif when == "client_handshake":
            client.says(client_hello())
            if intercept:
                play.origin().serves_tls()
                client.hears_exactly(1)
        play.settle()
        getattr(client, how)()
        play.settle()
        if not intercept and when.endswith("handshake"):  # relayed: the end is passed on, and the origin's awaited
            play.origin().leaves()
        play.later(4)
        record = play.record(of=1)
        assert record["kind"] in ("connect", "tunnel")
        for side in play.dialer.accepted:
            assert side.ended or len(play.plane.pool) == 1
        if when == "dns":
            assert play.resolver.cancelled == ["origin.test"]
        if when == "dial":
            assert play.dialer.cancelled == 1


def test_an_origin_that_leaves_before_the_hello():
    """The opaque tunnel ends; an intercepted one tells it inside."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        play.origin().resets()
        play.settle()
        client.starts_tls()
        client.is_shaken()
        client.says(GET)
        play.until(lambda: b"502" in client.unheard or len(play.dialled) == 2, "502", lambda: client.unheard)


def test_upgrade_inside_an_intercepted_tunnel():
    """Web sockets over TLS."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        origin.hears_head()
        origin.says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
        client.hears_head()
        client.hears(b"first")
        client.says(b"ping")
        origin.hears(b"ping")
        origin.says_goodbye()
        origin.leaves()
        client.hears_end()
        assert client.clean_end
        assert play.record(of=1)["close_reason"] == "origin_closed"


@pytest.mark.parametrize("how", ["goodbye", "cut"])
def test_until_close_over_tls(how):
    """Only close_notify completes a body that lasts until the end (rule 18)."""
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        client.says(GET)
        origin.hears(SENT)
        origin.says(b"HTTP/1.1 200 OK\r\n\r\nhi")
        client.hears_until(b"hi\r\n")
        if how == "goodbye":
            origin.says_goodbye()
            client.hears(b"0\r\n\r\n")
            client.hears_nothing()
        else:
            origin.leaves()
            play.until(lambda: client.ended, "an end")
            assert client.unheard == b""
            assert not client.clean_end
            assert play.record(of=1)["error"]["token"] == "http_response_incomplete"


def test_a_connect_after_other_requests():
    """On one connection: each record counts its own bytes only."""
    hello = client_hello()
    request = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
    with Conversation() as play:
        client = play.client()
        client.says(request)
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)
        client.says(CONNECT)
        client.hears(ESTABLISHED)
        client.says(hello)
        tunnel = play.origin()
        tunnel.hears(hello)
        tunnel.says(b"answer")
        client.hears(b"answer")
        client.leaves()
        tunnel.hears_end()
        tunnel.leaves()
        record = play.record(1, of=2)
        assert (record["bytes_in"], record["bytes_out"]) == (len(CONNECT) + len(hello), len(ESTABLISHED) + 6)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_large_bodies_through_tls(direction):
    """Megabytes pass whole through both handshakes, and a side that does not read pauses the other."""
    body = bytes(range(256)) * 16384
    with Conversation(intercept=True) as play:
        client, origin = intercepted(play)
        if direction == "up":
            client.says(GET.replace(b"GET", b"POST")[:-2] + b"Content-Length: %d\r\n\r\n" % len(body))
            origin.hears_head()
            speaker, listener = client, origin
        else:
            client.says(GET)
            origin.hears(SENT)
            origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            client.hears_head()
            speaker, listener = origin, client
        speaker.says(body)
        assert listener.hears_exactly(len(body)) == body
        assert max(stream.unsent for stream in play.streams) < 1 << 20
