"""Records as RFC 5424 messages: what a strict reader of the grammar makes of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.telemetry.syslog_message import severity, syslog_finish

# RFC 5424, section 6.
MESSAGE = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([!-~]{1,255}) "
    rb"([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) - (.*)",
    re.DOTALL,
)


def finish(*, is_stream: bool = False, **members: Any) -> Any:
    settings = {"facility": "local0", "hostname": "box", "app_name": "netfw", "process": 7, **members}
    return syslog_finish(is_stream=is_stream, **settings)


def test_a_message() -> None:
    record = {"event_timestamp": 1700000000, "started": 1700000000.25, "duration_ms": 500, "kind": "exchange"}
    message = finish()("text", {**record, "final_action": "deny"})
    assert message == b"<132>1 2023-11-14T22:13:20.750Z box netfw 7 exchange - text"


def test_octet_counting() -> None:
    """RFC 6587, section 3.4.1: the length of the message in octets, and a blank."""
    framed = finish(is_stream=True)("grün", {"final_action": "allow", "event_timestamp": 0})
    length, _, message = framed.partition(b" ")
    assert int(length) == len(message)
    assert message.endswith("grün".encode())


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"final_action": "deny"}, 4),
        ({"final_action": "deny", "first_alert_match": "r"}, 4),
        ({"final_action": "allow", "first_alert_match": "r"}, 5),
        ({"kind": "audit"}, 5),
        ({"kind": "dns"}, 6),
        ({"final_action": "allow"}, 6),
    ],
)
def test_severities(record: dict[str, Any], expected: int) -> None:
    assert severity(record) == expected


@given(st.text(max_size=300), st.text(max_size=60), st.text(max_size=50), st.text())
def test_whatever_it_is_given_the_header_has_its_form(hostname: str, app_name: str, kind: str, text: str) -> None:
    record = {"kind": kind, "event_timestamp": 1, "final_action": "allow"}
    found = MESSAGE.fullmatch(finish(hostname=hostname, app_name=app_name)(text, record))
    assert found is not None
    assert int(found[1]) == 16 * 8 + 6
    assert b"\n" not in found[7]
