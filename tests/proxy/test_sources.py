"""What is known of a client besides its address."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from netfw.config.model import SourceEntry
from netfw.policy.facts import ABSENT
from netfw.policy.imagined_request import ImaginedRequest, parse_url
from netfw.proxy.exchange import Caller
from netfw.proxy.sources import Sources, as_known
from netfw.testing.conversation import Conversation

ENTRIES = (
    SourceEntry(None, None, "vpce-1", "111111111111", "vpc-1", None),
    SourceEntry(ip_network("10.2.0.0/16"), None, "vpce-2", "222222222222", "vpc-2", None),
    SourceEntry(ip_network("10.2.0.0/16"), "other", None, None, None, "build"),
    SourceEntry(ip_network("10.2.0.0/16"), None, None, "333333333333", None, None),
    SourceEntry(ip_network("fd00::/8"), None, None, None, None, "six"),
    SourceEntry(None, "main", None, None, None, "rest"),
)


@pytest.mark.parametrize(
    ("listener", "address", "vpce", "known"),
    [
        ("main", "10.9.0.1", "vpce-1", ("111111111111", "vpc-1", "vpce-1", None)),
        ("main", "10.2.0.1", "vpce-1", ("111111111111", "vpc-1", "vpce-1", None)),  # the first that fits
        ("main", "10.2.0.1", "vpce-2", ("222222222222", "vpc-2", "vpce-2", None)),
        ("main", "10.2.0.1", None, ("222222222222", "vpc-2", "vpce-2", None)),  # the entry gives the endpoint
        ("main", "10.2.0.1", "vpce-3", ("333333333333", None, "vpce-3", None)),  # another endpoint is not replaced
        ("other", "10.2.0.1", "vpce-3", (None, None, "vpce-3", "build")),  # both selectors
        ("other", "10.9.0.1", "vpce-3", (None, None, "vpce-3", None)),  # nothing fits
        ("other", "10.9.0.1", None, (None, None, None, None)),
        ("main", "10.9.0.1", None, (None, None, None, "rest")),
        ("main", "fd00::1", None, (None, None, None, "six")),
        ("other", "2001:db8::1", None, (None, None, None, None)),
    ],
)
def test_the_first_entry_that_fits(listener, address, vpce, known):
    """It gives all that is known; nothing is gathered from several."""
    caller = Caller(address=ip_address(address), port=1, listener_name=listener)
    Sources(ENTRIES, listener).describe(caller, vpce)
    assert (caller.source_account, caller.source_vpc, caller.source_vpce, caller.identity) == known


def test_without_a_table():
    """An endpoint's id is known all the same."""
    caller = Caller(address=ip_address("10.0.0.1"), port=1, listener_name="main")
    Sources((), "main").describe(caller, "vpce-1")
    assert caller.source_vpce == "vpce-1"


def test_a_request_that_is_imagined_has_what_a_real_one_would():
    """What was said of it counts before what the table knows; nothing is made up where it knows nothing."""
    scheme, authority, target, tunnel = parse_url("GET", "http://a.test/")

    def known(address: str, **said: str) -> tuple[object, ...]:
        request = ImaginedRequest("GET", scheme, authority, target, tunnel, source_ip=ip_address(address), **said)
        told = as_known(request, ENTRIES)
        return told.source_account, told.source_vpc, told.source_vpce, told.client_identity

    assert known("10.2.0.1") == ("222222222222", "vpc-2", "vpce-2", ABSENT)
    assert known("10.2.0.1", source_vpc="vpc-9") == ("222222222222", "vpc-9", "vpce-2", ABSENT)
    assert known("10.2.0.1", source_vpce="vpce-3") == ("333333333333", ABSENT, "vpce-3", ABSENT)
    assert known("10.9.0.1", listener_name="main") == (ABSENT, ABSENT, ABSENT, "rest")
    assert known("10.9.0.1") == (ABSENT, ABSENT, ABSENT, ABSENT)


# -- in records of every kind

KNOWN = SourceEntry(ip_network("10.0.0.0/8"), None, "vpce-0b", "444455556666", "vpc-0a", "team-a")
MEMBERS = {"src_vpc": "vpc-0a", "src_vpce": "vpce-0b", "vpce_account_id": "444455556666", "client_identity": "team-a"}
CONNECT = b"CONNECT origin.test:%d HTTP/1.1\r\nHost: origin.test:%d\r\n\r\n"
INNER = b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def asks_in_plain(play: Conversation) -> None:
    client = play.client("10.1.2.3")
    client.says(b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    origin = play.origin()
    origin.hears_head()
    origin.says(OK)
    client.hears_answer()


def is_denied(play: Conversation) -> None:
    client = play.client("10.1.2.3")
    client.says(CONNECT % (25, 25))
    client.hears_head()  # a 200: the denial would be told inside


def passes_through(play: Conversation) -> None:
    client = play.client("10.1.2.3")
    client.says(CONNECT % (2222, 2222))
    client.hears_head()
    client.says(b"\x00 anything")
    origin = play.origin()
    origin.hears(b"\x00 anything")
    client.leaves()
    origin.leaves()


def asks_inside(play: Conversation) -> None:
    client = play.client("10.1.2.3")
    client.says(CONNECT % (443, 443))
    client.hears_head()
    client.starts_tls()
    origin = play.origin()
    origin.serves_tls()
    client.is_shaken()
    client.says(INNER)
    origin.hears_head()
    origin.says(OK)
    client.hears_answer()


def says_nothing_that_is_http(play: Conversation) -> None:
    client = play.client("10.1.2.3")
    client.says(b"\x00\x01\r\n\r\n")
    client.hears_answer()


@pytest.mark.parametrize(
    "kind, asks",
    [
        ("exchange", asks_in_plain), ("connect", is_denied), ("tunnel", passes_through), ("exchange", asks_inside),
        ("connection", says_nothing_that_is_http),
    ],
)  # fmt: skip
def test_every_kind_of_record_says_whose_it_was(kind, asks):
    """Allowed or denied, passed through or opened, and what came to no request."""
    with Conversation(intercept=True, sources=[KNOWN], tunnels={"opaque": True}) as play:
        asks(play)
        for side in list(play.sides):
            side.leaves()
        record = play.record(of=1)
        assert record["kind"] == kind
        assert {name: record[name] for name in MEMBERS} == MEMBERS


def test_who_is_not_admitted_is_known_all_the_same():
    """Nothing is answered; the record says who knocked."""
    with Conversation(sources=[KNOWN], listener={"clients": (ip_network("192.0.2.0/24"),)}) as play:
        play.client("10.1.2.3")
        record = play.record(of=1)
        assert record["kind"] == "connection"
        assert {name: record[name] for name in MEMBERS} == MEMBERS
