"""Which kind of exchange a head asks for, and what is refused at once."""

from __future__ import annotations

import pytest

from netfw.testing.conversation import Conversation

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def asked(play: Conversation, line: bytes, *fields: bytes, host: bytes = b"origin.test"):
    client = play.client()
    client.says(b"\r\n".join([line + b" HTTP/1.1", b"Host: " + host, *fields, b"", b""]))
    return client


@pytest.mark.parametrize("via", [b"1.1 netfw", b"1.0 other, 1.1 NetFW (x)", b"HTTP/1.1 netfw"])
def test_a_loop(via):
    """508, nothing is asked or dialled."""
    with Conversation() as play:
        client = asked(play, b"GET http://origin.test/", b"Via: " + via)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 508 ")
        record = play.record(of=1)
        assert (record["final_action"], record["error"]["token"]) == ("deny", "proxy_loop_detected")
        assert play.resolver.asked == []


@pytest.mark.parametrize("via", [b"1.1 netfw2", b"1.1 other (netfw)", b"1.1 my-netfw"])
def test_no_loop(via):
    """Somebody else's name is not ours."""
    with Conversation() as play:
        asked(play, b"GET http://origin.test/", b"Via: " + via)
        assert b"Via: " + via in play.origin().hears_head()


def test_a_loop_through_connect():
    """The same for tunnels."""
    with Conversation() as play:
        client = asked(play, b"CONNECT origin.test:443", b"Via: 1.1 netfw")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 508 ")
        assert play.dialled == []


@pytest.mark.parametrize("target", [b"https://origin.test/", b"ftp://origin.test/", b"ws://origin.test/"])
def test_other_schemes(target):
    """501; https goes through CONNECT."""
    with Conversation() as play:
        client = asked(play, b"GET " + target)
        head, body = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 501 ")
        assert (b"CONNECT" in body) is target.startswith(b"https")
        assert play.record(of=1)["final_action"] == "deny"


@pytest.mark.parametrize(
    "line",
    [
        b"GET origin.test", b"GET http://", b"GET http:///x", b"GET http://a b/", b"GET http://origin.test/#x",
        b"GET http://user@origin.test/", b"GET http://origin.test:0/", b"GET http://origin.test:65536/",
        b"GET http://[::1/", b"GET http://0x7f.1/", b"GET http://2130706433/", b"GET http://origin.test:80:80/",
        b"GET http://%6frigin.test/", b"GET http://origin..test/", b"GET http://[origin.test]/", b"GET *",
        b"CONNECT origin.test", b"CONNECT origin.test:", b"CONNECT http://origin.test/", b"CONNECT /", b"CONNECT *",
        b"CONNECT origin.test:443/", b"CONNECT a@origin.test:443", b"CONNECT [::1%25eth0]:443",
    ],
)  # fmt: skip
def test_targets_that_are_none(line):
    """400, closed, nothing is asked or dialled."""
    with Conversation() as play:
        client = asked(play, line)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 400 ")
        client.hears_end()
        assert (play.resolver.asked, play.dialled) == ([], [])
        assert play.record(of=1)["final_action"] == "deny"


@pytest.mark.parametrize("spelling", [b"ORIGIN.Test", b"origin.test.", b"origin.test:80", b"origin.test:080"])
def test_one_name_in_many_spellings(spelling):
    """The same host for everybody behind."""
    with Conversation() as play:
        asked(play, b"GET http://" + spelling + b"/", host=spelling)
        assert b"\r\nHost: origin.test\r\n" in play.origin().hears_head()
        assert play.resolver.asked == ["origin.test"]


def test_the_target_beats_the_host():
    """RFC 9112, section 3.2.2."""
    with Conversation() as play:
        asked(play, b"GET http://origin.test/", host=b"other.test")
        assert b"\r\nHost: origin.test\r\n" in play.origin().hears_head()


@pytest.mark.parametrize("target", [b"http://origin.test", b"http://origin.test/", b"http://origin.test?x"])
def test_the_path(target):
    """An empty one becomes /."""
    with Conversation() as play:
        asked(play, b"GET " + target)
        wanted = b"GET /?x " if target.endswith(b"x") else b"GET / "
        assert play.origin().hears_head().startswith(wanted)


def test_options_for_a_whole_server():
    """OPTIONS without a path is sent as `*` (RFC 9112, section 3.2.4)."""
    with Conversation() as play:
        asked(play, b"OPTIONS http://origin.test")
        assert play.origin().hears_head().startswith(b"OPTIONS * HTTP/1.1\r\n")


@pytest.mark.parametrize("method", [b"OPTIONS", b"TRACE"])
def test_max_forwards(method):
    """Counted down; at 0 it goes nowhere."""
    with Conversation() as play:
        asked(play, method + b" http://origin.test/", b"Max-Forwards: 5")
        assert b"\r\nMax-Forwards: 4\r\n" in play.origin().hears_head()
        client = asked(play, method + b" http://origin.test/", b"Max-Forwards: 0")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 501 ")
        client = asked(play, method + b" http://origin.test/", b"Max-Forwards: x")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 400 ")
        assert len(play.dialled) == 1


@pytest.mark.parametrize("line", [b"GET /", b"GET /ca.pem", b"GET /x?y", b"OPTIONS *", b"POST /"])
def test_what_is_for_the_proxy_itself(line):
    """It is answered here, with a record, and closed."""
    with Conversation() as play:
        client = asked(play, line, host=b"proxy.test:3128")
        client.hears_answer()
        client.hears_end()
        record = play.record(of=1)
        assert record["close_reason"] == "own_page"
        assert play.resolver.asked == []


def test_the_proxy_in_absolute_form():
    """The same by its own address; another port of it is guarded like any other."""
    with Conversation() as play:
        client = asked(play, b"GET http://127.0.0.1:3128/")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 200 ")
        client = asked(play, b"GET http://127.0.0.1:22/")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 Blocked by netfw guard ")
        client = asked(play, b"CONNECT 127.0.0.1:3128")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert play.dialled == []


def test_a_name_that_leads_to_the_proxy():
    """Guarded, even where loopback is open."""
    from ipaddress import ip_network

    with Conversation(hosts={"me.test": ("127.0.0.1",)}, guard={"allow": (ip_network("127.0.0.0/8"),)}) as play:
        client = asked(play, b"GET http://me.test:3128/")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 Blocked by netfw guard ")
        asked(play, b"GET http://me.test:3129/")
        play.origin()


def test_ipv6_literals():
    """With brackets, everywhere."""
    from ipaddress import ip_network

    with Conversation(guard={"allow": (ip_network("2001:db8::/32"),)}) as play:
        asked(play, b"GET http://[2001:DB8:0::1]:8080/")
        assert b"\r\nHost: [2001:db8::1]:8080\r\n" in play.origin().hears_head()
        assert play.dialled == [(("2001:db8::1",), 8080)]
