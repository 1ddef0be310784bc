"""Refused leaves, counted by host and client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.telemetry.pins import CLIENTS_A_HOST, HOSTS, SIGNS, Pins, noted_in_record

ROW = {"host": "a.test", "client": "10.0.0.1", "signs": {"unknown_ca": 1}, "first": 1.0, "last": 2.0}


def test_counts_by_host_client_and_sign():
    """With the first and the last time."""
    pins = Pins()
    for client, sign, now in (("1", "unknown_ca", 5.0), ("1", "closed", 7.0), ("2", "unknown_ca", 6.0)):
        pins.note("a.test", client, sign, now)
    pins.note("a.test", "1", "unknown_ca", 9.0)
    assert pins.rows() == [
        {"host": "a.test", "client": "2", "signs": {"unknown_ca": 1}, "first": 6.0, "last": 6.0},
        {"host": "a.test", "client": "1", "signs": {"unknown_ca": 2, "closed": 1}, "first": 5.0, "last": 9.0},
    ]


def test_other_alerts_are_no_refusals():
    """Nor is whatever a peer may call one."""
    pins = Pins()
    for sign in ("handshake_failure", "close_notify", "", "x" * 1000):
        pins.note("a.test", "1", sign, 1.0)
    assert pins.rows() == []


def test_it_is_bounded():
    """Those that were seen last stay."""
    pins = Pins()
    for number in range(HOSTS + 10):
        pins.note(f"{number}.test", "1", "closed", number)
    for number in range(CLIENTS_A_HOST + 10):
        pins.note("209.test", f"c{number}", "closed", 500 + number)
    rows = pins.rows()
    assert len(rows) == HOSTS + CLIENTS_A_HOST - 1
    assert rows[0]["host"] == "10.test"
    assert (rows[-1]["host"], rows[-1]["client"]) == ("209.test", f"c{CLIENTS_A_HOST + 9}")


notes = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("123"), st.sampled_from(sorted(SIGNS)), st.integers(0, 99)),
    max_size=30,
)


def table(pins: Pins) -> dict[tuple[str, str], Any]:
    return {(row["host"], row["client"]): row for row in pins.rows()}


@given(one=notes, other=notes)
def test_two_processes_add_up(one, other):
    """By way of JSON, to what one would have counted."""
    all_in_one, first, second = Pins(), Pins(), Pins()
    for note in one + other:
        all_in_one.note(*note)
    for note in one:
        first.note(*note)
    for note in other:
        second.note(*note)
    total = Pins()
    total.add_rows(json.loads(json.dumps(first.rows())))
    total.add_rows(json.loads(json.dumps(second.rows())))
    assert table(total) == table(all_in_one)


@pytest.mark.parametrize(
    "rows",
    [
        None, 5, [None], [[]], [{}], [{**ROW, "more": 1}], [{**ROW, "host": 1}], [{**ROW, "first": "1"}],
        [{**ROW, "signs": {"unknown_ca": 0}}], [{**ROW, "signs": {"unknown_ca": True}}], [{**ROW, "signs": {"x": 1}}],
        [{**ROW, "signs": []}], [{**ROW, "last": None}],
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused(rows):
    """Nothing of another process is believed unread."""
    with pytest.raises(ValueError, match=r"."):
        Pins().add_rows(rows)


RECORD = {"dest_domain": "a.test.", "client_src_ip": "10.0.0.1", "event_timestamp": 7}


@pytest.mark.parametrize(
    ("members", "sign"),
    [
        ({"close_reason": "client_tls_alert", "error": {"detail": "unknown_ca"}}, "unknown_ca"),
        ({"close_reason": "no_application_protocol"}, "no_application_protocol"),
        ({"close_reason": "closed_after_leaf"}, "closed"),
        ({"close_reason": "client_tls_alert", "error": {"detail": "internal_error"}}, None),
        ({"close_reason": "client_tls_alert"}, None),
        ({"close_reason": "client_closed"}, None),
        ({}, None),
    ],
)
def test_records_tell(members, sign):
    """What was refused is found again in the records."""
    expected = None if sign is None else ("a.test", "10.0.0.1", sign, 7.0)
    assert noted_in_record({**RECORD, **members}) == expected


@pytest.mark.parametrize("record", [None, 5, [], {"close_reason": []}, {"close_reason": "closed_after_leaf"}])
def test_what_is_no_record(record):
    """It tells of nothing."""
    assert noted_in_record(record) is None
