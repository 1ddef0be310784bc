"""Records counted."""

from __future__ import annotations

from typing import Any

from netfw.telemetry.record_summary import ROWS, Summary

ALLOWED: dict[str, Any] = {
    "event_timestamp": 20,
    "final_action": "allow",
    "client_src_ip": "10.0.0.1",
    "dest_domain": "a.example.",
    "bytes_in": 10,
    "bytes_out": 100,
}
ALERTED = {"matches": [{"action": "alert"}]}
FAILED = {**ALLOWED, "event_timestamp": 10, "error": {"token": "dns_error"}, "all_matches": ALERTED}
DENIED = {
    **ALLOWED,
    "event_timestamp": 30,
    "final_action": "deny",
    "client_identity": "anna",
    "dest_domain": "b.example.",
    "final_rule_name": "r",
    "final_rule_group_name": "g",
    "count": 3,
}


def test_counts() -> None:
    """Each list says one thing; what stands for three counts three times."""
    assert Summary().add([ALLOWED, FAILED, DENIED]).as_data() == {
        "records": 5,
        "first": 10,
        "last": 30,
        "bytes_in": 30,
        "bytes_out": 300,
        "types": {"allow": 2, "deny": 3, "alert": 1},
        "clients": [{"client": "anna", "exchanges": 3}, {"client": "10.0.0.1", "exchanges": 2}],
        "destinations": [{"destination": "b.example", "exchanges": 3}, {"destination": "a.example", "exchanges": 2}],
        "denied_destinations": [{"destination": "b.example", "exchanges": 3}],
        "denied_by": [{"rule": "g/r", "exchanges": 3}],
        "failures": [{"error": "dns_error", "exchanges": 1}],
    }


def test_without_a_rule_the_error_is_the_reason() -> None:
    """A guard's denial, or a limit's."""
    found = Summary().add([{"final_action": "deny", "error": {"token": "destination_ip_prohibited"}}]).as_data()
    assert found["denied_by"] == [{"rule": "destination_ip_prohibited", "exchanges": 1}]


def test_of_long_lists_the_most_are_shown() -> None:
    """A hundred clients are ten rows."""
    found = Summary().add({**ALLOWED, "client_src_ip": f"10.0.0.{number}"} for number in range(100)).as_data()
    assert len(found["clients"]) == ROWS


def test_nothing() -> None:
    """No records, and no time."""
    assert Summary().as_data()["first"] is None
