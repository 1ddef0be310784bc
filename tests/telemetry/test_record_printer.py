"""What an output gets of records: by type, sampled, selected, hidden, in its form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.config.log_model import RECORD_TYPES, OutputSection, RecordForm
from netfw.telemetry.record_printer import RecordPrinter
from netfw.telemetry.record_privacy import Tokens, checked_key

KEY = b"k" * 32


def line(**members: Any) -> bytes:
    record = {
        "event_timestamp": 1700000000, "proxy_name": "p", "final_action": "allow", "client_src_ip": "10.0.0.1",
        "dest_domain": "a.test.", "url": {"scheme": "http", "authority": "a.test", "path": "/", "query": "q=1"},
        "id": "AAAAA-00001", "kind": "exchange", "user_agent": "curl", **members,
    }  # fmt: skip
    return json.dumps(record).encode("ascii") + b"\n"


ALLOWED = line()
DENIED = line(final_action="deny")
ALERTING = line(first_alert_match="rule")
DENIED_WITH_ALERT = line(final_action="deny", first_alert_match="rule")
AUDIT = line(kind="audit")
DNS = line(kind="dns")


def printer(tokens: Tokens | None = None, **members: Any) -> RecordPrinter:
    return RecordPrinter(OutputSection("test", **members), tokens or Tokens(KEY))


def test_without_settings_the_record_is_the_same() -> None:
    for one in (ALLOWED, DENIED, ALERTING, AUDIT, DNS):
        assert json.loads(printer()(one) or b"") == json.loads(one)


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (("allow",), [ALLOWED, ALERTING]),
        (("deny",), [DENIED, DENIED_WITH_ALERT]),
        (("alert",), [ALERTING, DENIED_WITH_ALERT]),
        (("audit",), [AUDIT]),
        (("dns",), [DNS]),
        (("deny", "alert"), [DENIED, ALERTING, DENIED_WITH_ALERT]),
    ],
)
def test_an_output_gets_the_types_that_it_wants(types: tuple[str, ...], expected: list[bytes]) -> None:
    """A record of two types comes where either is wanted, and once."""
    chosen = printer(types=types)
    every = (ALLOWED, DENIED, ALERTING, DENIED_WITH_ALERT, AUDIT, DNS)
    assert [one for one in every if chosen(one) is not None] == expected


def test_each_type_has_its_own_form_and_fields() -> None:
    """Of two types that of a denial holds before that of an alert, and that before what was let pass."""
    chosen = printer(
        forms={
            "allow": RecordForm(format="squid"),
            "deny": RecordForm(fields=("dest_domain",)),
            "alert": RecordForm(format="pretty"),
        }
    )
    assert b"TCP_MISS" in (chosen(ALLOWED) or b"") or b"NONE_NONE" in (chosen(ALLOWED) or b"")
    assert b" ! " in (chosen(ALERTING) or b"")
    for denied in (DENIED, DENIED_WITH_ALERT):
        assert set(json.loads(chosen(denied) or b"")) == {
            "event_timestamp", "proxy_name", "final_action", "dest_domain", "id", "kind",
        }  # fmt: skip


@given(st.floats(0, 1), st.sets(st.sampled_from(RECORD_TYPES)), st.text("ABC012", min_size=1))
def test_denials_and_audits_are_never_sampled(share: float, types: set[str], exchange_id: str) -> None:
    """Whatever somebody made of the settings."""
    forms = dict.fromkeys(RECORD_TYPES, RecordForm(sample=share))
    chosen = printer(forms=forms, types=tuple(types | {"deny", "audit"}))
    for one in (line(final_action="deny", id=exchange_id), line(kind="audit", id=exchange_id)):
        assert "sample_rate" not in json.loads(chosen(one) or b"")


def test_samples_are_the_same_records_everywhere() -> None:
    """By the id, and each says its rate; of alerts only where that is asked for."""
    forms = {"allow": RecordForm(sample=0.25)}
    one, other = printer(forms=forms), printer(forms=forms)
    lines = [line(id=f"ID-{number}") for number in range(2000)]
    kept = [found for each in lines if (found := one(each)) is not None]
    assert [other(each) for each in lines if other(each) is not None] == kept
    assert 400 < len(kept) < 600
    assert {json.loads(found)["sample_rate"] for found in kept} == {0.25}
    assert one(ALERTING) is not None
    alerts = printer(forms={"alert": RecordForm(sample=0.0)})
    assert alerts(ALERTING) is None
    assert alerts(ALLOWED) is not None and alerts(DENIED_WITH_ALERT) is not None


def test_dns_records_are_sampled_by_name_and_moment() -> None:
    """They have no id."""
    chosen = printer(forms={"dns": RecordForm(sample=0.5)})
    lines = [line(kind="dns", id=None, started=1700000000 + number / 8) for number in range(400)]
    assert 120 < sum(chosen(one) is not None for one in lines) < 280


def test_values_are_hidden_by_field_and_a_new_key_makes_other_tokens() -> None:
    tokens = Tokens(KEY)
    treatments = {"client_src_ip": "hash", "user_agent": "mask", "url.query": "drop", "dest_domain": "hash"}
    chosen = printer(tokens, forms=dict.fromkeys(RECORD_TYPES, RecordForm(treatments=treatments)))
    first, again = json.loads(chosen(ALLOWED) or b""), json.loads(chosen(DENIED) or b"")
    assert first["client_src_ip"] == again["client_src_ip"] != "10.0.0.1"
    assert first["user_agent"] == "***"
    assert "query" not in first["url"] and first["url"]["path"] == "/"
    tokens.renew(b"l" * 32)
    later = json.loads(chosen(ALLOWED) or b"")
    # The second part of a token names the key.
    assert later["client_src_ip"].split("-")[1] != first["client_src_ip"].split("-")[1]
    tokens.renew(None)
    assert json.loads(chosen(ALLOWED) or b"")["client_src_ip"] == "***"


def test_a_key_that_can_be_tried_out_is_none() -> None:
    assert checked_key(b" 0123456789abcdef\n", "f") == b"0123456789abcdef"
    with pytest.raises(ValueError, match="f has 3 octets; a key needs 16"):
        checked_key(b"abc\n", "f")
