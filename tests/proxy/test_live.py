"""What is open right now, for status and draining."""

from __future__ import annotations

import gc

from netfw.policy.facts import Facts
from netfw.proxy.client_connection import ClientConnection
from netfw.proxy.live import Leaving
from netfw.testing.conversation import Conversation
from netfw.testing.living_objects import alive

GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
CONNECT = b"CONNECT origin.test:%d HTTP/1.1\r\nHost: origin.test:%d\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\n" + UPGRADE + b"\r\n"


def test_counting():
    """A connection, then an upgrade, then nothing."""
    with Conversation() as play:
        live = play.plane.live
        client = play.client()
        client.says(GET[:-2] + UPGRADE + b"\r\n")
        origin = play.origin()
        origin.hears_head()
        assert (len(live.connections), len(live.relays)) == (1, 0)
        origin.says(SWITCHED)
        client.hears_head()
        assert (len(live.connections), len(live.relays)) == (0, 1)
        client.resets()
        play.until(lambda: len(live) == 0, "the end")


def test_an_open_tunnel_keeps_what_its_record_needs():
    """Not the connection that asked for it, nor what only decisions ask for; its caller is counted until it ends."""
    with Conversation() as play:
        live, admission = play.plane.live, play.plane.admission
        gc.collect()
        before = alive(ClientConnection), alive(Facts)
        client = play.client()
        client.says(CONNECT % (443, 443))
        client.hears_head()
        client.starts_tls()
        play.until(lambda: live.relays, "a tunnel")
        (joined,) = live.relays
        assert joined.exchange.head is None
        assert (alive(ClientConnection), alive(Facts)) == before
        assert (admission.open, admission.tunnels) == (1, 1)
        client.leaves()
        play.origin().leaves()
        play.until(lambda: len(live) == 0, "the end")
        assert (admission.open, admission.tunnels) == (0, 0)
        assert play.record()["durations"]["connect"] >= 0


def test_aborting_all():
    """Exchanges, tunnels and upgrades are cut, and each is recorded."""
    with Conversation() as play:
        waiting, upgraded, plain_tunnel = play.client(port=1), play.client(port=2), play.client(port=3)
        waiting.says(GET)
        play.origin().hears_head()
        upgraded.says(GET[:-2] + UPGRADE + b"\r\n")
        origin = play.origin()
        origin.hears_head()
        origin.says(SWITCHED)
        upgraded.hears_head()
        plain_tunnel.says(CONNECT % (80, 80))
        plain_tunnel.hears_head()
        plain_tunnel.says(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        play.origin().hears_head()
        Leaving(play.plane.live).abort_all()
        for client in (waiting, upgraded, plain_tunnel):
            play.until(lambda client=client: client.ended, "an end")
        play.record(of=3)
        assert len(play.plane.live) == 0


def test_aborting_a_tunnel_that_waits_for_its_first_bytes():
    """It is alive too."""
    with Conversation() as play:
        client = play.client()
        client.says(CONNECT % (443, 443))
        client.hears_head()
        assert len(play.plane.live) == 1
        Leaving(play.plane.live).abort_all()
        play.until(lambda: client.ended, "an end")
        assert play.record(of=1)["kind"] in ("connect", "tunnel")


def test_aborting_a_tunnel_in_its_handshakes():
    """The same while the origin's TLS is awaited."""
    with Conversation(intercept=True) as play:
        client = play.client()
        client.says(CONNECT % (443, 443))
        client.hears_head()
        client.starts_tls()
        play.origin().hears_exactly(1)
        assert len(play.plane.live) == 1
        Leaving(play.plane.live).abort_all()
        play.until(lambda: client.ended, "an end")
        play.record(of=1)
