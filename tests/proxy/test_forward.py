"""Forwarded exchanges, one row at a time: bodies both ways, interim answers, retries, upgrades, and who leaves when."""

from __future__ import annotations

import pytest

from netfw.errors import NameNotFound, OriginConnectTimeout, OriginRefused
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import condition, policy, rule

GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
SENT = b"GET / HTTP/1.1\r\nHost: origin.test\r\nVia: 1.1 netfw\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GOT = b"HTTP/1.1 200 OK\r\nVia: 1.1 netfw\r\nContent-Length: 2\r\n\r\nhi"


def post(framing: bytes, body: bytes = b"", method: bytes = b"POST") -> bytes:
    return method + b" http://origin.test/up HTTP/1.1\r\nHost: origin.test\r\n" + framing + b"\r\n\r\n" + body


def begun(play: Conversation, request: bytes = GET):
    """The client and the origin, which has heard the whole head."""
    client = play.client()
    client.says(request)
    origin = play.origin()
    origin.hears_head()
    return client, origin


# -- heads


def test_a_request_and_its_answer():
    """The origin hears origin-form with our Host and Via, the client the answer; the record has both."""
    with Conversation() as play:
        client = play.client()
        client.says(b"GET http://origin.test/a?b HTTP/1.1\r\nHost: evil.test\r\nProxy-Connection: keep-alive\r\n")
        client.says(b"X: y\r\n\r\n")
        origin = play.origin()
        origin.hears(b"GET /a?b HTTP/1.1\r\nHost: origin.test\r\nX: y\r\nVia: 1.1 netfw\r\n\r\n")
        origin.says(b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nKeep-Alive: x\r\nY: z\r\n\r\nhi")
        client.hears(b"HTTP/1.1 200 Fine\r\nY: z\r\nVia: 1.1 netfw\r\nContent-Length: 2\r\n\r\nhi")
        record = play.record(of=1)
        assert play.dialled == [(("203.0.113.1",), 80)]
        assert (record["final_action"], record["http_status_code"], record["dest_ip"]) == ("allow", 200, "203.0.113.1")
        assert (record["request_size"], record["response_size"]) == (0, 2)


def test_a_port_of_its_own():
    """The port is dialled and stays in Host."""
    with Conversation() as play:
        client = play.client()
        client.says(b"GET http://origin.test:8080/ HTTP/1.1\r\nHost: origin.test:8080\r\n\r\n")
        origin = play.origin()
        origin.hears(b"GET / HTTP/1.1\r\nHost: origin.test:8080\r\nVia: 1.1 netfw\r\n\r\n")
        origin.says(OK)
        client.hears(GOT)
        assert play.dialled == [(("203.0.113.1",), 8080)]


def test_bytes_are_counted():
    """bytes_in and bytes_out are what went over the client's wire, head and body."""
    request = post(b"Content-Length: 5", b"hello")
    with Conversation() as play:
        client, origin = begun(play, request)
        origin.hears(b"hello")
        origin.says(OK)
        client.hears(GOT)
        record = play.record()
        assert (record["bytes_in"], record["bytes_out"]) == (len(request), len(GOT))
        assert (record["request_size"], record["response_size"]) == (5, 2)


# -- bodies


def test_content_length_both_ways():
    """A body of declared length passes in pieces as they come."""
    with Conversation() as play:
        client, origin = begun(play, post(b"Content-Length: 10", b"01234"))
        origin.hears(b"01234")
        client.says(b"56789")
        origin.hears(b"56789")
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        client.hears_head()
        client.hears(b"ab")
        origin.says(b"cd")
        client.hears(b"cd")
        assert play.record()["request_size"] == 10


def test_chunked_both_ways_with_trailers():
    """Chunks are printed anew, extensions dropped, harmless trailers kept, others dropped."""
    with Conversation() as play:
        client, origin = begun(play, post(b"Transfer-Encoding: chunked\r\nTrailer: X-Sum", b"3;ext=1\r\nabc\r\n"))
        origin.hears(b"3\r\nabc\r\n")
        client.says(b"0\r\nX-Sum: 1\r\n\r\n")
        origin.hears(b"0\r\nX-Sum: 1\r\n\r\n")
        origin.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        origin.says(b"2;a\r\nhi\r\n0\r\nY: 1\r\nLocation: /\r\n\r\n")
        assert b"Transfer-Encoding: chunked\r\n" in client.hears_head()
        client.hears(b"2\r\nhi\r\n0\r\nY: 1\r\n\r\n")


def test_chunked_to_an_http_1_0_client_ends_by_closing():
    """No chunks for who cannot read them."""
    with Conversation() as play:
        client, origin = begun(play, b"GET http://origin.test/ HTTP/1.0\r\n\r\n")
        origin.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        assert client.hears_head() == b"HTTP/1.1 200 OK\r\nVia: 1.1 netfw\r\nConnection: close\r\n\r\n"
        client.hears(b"hi")
        client.hears_end()


def test_until_close_becomes_chunked():
    """A body that ends by closing is chunked for a 1.1 client, whose connection stays."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 200 OK\r\n\r\nhi")
        assert b"Transfer-Encoding: chunked" in client.hears_head()
        client.hears(b"2\r\nhi\r\n")
        origin.leaves()
        client.hears(b"0\r\n\r\n")
        client.hears_nothing()
        assert play.record()["response_size"] == 2


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_answers_without_a_body(status):
    """204 and 304 have none, and the origin's connection is used again."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 " + status + b"\r\nContent-Length: 7\r\n\r\n")
        head = client.hears_head()
        assert (b"Content-Length: 7" in head) == status.startswith(b"304")
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)


def test_head():
    """The answer to HEAD has a length and no body."""
    with Conversation() as play:
        client, origin = begun(play, GET.replace(b"GET", b"HEAD"))
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        assert b"Content-Length: 1000" in client.hears_head()
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)


def test_large_bodies_both_ways():
    """Megabytes pass whole in both directions."""
    body = bytes(range(256)) * 8192
    with Conversation() as play:
        client = play.client()
        client.says(post(b"Content-Length: %d" % len(body)))
        origin = play.origin()
        origin.hears_head()
        client.says(body)
        assert origin.hears_exactly(len(body)) == body
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        client.hears_head()
        origin.says(body)
        assert client.hears_exactly(len(body)) == body
        assert play.record()["response_size"] == len(body)


def test_a_slow_client_pauses_the_origin():
    """What a client does not take is not read from the origin beyond a bound; afterwards everything arrives."""
    body = bytes(1 << 24)
    with Conversation() as play:
        client, origin = begun(play)
        client.stops_reading()
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        sent = origin.offers(body)
        assert sent < len(body)
        assert max(stream.unsent for stream in play.streams) < 1 << 20
        client.reads_again()
        client.hears_head()
        origin.says(body[sent:])
        assert client.hears_exactly(len(body)) == body


def test_a_slow_origin_pauses_the_client():
    """What an origin does not take is not read from the client beyond a bound; afterwards everything arrives."""
    body = bytes(1 << 24)
    with Conversation() as play:
        client, origin = begun(play, post(b"Content-Length: %d" % len(body)))
        origin.stops_reading()
        sent = client.offers(body)
        assert sent < len(body)
        assert max(stream.unsent for stream in play.streams) < 1 << 20
        origin.reads_again()
        client.says(body[sent:])
        assert origin.hears_exactly(len(body)) == body
        origin.says(OK)
        client.hears(GOT)


def test_a_connection_that_was_paused_is_read_in_its_next_exchange():
    """The end of a response may pause the origin's connection; the exchange after it must not wait for ever."""
    with Conversation() as play:
        play.is_narrow = True
        client, origin = begun(play)
        client.stops_reading()
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\na")
        play.settle()
        origin.says(bytes(100000))
        play.record(of=1)
        client.reads_again()
        client.hears_answer()
        client.says(GET)
        origin.hears(SENT)
        origin.says(OK)
        client.hears(GOT)


def test_the_end_of_a_connection_that_was_paused_is_seen():
    """In the pool every connection is read, so that none is offered that has ended."""
    with Conversation() as play:
        play.is_narrow = True
        client, origin = begun(play)
        client.stops_reading()
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\na")
        play.settle()
        origin.says(bytes(100000))
        play.record(of=1)
        origin.leaves()
        play.settle()
        assert len(play.plane.pool) == 0


# -- interim responses


def test_100_continue():
    """Expect is forwarded, 100 is relayed bare, and then the body goes."""
    with Conversation() as play:
        client = play.client()
        client.says(post(b"Content-Length: 2\r\nExpect: 100-continue"))
        origin = play.origin()
        assert b"Expect: 100-continue" in origin.hears_head()
        origin.says(b"HTTP/1.1 100 Go\r\nSecret: x\r\n\r\n")
        client.hears(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.says(b"hi")
        origin.hears(b"hi")
        origin.says(OK)
        client.hears(GOT)


def test_expect_refused():
    """A final answer instead of 100: it is relayed, and the connection closed since the body never came."""
    with Conversation() as play:
        client, origin = begun(play, post(b"Content-Length: 2\r\nExpect: 100-continue"))
        origin.says(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
        assert client.hears_head().startswith(b"HTTP/1.1 417 No\r\n")
        client.hears_end()
        assert origin.is_told_an_end()


def test_103_when_nothing_could_deny_it():
    """Early hints pass where every final response would."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
        assert client.hears_head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nVia: 1.1 netfw\r\n\r\n"
        client.hears(GOT)


POST_RESPONSE_RULE = {"g": {"PostRESPONSE": [
    rule("r", "DENY", condition("response:Http:StatusCode", "NumericEquals", "500"))
]}}  # fmt: skip


@pytest.mark.parametrize("rules", [policy(post_response="DENY"), policy(groups=POST_RESPONSE_RULE)])
def test_103_is_dropped_where_a_rule_might_deny(rules):
    """No byte of an origin comes before PostRESPONSE."""
    with Conversation(rules) as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        client.hears_nothing()
        origin.says(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        assert client.hears_head().startswith(b"HTTP/1.1 403 ")


def test_interim_responses_are_not_for_http_1_0():
    """An HTTP/1.0 client gets the final response only."""
    with Conversation() as play:
        client, origin = begun(play, b"GET http://origin.test/ HTTP/1.0\r\n\r\n")
        origin.says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        assert client.hears_head().startswith(b"HTTP/1.1 200 OK")
        client.hears(b"hi")
        client.hears_end()


# -- early answers


def test_an_answer_while_uploading():
    """It is relayed at once; the upload is dropped, the origin's connection aborted, the client's closed in peace."""
    with Conversation() as play:
        client, origin = begun(play, post(b"Content-Length: 1000000", bytes(1000)))
        origin.hears_exactly(1000)
        origin.says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        assert client.hears_head().startswith(b"HTTP/1.1 413 Too Large\r\n")
        client.hears(b"no")
        client.hears_end()
        client.says(bytes(10000))
        assert origin.is_told_an_end()
        assert play.record(of=1)["http_status_code"] == 413
        assert len(play.plane.pool) == 0


def test_an_answer_while_uploading_and_the_origin_is_gone():
    """What the origin said before it reset the upload still arrives."""
    with Conversation() as play:
        client, origin = begun(play, post(b"Content-Length: 10000000", bytes(1000)))
        origin.says(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        origin.ends()
        client.hears_head()
        client.hears(b"no")
        client.hears_end()
        origin.resets()


# -- a stale connection


def kept(play: Conversation):
    """A client whose first exchange left an idle connection to the origin."""
    client, origin = begun(play)
    origin.says(OK)
    client.hears(GOT)
    play.until(lambda: len(play.plane.pool) == 1, "a kept connection")
    return client, origin


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE"])
@pytest.mark.parametrize("how", ["leaves", "resets"])
def test_one_more_try(method, how):
    """A kept connection that ends without a byte is replaced once, for idempotent methods."""
    with Conversation() as play:
        client, origin = kept(play)
        client.says(GET.replace(b"GET", method))
        origin.hears_head()
        getattr(origin, how)()
        second = play.origin()
        assert second.hears_head().startswith(method)
        second.says(b"HTTP/1.1 204 No\r\n\r\n")
        assert client.hears_head().startswith(b"HTTP/1.1 204 No")
        assert play.record(of=2)["http_status_code"] == 204


def test_no_third_try():
    """The replacement's failure is the client's answer."""
    with Conversation() as play:
        client, origin = kept(play)
        client.says(GET)
        origin.hears_head()
        origin.leaves()
        second = play.origin()
        second.hears_head()
        second.leaves()
        assert client.hears_head().startswith(b"HTTP/1.1 502 ")
        assert len(play.dialled) == 2


@pytest.mark.parametrize(
    "request_bytes",
    [
        GET.replace(b"GET", b"POST"),
        GET.replace(b"GET", b"PATCH"),
        post(b"Content-Length: 2", b"hi", b"PUT"),
        post(b"Transfer-Encoding: chunked", b"0\r\n\r\n", b"PUT"),
        post(b"Content-Length: 2", b"hi"),
    ],
)
def test_no_second_try(request_bytes):
    """Not for a method with effects, not with a body (rule 5)."""
    with Conversation() as play:
        client, origin = kept(play)
        client.says(request_bytes)
        origin.hears_head()
        origin.leaves()
        assert client.hears_head().startswith(b"HTTP/1.1 502 ")
        assert len(play.dialled) == 1


def test_no_second_try_on_a_fresh_connection():
    """Whatever closes a connection made for this very request is told."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.leaves()
        assert client.hears_head().startswith(b"HTTP/1.1 502 ")
        assert play.record(of=1)["error"]["token"] == "connection_terminated"
        assert len(play.dialled) == 1


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 200 OK\r\nContent-Len", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_no_second_try_after_a_byte(said):
    """Once the origin has said anything the request may have had effects."""
    with Conversation() as play:
        client, origin = kept(play)
        client.says(GET)
        origin.hears_head()
        origin.says(said)
        play.settle()
        origin.leaves()
        play.until(lambda: b"502" in client.unheard, "502", lambda: client.unheard)
        assert len(play.dialled) == 1


def test_a_second_try_that_cannot_connect():
    """The second connection's error is the client's answer."""
    with Conversation() as play:
        client, origin = kept(play)
        client.says(GET)
        origin.hears_head()
        play.dialer.failures["203.0.113.1"] = OriginRefused("the origin refused the connection")
        origin.leaves()
        assert client.hears_head().startswith(b"HTTP/1.1 502 ")
        assert play.record(of=2)["error"]["token"] == "connection_refused"


def test_the_client_leaves_during_the_second_try():
    """The dialling is withdrawn."""
    with Conversation() as play:
        client, origin = kept(play)
        client.says(GET)
        origin.hears_head()
        play.dialer.held = True
        origin.leaves()
        play.until(lambda: len(play.dialled) == 2, "a second dialling")
        client.leaves()
        assert play.record(1, of=2)["close_reason"] == "client_closed"
        assert play.dialer.cancelled == 1


# -- upgrades

UPGRADE = GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_upgrade():
    """101 is relayed, then bytes both ways, those right behind the heads included; one record at the end."""
    with Conversation() as play:
        client = play.client()
        client.says(UPGRADE)
        origin = play.origin()
        head = origin.hears_head()
        assert b"Upgrade: websocket\r\n" in head
        assert b"Connection: Upgrade\r\n" in head
        client.says(b"early from client")
        play.settle()
        origin.says(SWITCHED + b"early from origin")
        head = client.hears_head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Upgrade: websocket\r\n" in head
        client.hears(b"early from origin")
        origin.hears(b"early from client")
        client.says(b"ping")
        origin.hears(b"ping")
        origin.says(b"pong")
        client.hears(b"pong")
        assert play.records == []
        client.leaves()
        play.until(lambda: origin.ended, "the end")
        origin.leaves()
        record = play.record(of=1)
        assert (record["http_status_code"], record["kind"]) == (101, "exchange")


def test_upgrade_that_nobody_asked_for():
    """101 to a plain request is a protocol error."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(SWITCHED)
        assert client.hears_head().startswith(b"HTTP/1.1 502 ")
        assert origin.is_told_an_end()


def test_upgrade_that_the_origin_ignores():
    """A usual answer, a usual end."""
    with Conversation() as play:
        client, origin = begun(play, UPGRADE)
        origin.says(OK)
        client.hears(GOT)


def test_upgrade_denied():
    """PostRESPONSE judges the 101."""
    rules = policy(groups={"g": {"PostRESPONSE": [
        rule("no-ws", "DENY", condition("response:Http:StatusCode", "NumericEquals", "101"))
    ]}})  # fmt: skip
    with Conversation(rules) as play:
        client, origin = begun(play, UPGRADE)
        origin.says(SWITCHED + b"secret")
        assert client.hears_head().startswith(b"HTTP/1.1 403 Blocked by netfw g/no-ws ")
        assert b"secret" not in client.take()
        assert origin.is_told_an_end()


@pytest.mark.parametrize("who", ["client", "origin"])
def test_an_upgrade_that_breaks(who):
    """A reset on one side aborts the other."""
    with Conversation() as play:
        client, origin = begun(play, UPGRADE)
        origin.says(SWITCHED)
        client.hears_head()
        (client if who == "client" else origin).resets()
        (origin if who == "client" else client).hears_reset()
        assert play.record(of=1)["close_reason"] == f"{who}_aborted"


# -- denials


def test_pre_dns_denial():
    """Nothing is asked, nothing dialled; the connection stays."""
    rules = policy(groups={"g": {"PreDNS": [
        rule("no", "DENY", condition("request:DestinationDomain", "StringEquals", "origin.test"))
    ]}})  # fmt: skip
    with Conversation(rules) as play:
        client = play.client()
        client.says(GET)
        assert client.hears_head().startswith(b"HTTP/1.1 403 Blocked by netfw g/no ")
        client.take()
        client.says(GET.replace(b"origin.test", b"other.test"))
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)
        assert play.resolver.asked == ["other.test"]
        assert [record["final_action"] for record in play.records] == ["deny", "allow"]


def test_pre_request_denial():
    """Names are asked for, nothing is dialled; a body that is there already is read over."""
    rules = policy(groups={"g": {"PreREQUEST": [
        rule("no", "DENY", condition("request:Http:Method", "StringEquals", "POST"))
    ]}})  # fmt: skip
    with Conversation(rules) as play:
        client = play.client()
        client.says(post(b"Content-Length: 5", b"hello"))
        assert client.hears_head().startswith(b"HTTP/1.1 403 Blocked by netfw g/no ")
        client.take()
        assert play.dialled == []
        client.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        client.hears(GOT)


def test_a_denied_upload_is_not_waited_for():
    """403 comes at once; the connection is closed without a reset that would overtake it."""
    with Conversation(policy(pre_request="DENY")) as play:
        client = play.client()
        client.says(post(b"Content-Length: 50000", bytes(10)))
        head = client.hears_head()
        assert b"Connection: close\r\n" in head
        client.take()
        client.says(bytes(20000))
        client.hears_end()


def test_a_denied_expectation():
    """No 100, a 403 instead."""
    with Conversation(policy(pre_dns="DENY")) as play:
        client = play.client()
        client.says(post(b"Content-Length: 5\r\nExpect: 100-continue"))
        assert client.hears_head().startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("framing", [b"Content-Length: 6", b"Transfer-Encoding: chunked", b"Connection: close"])
def test_post_response_denial_hides_every_byte(framing):
    """Neither head nor body nor status of the origin comes through; its connection is closed, never used again."""
    with Conversation(policy(post_response="DENY")) as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 299 Secret\r\nSecret: 1\r\n" + framing + b"\r\n\r\nSecret")
        answer = client.hears_head() + client.take()
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"ecret" not in answer
        assert b"299" not in answer
        assert origin.is_told_an_end()
        record = play.record(of=1)
        assert (record["http_status_code"], record["origin_status"]) == (403, 299)
        assert (record["final_action"], record["response_size"]) == ("deny", 0)
        assert len(play.plane.pool) == 0
        client.says(GET)
        play.origin().hears(SENT)


def test_post_response_denial_while_uploading():
    """The client's connection is closed, since its body is not read on."""
    with Conversation(policy(post_response="DENY")) as play:
        client, origin = begun(play, post(b"Content-Length: 500000", bytes(100)))
        origin.says(OK)
        assert client.hears_head().startswith(b"HTTP/1.1 403 ")
        client.take()
        assert origin.is_told_an_end()
        client.says(bytes(1000))
        play.settle()
        assert not client.was_reset


# -- failures on the way


@pytest.mark.parametrize(
    ("hosts", "status", "token"),
    [
        ({}, b"502", "dns_error"),
        ({"origin.test": NameNotFound("there is no such name")}, b"502", "dns_error"),
        ({"origin.test": ("127.0.0.1",)}, b"403", "destination_ip_prohibited"),
        ({"origin.test": ("169.254.169.254", "::1")}, b"403", "destination_ip_prohibited"),
        ({"origin.test": ()}, b"403", "destination_ip_prohibited"),
    ],
)
def test_names_without_a_usable_address(hosts, status, token):
    """Nothing is dialled, the token tells why, the connection stays."""
    with Conversation(hosts=hosts) as play:
        client = play.client()
        client.says(GET + GET)
        for _ in range(2):
            head, _ = client.hears_answer()
            assert head.startswith(b"HTTP/1.1 " + status)
        assert play.dialled == []
        assert [record["error"]["token"] for record in play.records] == [token, token]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OriginRefused("the origin refused the connection"), b"502"),
        (OriginConnectTimeout("the connection was not made in time"), b"504"),
    ],
)
def test_connections_that_cannot_be_made(error, status):
    """The error's own status; the record counts as allowed, for policy let it out."""
    with Conversation() as play:
        play.dialer.failures["203.0.113.1"] = error
        client = play.client()
        client.says(GET)
        assert client.hears_head().startswith(b"HTTP/1.1 " + status)
        record = play.record(of=1)
        assert (record["final_action"], record["error"]["token"]) == ("allow", error.token)


def test_only_judged_addresses_are_dialled():
    """Of a name's addresses the prohibited ones are left out."""
    hosts = {"origin.test": ("10.0.0.1", "203.0.113.9", "127.0.0.1", "203.0.113.8")}
    with Conversation(hosts=hosts) as play:
        client = play.client()
        client.says(GET)
        play.origin()
        assert play.dialled == [(("203.0.113.9", "203.0.113.8"), 80)]
        client.leaves()


# -- who leaves when


def test_the_client_leaves_during_the_lookup():
    """The lookup is withdrawn, nothing is dialled."""
    with Conversation() as play:
        play.resolver.held.add("origin.test")
        client = play.client()
        client.says(GET)
        play.until(lambda: play.resolver.asked, "a question")
        client.leaves()
        assert play.record(of=1)["close_reason"] == "client_closed"
        assert play.resolver.cancelled == ["origin.test"]
        assert play.dialled == []


def test_the_client_leaves_during_dialling():
    """The dialling is withdrawn."""
    with Conversation() as play:
        play.dialer.held = True
        client = play.client()
        client.says(GET)
        play.until(lambda: play.dialled, "dialling")
        client.leaves()
        assert play.record(of=1)["error"]["token"] == "connection_terminated"
        assert play.dialer.cancelled == 1


@pytest.mark.parametrize("how", ["leaves", "resets", "ends"])
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhi",
    ],
)
def test_the_client_leaves_while_the_origin_answers(how, said):
    """The origin's connection is aborted at once."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(said)
        play.settle()
        getattr(client, how)()
        play.until(lambda: origin.ended, "the end of the origin's connection")
        record = play.record(of=1)
        assert record["close_reason"] == "client_closed"
        assert len(play.plane.pool) == 0


@pytest.mark.parametrize("how", ["leaves", "resets"])
def test_the_client_leaves_while_uploading(how):
    """The origin sees its connection broken, not a short body that ended."""
    with Conversation() as play:
        client, origin = begun(play, post(b"Transfer-Encoding: chunked", b"3\r\nabc\r\n"))
        origin.hears(b"3\r\nabc\r\n")
        getattr(client, how)()
        origin.hears_reset()
        assert play.record(of=1)["close_reason"] == "client_closed"


def test_the_client_leaves_after_an_upload_that_the_origin_has_not_read():
    """A client that is gone is noticed although its upload still waits to be sent."""
    with Conversation() as play:
        play.is_narrow = True
        client, origin = begun(play, post(b"Content-Length: 100000"))
        origin.stops_reading()
        client.says(bytes(100000))
        play.settle()
        client.leaves()
        assert play.record(of=1)["close_reason"] == "client_closed"


@pytest.mark.parametrize("how", ["leaves", "resets"])
@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
    ],
)
def test_an_answer_that_is_cut_stays_cut(how, said):
    """The client sees a reset, never an orderly end (rule 18)."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(said)
        client.hears_until(b"hi")
        getattr(origin, how)()
        assert b"0\r\n\r\n" not in client.hears_reset()
        record = play.record(of=1)
        assert record["error"]["token"] == "http_response_incomplete"
        assert record["http_status_code"] == 200


def test_until_close_and_a_reset():
    """A body that ends by closing is complete only after an orderly end."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 200 OK\r\n\r\nhi")
        client.hears_until(b"hi\r\n")
        origin.resets()
        assert client.hears_reset() == b""


@pytest.mark.parametrize("how", ["leaves", "resets"])
@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 20", b"HTTP/1.1 200 OK\r\nX: y\r\n", b"HTTP/1.1 102 Processing\r\n\r\n"]
)
def test_an_origin_that_dies_before_its_answer(how, said):
    """502, and the client's connection stays."""
    with Conversation(policy(groups=POST_RESPONSE_RULE)) as play:
        client, origin = begun(play)
        origin.says(said)
        play.settle()
        getattr(origin, how)()
        assert client.hears_head().startswith(b"HTTP/1.1 502 ")
        client.take()
        client.says(GET)
        second = play.origin()
        second.hears_head()
        second.says(OK)
        client.hears(GOT)


def test_an_origin_that_dies_during_the_upload():
    """502 and a close in peace."""
    with Conversation() as play:
        client, origin = begun(play, post(b"Content-Length: 100000", bytes(1000)))
        origin.hears_exactly(1000)
        origin.resets()
        assert client.hears_head().startswith(b"HTTP/1.1 502 ")
        client.take()
        client.says(bytes(1000))
        client.hears_end()


# -- bad requests in the middle


@pytest.mark.parametrize("body", [b"zz\r\n", b"3\r\nabcd\r\n", b"-1\r\n", b"3 \r\nabc"])
def test_a_request_body_that_breaks_framing(body):
    """400, the origin's connection is aborted, and nothing after it is read."""
    with Conversation() as play:
        client = play.client()
        client.says(post(b"Transfer-Encoding: chunked", body + GET))
        origin = play.origin()
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 400 ")
        client.hears_end()
        play.until(lambda: origin.ended, "the end of the origin's connection")
        assert play.record(of=1)["http_status_code"] == 400
        assert len(play.dialled) == 1


def test_a_request_body_that_breaks_framing_after_the_answer_began():
    """Nothing can be said any more: the client's connection is aborted."""
    with Conversation() as play:
        client, origin = begun(play, post(b"Transfer-Encoding: chunked"))
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi")
        client.hears_until(b"hi")
        client.says(b"zz\r\n")
        client.hears_reset()
        assert play.record(of=1)["close_reason"] == "http_request_error"


# -- time


def test_an_origin_that_does_not_answer():
    """504 after the response deadline; the client's connection stays."""
    with Conversation() as play:
        client, origin = begun(play)
        play.later(9)
        client.hears_nothing()
        play.later(2)
        assert client.hears_head().startswith(b"HTTP/1.1 504 ")
        assert origin.is_told_an_end()
        assert play.record(of=1)["error"]["token"] == "http_response_timeout"
        client.take()
        client.says(GET)
        play.origin()


def test_an_origin_that_stops_in_the_middle():
    """The answer is cut after the idle deadline."""
    with Conversation() as play:
        client, origin = begun(play)
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi")
        client.hears_until(b"hi")
        play.later(19)
        client.hears_nothing()
        play.later(2)
        client.hears_reset()
        assert origin.is_told_an_end()


def test_a_client_that_stops_uploading():
    """408 after the body deadline, counted from the last piece."""
    with Conversation() as play:
        client, origin = begun(play, post(b"Content-Length: 5", b"a"))
        play.later(5)
        client.says(b"b")
        play.later(5)
        client.hears_nothing()
        play.later(2)
        assert client.hears_head().startswith(b"HTTP/1.1 408 ")
        client.take()
        client.hears_end()
        assert origin.is_told_an_end()
        assert play.record(of=1)["error"]["token"] == "connection_read_timeout"


def test_waiting_for_a_slow_origin_is_not_the_clients_fault():
    """While the origin thinks, the body deadline does not count."""
    with Conversation(timeouts={"response": 60.0}) as play:
        client, origin = begun(play, post(b"Content-Length: 2", b"hi"))
        play.later(50)
        origin.says(OK)
        client.hears(GOT)


def test_waiting_for_100_is_not_the_clients_fault():
    """A client that was told nothing need not send its body: the origin's silence is the origin's."""
    with Conversation() as play:
        client, origin = begun(play, post(b"Content-Length: 2\r\nExpect: 100-continue"))
        play.later(8)
        client.hears_nothing()
        origin.says(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.hears_head()
        client.says(b"hi")
        origin.hears(b"hi")
        origin.says(OK)
        client.hears(GOT)


def test_an_upgrade_after_another_request():
    """Its record counts its own bytes only."""
    with Conversation() as play:
        client, origin = kept(play)
        client.says(UPGRADE)
        origin.hears_head()
        origin.says(SWITCHED)
        head = client.hears_head()
        client.says(b"ping")
        origin.hears(b"ping")
        origin.leaves()
        client.hears_end()
        client.leaves()
        record = play.record(1, of=2)
        assert (record["bytes_in"], record["bytes_out"]) == (len(UPGRADE) + 4, len(head))


def test_an_upgrade_before_its_request_is_whole():
    """101 in the middle of an upload: whatever is made of it, nobody hangs and nothing is logged."""
    with Conversation() as play:
        client, origin = begun(play, UPGRADE.replace(b"GET", b"POST")[:-2] + b"Content-Length: 4\r\n\r\nab")
        origin.hears(b"ab")
        origin.says(SWITCHED)
        play.settle()
        client.says(b"cd")
        play.settle()
        client.leaves()
        origin.leaves()
        play.record(of=1)
