"""Large bodies between plain connections: the same to both ends whichever way they take, in the kernel or copied."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from netfw.proxy.live import Leaving
from netfw.proxy.pace import Pace
from netfw.proxy.spliced_body import LEAST
from netfw.testing.conversation import Conversation
from netfw.transport import pipes
from netfw.transport.stream import HIGH_WATER, Stream

GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nHost: origin.test\r\nVia: 1.1 netfw\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GOT = b"HTTP/1.1 200 OK\r\nVia: 1.1 netfw\r\nContent-Length: 2\r\n\r\nhi"
SIZE = 400_000
BODY = bytes(range(251)) * (SIZE // 251) + bytes(SIZE % 251)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE
HEAD_SENT = b"HTTP/1.1 200 OK\r\nVia: 1.1 netfw\r\nContent-Length: %d\r\n\r\n" % SIZE
WAYS = ["copied", "spliced", "spliced without pipes"]


def post(framing: bytes = b"Content-Length: %d" % SIZE) -> bytes:
    return b"POST http://origin.test/up HTTP/1.1\r\nHost: origin.test\r\n" + framing + b"\r\n\r\n"


def check_asked(asked, way, rest):
    """A large rest is spliced, whole; of what came with the head some may have been read as the kernel had it."""
    assert all(LEAST <= count < SIZE or count == rest for count in asked)
    if rest >= LEAST:
        assert bool(asked) == (way != "copied")


@pytest.fixture
def asked(monkeypatch):
    """What streams were asked to splice."""
    asked = []
    splice_next = Stream.splice_next

    def note(stream, count):
        asked.append(count)
        splice_next(stream, count)

    monkeypatch.setattr(Stream, "splice_next", note)
    return asked


@pytest.fixture(params=WAYS, autouse=True)
def way(request, monkeypatch):
    """Every test here holds for each way, and leaves no pipe open."""
    pipes.SHARED.close()
    made, make = set(), os.pipe2

    def make_pipe(flags):
        if request.param == "spliced without pipes":
            raise OSError(errno.EMFILE, "none left")
        ends = make(flags)
        made.add(os.readlink(f"/proc/self/fd/{ends[0]}"))
        return ends

    monkeypatch.setattr(os, "pipe2", make_pipe)
    if request.param == "copied":
        monkeypatch.setattr(pipes, "AVAILABLE", False)
    elif not pipes.AVAILABLE:
        pytest.skip("this platform has no splice")
    yield request.param
    pipes.SHARED.close()
    assert not made & {link.readlink().name for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


def begun(play: Conversation, request: bytes = GET):
    """The client and the origin, which has heard the whole head."""
    client = play.client()
    client.says(request)
    origin = play.origin()
    origin.hears_head()
    return client, origin


# -- answers


@pytest.mark.parametrize("first", [0, 1, 1000, SIZE - LEAST - 1, SIZE - LEAST, SIZE - LEAST + 1, SIZE - 1, SIZE])
def test_an_answer_split_anywhere(first, asked, way):
    """However much of the body came with the head; only a large rest is spliced, and all of it."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(HEAD + BODY[:first])
        client.hears(HEAD_SENT + BODY[:first])
        origin.says(BODY[first:])
        client.hears(BODY[first:])
        check_asked(asked, way, SIZE - first)
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)
        first_record, second = play.record(0), play.record(1)
        assert (first_record["response_size"], first_record["bytes_out"]) == (SIZE, len(HEAD_SENT) + SIZE)
        assert (second["response_size"], second["bytes_out"]) == (2, len(GOT))
        assert len(play.dialled) == 1


@pytest.mark.parametrize("cut", [1, 10, len(HEAD) - 1])
def test_a_head_in_two_pieces(cut):
    """The head may come in pieces too."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(HEAD[:cut])
        play.settle()
        origin.says(HEAD[cut:] + BODY)
        client.hears(HEAD_SENT + BODY)


def test_many_pieces():
    """The body in small pieces, each passed on when it comes."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(HEAD)
        client.hears_head()
        for start in range(0, SIZE, 50_000):
            piece = BODY[start : start + 50_000]
            origin.says(piece)
            client.hears(piece)
        assert play.record()["response_size"] == SIZE


def test_bytes_behind_the_body():
    """They answer nothing: the client gets the body and none of them, and the origin's connection is not used again."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(HEAD)
        client.hears_head()
        origin.says(BODY + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        client.hears(BODY)
        client.hears_nothing()
        client.says(GET)
        another = play.origin()
        another.hears(SENT)
        another.says(OK)
        client.hears(GOT)
        assert origin.is_told_an_end()


@pytest.mark.parametrize("how", ["leaves", "resets"])
def test_the_origin_closes_early(how):
    """What came is passed on; the client's connection is broken, not ended, and the record says why."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(HEAD)
        client.hears_head()
        origin.says(BODY[:-1])
        client.hears(BODY[:-1])
        getattr(origin, how)()
        assert client.hears_reset() == b""
        record = play.record(of=1)
        assert (record["error"]["token"], record["response_size"]) == ("http_response_incomplete", SIZE - 1)


@pytest.mark.parametrize("how", ["leaves", "resets"])
def test_the_client_leaves_early(how):
    """The origin's connection is broken off, and the record says that the client left."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(HEAD)
        client.hears_head()
        origin.says(BODY[:1000])
        client.hears(BODY[:1000])
        getattr(client, how)()
        play.until(lambda: origin.ended, "the end")
        record = play.record(of=1)
        assert (record["close_reason"], record["response_size"]) == ("client_closed", 1000)


def test_a_slow_client_holds_the_origin_up():
    """What it does not take is not read from the origin beyond a bound, and all of it arrives in the end."""
    body = bytes(1 << 26)
    with Conversation() as play:
        client, origin = begun(play)
        client.stops_reading()
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        sent = origin.offers(body)
        assert sent < len(body)
        assert max(stream.unsent for stream in play.streams) <= HIGH_WATER + pipes.BULK
        for _ in range(5):
            client.reads_again()
            play.turn()
            client.stops_reading()
            sent += origin.offers(body[sent:])
            assert max(stream.unsent for stream in play.streams) <= HIGH_WATER + pipes.BULK
        client.reads_again()
        client.hears_head()
        origin.says(body[sent:])
        assert client.hears_exactly(len(body)) == body
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)


def test_a_client_that_stops_reading_for_good():
    """Cut when it takes nothing for `timeouts.idle`."""
    with Conversation() as play:
        client, origin = begun(play)
        client.stops_reading()
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 26))
        origin.offers(bytes(1 << 26))
        assert play.records == []
        play.later(21.0)
        assert play.record(of=1)["error"]["message"] == "the client stopped reading"
        assert origin.is_told_an_end()


def test_an_origin_that_stops_in_the_middle():
    """Cut when nothing comes for `timeouts.idle`; each byte gives it as long again."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(HEAD)
        client.hears_head()
        for _ in range(4):
            origin.says(b"x")
            client.hears(b"x")
            play.later(15.0)
        assert play.records == []
        play.later(6.0)
        client.hears_reset()
        assert play.record(of=1)["error"]["message"] == "the origin stopped in the middle of its answer"


def test_an_origin_that_sends_slowly():
    """`limits.minimum_rate` counts what goes by."""
    changes = {"limits": {"minimum_rate": 10}, "timeouts": {"body": 8.0, "idle": 500.0, "response": 500.0}}
    with Conversation(**changes) as play:
        pace = Pace(play.plane)
        pace.start()
        client, origin = begun(play)
        origin.says(HEAD)
        client.hears_head()
        for _ in range(30):
            origin.says(b"x" * 11)
            play.later(1.0)
        assert play.records == []
        for _ in range(30):
            origin.says(b"x" * 5)
            play.later(1.0)
        assert play.record(of=1)["error"]["message"] == "the origin sends its answer too slowly"
        pace.stop()


def test_a_limit_on_answers():
    """A body that ends by close is counted as it goes by, and cut at the limit; one whose length is told is refused."""
    with Conversation(limits={"response_body": SIZE}) as play:
        client, origin = begun(play, b"GET http://origin.test/ HTTP/1.0\r\n\r\n")
        origin.says(b"HTTP/1.1 200 OK\r\n\r\n")
        client.hears_head()
        origin.says(BODY)
        client.hears(BODY)
        origin.says(b"x")
        client.hears_reset()
        assert play.record(0)["error"]["token"] == "http_response_body_size"
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (SIZE + 1))
        assert client.hears_head().startswith(b"HTTP/1.1 502 ")


def test_until_close_to_an_http_1_0_client(asked, way):
    """It ends as it came: by closing."""
    with Conversation() as play:
        client, origin = begun(play, b"GET http://origin.test/ HTTP/1.0\r\n\r\n")
        origin.says(b"HTTP/1.1 200 OK\r\n\r\n")
        client.hears_head()
        origin.says(BODY)
        client.hears(BODY)
        assert len(asked) == (way != "copied")
        origin.leaves()
        client.hears_end()
        record = play.record(of=1)
        assert (record["response_size"], "error" in record) == (SIZE, False)


def test_until_close_to_an_http_1_1_client(asked):
    """It is printed in chunks, which somebody has to do."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 200 OK\r\n\r\n")
        assert b"chunked" in client.hears_head()
        origin.says(b"x" * 1000)
        client.hears(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        assert asked == []


def test_chunks_are_read(asked):
    """And printed anew, as ever."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.hears_head()
        origin.says(b"%x;ext\r\n" % SIZE)
        origin.says(BODY + b"\r\n0\r\n\r\n")
        client.hears_until(b"\r\n0\r\n\r\n")
        assert play.record()["response_size"] == SIZE
        assert asked == []


@pytest.mark.parametrize(
    ("request_head", "status"),
    [(GET.replace(b"GET", b"HEAD"), b"200 OK"), (GET, b"304 Not Modified"), (GET, b"204 No Content")],
)
def test_answers_without_a_body(request_head, status, asked):
    """A length that is news and not framing is not waited for."""
    with Conversation() as play:
        client, origin = begun(play, request_head)
        origin.says(b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % SIZE)
        client.hears_head()
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)
        assert asked == []


def test_206():
    """A part is a body like any other."""
    with Conversation() as play:
        client, origin = begun(play, GET[:-2] + b"Range: bytes=0-\r\n\r\n")
        origin.says(b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-%d/*\r\n" % (SIZE - 1))
        origin.says(b"Content-Length: %d\r\n\r\n" % SIZE)
        assert client.hears_head().startswith(b"HTTP/1.1 206 ")
        origin.says(BODY)
        client.hears(BODY)


def test_pipelined_requests_wait():
    """What the client asks meanwhile waits its turn, no more of it than ever, and is answered in order."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(HEAD)
        client.hears_head()
        origin.says(BODY[:1000])
        client.says(GET)
        play.settle()
        origin.says(BODY[1000:])
        client.hears(BODY)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)
        assert play.record(1)["bytes_in"] == len(GET)


def test_pipelining_without_end_is_held_up():
    """A client is not read from beyond a bound while its answer goes by."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(HEAD)
        client.hears_head()
        flood = GET * 400_000
        sent = client.offers(flood)
        assert sent < len(flood)
        assert play.dialled == [(("203.0.113.1",), 80)]
        assert sum(connection._reader.buffered for connection in play.plane.live.connections) < 1 << 19


def test_the_same_connections_again_and_again(asked, way):
    """Large and small answers in turn on one pair of connections."""
    with Conversation() as play:
        client, origin = begun(play)
        for _ in range(3):
            origin.says(HEAD)
            client.hears(HEAD_SENT)
            origin.says(BODY)
            client.hears(BODY)
            client.says(GET)
            origin.hears(SENT)
            origin.says(OK)
            client.hears(GOT)
            client.says(GET)
            origin.hears(SENT)
        assert len(play.dialled) == 1
        assert asked == ([SIZE] * 3 if way != "copied" else [])


def test_plain_http_in_a_tunnel(asked, way):
    """What a CONNECT to port 80 carries is forwarded likewise."""
    with Conversation() as play:
        client = play.client()
        client.says(b"CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
        client.hears_head()
        client.says(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        origin = play.origin()
        origin.hears_head()
        origin.says(HEAD)
        client.hears_head()
        origin.says(BODY)
        client.hears(BODY)
        assert asked == ([SIZE] if way != "copied" else [])
        assert play.record()["response_size"] == SIZE


def test_over_tls_bytes_are_copied(asked):
    """They have to be sealed."""
    with Conversation(own_tls=True) as play:
        client = play.client()
        client.starts_tls("proxy.test")
        client.is_shaken()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(HEAD)
        client.hears_head()
        origin.says(BODY)
        client.hears(BODY)
        assert asked == []


# -- requests


@pytest.mark.parametrize("first", [0, 1, 1000, SIZE - LEAST, SIZE - LEAST + 1, SIZE - 1, SIZE])
def test_a_request_split_anywhere(first, asked, way):
    """However much of the body came with the head; the next request on the connection is one."""
    with Conversation() as play:
        client = play.client()
        client.says(post() + BODY[:first])
        origin = play.origin()
        origin.hears_head()
        origin.hears(BODY[:first])
        client.says(BODY[first:] + GET)
        origin.hears(BODY[first:])
        check_asked(asked, way, SIZE - first)
        origin.says(OK)
        client.hears(GOT)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)
        record = play.record(0)
        assert (record["request_size"], record["bytes_in"]) == (SIZE, len(post()) + SIZE)
        assert play.record(1)["bytes_in"] == len(GET)
        assert len(play.dialled) == 1


def test_a_large_upload_that_waits_for_100(way):
    """100 MB after 100 Continue; what arrives is what was sent, and the origin's answer goes back."""
    piece = os.urandom(1 << 20)
    count = 100 if way == "spliced" else 10
    with Conversation() as play:
        client, origin = begun(play, post(b"Content-Length: %d\r\nExpect: 100-continue" % (count << 20)))
        origin.says(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.hears(b"HTTP/1.1 100 Continue\r\n\r\n")
        for _ in range(count):
            client.says(piece)
            origin.hears(piece)
        origin.says(OK)
        client.hears(GOT)
        assert play.record()["request_size"] == count << 20


def test_an_answer_before_the_end_of_the_request():
    """It is relayed; both connections are closed, for what is left of the request is nobody's."""
    with Conversation() as play:
        client, origin = begun(play, post())
        client.says(BODY[:1000])
        origin.hears(BODY[:1000])
        origin.says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        assert client.hears_head().startswith(b"HTTP/1.1 413 ")
        client.hears(b"no")
        client.says(BODY[1000:3000])
        client.hears_end()
        assert origin.is_told_an_end()
        record = play.record(of=1)
        assert (record["http_status_code"], record["request_size"]) == (413, 1000)


def test_a_large_answer_before_the_end_of_the_request():
    """Both bodies go by at once."""
    with Conversation() as play:
        client, origin = begun(play, post())
        client.says(BODY[:1000])
        origin.hears(BODY[:1000])
        origin.says(HEAD)
        client.hears_head()
        origin.says(BODY[:-1])
        client.hears(BODY[:-1])
        client.says(BODY[1000:])
        origin.hears(BODY[1000:])
        origin.says(BODY[-1:])
        client.hears(BODY[-1:])
        record = play.record()
        assert (record["request_size"], record["response_size"]) == (SIZE, SIZE)
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)


def test_a_slow_origin_holds_the_client_up():
    """What it does not take is not read from the client beyond a bound; all of it arrives in the end."""
    body = bytes(1 << 26)
    with Conversation() as play:
        client, origin = begun(play, post(b"Content-Length: %d" % len(body)))
        origin.stops_reading()
        sent = client.offers(body)
        assert sent < len(body)
        assert max(stream.unsent for stream in play.streams) <= HIGH_WATER + pipes.BULK
        origin.reads_again()
        client.says(body[sent:])
        assert origin.hears_exactly(len(body)) == body
        origin.says(OK)
        client.hears(GOT)


@pytest.mark.parametrize("how", ["leaves", "resets"])
def test_the_client_leaves_in_its_request(how):
    """The origin's connection is broken off."""
    with Conversation() as play:
        client, origin = begun(play, post())
        client.says(BODY[:1000])
        origin.hears(BODY[:1000])
        getattr(client, how)()
        assert origin.hears_reset() == b""
        assert play.record(of=1)["close_reason"] == "client_closed"


def test_the_origin_leaves_in_a_request():
    """502, and the client's connection is closed."""
    with Conversation() as play:
        client, origin = begun(play, post())
        client.says(BODY[:1000])
        origin.hears(BODY[:1000])
        origin.leaves()
        assert client.hears_head().startswith(b"HTTP/1.1 502 ")


def test_a_request_that_stops_coming():
    """408 when nothing comes for `timeouts.body`; each byte gives it as long again."""
    with Conversation() as play:
        client, origin = begun(play, post())
        for _ in range(4):
            client.says(b"x")
            origin.hears(b"x")
            play.later(5.0)
        assert client.unheard == b""
        play.later(2.0)
        assert client.hears_head().startswith(b"HTTP/1.1 408 ")
        assert origin.is_told_an_end()
        assert play.record()["request_size"] == 4


def test_the_proxy_stops_in_the_middle():
    """Whoever drains the proxy cuts what takes too long."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(HEAD)
        client.hears_head()
        origin.says(BODY[:1000])
        client.hears(BODY[:1000])
        Leaving(play.plane.live).abort_all()
        client.hears_reset()
        assert origin.is_told_an_end()


# -- upgrades


def test_a_web_socket_is_relayed_the_same_way():
    """After 101 the bytes go by in the kernel too; both ends are counted."""
    with Conversation() as play:
        client, origin = begun(play, GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        origin.says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        client.hears_head()
        readers = {type(each).__module__ for each in play.reactor.getReaders()}
        assert ("netfw.transport.splice" in readers) == pipes.AVAILABLE
        client.says(BODY)
        origin.hears(BODY)
        origin.says(BODY)
        client.hears(BODY)
        client.leaves()
        play.until(lambda: origin.ended, "the end")
        origin.leaves()
        record = play.record(of=1)
        assert (record["request_size"], record["response_size"]) == (SIZE, SIZE)
