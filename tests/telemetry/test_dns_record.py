"""Answers of the DNS as records, and in the forms of outputs."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest

from netfw.config.log_model import OutputSection, RecordForm
from netfw.telemetry.dns_record import dns_record
from netfw.telemetry.record_fields import FIELD_NAMES
from netfw.telemetry.record_printer import RecordPrinter
from netfw.telemetry.record_privacy import Tokens
from netfw.telemetry.record_summary import Summary
from netfw.transport.dns_heard import DnsHeard

ANSWER = DnsHeard(
    "www.test", "A", "192.0.2.53:53", 0.25, "NOERROR", (ip_address("192.0.2.1"),), ("edge.test",), ttl=60
)
FAILED = DnsHeard("www.test", "AAAA", "192.0.2.53:53", 2.0, error="it was silent", timed_out=True)


def line(heard: DnsHeard) -> bytes:
    return dns_record(heard, proxy_name="p", now=1_700_000_000.5)


def shown(heard: DnsHeard, form: str) -> str | None:
    output = OutputSection("o", forms={"dns": RecordForm(format=form)})
    found = RecordPrinter(output, Tokens())(line(heard))
    return None if found is None else found.decode().rstrip("\n")


def test_the_record() -> None:
    assert json.loads(line(ANSWER)) == {
        "event_timestamp": 1700000000, "proxy_name": "p", "dest_domain": "www.test.", "kind": "dns",
        "started": 1700000000.25, "duration_ms": 250, "durations": {"dns": 0.25},
        "dns": {
            "type": "A", "source": "dns", "resolver": "192.0.2.53:53", "code": "NOERROR", "ttl": 60,
            "chain": ["edge.test"], "addresses": ["192.0.2.1"],
        },
    }  # fmt: skip
    failed = json.loads(line(FAILED))
    assert failed["error"] == {"token": "dns_timeout", "message": "it was silent"}
    assert set(failed) <= set(FIELD_NAMES)


def test_for_people() -> None:
    assert shown(ANSWER, "pretty") == "2023-11-14T22:13:20Z ~ DNS A www.test 192.0.2.1 250ms from 192.0.2.53:53"
    assert "~ DNS AAAA www.test it was silent" in (shown(FAILED, "pretty") or "")


@pytest.mark.parametrize("form", ["aws", "squid"])
def test_forms_that_have_no_line_for_it(form: str) -> None:
    assert shown(ANSWER, form) is None


def test_in_schemas() -> None:
    ecs: dict[str, Any] = json.loads(shown(ANSWER, "ecs") or "")
    assert ecs["dns"]["question"] == {"name": "www.test", "type": "A"}
    assert ecs["dns"]["answers"] == [{"data": "192.0.2.1", "ttl": 60}]
    assert ecs["event"]["type"] == ["protocol", "info"] and ecs["network"] == {"protocol": "dns"}
    ocsf: dict[str, Any] = json.loads(shown(ANSWER, "ocsf") or "")
    assert (ocsf["class_uid"], ocsf["class_name"], ocsf["type_uid"]) == (4003, "DNS Activity", 400302)
    assert ocsf["query"] == {"hostname": "www.test", "type": "A"}
    assert ocsf["answers"] == [{"rdata": "192.0.2.1", "ttl": 60}]


def test_they_are_no_exchanges_of_anybody() -> None:
    """Counted as what they are, and not among destinations."""
    found = Summary().add([json.loads(line(ANSWER))]).as_data()
    assert found["types"] == {"dns": 1}
    assert found["destinations"] == [] and found["failures"] == []
