"""What an output gets of a record: types, samples, fields, forms and tokens; nothing hostile gets through as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netfw import errors
from netfw.policy.decision import RuleRef
from netfw.policy.model import Action, Phase
from netfw.telemetry.exchange_record import build_record
from netfw.telemetry.record_fields import AWS_NAMES, FIELD_NAMES, HASHED, MANDATORY, fields_table
from netfw.telemetry.record_line import record_line
from netfw.telemetry.record_privacy import token_maker, treated
from netfw.telemetry.record_shape import TYPES, Shape, types_of
from netfw.telemetry.record_text import pretty_text, squid_text

RULE = RuleRef("web", "no-upload", Phase.PRE_REQUEST)
FORMATS = ("json", "aws", "squid", "ecs", "ocsf", "pretty")
AUDIT = {
    "event_timestamp": 1768021005,
    "proxy_name": "p",
    "kind": "audit",
    "action": "interception off",
    "changed": True,
    "who": {"user": "root"},
}


def as_line(members: dict[str, Any]) -> bytes:
    return json.dumps(members).encode("ascii") + b"\n"


@pytest.fixture
def allowed(make: Any) -> bytes:
    return record_line(make.allowed(query=b"token=geheim&q=1", client_identity="anna", sni="httpbin.org"))


@pytest.fixture
def denied(make: Any) -> bytes:
    exchange = make.exchange(
        id="DENIED-1",
        decisions=[make.decide(Phase.PRE_REQUEST, Action.DENY, rule=RULE)],
        dest_ip=None,
        status=403,
        client_identity="bert",
    )
    return record_line(exchange)


@pytest.fixture
def alerting(make: Any) -> bytes:
    decisions = [make.decide(phase, Action.ALLOW) for phase in Phase]
    decisions[1] = make.decide(Phase.PRE_REQUEST, Action.ALLOW, alerts=(RULE,))
    return record_line(make.exchange(id="ALERT-1", decisions=decisions))


def text_of(line: bytes, **how: Any) -> str:
    shaped = Shape(**how).text(json.loads(line))
    assert shaped is not None
    return shaped


def test_types(allowed: bytes, denied: bytes, alerting: bytes) -> None:
    lines = {"allow": allowed, "deny": denied, "alert": alerting, "audit": as_line(AUDIT)}
    lines["dns"] = as_line({"kind": "dns", "dest_domain": "a.test."})
    assert set(lines) == set(TYPES)
    for name, line in lines.items():
        # A transaction that only alerted was allowed.
        assert types_of(json.loads(line)) == ({"allow", "alert"} if name == "alert" else {name})


def test_what_says_nothing_of_its_action_is_not_lost() -> None:
    assert types_of({"kind": "exchange"}) == {"deny"}


def test_json_is_all_of_it(allowed: bytes) -> None:
    assert json.loads(text_of(allowed)) == json.loads(allowed)


def test_aws_has_the_eleven_fields_with_a_value_in_order(allowed: bytes) -> None:
    record = json.loads(text_of(allowed, form="aws"))
    assert list(record) == [
        "event_timestamp",
        "proxy_name",
        "final_action",
        "client_src_ip",
        "dest_domain",
        "http_method",
        "dest_ip",
        "http_status_code",
        "final_rule_name",
        "final_rule_group_name",
    ]
    assert (record["dest_domain"], record["final_action"]) == ("httpbin.org.", "allow")


def test_aws_with_a_selection(allowed: bytes) -> None:
    record = json.loads(text_of(allowed, form="aws", fields=("url", "all_matches")))
    assert list(record) == ["event_timestamp", "proxy_name", "final_action", "url", "all_matches"]
    assert record["url"] == {
        "scheme": "http",
        "authority": "httpbin.org",
        "path": "/status/200",
        "query": "token=***&q=1",
        "fragment": "",
    }


def test_a_member_of_a_field_can_be_selected(allowed: bytes) -> None:
    record = json.loads(text_of(allowed, fields=("url.path", "tls.sni")))
    assert record["url"] == {"path": "/status/200"}
    assert record["tls"] == {"sni": "httpbin.org"}
    assert set(record) == {*MANDATORY, "url", "tls"}


def test_forms_of_exchanges_alone_have_no_line_for_others() -> None:
    for form in ("aws", "squid"):
        assert Shape(form=form).text(json.loads(as_line(AUDIT))) is None


def test_squid(allowed: bytes, denied: bytes, make: Any) -> None:
    assert text_of(allowed, form="squid") == (
        "1768021005.375    125 10.0.142.68 TCP_MISS/200 1300 GET http://httpbin.org/status/200?token=***&q=1"
        " anna HIER_DIRECT/192.0.2.7 -"
    )
    assert " TCP_DENIED/403 " in text_of(denied, form="squid")
    assert text_of(denied, form="squid").endswith(" bert HIER_NONE/- -")
    tunnel = record_line(make.allowed(kind="tunnel", method=b"CONNECT", path=None, scheme=None))
    assert " TCP_TUNNEL/200 1300 CONNECT httpbin.org:80 - " in text_of(tunnel, form="squid")


def test_pretty(allowed: bytes, denied: bytes, alerting: bytes) -> None:
    assert text_of(allowed, form="pretty") == (
        "2026-01-10T04:56:45Z + GET http://httpbin.org/status/200?token=***&q=1 200 1.3KiB 125ms from anna (default)"
        " 7F3KQ-92XAB"
    )
    assert " - GET " in text_of(denied, form="pretty") and "(web/no-upload)" in text_of(denied, form="pretty")
    assert " ! GET " in text_of(alerting, form="pretty")
    assert " # interception off by " in text_of(as_line(AUDIT), form="pretty")


def test_ecs(denied: bytes, allowed: bytes) -> None:
    document = json.loads(text_of(denied, form="ecs"))
    assert document["@timestamp"] == "2026-01-10T04:56:45.375Z"
    assert document["event"]["type"] == ["connection", "denied"]
    assert document["event"]["category"] == ["network", "web"]
    assert document["event"]["outcome"] == "failure"
    assert document["event"]["duration"] == 125_000_000
    assert document["event"]["id"] == "DENIED-1"
    assert document["rule"] == {"name": "no-upload", "ruleset": "web"}
    assert document["source"] == {"address": "10.0.142.68", "ip": "10.0.142.68", "port": 40123, "bytes": 120}
    assert document["destination"] == {"address": "httpbin.org", "domain": "httpbin.org", "port": 80, "bytes": 1300}
    assert document["user"] == {"name": "bert"}
    assert document["url"]["full"] == "http://httpbin.org/status/200"
    assert document["netfw"]["generation"] == 3
    assert json.loads(text_of(allowed, form="ecs"))["tls"]["client"] == {"server_name": "httpbin.org"}


def test_a_token_is_no_ip_to_ecs(allowed: bytes) -> None:
    text = text_of(allowed, form="ecs", treatments={"client_src_ip": "hash"}, token=token_maker(b"k" * 32))
    source = json.loads(text)["source"]
    assert source["address"].startswith("h-") and "ip" not in source


def test_ocsf(allowed: bytes, denied: bytes, alerting: bytes, make: Any) -> None:
    event = json.loads(text_of(denied, form="ocsf"))
    assert (event["class_uid"], event["activity_id"], event["type_uid"]) == (4002, 3, 400203)
    assert (event["action_id"], event["disposition_id"], event["severity_id"]) == (2, 2, 3)
    assert event["time"] == 1768021005375
    assert event["firewall_rule"] == {"name": "no-upload", "category": "web"}
    assert event["http_request"]["url"]["hostname"] == "httpbin.org"
    assert event["metadata"]["profiles"] == ["security_control"]
    assert json.loads(text_of(alerting, form="ocsf"))["disposition"] == "Alert"
    assert json.loads(text_of(allowed, form="ocsf"))["status"] == "Success"
    refused = make.exchange(kind="connection", method=None, path=None, authority=None, error=errors.Overloaded("full"))
    event = json.loads(text_of(record_line(refused), form="ocsf"))
    assert (event["class_uid"], event["type_uid"]) == (4001, 400105)


def test_denials_and_alerts_are_never_sampled(denied: bytes, alerting: bytes, allowed: bytes) -> None:
    shape = Shape(sample=0.0)
    assert shape.text(json.loads(denied)) is not None
    assert shape.text(json.loads(alerting)) is not None
    assert shape.text(json.loads(as_line(AUDIT))) is not None
    assert shape.text(json.loads(allowed)) is None


def test_a_sample_is_about_its_share_and_the_same_everywhere(make: Any) -> None:
    lines = [record_line(make.allowed(id=f"ID-{number}")) for number in range(2000)]
    taken = [line for line in lines if Shape(sample=0.25).text(json.loads(line)) is not None]
    assert 400 < len(taken) < 600
    assert taken == [line for line in lines if Shape(sample=0.25).text(json.loads(line)) is not None]
    assert json.loads(text_of(taken[0], sample=0.25))["sample_rate"] == 0.25
    # Who keeps more keeps those too.
    assert all(Shape(sample=0.5).text(json.loads(line)) is not None for line in taken)


def test_treatments(allowed: bytes) -> None:
    token = token_maker(b"k" * 32)
    before = json.loads(allowed)
    how = {
        "client_src_ip": "hash",
        "client_identity": "mask",
        "user_agent": "drop",
        "url.query": "drop",
        "tls.sni": "hash",
    }
    record = treated(json.loads(allowed), how, token)
    assert record["client_src_ip"] == token("10.0.142.68")
    assert record["client_identity"] == "***"
    assert "user_agent" not in record
    assert "query" not in record["url"] and record["url"]["path"] == "/status/200"
    assert record["tls"]["sni"] == token("httpbin.org")
    assert before == json.loads(allowed)


def test_tokens_are_stable_by_key_and_say_which() -> None:
    one, other = token_maker(b"a" * 32), token_maker(b"b" * 32)
    assert one("10.0.0.1") == token_maker(b"a" * 32)("10.0.0.1") != one("10.0.0.2")
    assert one("10.0.0.1").split("-")[1] != other("10.0.0.1").split("-")[1]
    assert one("10.0.0.1").split("-")[2] != other("10.0.0.1").split("-")[2]


def test_without_a_key_what_was_to_be_hashed_is_masked(allowed: bytes) -> None:
    assert treated(json.loads(allowed), {"client_src_ip": "hash"}, None)["client_src_ip"] == "***"


HOSTILE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["\r\n2026 - DENY", "\x1b[2J", "\u202etxt", "\ud800", "a b\tc", "\u2028", "\x85"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    values=st.tuples(HOSTILE, HOSTILE, HOSTILE),
    form=st.sampled_from(FORMATS),
    treatment=st.sampled_from(["keep", "hash"]),
)
def test_every_form_is_one_harmless_line(make: Any, values: tuple[str, str, str], form: str, treatment: str) -> None:
    agent, path, identity = values
    exchange = make.allowed(
        user_agent=agent.encode("utf-8", "surrogatepass"),
        path=path.encode("utf-8", "surrogatepass"),
        client_identity=identity,
    )
    how = dict.fromkeys(HASHED, treatment)
    text = text_of(record_line(exchange), form=form, treatments=how, token=token_maker(b"k" * 32))
    assert text.isprintable()
    text.encode("utf-8")
    if form in ("json", "aws", "ecs", "ocsf"):
        assert isinstance(json.loads(text), dict)
    if form == "squid":
        assert len(text.split()) == 10


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_does_with_the_least_that_can_be_selected(form: str, denied: bytes) -> None:
    everything = dict.fromkeys(set(FIELD_NAMES) - set(MANDATORY), "drop")
    assert text_of(denied, form=form, treatments=everything)
    assert text_of(denied, form=form, fields=("http_method",))


def test_the_table_knows_every_field_that_a_record_has(make: Any) -> None:
    exchange = make.exchange(
        decisions=[make.decide(Phase.PRE_DNS, Action.ALLOW, alerts=(RULE,))],
        source_vpc="v",
        source_vpce="e",
        source_account="1",
        client_identity="c",
        parent_id="P",
        query=b"a=b",
        traceparent=b"00-1-2-3",
        origin_status=500,
        intercepted=True,
        sni="s",
        names={"connect": "a"},
        route={"proxy": "p", "tried": ["q: refused"]},
        error=errors.Overloaded("full"),
        close_reason="idle",
    )
    known = {name for name in FIELD_NAMES if "." not in name}
    assert known - set(build_record(exchange)) == {"count", "sample_rate"}
    assert set(build_record(exchange)) <= known
    assert len(AWS_NAMES) == 22


def test_the_documented_table_is_the_one_in_force() -> None:
    assert fields_table() in (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")


def test_pretty_and_squid_bear_masked_values() -> None:
    record = {"event_timestamp": 1, "final_action": "allow", "url": "***", "dest_domain": "***", "client_src_ip": "***"}
    assert "*** from ***" in pretty_text(record)
    assert squid_text(record) is not None
