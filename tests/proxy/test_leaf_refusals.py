"""Clients that do not take the leaf: noticed, counted, recorded; and those that only leave."""

from __future__ import annotations

import ssl

import pytest

from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import domain_rule, policy

CONNECT = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
NO_APPLICATION_PROTOCOL = b"\x15\x03\x03\x00\x02\x02\x78"
DENIED = policy(groups={"g": {"PreDNS": [domain_rule("no", "DENY", "origin.test")]}})


def client_hello(*alpn: str) -> bytes:
    """The first flight of a real client."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="origin.test").do_handshake()
    return out.read()


def opened(play: Conversation):
    client = play.client()
    client.says(CONNECT)
    client.hears(ESTABLISHED)
    return client


def noted(play: Conversation) -> list[tuple[str, str, dict[str, int]]]:
    return [(row["host"], row["client"], row["signs"]) for row in play.plane.leaf_refusals.pins.rows()]


def test_an_alert_about_the_certificate():
    """With the alert's name, the host and the client; the record has it too."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls(trust=False)
        play.origin().serves_tls()
        play.until(lambda: client.alert, "a refusal")
        record = play.record(of=1)
        assert record["close_reason"] == "client_tls_alert"
        assert noted(play) == [("origin.test", "127.0.0.1", {record["error"]["detail"]: 1})]
        assert record["error"]["detail"] == "unknown_ca"


def test_http2_alone():
    """The alert that says so, before the origin is bothered with TLS; a record of its own, with the way out."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.says(client_hello("h2"))
        client.hears(NO_APPLICATION_PROTOCOL)
        client.hears_end()
        assert play.origin().unheard == b""
        record = play.record(of=1)
        assert (record["kind"], record["close_reason"]) == ("connect", "no_application_protocol")
        assert "tls_intercept.bypass" in record["error"]["message"]
        assert noted(play) == [("origin.test", "127.0.0.1", {"no_application_protocol": 1})]


@pytest.mark.parametrize("alpn", [("h2", "http/1.1"), ("http/1.1",), ()])
def test_who_offers_http_1_1_too_is_served(alpn):
    """Or offers nothing."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls(alpn=alpn)
        play.origin().serves_tls()
        client.is_shaken()
        assert noted(play) == []


def shaken(play: Conversation):
    client = opened(play)
    client.starts_tls()
    play.origin().serves_tls()
    client.is_shaken()
    return client


@pytest.mark.parametrize("goodbye", [True, False])
def test_a_close_right_after_the_leaf(goodbye):
    """Without an alert it is the weakest sign, and marked as that."""
    with Conversation(intercept=True) as play:
        client = shaken(play)
        if goodbye:
            client.says_goodbye()
        client.leaves()
        assert play.record(of=1)["close_reason"] == "closed_after_leaf"
        assert noted(play) == [("origin.test", "127.0.0.1", {"closed": 1})]


def test_a_close_in_the_handshake():
    """Once the leaf is on its way."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls()
        client.stops_reading()
        play.origin().serves_tls()
        play.settle(20)
        client.leaves()
        assert play.record(of=1)["close_reason"] == "closed_after_leaf"
        assert noted(play) == [("origin.test", "127.0.0.1", {"closed": 1})]


def test_a_connection_that_was_only_kept_ready():
    """A browser's, say: closed later, without a word, and no refusal."""
    with Conversation(intercept=True) as play:
        client = shaken(play)
        play.later(3)
        client.says_goodbye()
        client.leaves()
        assert play.record(of=1)["close_reason"] == "client_closed"
        assert noted(play) == []


def test_who_asked_has_taken_it():
    """However soon it leaves then."""
    with Conversation(intercept=True) as play:
        client = opened(play)
        client.starts_tls()
        origin = play.origin()
        origin.serves_tls()
        client.is_shaken()
        client.says(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        origin.hears_head()
        client.leaves()
        play.record(of=1)
        assert noted(play) == []


@pytest.mark.parametrize("trust", [True, False])
def test_a_tunnel_that_shows_a_denial(trust):
    """A close says nothing there; an alert does."""
    with Conversation(DENIED, intercept=True) as play:
        client = opened(play)
        client.starts_tls(trust=trust)
        if trust:
            client.is_shaken()
        else:
            play.until(lambda: client.alert, "a refusal")
        client.leaves()
        assert play.record(of=1)["final_action"] == "deny"
        assert noted(play) == ([] if trust else [("origin.test", "127.0.0.1", {"unknown_ca": 1})])


def test_another_name_that_is_denied_and_http2_alone():
    """The denial stays the record's word, and the client is not held to pin."""
    with Conversation(DENIED, intercept=True) as play:
        client = opened(play)
        client.starts_tls(alpn=("h2",))
        play.until(lambda: client.alert, "a refusal")
        assert play.record(of=1)["final_rule_name"] == "no"
        assert noted(play) == []
