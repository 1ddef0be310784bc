"""The origin's side: what breaks framing, what was not asked for, ends, and silence."""

from __future__ import annotations

import pytest

from netfw.testing.conversation import Conversation

GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nHost: origin.test\r\nVia: 1.1 netfw\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GOT = b"HTTP/1.1 200 OK\r\nVia: 1.1 netfw\r\nContent-Length: 2\r\n\r\nhi"


def begun(play: Conversation, request: bytes = GET):
    client = play.client()
    client.says(request)
    origin = play.origin()
    origin.hears_head()
    return client, origin


def kept(play: Conversation):
    client, origin = begun(play)
    origin.says(OK)
    client.hears(GOT)
    play.until(lambda: len(play.plane.pool) == 1, "a kept connection")
    return client, origin


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/1.1 1000 Odd\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
    ],
)
def test_a_head_that_breaks_framing(said):
    """502, the origin's connection is aborted, nothing of it is shown; the client's connection stays."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(said)
        head, body = client.hears_answer() if b"100 Cont" not in said else (client.hears_until(b"502"), b"")
        assert b"502" in head
        assert b"OpenSSH" not in head + body
        play.until(lambda: origin.ended, "the end of the origin's connection")
        record = play.record(of=1)
        assert record["error"]["token"] == "http_protocol_error"
        client.take()
        client.says(GET)
        second = play.origin()
        second.hears(SENT)
        second.says(OK)
        client.hears(GOT)


@pytest.mark.parametrize(
    "said",
    [b"zz\r\n", b"2\r\nhiX", b"2\r\nhi\r\n0\r\nX\r\n\r\n", b"-1\r\n", b"0x2\r\nhi\r\n", b"2 \r\nhi\r\n"],
)
def test_a_body_that_breaks_framing(said):
    """The answer is cut, and both connections are over (rule 4)."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.hears_head()
        origin.says(said + OK)
        assert b"0\r\n\r\n" not in client.hears_reset()
        play.until(lambda: origin.ended, "the end of the origin's connection")
        assert play.record(of=1)["error"]["token"] == "http_protocol_error"


@pytest.mark.parametrize("extra", [b"x", b"\r\n", OK])
@pytest.mark.parametrize("when", ["with the answer", "later"])
def test_bytes_that_nobody_asked_for(extra, when):
    """They are never the answer to the next request: the connection is closed (response queue poisoning)."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(OK + (extra if when == "with the answer" else b""))
        client.hears(GOT)
        if when == "later":
            origin.says(extra)
        play.until(lambda: origin.ended, "the end of the origin's connection")
        assert len(play.plane.pool) == 0
        client.says(GET)
        second = play.origin()
        second.hears(SENT)
        second.says(OK)
        client.hears(GOT)
        client.hears_nothing()


def test_a_body_where_none_may_be():
    """What follows the head of a 204 answers nothing."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 204 No Content\r\n\r\nsmuggled")
        assert client.hears_head().startswith(b"HTTP/1.1 204 ")
        play.until(lambda: origin.ended, "the end of the origin's connection")
        client.hears_nothing()


def test_idle_connections_end():
    """After the idle deadline, orderly."""
    with Conversation(timeouts={"idle": 60.0}) as play:
        _, origin = kept(play)
        play.later(55)
        origin.hears_nothing()
        play.later(10)
        origin.hears_end()
        assert len(play.plane.pool) == 0


@pytest.mark.parametrize("how", ["leaves", "resets"])
def test_an_idle_connection_that_the_origin_ends(how):
    """It is forgotten at once."""
    with Conversation() as play:
        client, origin = kept(play)
        getattr(origin, how)()
        play.until(lambda: len(play.plane.pool) == 0, "an empty pool")
        client.says(GET)
        play.origin().hears(SENT)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
def test_connections_that_the_origin_will_close(answer):
    """They are not kept."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(answer)
        client.hears_answer()
        origin.hears_end()
        assert len(play.plane.pool) == 0


def test_http_1_0_keep_alive():
    """An HTTP/1.0 origin may ask to be kept."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi")
        client.hears_answer()
        client.says(GET)
        origin.hears(SENT)


def test_a_close_that_is_not_heeded():
    """An origin that has said close, and does not read our goodbye, is aborted in time."""
    with Conversation() as play:
        play.is_narrow = True
        size = 150_000
        request = b"POST http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nContent-Length: %d\r\n\r\n" % size
        client, origin = begun(play, request)
        origin.stops_reading()
        client.says(bytes(size))
        play.settle()
        origin.says(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        client.hears_answer()
        client.leaves()
        for _ in range(40):
            play.later(1)
        assert not play.streams[1].connected


def test_an_answer_in_single_bytes():
    """However it is cut it is the same."""
    with Conversation() as play:
        client, origin = begun(play)
        for at in range(len(OK)):
            origin.says(OK[at : at + 1])
            play.turn()
        client.hears(GOT)


def test_an_answer_before_the_request_was_read():
    """An origin may answer at once, and be kept when the whole request is out."""
    with Conversation() as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.says(OK)
        client.hears(GOT)
        client.says(GET)
        origin.hears(SENT + SENT)
