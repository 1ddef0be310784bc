"""The printed record says what the built one says, on one line of printable ASCII, whatever peers send."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netfw import errors
from netfw.policy.decision import Decision, Match, RuleRef
from netfw.policy.model import Action, Phase
from netfw.telemetry.exchange_record import build_record
from netfw.telemetry.record_line import record_line

HOSTILE = (
    "\r\n\x00\x1b[31m\u202e\u2066\x85\x9b\x7f\ud800\"\\u0041',}{\u2028\U000e0001",
    '","final_action":"allow',
    "\\",
    "\\u000a",
    "x" * 5000,
)
text = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(), max_size=40), st.text('a%=&;@/"\\\n', max_size=40))
raw = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([line.encode("utf-8", "surrogatepass") for line in HOSTILE]),
    st.sampled_from([b"\xff\xfe\xc3(", b"token=\r\nsecret", b"a" * 70000]),
)
seconds = st.floats(0, 1e6, allow_nan=False)
epoch = st.floats(0, 4e9, allow_nan=False)
size = st.integers(0, 2**63)


def optional(strategy: Any) -> Any:
    return st.one_of(st.none(), strategy)


RULES = [
    RuleRef(group, name, phase) for group, name in (("", "default"), ("g", 'r"\n'), ("\u202e", "x")) for phase in Phase
]
rules = st.sampled_from(RULES)
matches = st.builds(Match, rules, st.sampled_from(Action))
decisions = st.builds(
    Decision,
    phase=st.sampled_from(Phase),
    action=st.sampled_from([Action.ALLOW, Action.DENY]),
    rule=rules,
    matches=st.lists(matches, max_size=3).map(tuple),
    reason=st.none(),
)
failures = st.one_of(
    st.builds(lambda message, detail: errors.OriginProtocolError(message, detail=detail), text, text),
    st.builds(lambda message, decision: errors.Denied(message, decision=decision), text, optional(decisions)),
    st.builds(errors.MisdirectedRequest, text),
)
addresses = st.lists(st.sampled_from([ip_address("192.0.2.1"), ip_address("2001:db8::1")]), max_size=40).map(tuple)


@st.composite
def exchanges(draw: Any, make: Any) -> Any:
    host = st.builds(make.host, text, st.booleans())
    resolution = st.builds(
        make.resolution,
        addresses,
        st.lists(text, max_size=40).map(tuple),
        st.integers(0, 2**31),
        text,
        st.sampled_from(["dns", "cache", "hosts", "literal"]),
    )
    steps = st.dictionaries(st.sampled_from(["dns", "connect", "tls", "first_byte", "total"]), seconds)
    return draw(
        st.builds(
            make.exchange,
            id=text,
            kind=st.sampled_from(["exchange", "tunnel", "connect", "connection"]),
            started=epoch,
            finished=epoch,
            proxy_name=text,
            listener_name=text,
            client_ip=text,
            client_port=st.integers(0, 65535),
            source_vpc=optional(text),
            source_vpce=optional(text),
            source_account=optional(text),
            client_identity=optional(text),
            parent_id=optional(text),
            generation=optional(size),
            scheme=optional(st.sampled_from(["http", "https"])),
            authority=optional(st.builds(make.authority, host, st.integers(1, 65535))),
            method=optional(raw),
            path=optional(raw),
            query=optional(raw),
            http_version=optional(text),
            user_agent=optional(raw),
            traceparent=optional(raw),
            decisions=st.lists(decisions, max_size=3),
            resolution=optional(resolution),
            dest_ip=optional(text),
            dest_port=optional(st.integers(1, 65535)),
            status=optional(st.integers(100, 999)),
            origin_status=optional(st.integers(100, 999)),
            request_size=size,
            response_size=size,
            bytes_in=size,
            bytes_out=size,
            durations=steps,
            sni=optional(text),
            client_tls_version=optional(text),
            client_alpn=optional(text),
            origin_tls_version=optional(text),
            origin_certificate=optional(st.dictionaries(text, text, max_size=3)),
            names=optional(st.dictionaries(text, optional(text), max_size=3)),
            route=optional(st.dictionaries(text, text | st.lists(text, max_size=3), max_size=3)),
            intercepted=st.booleans(),
            error=optional(failures),
            close_reason=optional(text),
        )
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_the_line_says_what_the_record_says(data: Any, make: Any) -> None:
    """Both forms are one record; the line is one line of printable ASCII."""
    exchange = data.draw(exchanges(make))
    line = record_line(exchange)
    assert build_record(exchange) == json.loads(line)
    assert line.endswith(b"\n")
    assert all(0x20 <= byte <= 0x7E for byte in line[:-1])


TEXT_FIELDS = [
    "id", "kind", "proxy_name", "listener_name", "client_ip", "source_vpc", "source_vpce", "source_account",
    "client_identity", "parent_id", "http_version", "dest_ip", "sni", "client_tls_version", "client_alpn",
    "origin_tls_version", "close_reason",
]  # fmt: skip
BYTE_FIELDS = ["method", "path", "query", "user_agent", "traceparent"]
INJECTION = b'x\r\n{"final_action":"allow"}\r\n\x1b[2J\x00\xff\xfe\xe2\x80\xae\xc2\x85"},'


@pytest.mark.parametrize("name", TEXT_FIELDS + BYTE_FIELDS)
def test_no_field_can_break_the_line(make: Any, name: str) -> None:
    """Control characters, quotes and bidirectional marks in any one field stay data of that field."""
    value = INJECTION if name in BYTE_FIELDS else INJECTION.decode("utf-8", "surrogateescape")
    exchange = make.exchange(**{name: value})
    line = record_line(exchange)
    assert line.count(b"\n") == 1
    assert all(0x20 <= byte <= 0x7E for byte in line[:-1])
    assert json.loads(line)["final_action"] == "deny"
    assert json.loads(line) == build_record(exchange)


def test_the_largest_line_is_bounded(make: Any) -> None:
    """Peers cannot make a record longer than its limits allow, whatever they send."""
    much = b"\xff" * 1_000_000
    words = "\u202e" * 1_000_000
    exchange = make.exchange(
        method=much, path=much, query=much, user_agent=much, traceparent=much, sni=words, client_identity=words,
        origin_certificate={f"{words}{number}": words for number in range(2)},
        error=errors.OriginProtocolError("no", detail=words),
    )  # fmt: skip
    assert len(record_line(exchange)) < 200_000
