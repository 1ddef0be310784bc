"""How many connections are open to each destination, through every way in which one can begin and end."""

import pytest

from netfw.errors import OriginRefused, Overloaded
from netfw.names.authority import parse_authority
from netfw.proxy.destinations import Destinations
from netfw.testing.conversation import Conversation

ORIGIN, SECURE = parse_authority(b"origin.test:80"), parse_authority(b"origin.test:443")
GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
OTHER = GET.replace(b"origin", b"other")
CONNECT = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ONE = {"connections_per_destination": 1}


def test_counted_up_and_down():
    """By host and port; what is at the limit is refused, and what has left makes room."""
    open_now = Destinations(2)
    first, _ = open_now.enter(ORIGIN), open_now.enter(ORIGIN)
    with pytest.raises(Overloaded):
        open_now.enter(ORIGIN)
    open_now.enter(SECURE)
    first()
    open_now.enter(ORIGIN)
    assert (open_now.open_to(ORIGIN), open_now.open_to(SECURE)) == (2, 1)


def test_a_destination_that_comes_again():
    """Counted anew once all have left."""
    open_now = Destinations(1)
    for _ in range(2):
        leave = open_now.enter(ORIGIN)
        assert open_now.open_to(ORIGIN) == 1
        leave()
        assert open_now.open_to(ORIGIN) == 0


def test_without_a_limit():
    """They are only counted, and forgotten when they have left."""
    open_now = Destinations(0)
    leaving = [open_now.enter(ORIGIN) for _ in range(100)]
    assert open_now.open_to(ORIGIN) == 100
    for leave in leaving:
        leave()
    assert open_now.open_to(ORIGIN) == 0
    assert not open_now._open


def test_at_the_limit_and_one_beyond():
    """503 with Retry-After and a record, while another destination is served."""
    with Conversation(limits=ONE) as play:
        first, second, third = (play.client(port=number) for number in (1, 2, 3))
        first.says(GET)
        origin = play.origin()
        origin.hears_head()
        second.says(GET)
        head = second.hears_head()
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in head
        assert play.record()["error"]["token"] == "connection_limit_reached"
        third.says(OTHER)
        play.origin().hears_head()
        origin.says(OK)
        assert first.hears_answer()[1] == b"hi"


def test_a_kept_connection_is_used_at_the_limit():
    """It is counted already."""
    with Conversation(limits=ONE) as play:
        first, second = play.client(port=1), play.client(port=2)
        first.says(GET)
        origin = play.origin()
        origin.hears_head()
        origin.says(OK)
        first.hears_answer()
        second.says(GET)
        origin.hears_head()
        origin.says(OK)
        assert second.hears_answer()[1] == b"hi"
        assert play.plane.destinations.open_to(ORIGIN) == 1


@pytest.mark.parametrize("ending", ["client leaves", "origin leaves", "origin resets", "client resets"])
def test_a_tunnel_counts_until_it_ends(ending):
    """Relayed in the kernel, however it ends."""
    with Conversation(limits=ONE) as play:
        client = play.client(port=1)
        client.says(CONNECT)
        client.hears_head()
        client.starts_tls()
        origin = play.origin()
        play.until(lambda: origin.unheard, "a ClientHello")
        assert play.plane.destinations.open_to(SECURE) == 1
        beyond = play.client(port=2)
        beyond.says(CONNECT)
        assert beyond.hears_head().startswith(b"HTTP/1.1 503 ")
        who, how = ending.split()
        getattr(client if who == "client" else origin, how)()
        client.leaves()
        origin.leaves()
        play.until(lambda: play.plane.destinations.open_to(SECURE) == 0, "nothing open")


def test_a_connection_that_does_not_come_is_not_counted():
    """Refused, and given up because the client left."""
    with Conversation(limits=ONE) as play:
        client = play.client(port=1)
        play.dialer.failures["203.0.113.1"] = OriginRefused("nobody listens")
        client.says(GET)
        assert client.hears_head().startswith(b"HTTP/1.1 502 ")
        assert play.plane.destinations.open_to(ORIGIN) == 0
        play.dialer.failures.clear()
        play.dialer.held = True
        client = play.client(port=2)
        client.says(GET)
        play.until(lambda: play.plane.destinations.open_to(ORIGIN) == 1, "a dialling")
        client.leaves()
        play.until(lambda: play.plane.destinations.open_to(ORIGIN) == 0, "an end of it")
