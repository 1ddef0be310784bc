"""How often each address may come and ask."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from netfw.proxy.rates import BURST, Rates
from netfw.testing.conversation import Conversation
from netfw.testing.proxy_process import policy

ONE, OTHER = ip_address("10.0.0.1"), ip_address("10.0.0.2")
GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"


def test_a_burst_and_then_the_rate():
    """Ten seconds' worth at once, one more is told how long to wait, and waiting that long is enough."""
    clock = Clock()
    rate = Rates(2, clock.seconds).of(ONE)
    assert [rate.take() for _ in range(20)] == [0] * 20
    assert rate.take() == 1
    clock.advance(0.5)
    assert [rate.take(), rate.take()] == [0, 1]
    clock.advance(1.0)
    assert [rate.take(), rate.take(), rate.take()] == [0, 0, 1]


def test_a_slow_rate_says_how_long():
    """Whole seconds, rounded up; being refused costs nothing."""
    clock = Clock()
    rate = Rates(1, clock.seconds).of(ONE)
    for _ in range(10):
        assert rate.take() == 0
    for _ in range(100):
        assert rate.take() == 1
    clock.advance(1.0)
    assert [rate.take(), rate.take()] == [0, 1]


def test_addresses_have_their_own():
    """One does not use up the other's; all connections of an address share one."""
    rates = Rates(1, Clock().seconds)
    while not rates.of(ONE).take():
        pass
    assert rates.of(OTHER).take() == 0
    assert rates.of(ONE).take() == 1


@given(st.lists(st.floats(0, 3, allow_nan=False), max_size=200), st.integers(1, 50))
def test_never_more_than_the_rate_and_the_burst(waits, each):
    """In any stretch of time, however it is used."""
    clock = Clock()
    rate = Rates(each, clock.seconds).of(ONE)
    allowed = 0
    for wait in waits:
        clock.advance(wait)
        allowed += not rate.take()
        assert allowed <= each * (clock.seconds() + BURST) + 1e-3


def test_the_table_is_bounded_and_forgets_the_idle_first():
    """Who has used up the allowance is remembered while strangers come and go."""
    clock = Clock()
    rates = Rates(1, clock.seconds, sources=100)
    busy = rates.of(ONE)
    while not busy.take():
        pass
    for number in range(1000):
        rates.of(ip_address(0x0B000000 + number))
        assert len(rates) <= 100
    assert rates.of(ONE) is busy


def test_the_table_is_bounded_when_all_are_busy():
    """Then the oldest goes."""
    rates = Rates(1, Clock().seconds, sources=10)
    for number in range(100):
        rates.of(ip_address(0x0B000000 + number)).take()
    assert len(rates) == 10


def test_requests_over_the_rate():
    """429 with Retry-After on a connection that stays; a second later the next is served. Each has its record."""
    with Conversation(policy(pre_dns="DENY"), limits={"request_rate": 1}) as play:
        client = play.client()
        for _ in range(10):
            client.says(GET)
            assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        client.says(GET)
        answer, _ = client.hears_answer()
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert b"close" not in answer
        play.later(1.0)
        client.says(GET)
        assert client.hears_answer()[0].startswith(b"HTTP/1.1 403 ")
        record = play.record(10, of=12)
        assert (record["http_status_code"], record["final_action"]) == (429, "deny")
        assert record["error"]["fault"] == "client"


def test_requests_inside_tunnels_and_other_connections_count_too():
    """The rate is the address's."""
    with Conversation(limits={"request_rate": 1}) as play:
        first = play.client(port=1)
        for _ in range(8):
            first.says(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            first.hears_answer()
            first = play.client(port=1)
        tunnel = play.client(port=2)
        tunnel.says(b"CONNECT origin.test:80 HTTP/1.1\r\nHost: origin.test:80\r\n\r\n")
        tunnel.hears_head()
        inner = b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"
        tunnel.says(inner + inner)
        origin = play.origin()
        origin.hears_head()
        origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert tunnel.hears_head().startswith(b"HTTP/1.1 200 ")
        assert tunnel.hears_head().startswith(b"HTTP/1.1 429 ")
        stranger = play.client("10.1.1.1")
        stranger.says(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stranger.hears_head().startswith(b"HTTP/1.1 404 ")


def test_new_connections_over_the_rate():
    """503 with Retry-After, in the metrics and the records; those that are in go on."""
    with Conversation(policy(pre_dns="DENY"), limits={"connection_rate": 1}) as play:
        inside = [play.client(port=number) for number in range(10)]
        refused = play.client(port=99)
        head = refused.hears_head()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in head
        refused.hears_end()
        assert play.plane.admission.refused == {"connection_rate": 1}
        inside[0].says(GET)
        assert inside[0].hears_head().startswith(b"HTTP/1.1 403 ")
        (record,) = [record for record in play.records if record["kind"] == "connection"]
        assert record["http_status_code"] == 503
        assert record["error"]["message"] == "limits.connection_rate is reached"
