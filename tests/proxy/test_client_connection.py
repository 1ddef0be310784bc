"""The client's side: order, keep-alive, deadlines, caps, reading ahead, and what is no request."""

from __future__ import annotations

import pytest

from netfw.proxy.live import Leaving
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import condition, policy, rule

GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GOT = b"HTTP/1.1 200 OK\r\nVia: 1.1 netfw\r\nContent-Length: 2\r\n\r\nhi"
DENY_B = policy(groups={"g": {"PreDNS": [
    rule("no-b", "DENY", condition("request:DestinationDomain", "StringEquals", "b.test"))
]}})  # fmt: skip


def get(host: bytes, path: bytes = b"/", fields: bytes = b"") -> bytes:
    return b"GET http://" + host + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + fields + b"\r\n"


def serve(origin, body: bytes) -> None:
    origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


# -- pipelining


def test_pipelined_requests_are_answered_in_order():
    """The second is not even begun before the first is answered."""
    with Conversation() as play:
        client = play.client()
        client.says(get(b"origin.test", b"/1") + get(b"other.test", b"/2") + get(b"origin.test", b"/3"))
        first = play.origin()
        assert first.hears_head().startswith(b"GET /1 ")
        assert play.resolver.asked == ["origin.test"]
        serve(first, b"one")
        second = play.origin()
        assert second.hears_head().startswith(b"GET /2 ")
        serve(second, b"two")
        assert first.hears_head().startswith(b"GET /3 ")
        serve(first, b"three")
        assert [client.hears_answer()[1] for _ in range(3)] == [b"one", b"two", b"three"]
        assert [record["url"]["path"] for record in play.records] == ["/1", "/2", "/3"]


def test_pipelined_denials_keep_their_place():
    """An answer of our own comes neither before nor after its turn."""
    with Conversation(DENY_B, hosts={"a.test": ("203.0.113.1",)}) as play:
        client = play.client()
        client.says(get(b"b.test") + get(b"a.test") + get(b"b.test") + get(b"b.test") + get(b"a.test"))
        origin = play.origin()
        origin.hears_head()
        serve(origin, b"1")
        origin.hears_head()
        serve(origin, b"2")
        heads = [client.hears_answer()[0][9:12] for _ in range(5)]
        assert heads == [b"403", b"200", b"403", b"403", b"200"]


def test_many_pipelined_denials():
    """They are a loop, not a recursion."""
    with Conversation(policy(pre_dns="DENY")) as play:
        client = play.client()
        client.says(GET * 1000)
        for _ in range(1000):
            assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        client.hears_nothing()
        assert len(play.records) == 1000


@pytest.mark.parametrize("fragment", [1, 7, 50])
def test_requests_in_pieces(fragment):
    """However the bytes are cut, the requests are the same."""
    head = b"POST http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = head + b"3\r\nabc\r\n0\r\n\r\n"
    with Conversation() as play:
        client = play.client()
        for at in range(0, len(request), fragment):
            client.says(request[at : at + fragment])
            play.turn()
        origin = play.origin()
        origin.hears_until(b"\r\n0\r\n\r\n")
        origin.says(OK)
        client.hears(GOT)


def test_reading_ahead_is_bounded():
    """A client that pipelines 10 MiB while the origin is slow is paused; then every request is served."""
    request = get(b"origin.test", fields=b"X: " + b"x" * 8000 + b"\r\n")
    count = 10 * 1024 * 1024 // len(request)
    with Conversation(policy(groups={"g": {"PreDNS": [
        rule("no", "DENY", condition("request:DestinationDomain", "StringEquals", "denied.test"))
    ]}})) as play:  # fmt: skip
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        data = request.replace(b"origin.test", b"denied.test") * count
        sent = client.offers(data)
        stream = play.streams[0]
        assert sent < len(data)
        assert stream.bytes_in < 1 << 20
        origin.says(OK)
        client.hears(GOT)
        client.says(data[sent:])
        for _ in range(count):
            client.hears_answer()
        assert len(play.records) == count + 1


def test_a_client_that_leaves_is_noticed_while_it_pipelines():
    """Up to the bound the proxy goes on reading while the origin thinks."""
    with Conversation() as play:
        client = play.client()
        client.says(GET + b"x" * 30000)
        origin = play.origin()
        origin.hears_head()
        play.settle()
        client.leaves()
        assert play.record(of=1)["close_reason"] == "client_closed"
        assert origin.is_told_an_end()


def test_heads_above_the_bound_of_reading_ahead():
    """A head may be larger than what is read ahead, where the limits say so."""
    with Conversation(limits={"head_size": 200_000}) as play:
        client = play.client()
        head = get(b"origin.test", fields=b"X: " + b"x" * 150_000 + b"\r\n")
        client.says(head[:60_000])
        play.settle()
        client.says(head[60_000:70_000])
        play.settle()
        client.says(head[70_000:])
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)


# -- keep-alive


@pytest.mark.parametrize(
    ("version", "fields", "stays"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: x, CLOSE\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
@pytest.mark.parametrize("denied", [True, False])
def test_keep_alive(version, fields, stays, denied):
    """The client's wish counts, for forwarded answers and for our own, and the answer says what is done."""
    with Conversation(policy(pre_dns="DENY" if denied else "ALLOW")) as play:
        client = play.client()
        client.says(b"GET http://origin.test/ HTTP/" + version + b"\r\nHost: origin.test\r\n" + fields + b"\r\n")
        if not denied:
            origin = play.origin()
            origin.hears_head()
            origin.says(OK)
        head, _ = client.hears_answer()
        assert (b"\r\nConnection: close\r\n" in head) is not stays
        assert (b"\r\nConnection: keep-alive\r\n" in head) is (stays and version == b"1.0")
        if stays:
            client.hears_nothing()
        else:
            client.hears_end()


def test_the_origins_close_does_not_close_the_client():
    """Connection: close of an origin is about its own connection."""
    with Conversation() as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        client.hears(GOT)
        assert origin.is_told_an_end()
        client.says(GET)
        play.origin().hears_head()


def test_the_last_request_of_a_connection():
    """After the configured number of requests the answer says close, and it is."""
    with Conversation(limits={"requests_per_connection": 2}) as play:
        client = play.client()
        client.says(GET + GET + GET)
        origin = play.origin()
        for number in range(2):
            origin.hears_head()
            origin.says(OK)
            assert (b"Connection: close" in client.hears_answer()[0]) is (number == 1)
        client.hears_end()
        assert len(play.records) == 2


def test_draining_closes_after_the_answer():
    """An exchange under way is finished, and the connection closed behind it."""
    with Conversation() as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        play.plane.admission.draining = True
        origin.says(OK)
        assert b"Connection: close" in client.hears_answer()[0]
        client.hears_end()


def test_close_idle():
    """Idle connections go, those in an exchange stay."""
    with Conversation() as play:
        idle, busy = play.client(port=1), play.client(port=2)
        for client in (idle, busy):
            client.says(GET)
            origin = play.origin() if client is idle else play.dialer.accepted[0]
            origin.hears_head()
            if client is idle:
                origin.says(OK)
                client.hears(GOT)
        leaving = Leaving(play.plane.live)
        for _ in range(2):
            leaving.close_idle()
        idle.hears_end()
        busy.hears_nothing()
        origin.says(OK)
        busy.hears(GOT)


# -- deadlines


def test_silence_before_the_first_request():
    """The connection is closed after the head deadline; there is no exchange, so no record."""
    with Conversation() as play:
        client = play.client()
        play.later(4)
        client.hears_nothing()
        play.later(2)
        client.hears_end()
        assert play.records == []


@pytest.mark.parametrize("said", [b"G", GET[:-2], b"\r\n"])
def test_a_head_that_does_not_end(said):
    """408, and a record of the connection."""
    with Conversation() as play:
        client = play.client()
        client.says(said)
        play.later(4)
        client.hears_nothing()
        play.later(2)
        if said.strip():
            assert client.hears_answer()[0].startswith(b"HTTP/1.1 408 ")
            assert play.record(of=1)["kind"] == "connection"
        client.take()
        assert client.ended


def test_a_second_head_that_does_not_end():
    """The head deadline counts from the head's first byte, not from the idle one's beginning."""
    with Conversation(timeouts={"idle": 1000.0}) as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)
        play.later(100)
        client.says(b"GET http://ori")
        play.later(4)
        client.hears_nothing()
        play.later(2)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 408 ")
        client.hears_end()


def test_drops_of_a_head_do_not_win_time():
    """The head deadline is for the whole head, however it trickles."""
    with Conversation() as play:
        client = play.client()
        for byte in GET[:12]:
            client.says(bytes([byte]))
            play.later(0.5)
        assert client.take().startswith(b"HTTP/1.1 408 ")


def test_idle_connections_are_closed():
    """Without a word, after the idle deadline."""
    with Conversation() as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)
        play.later(19)
        client.hears_nothing()
        play.later(2)
        client.hears_end()
        assert len(play.records) == 1


def test_a_kept_connection_is_used_just_before_its_end():
    """Each request begins the idle deadline anew."""
    with Conversation() as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        for _ in range(3):
            origin.hears_head()
            origin.says(OK)
            client.hears(GOT)
            play.later(15)
            client.says(GET)
        origin.hears_head()


# -- what is no request


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"\x00\x01\x02\r\n\r\n", b"400"),
        (b"GET http://origin.test/ HTTP/1.1\nHost: origin.test\n\n", b"400"),
        (b"GET http://origin.test/ HTTP/2.0\r\nHost: origin.test\r\n\r\n", b"505"),
        (b"GET http://origin.test/ HTTP/1.1\r\n\r\n", b"400"),
        (GET[:-2] + b"Host: other.test\r\n\r\n", b"400"),
        (GET[:-2] + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (GET[:-2] + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", b"400"),
        (GET[:-2] + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", b"501"),
        (GET[:-2] + b"X : y\r\n\r\n", b"400"),
        (GET[:-2] + b"X: y\r\n z\r\n\r\n", b"400"),
        (b"GET http://origin.test/" + b"a" * 70000 + b" HTTP/1.1\r\nHost: origin.test\r\n\r\n", b"414"),
        (GET[:-2] + b"X: " + b"y" * 70000 + b"\r\n\r\n", b"431"),
        (GET[:-2] + b"X: y\r\n" * 101 + b"\r\n", b"431"),
        (b"\x80\x9e\x01\x03\x01", b"400"),
    ],
)
def test_what_is_no_request(said, status):
    """It is answered, recorded, and nothing behind it is looked at."""
    with Conversation() as play:
        client = play.client()
        client.says(said + GET)
        head, _ = client.hears_answer()
        assert head.startswith(b"HTTP/1.1 " + status + b" ")
        assert b"\r\nConnection: close\r\n" in head
        client.hears_end()
        record = play.record(of=1)
        assert (record["kind"], record["final_action"]) == ("connection", "deny")
        assert record["http_status_code"] == int(status)
        assert play.resolver.asked == []


def test_garbage_behind_a_good_exchange():
    """The close behind the 400 does not reset the answer away, however much came."""
    with Conversation() as play:
        client = play.client()
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)
        client.says(b"\x00garbage\r\n\r\n" + b"x" * 100_000)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 400 ")
        client.hears_end()
        assert [record["kind"] for record in play.records] == ["exchange", "connection"]


def test_garbage_pipelined():
    """The good request is served, the other one refused after it."""
    with Conversation() as play:
        client = play.client()
        client.says(GET + b"\x00\r\n\r\n" + GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 400 ")
        client.hears_end()
        assert len(play.dialled) == 1


def test_a_few_empty_lines_before_a_request():
    """RFC 9112, section 2.2."""
    with Conversation() as play:
        client = play.client()
        client.says(b"\r\n" + GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)


@pytest.mark.parametrize("how", ["leaves", "resets", "ends"])
@pytest.mark.parametrize("said", [b"", b"G", GET[:-1]])
def test_leaving_before_a_request_is_whole(how, said):
    """There was no exchange: no record."""
    with Conversation() as play:
        client = play.client()
        client.says(said)
        play.settle()
        getattr(client, how)()
        play.settle()
        assert play.records == []
        assert not play.streams[0].connected


def test_close_with_unread_input_does_not_reset():
    """What follows a Connection: close is dropped in peace."""
    with Conversation() as play:
        client = play.client()
        client.says(get(b"origin.test", fields=b"Connection: close\r\n") + b"x" * 5000)
        origin = play.origin()
        origin.hears_head()
        client.says(b"x" * 5000)
        play.settle()
        origin.says(OK)
        client.hears_answer()
        client.hears_end()


def test_an_error_of_ours_is_a_500(monkeypatch):
    """A bug ends its exchange with 500, and the log has it; the connection stays."""
    with Conversation() as play:
        monkeypatch.setattr(play.dialer, "dial", lambda addresses, port: 1 / 0)
        client = play.client()
        client.says(GET)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 500 ")
        assert len(play.errors) == 1
        assert "ZeroDivisionError" in play.errors.pop()
        assert play.record(of=1)["error"]["token"] == "proxy_internal_error"


# -- many at once


def test_one_client_does_not_have_the_reactor_for_itself():
    """However many requests are pipelined, a turn answers a few of them, and others are served in between."""
    with Conversation(policy(pre_dns="DENY")) as play:
        greedy, other = play.client(port=1), play.client(port=2)
        greedy.says(GET * 500)
        other.says(GET)
        play.turn()
        assert len(play.records) < 100
        assert other.hears_head().startswith(b"HTTP/1.1 403 ")
        assert len(play.records) < 400
        play.until(lambda: greedy.unheard.count(b"HTTP/1.1 403 ") == 500, "all answers")


def test_answers_that_nobody_reads_are_not_heaped_up():
    """What waits to be sent is bounded whatever is asked for; as it is read the next are answered, in their order."""
    with Conversation(policy(pre_dns="DENY")) as play:
        play.is_narrow = True
        client = play.client()
        client.reads = False
        asked = [GET.replace(b"origin.test/", b"origin.test/%04d" % number) for number in range(2000)]
        whole = client.offers(b"".join(asked)) // len(asked[0])
        assert whole > 300
        play.settle(200)
        (connection,) = play.plane.live.connections
        assert 0 < connection.transport.unsent < 128 * 1024
        answered = len(play.records)
        assert answered < whole
        client.reads_again()
        play.until(lambda: len(play.records) > answered + 32, "more answers")
        paths = [record["url"]["path"] for record in play.records]
        assert paths == [f"/{number:04}" for number in range(len(paths))]


def test_a_client_that_leaves_its_answers():
    """It is gone, and nothing is kept for it."""
    with Conversation(policy(pre_dns="DENY")) as play:
        play.is_narrow = True
        client = play.client()
        client.reads = False
        client.offers(GET * 2000)
        play.settle(50)
        client.resets()
        play.until(lambda: play.plane.admission.open == 0, "the end")
        assert len(play.records) < 600
