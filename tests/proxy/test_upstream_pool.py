"""Idle connections: found by authority and TLS, taken only with an allowed address, bounded."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.protocol import connectionDone

from netfw.http1.limits import HeadLimits
from netfw.names.authority import parse_authority
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.proxy.upstream_pool import UpstreamPool
from netfw.testing.conversation import Conversation
from netfw.testing.fd_reactor import FdReactor
from netfw.testing.proxy_process import condition, policy, rule
from netfw.testing.streams import stream_wire
from netfw.transport.deadlines import Deadlines

ONE, TWO = parse_authority(b"one.test:443"), parse_authority(b"two.test:443")
A, B = ip_address("203.0.113.1"), ip_address("203.0.113.2")
GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Place:
    """A pool, and connections over real sockets."""

    def __init__(self, capacity: int = 10, idle: float = 5.0) -> None:
        self.reactor = FdReactor()
        self.deadlines = Deadlines(self.reactor)
        self.pool = UpstreamPool(capacity=capacity, idle_seconds=idle)
        self.wires = {}

    def connection(self, authority=ONE, address=A, tls=False) -> UpstreamConnection:
        made = UpstreamConnection(
            authority=authority, address=address, tls=tls, limits=HeadLimits(), deadlines=self.deadlines,
            response_timeout=1.0, idle_timeout=1.0,
        )  # fmt: skip
        self.wires[made] = stream_wire(made, self.reactor)
        return made

    def put(self, **how) -> UpstreamConnection:
        made = self.connection(**how)
        self.pool.put(made)
        return made

    def is_closed(self, connection: UpstreamConnection) -> bool:
        wire = self.wires[connection]
        wire.settle()
        wire.peer.read()
        return wire.peer.ended


def test_taken_once():
    """Last in, first out, and then it is gone."""
    place = Place()
    first, second = place.put(), place.put()
    assert place.pool.take(ONE, False, [A]) is second
    assert place.pool.take(ONE, False, [A]) is first
    assert place.pool.take(ONE, False, [A]) is None


def test_what_does_not_fit_is_not_taken():
    """Another authority, another port, TLS or not, an address that was not judged."""
    place = Place()
    kept = place.put(tls=True)
    assert place.pool.take(TWO, True, [A]) is None
    assert place.pool.take(parse_authority(b"one.test:8443"), True, [A]) is None
    assert place.pool.take(ONE, False, [A]) is None
    assert place.pool.take(ONE, True, [B]) is None
    assert place.pool.take(ONE, True, []) is None
    assert place.pool.take(ONE, True, [B, A]) is kept


def test_the_oldest_gives_way():
    """At the capacity, whichever authority it has."""
    place = Place(capacity=2)
    oldest, middle, newest = place.put(authority=TWO), place.put(), place.put()
    assert place.is_closed(oldest)
    assert not place.is_closed(middle)
    assert len(place.pool) == 2
    assert place.pool.take(TWO, False, [A]) is None
    assert place.pool.take(ONE, False, [A]) is newest


def test_no_capacity():
    """Nothing is kept."""
    place = Place(capacity=0)
    assert place.is_closed(place.put())
    assert len(place.pool) == 0


def test_idle_time():
    """Each has its own, beginning when it was put."""
    place = Place(idle=5.0)
    early = place.put()
    place.reactor.advance(3)
    late = place.put()
    place.reactor.advance(2.5)
    assert place.is_closed(early)
    assert not place.is_closed(late)
    assert len(place.pool) == 1
    place.reactor.advance(3)
    assert len(place.pool) == 0
    place.reactor.settle()
    assert len(place.deadlines) == 0


def test_taken_connections_do_not_end_by_the_idle_time():
    """The time of the exchange counts from then on."""
    place = Place(idle=5.0)
    place.put()
    taken = place.pool.take(ONE, False, [A])
    taken.begin(None, b"GET")
    place.reactor.advance(0.9)
    assert not place.is_closed(taken)
    assert taken.is_open


def test_what_ends_is_forgotten():
    """Also when several wait for the same authority."""
    place = Place()
    first, second, third = place.put(), place.put(), place.put()
    place.wires[second].peer.close()
    place.wires[first].settle()
    assert len(place.pool) == 2
    assert place.pool.take(ONE, False, [A]) is third
    assert place.pool.take(ONE, False, [A]) is first


def test_what_is_closed_is_not_kept():
    """An end that was heard before is no use."""
    place = Place()
    gone = place.connection()
    gone.abort()
    place.reactor.settle()
    place.pool.put(gone)
    assert len(place.pool) == 0
    gone.connectionLost(connectionDone)


def test_closing():
    """All that wait are closed, and none is kept after it."""
    place = Place()
    waiting = [place.put(), place.put(authority=TWO)]
    place.pool.close()
    assert all(place.is_closed(connection) for connection in waiting)
    assert place.is_closed(place.put())
    assert len(place.pool) == 0


def test_a_newer_policy_is_not_passed_by_an_older_connection():
    """The address is judged for this very exchange."""
    with Conversation(hosts={"origin.test": ("203.0.113.1", "203.0.113.2")}) as play:
        client = play.client()
        client.says(GET)
        first = play.origin()
        first.hears_head()
        first.says(OK)
        client.hears_answer()
        play.policies.change(policy(groups={"g": {"PreREQUEST": [
            rule("no", "DENY", condition("request:DestinationIp", "IpAddress", "203.0.113.1/32"))
        ]}}))  # fmt: skip
        client.says(GET)
        second = play.origin()
        second.hears_head()
        assert first.unheard == b""
        assert play.dialled[1] == (("203.0.113.2",), 80)
