"""Which records are asked for."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from netfw.telemetry.record_choice import Choice

RECORD: dict[str, Any] = {
    "event_timestamp": 1000,
    "final_action": "deny",
    "client_src_ip": "10.2.3.4",
    "client_identity": "anna",
    "dest_domain": "www.Example.com.",
    "final_rule_name": "no-upload",
    "final_rule_group_name": "web",
    "error": {"token": "http_request_denied"},
}
ADDRESS = {**RECORD, "client_src_ip": "2001:db8::9", "client_identity": "", "dest_domain": None, "dest_ip": "192.0.2.7"}


@pytest.mark.parametrize(
    "choice",
    [
        Choice(),
        Choice(types=frozenset(["deny", "alert"])),
        Choice(networks=(ip_network("10.9.0.0/16"), ip_network("10.2.0.0/16"))),
        Choice(networks=(ip_network("10.9.0.0/16"),), identities=frozenset(["anna"])),
        Choice(host="WWW.example.com"),
        Choice(host=".example.com"),
        Choice(host=".www.example.com."),
        Choice(rule="web/no-upload"),
        Choice(rule="no-upload"),
        Choice(rule="web"),
        Choice(rule="http_request_denied"),
        Choice(since=1000, until=1000),
    ],
)
def test_taken(choice: Choice) -> None:
    """Each question that this record answers."""
    assert choice.takes(RECORD)


@pytest.mark.parametrize(
    "choice",
    [
        Choice(types=frozenset(["alert"])),
        Choice(networks=(ip_network("10.9.0.0/16"), ip_network("::/0"))),
        Choice(identities=frozenset(["bert"])),
        Choice(host="example.com"),
        Choice(host=".ample.com"),
        Choice(rule="web/other"),
        Choice(since=1001),
        Choice(until=999),
        Choice(types=frozenset(["deny"]), host="example.org"),
    ],
)
def test_not_taken(choice: Choice) -> None:
    """All that is asked must hold."""
    assert not choice.takes(RECORD)


def test_addresses() -> None:
    """A destination without a name is asked for by its address; a client's may be IPv6."""
    assert Choice(host="192.0.2.7", networks=(ip_network("2001:db8::/32"),)).takes(ADDRESS)


@pytest.mark.parametrize("record", [{}, {"client_src_ip": "***"}, {"event_timestamp": "***"}, {"error": "x"}])
def test_masked_and_missing_values_match_nothing(record: dict[str, Any]) -> None:
    """What a record does not say it cannot be found by."""
    for choice in (
        Choice(networks=(ip_network("0.0.0.0/0"),)),
        Choice(since=0),
        Choice(host="a.example"),
        Choice(rule="web"),
    ):
        assert not choice.takes(record)
