"""Records as OTLP, against opentelemetry-proto's own definitions; ids, names, and what is hidden stays hidden."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.epollreactor import EPollReactor

from netfw.config.log_model import OutputSection, RecordForm
from netfw.telemetry.carrier import Carried
from netfw.telemetry.delivery_secrets import HttpCredentials
from netfw.telemetry.http_carrier import HttpCarrier
from netfw.telemetry.otlp_message import CONTENT_TYPE, accepted, envelope, log_record, span
from netfw.telemetry.record_printer import RecordPrinter
from netfw.telemetry.spool import BatchLimits, Spool
from netfw.telemetry.spooled_destination import SpooledDestination, SpooledLog
from netfw.testing.collector import Answer, Collector, Posted
from netfw.testing.stores import wait_until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECORD: dict[str, Any] = {
    "event_timestamp": 1768021005,
    "proxy_name": "p",
    "final_action": "allow",
    "kind": "exchange",
    "id": "2HA26-1F5FD",
    "client_src_ip": "10.0.0.7",
    "client_src_port": 40000,
    "dest_domain": "httpbin.org.",
    "dest_port": 443,
    "url": {"scheme": "https", "authority": "httpbin.org", "path": "/a", "query": "b=1", "fragment": ""},
    "http_method": "GET",
    "http_status_code": 200,
    "started": 1768021004.25,
    "duration_ms": 500,
    "durations": {"dns": 0.25, "total": 0.5},
    "all_matches": {"matches": [{"rule_id": "default", "hook": "pre_dns", "action": "allow"}]},
    "trace_id": TRACE,
    "span_id": PARENT,
    "tls": {"intercepted": True},
}


def hexadecimal_to_base64(value: Any) -> Any:
    """OTLP writes ids in hexadecimal, protobuf's own JSON in base64: the one thing in which they differ."""
    if isinstance(value, dict):
        return {
            name: base64.b64encode(bytes.fromhex(member)).decode()
            if name in ("traceId", "spanId", "parentSpanId")
            else hexadecimal_to_base64(member)
            for name, member in value.items()
        }
    return [hexadecimal_to_base64(member) for member in value] if isinstance(value, list) else value


def parsed(body: bytes, path: str) -> Any:
    """The request by opentelemetry-proto's definitions. Raises for any name or type that is not in them."""
    json_format = pytest.importorskip("google.protobuf.json_format", reason="needs protobuf and opentelemetry-proto")
    proto = "opentelemetry.proto.collector"
    if path.endswith("/v1/logs"):
        kind = pytest.importorskip(f"{proto}.logs.v1.logs_service_pb2").ExportLogsServiceRequest
    else:
        kind = pytest.importorskip(f"{proto}.trace.v1.trace_service_pb2").ExportTraceServiceRequest
    return json_format.ParseDict(hexadecimal_to_base64(json.loads(body)), kind())


def attributes(message: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in message.attributes}


def printed(record: dict[str, Any], finish: Any, **form: Any) -> bytes | None:
    """As an output prints it."""
    kinds = ("allow", "deny", "alert", "audit")
    output = OutputSection("o", forms={kind: RecordForm(**form) for kind in kinds})
    return RecordPrinter(output, lambda value: f"token-of-{len(value)}", finish)(json.dumps(record).encode())


def as_log(record: dict[str, Any], **form: Any) -> Any:
    line = printed(record, log_record, **form)
    assert line is not None
    request = parsed(envelope("logs", {"service.name": "netfw"}, "1")([line]), "/v1/logs")
    return request.resource_logs[0].scope_logs[0].log_records[0]


def as_span(record: dict[str, Any], **form: Any) -> Any:
    line = printed(record, span, **form)
    assert line is not None
    request = parsed(envelope("spans", {"service.name": "netfw"}, "1")([line]), "/v1/traces")
    return request.resource_spans[0].scope_spans[0].spans[0]


def test_a_log_record_has_the_records_time_severity_trace_and_names() -> None:
    found = as_log(RECORD)
    assert found.time_unix_nano == 1768021004750000000
    assert (found.severity_number, found.severity_text) == (9, "INFO")
    assert found.trace_id.hex() == TRACE and found.span_id.hex() == as_span(RECORD).span_id.hex()
    assert "GET https://httpbin.org/a?b=1 200" in found.body.string_value
    names = attributes(found)
    assert names["client.address"] == "10.0.0.7" and names["http.response.status_code"] == 200
    assert (names["server.address"], names["server.port"]) == ("httpbin.org", 443)
    assert (names["url.full"], names["url.path"]) == ("https://httpbin.org/a?b=1", "/a")
    assert names["netfw.final_action"] == "allow" and names["netfw.id"] == "2HA26-1F5FD"
    durations = {one.key: one.value.double_value for one in names["netfw.durations"].values}
    assert durations == {"dns": 0.25, "total": 0.5}


@pytest.mark.parametrize("changes", [{"final_action": "deny"}, {"first_alert_match": "watch"}])
def test_denials_and_alerts_are_warnings(changes: dict[str, Any]) -> None:
    assert as_log({**RECORD, **changes}).severity_text == "WARN"


def test_a_span_is_the_exchange_below_the_clients_span() -> None:
    found = as_span(RECORD)
    assert (found.trace_id.hex(), found.parent_span_id.hex()) == (TRACE, PARENT)
    assert (found.name, found.kind) == ("GET", 2)
    assert found.end_time_unix_nano - found.start_time_unix_nano == 500_000_000
    assert found.status.code == 0
    denied = as_span({**RECORD, "final_action": "deny", "final_rule_name": "no-denied"})
    assert (denied.status.code, denied.status.message) == (2, "denied by no-denied")
    failed = as_span({**RECORD, "error": {"token": "dns_error", "message": "no such name"}})
    assert (failed.status.code, failed.status.message) == (2, "no such name")
    assert attributes(failed)["error.type"] == "dns_error"


def test_without_the_clients_trace_a_tunnel_and_what_is_in_it_are_one() -> None:
    bare = {name: value for name, value in RECORD.items() if name not in ("trace_id", "span_id")}
    tunnel = as_span({**bare, "id": "T", "kind": "connect", "http_method": "CONNECT"})
    inner = as_span({**bare, "id": "I", "parent_id": "T"})
    assert tunnel.trace_id == inner.trace_id and len(tunnel.trace_id) == 16 and any(tunnel.trace_id)
    assert inner.parent_span_id == tunnel.span_id and not tunnel.parent_span_id
    assert as_span({**bare, "id": "O"}).trace_id != tunnel.trace_id


def test_what_is_no_exchange_has_no_span() -> None:
    assert printed({"kind": "audit", "event_timestamp": 1, "action": "reload"}, span) is None
    assert as_log({"kind": "audit", "event_timestamp": 1, "action": "reload"}).time_unix_nano == 10**9


def test_what_is_hidden_is_in_no_part_of_it() -> None:
    treatments = {"client_src_ip": "hash", "url": "drop", "dest_domain": "mask", "trace_id": "drop"}
    for found in (as_log(RECORD, treatments=treatments), as_span(RECORD, treatments=treatments)):
        text = str(found)
        assert "10.0.0.7" not in text and "httpbin" not in text and "b=1" not in text
        assert attributes(found)["client.address"] == "token-of-8" and found.trace_id.hex() != TRACE
    chosen = attributes(as_log(RECORD, fields=("dest_domain",)))
    assert set(chosen) == {"netfw.proxy_name", "netfw.final_action", "netfw.kind", "netfw.id", "netfw.dest_domain"} | {
        "server.address"
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*RECORD, "error", "count", "other"]), JSON, max_size=6))
def test_any_values_are_a_valid_message(changes: dict[str, Any]) -> None:
    """Of those fields that time and print do not compute with."""
    plain = ("event_timestamp", "started", "duration_ms", "kind", "final_action", "all_matches", "url", "error")
    record = {**RECORD, **{name: value for name, value in changes.items() if name not in plain}}
    record = {name: value for name, value in record.items() if value is not None}
    assert as_log(record).time_unix_nano
    assert len(as_span(record).span_id) == 8


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (b"", 0),
        (b"{}", 0),
        (b'{"partialSuccess":{}}', 0),
        (b'{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"old"}}', 3),
        (b'{"partialSuccess":{"rejectedSpans":2}}', 2),
        (b'{"partialSuccess":{"rejectedSpans":"99"}}', 5),
        (b'{"partialSuccess":{"errorMessage":"a warning"}}', 0),
        (b"\x00protobuf", 0),
        (b"[]", 0),
        (b'{"partialSuccess":{"rejectedSpans":-4}}', 0),
    ],
)
def test_a_server_may_refuse_a_part(answer: bytes, refused: int) -> None:
    assert accepted(answer, 5).refused == refused


def test_nothing_refused_is_everything_carried() -> None:
    assert accepted(b"{}", 5) == Carried()


@pytest.fixture(scope="module")
def reactor() -> Iterator[Any]:
    turning: Any = EPollReactor()
    thread = threading.Thread(target=turning.run, kwargs={"installSignalHandlers": False}, daemon=True)
    thread.start()
    yield turning
    turning.callFromThread(turning.stop)
    thread.join(10)


@pytest.mark.parametrize("signal", ["logs", "spans"])
def test_killed_and_restored_during_load_each_body_being_checked(tmp_path: Path, reactor: Any, signal: str) -> None:
    """A receiver takes nothing that the definitions do not allow; below the spool's limit nothing is lost."""
    path = "/v1/logs" if signal == "logs" else "/v1/traces"
    seen: list[str] = []
    broken: list[BaseException] = []

    def check(posted: Posted) -> Answer:
        try:
            request = parsed(posted.body, posted.path)
            assert posted.headers["content-type"] == CONTENT_TYPE
            messages = (
                [one for group in request.resource_logs for scope in group.scope_logs for one in scope.log_records]
                if signal == "logs"
                else [one for group in request.resource_spans for scope in group.scope_spans for one in scope.spans]
            )
            seen.extend(attributes(one)["netfw.id"] for one in messages)
        except BaseException as error:
            broken.append(error)
            return Answer(400, repr(error).encode())
        return Answer()

    parsed(b"{}", path)
    with Collector(check) as collector:
        carrier = HttpCarrier(
            collector.url(path),
            lambda: HttpCredentials(),
            reactor=reactor,
            content_type=CONTENT_TYPE,
            envelope=envelope(signal, {"service.name": "netfw"}, "1"),
            accepted=accepted,
        )
        spool = Spool(tmp_path / "spool", size=10_000_000, limits=BatchLimits(50, 1_000_000, 0.02))
        destination = SpooledDestination(spool, carrier, first_pause=0.05, longest_pause=0.1)
        printer = RecordPrinter(OutputSection("o"), str, log_record if signal == "logs" else span)
        output = SpooledLog(destination, gather=0.005, printer=printer)
        output.start()
        sent: list[str] = []

        def load(count: int) -> None:
            for _ in range(count):
                sent.append(f"{len(sent):05d}")
                output.write(json.dumps({**RECORD, "id": sent[-1]}).encode() + b"\n")

        load(100)
        wait_until(lambda: seen)
        collector.kill()
        load(200)
        wait_until(lambda: output.failing)
        load(100)
        collector.start()
        wait_until(lambda: output.written + output.dropped == len(sent))
        output.close(5.0)
    assert not broken
    assert (output.written, output.dropped) == (400, 0)
    assert list(dict.fromkeys(seen)) == sent
