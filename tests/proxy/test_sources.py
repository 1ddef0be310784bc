"""What is known of a client besides its address."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from netfw.config.model import SourceEntry
from netfw.policy.facts import ABSENT
from netfw.policy.imagined_request import ImaginedRequest, parse_url
from netfw.proxy.exchange import Caller
from netfw.proxy.sources import Sources, as_known

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
