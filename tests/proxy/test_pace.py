"""Peers that are too slow are cut; those that are just fast enough, or whose turn it is not, are left alone."""

from contextlib import contextmanager

import pytest

from netfw.proxy.pace import Pace
from netfw.testing.conversation import Conversation

POST = b"POST http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nContent-Length: %d\r\n%b\r\n"
GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
RATE = {"minimum_rate": 10}
# Long enough that no other deadline cuts anybody.
PATIENT = {"body": 8.0, "idle": 500.0, "response": 500.0}


@contextmanager
def conversation(**changes):
    with Conversation(**{"limits": RATE, "timeouts": PATIENT, **changes}) as play:
        pace = Pace(play.plane)
        pace.start()
        yield play
        pace.stop()


@pytest.mark.parametrize(("each_second", "is_cut"), [(9, True), (10, False), (1, True)])
def test_a_client_that_sends_slowly(each_second, is_cut):
    """408 below the rate, and the origin's connection is gone; at the rate it may take as long as it likes."""
    with conversation() as play:
        client = play.client()
        client.says(POST % (1000, b""))
        origin = play.origin()
        origin.hears_head()
        for _ in range(60):
            if client.unheard:
                break
            client.says(b"x" * each_second)
            play.later(1.0)
        assert bool(client.unheard) is is_cut
        if is_cut:
            assert client.hears_head().startswith(b"HTTP/1.1 408 ")
            assert play.record()["error"]["message"] == "the request body comes too slowly"
            origin.hears_reset()


def test_a_client_that_waits_for_100_is_not_slow():
    """It is the origin's turn."""
    with conversation() as play:
        client = play.client()
        client.says(POST % (3, b"Expect: 100-continue\r\n"))
        origin = play.origin()
        origin.hears_head()
        play.later(60.0)
        origin.says(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.hears_head()
        client.says(b"abc")
        origin.says(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.hears_head().startswith(b"HTTP/1.1 204 ")


def test_an_answer_that_takes_long_is_not_slow():
    """Nobody owes anything but the origin its head, which has a deadline of its own."""
    with conversation() as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        play.later(100.0)
        origin.says(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.hears_head().startswith(b"HTTP/1.1 204 ")


@pytest.mark.parametrize(
    ("framing", "each_second", "is_cut"),
    [
        (b"Content-Length: 1000", b"x" * 9, True),
        (b"Content-Length: 1000", b"x" * 10, False),
        (b"Transfer-Encoding: chunked", b"1\r\nx\r\n", False),
    ],
)
def test_an_origin_that_sends_slowly(framing, each_second, is_cut):
    """Cut where it owes a length; a stream of events comes when it comes."""
    with conversation() as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        client.hears_head()
        for _ in range(40):
            origin.says(each_second)
            play.later(1.0)
            client.pump()
            if client.ended:
                break
        assert client.ended is is_cut
        if is_cut:
            assert client.was_reset
            assert play.record()["error"]["message"] == "the origin sends its answer too slowly"


def test_a_client_that_reads_nothing():
    """It is cut long before `timeouts.idle`, and so is the origin."""
    with conversation() as play:
        play.is_narrow = True
        client = play.client()
        client.reads = False
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000))
        play.later(30.0)
        record = play.record()
        assert record["error"]["message"] == "the client reads too slowly"
        assert record["error"]["fault"] == "client"
        assert record["duration_ms"] <= 20_000


def test_an_origin_that_reads_nothing():
    """504 to a client that would go on."""
    with conversation() as play:
        play.is_narrow = True
        client = play.client()
        client.says(POST % (3_000_000, b""))
        origin = play.origin()
        origin.reads = False
        client.says(bytes(200_000))
        play.later(30.0)
        assert client.hears_head().startswith(b"HTTP/1.1 504 ")
        assert play.record()["error"]["message"] == "the origin takes the request too slowly"


def test_no_rate_no_cut():
    """0 is none."""
    with conversation(limits={"minimum_rate": 0}) as play:
        client = play.client()
        client.says(POST % (1000, b""))
        play.origin().hears_head()
        for _ in range(10):
            client.says(b"x")
            play.later(5.0)
        assert not client.unheard
