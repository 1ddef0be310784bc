"""Tunnels that may carry what is neither TLS nor HTTP, and those that may not."""

from __future__ import annotations

import pytest

from netfw.config.model import DestinationEntry, TunnelsSection
from netfw.errors import OriginRefused
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import condition, policy, rule

CONNECT = b"CONNECT origin.test:2222 HTTP/1.1\r\nHost: origin.test:2222\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
BANNER = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"
HOSTS = {"hosts": (DestinationEntry("origin.test", None, 2222),)}
GET_ONLY = policy(
    pre_request="DENY",
    groups={"g": {"PreREQUEST": [rule("get", "ALLOW", condition("request:Http:Method", "StringEquals", "GET"))]}},
)


def opened(play: Conversation, connect: bytes = CONNECT):
    client = play.client()
    client.says(connect)
    client.hears(ESTABLISHED)
    return client


def test_nothing_is_allowed_without_a_word():
    """No default opens anything."""
    assert TunnelsSection() == TunnelsSection(False, ())


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("tunnels", [HOSTS, {"opaque": True}])
@pytest.mark.parametrize("first", [BANNER, b"\x00\x01\x02", b"\x16\x00 is no TLS"])
def test_the_client_speaks_first(intercept, tunnels, first):
    """Its bytes reach the origin as they are, and the record says by what."""
    with Conversation(intercept=intercept, tunnels=tunnels) as play:
        client = opened(play)
        origin = play.origin()
        client.says(first)
        origin.hears(first)
        origin.says(b"back")
        client.hears(b"back")
        client.leaves()
        origin.leaves()
        record = play.record(of=1)
        assert (record["kind"], record["final_action"]) == ("tunnel", "allow")
        assert record["all_matches"]["matches"][1] == {
            "rule_id": "tunnels/opaque", "hook": "pre_request", "action": "allow",
        }  # fmt: skip


@pytest.mark.parametrize("intercept", [True, False])
def test_the_origin_speaks_first(intercept):
    """As most servers of mail, files and databases do: nothing of it is lost, nor of what it says next."""
    with Conversation(intercept=intercept, tunnels=HOSTS) as play:
        client = opened(play)
        origin = play.origin()
        origin.says(b"220 ready\r\n")
        client.hears(b"220 ready\r\n")
        origin.says(b"more")
        client.hears(b"more")
        client.says(b"QUIT\r\n")
        origin.hears(b"QUIT\r\n")
        origin.leaves()
        client.hears_end()
        client.leaves()
        assert play.record(of=1)["response_size"] == 15


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("entry", [DestinationEntry("origin.test", None, 22), DestinationEntry("*.origin.test", None)])
def test_elsewhere_it_is_refused(intercept, entry):
    """Another port, another host: the origin hears nothing."""
    with Conversation(intercept=intercept, tunnels={"hosts": (entry,)}) as play:
        client = opened(play)
        client.says(b"\x00\x01\x02")
        client.take()
        play.until(lambda: client.ended, "an end")
        assert play.origin().unheard == b""
        assert play.record(of=1)["final_action"] == "deny"


def test_http_inside_is_still_read():
    """Requests have their rules, over the connection that was listened to."""
    with Conversation(GET_ONLY, tunnels={"opaque": True}) as play:
        client = opened(play, CONNECT.replace(b":2222", b":80"))
        client.says(b"GET / HT")
        client.says(b"TP/1.1\r\nHost: origin.test:80\r\n\r\n")
        origin = play.origin()
        assert b"Via: 1.1 netfw" in origin.hears_head()
        origin.says(b"HTTP/1.1 204 No Content\r\n\r\n")
        client.hears_head()
        client.says(b"PUT / HTTP/1.1\r\nHost: origin.test:80\r\nContent-Length: 0\r\n\r\n")
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        assert [record["kind"] for record in play.records] == ["exchange", "exchange"]


def test_tls_inside_is_still_intercepted():
    """And its names still agree."""
    with Conversation(intercept=True, tunnels={"opaque": True}) as play:
        client = opened(play, CONNECT.replace(b":2222", b":443"))
        client.starts_tls()
        origin = play.origin()
        origin.serves_tls()
        client.is_shaken()
        client.says(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        assert b"Via: 1.1 netfw" in origin.hears_head()
        origin.says(b"HTTP/1.1 204 No Content\r\n\r\n")
        client.hears_head()
        assert play.record(of=1)["tls"]["intercepted"] is True


def test_tls_that_is_broken_is_no_way_round():
    """What begins as TLS is TLS."""
    with Conversation(tunnels={"opaque": True}) as play:
        client = opened(play)
        client.says(b"\x16\x03\x01\x00\x00")
        client.take()
        play.until(lambda: client.ended, "an end")
        assert play.origin().unheard == b""
        assert play.record(of=1)["final_action"] == "deny"


def test_rules_hold():
    """PreREQUEST is taken with all that will ever be known; conditions on HTTP do not match."""
    with Conversation(GET_ONLY, tunnels={"opaque": True}, intercept=True) as play:
        client = opened(play)
        client.says(BANNER)
        client.take()
        play.until(lambda: client.ended, "an end")
        assert play.origin().unheard == b""
        record = play.record(of=1)
        assert (record["final_action"], record["error"]["token"]) == ("deny", "http_request_denied")


def test_the_origin_leaves_before_anything_was_said():
    """The client is not left waiting."""
    with Conversation(tunnels={"opaque": True}) as play:
        client = opened(play)
        play.origin().leaves()
        client.hears_end()
        assert play.record(of=1)["error"]["token"] == "connection_terminated"


def test_the_client_leaves_before_anything_was_said():
    """Nor is the origin."""
    with Conversation(tunnels={"opaque": True}) as play:
        client = opened(play)
        origin = play.origin()
        client.leaves()
        origin.hears_reset()
        assert play.record(of=1)["close_reason"]


def test_a_line_without_an_end():
    """It is waited for as long as for any first bytes, and then refused."""
    with Conversation(tunnels={"opaque": True}) as play:
        client = opened(play)
        origin = play.origin()
        client.says(b"SSH-2.0-never")
        play.later(6)
        client.hears_end()
        assert origin.unheard == b""
        assert play.record(of=1)["error"]["token"] == "connection_read_timeout"


def test_an_origin_that_is_down_is_said_on_the_connect():
    """As for any other tunnel."""
    with Conversation(tunnels={"opaque": True}) as play:
        play.dialer.failures["203.0.113.1"] = OriginRefused("refused")
        client = play.client()
        client.says(CONNECT)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 502 ")
