"""The first byte: TLS, HTTP, neither, nobody, too many."""

from __future__ import annotations

import pytest

from netfw.config.model import ListenerType
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import policy

GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
HTTPS = {"type": ListenerType.HTTPS}


def why(record) -> tuple:
    """What a record says of a connection without a request."""
    return record["error"]["token"], record["error"]["fault"], record.get("http_status_code")


def is_served(client) -> bool:
    client.says(GET)
    return client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")


def test_http():
    """The usual."""
    with Conversation(policy(pre_dns="DENY")) as play:
        client = play.client()
        assert is_served(client)
        assert play.plane.admission.open == 1
        client.leaves()
        play.until(lambda: play.plane.admission.open == 0, "the end")


@pytest.mark.parametrize("kind", list(ListenerType))
def test_tls(kind):
    """A listener with a certificate shows it, whatever its type."""
    with Conversation(policy(pre_dns="DENY"), own_tls=True, listener={"type": kind}) as play:
        client = play.client()
        client.starts_tls("proxy.test")
        client.is_shaken()
        assert is_served(client)
        assert play.record(of=1)["listener"] == "main"


def test_tls_on_an_http_port():
    """Where TLS is intercepted there is a certificate for that too."""
    with Conversation(policy(pre_dns="DENY"), intercept=True, proxy={"hostname": "proxy.test"}) as play:
        client = play.client()
        client.starts_tls("proxy.test")
        client.is_shaken()
        assert is_served(client)


def test_tls_on_an_http_port_by_address():
    """Without a name the leaf is for the listening address."""
    with Conversation(policy(pre_dns="DENY"), intercept=True) as play:
        client = play.client()
        client.starts_tls("127.0.0.1")
        client.is_shaken()
        assert is_served(client)


def test_tls_where_there_is_no_certificate():
    """An alert at once, no waiting."""
    with Conversation() as play:
        client = play.client()
        client.starts_tls("proxy.test")
        play.until(lambda: client.ended, "an end")
        assert "HANDSHAKE_FAILURE" in client.alert
        assert why(play.record(of=1)) == ("tls_protocol_error", "client", None)


def test_http_on_an_https_port():
    """A clear answer."""
    with Conversation(own_tls=True, listener=HTTPS) as play:
        client = play.client()
        client.says(GET + b"x" * 1000)
        head, body = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"https://" in body
        client.hears_end()
        record = play.record(of=1)
        assert why(record) == ("http_request_error", "client", 400)
        assert (record["kind"], record["listener"], record["final_action"]) == ("connection", "main", "deny")
        assert record["bytes_in"] > 1000


@pytest.mark.parametrize("own_tls", [True, False])
def test_silence(own_tls):
    """Closed after the head deadline, without a record."""
    with Conversation(own_tls=own_tls) as play:
        client = play.client()
        play.later(4)
        client.hears_nothing()
        play.later(2)
        client.hears_end()
        assert play.records == []
        assert play.plane.admission.open == 0


def test_a_handshake_that_does_not_end():
    """Closed after the handshake deadline."""
    with Conversation(own_tls=True) as play:
        client = play.client()
        client.says(b"\x16\x03\x01")
        play.later(2)
        assert not client.ended
        play.later(2)
        assert client.ended
        assert why(play.record(of=1)) == ("tls_protocol_error", "client", None)


def test_a_client_that_does_not_trust_us():
    """It says so by an alert, after the handshake in TLS 1.3; the record says which."""
    with Conversation(own_tls=True) as play:
        client = play.client()
        client.starts_tls("proxy.test", trust=False)
        play.until(lambda: play.records, "a record")
        record = play.record(of=1)
        assert why(record) == ("tls_protocol_error", "client", None)
        assert "unknown ca" in record["error"]["detail"].replace("_", " ")


def test_a_handshake_that_breaks():
    """An alert, an end, and a record."""
    with Conversation(own_tls=True) as play:
        client = play.client()
        client.says(b"\x16\x03\x01\x00\x05hello")
        play.until(lambda: client.ended, "an end")
        play.later(3)
        assert play.plane.admission.open == 0
        assert why(play.record(of=1)) == ("tls_protocol_error", "client", None)


def test_not_a_client():
    """Closed without a byte, and recorded."""
    with Conversation() as play:
        stranger = play.client("8.8.8.8")
        play.until(lambda: stranger.ended, "an end")
        assert stranger.unheard == b""
        assert play.plane.admission.refused == {"not_a_client": 1}
        record = play.record(of=1)
        assert why(record) == ("http_request_denied", "policy", None)
        assert (record["client_src_ip"], record["final_action"]) == ("8.8.8.8", "deny")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"connections": 1}, "too_many_connections"), ({"connections_per_client": 1}, "too_many_connections_from_client")],
)
def test_full(limits, reason):
    """503 with Retry-After; when somebody has left there is room again."""
    with Conversation(policy(pre_dns="DENY"), limits=limits) as play:
        first = play.client(port=1)
        second = play.client(port=2)
        second.says(GET)
        head = second.hears_head()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in head
        second.hears_end()
        assert play.plane.admission.refused == {reason: 1}
        record = play.record(of=1)
        assert why(record) == ("connection_limit_reached", "ours", 503)
        assert record["client_src_port"] == 2
        first.leaves()
        play.until(lambda: play.plane.admission.open == 0, "the end")
        assert is_served(play.client(port=3))


def test_draining():
    """Nobody new."""
    with Conversation() as play:
        play.plane.admission.draining = True
        client = play.client()
        play.until(lambda: client.ended, "an end")
        assert why(play.record(of=1)) == ("proxy_internal_error", "ours", None)


def test_connections_are_counted_until_they_end():
    """Through TLS, tunnels and upgrades."""
    with Conversation(own_tls=True) as play:
        client = play.client()
        client.starts_tls("proxy.test")
        client.is_shaken()
        client.says(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        origin = play.origin()
        origin.hears_head()
        origin.says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        client.hears_head()
        assert play.plane.admission.open == 1
        client.says_goodbye()
        client.leaves()
        origin.hears_end()
        origin.leaves()
        play.until(lambda: play.plane.admission.open == 0, "the end")
