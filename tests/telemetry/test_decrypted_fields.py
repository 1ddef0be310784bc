"""What only decryption shows: masked wherever it stands, and told by no walk through the rules."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.policy.load import load_policy
from netfw.telemetry.decrypted_fields import NOTE, is_decrypted, veiled
from netfw.telemetry.denial_report import Asked, Report, report
from netfw.testing.proxy_process import condition, policy, rule

SECRET = "s3cr3tpath"
RECORD: dict[str, Any] = {
    "event_timestamp": 1_800_000_000, "proxy_name": "p", "final_action": "deny", "client_src_ip": "10.0.0.1",
    "client_src_port": 4000, "dest_domain": "origin.test.", "http_method": "GET", "dest_port": 443,
    "http_status_code": 403, "final_rule_name": "default", "final_rule_group_name": "",
    "all_matches": {"matches": [{"rule_id": "default", "hook": "pre_request", "action": "deny"}]},
    "url": {"scheme": "https", "authority": "origin.test", "path": f"/{SECRET}", "query": SECRET, "fragment": ""},
    "id": "2HA26-1F5FD", "kind": "exchange", "listener": "main", "generation": 1, "user_agent": SECRET,
    "traceparent": SECRET, "tls": {"intercepted": True, "sni": "origin.test"},
    "error": {"token": "http_request_denied", "fault": "policy", "message": "denied", "detail": SECRET},
}  # fmt: skip
RULES = policy(
    groups={
        "g": {
            "PreREQUEST": [
                rule("path", "DENY", condition("request:Http:Uri", "StringLike", f"/{SECRET[:4]}*")),
                rule("agent", "DENY", condition("request:Http:UserAgent", "StringLike", "*path")),
                rule("rest", "DENY", condition("request:Http:Method", "StringEquals", "GET")),
            ]
        }
    }
)


def told(record: dict[str, Any], *, decrypted: bool) -> Report:
    """What `netfw why` tells."""
    asked = Asked(load_policy(RULES, "test"), "as they are now", False)
    return report(record, asked, in_store=False, decrypted=decrypted)


def test_without_the_right_nothing_of_it_is_told() -> None:
    """Not in the record, not in the facts, not by what a rule says of it; a note says which right it takes."""
    before = copy.deepcopy(RECORD)
    masked = told(RECORD, decrypted=False)
    shown = json.dumps(masked.as_data()) + "\n".join(masked.lines())
    assert SECRET not in shown
    assert "g/path: matched" not in shown and "g/path: not yet certain" in shown
    assert NOTE in shown and "request:Http:Uri" in shown
    assert before == RECORD
    whole = told(RECORD, decrypted=True)
    assert SECRET in json.dumps(whole.as_data()) and "g/path: matched" in "\n".join(whole.lines())


def test_where_it_went_and_what_came_of_it_stays() -> None:
    """Operating a proxy takes it."""
    masked = veiled(RECORD)
    assert masked["url"] == {**RECORD["url"], "path": "/***", "query": "***"}
    kept = ("dest_domain", "http_method", "http_status_code", "final_rule_name", "client_src_ip", "tls")
    assert {name: masked[name] for name in kept} == {name: RECORD[name] for name in kept}
    assert veiled(masked) == masked


@pytest.mark.parametrize("change", [{"tls": {"intercepted": False}}, {"tls": None}, {"url": None}])
def test_what_was_not_decrypted_is_shown_as_it_is(change: dict[str, Any]) -> None:
    """Plain HTTP is there for everybody on the wire."""
    record = {name: value for name, value in {**RECORD, **change}.items() if value is not None}
    assert not is_decrypted(record)
    assert veiled(record) == record


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["url", "tls", "error", "user_agent", "id"]), values))
def test_no_record_breaks_it(record: dict[str, Any]) -> None:
    """A line that another program wrote may be anything."""
    assert veiled(veiled(record)) == veiled(record)
