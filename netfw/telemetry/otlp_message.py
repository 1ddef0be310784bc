"""Records as OpenTelemetry's logs and spans, in OTLP's JSON encoding. PURE.

A log record for each record, a span for each exchange. Both carry the client's trace where there is one, so they are
found beside its own spans; else all that happened in one tunnel is one trace. What was hidden from this output, or not
chosen for it, is in neither. Names are those of OpenTelemetry's semantic conventions where there are any, the rest is
`netfw.` and the field's. https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding: ids are hexadecimal, numbers
of 64 bits are texts. Not here: how batches are sent (`http_carrier`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from netfw.telemetry.carrier import Carried
from netfw.telemetry.record_text import Record, compact, ended_at, is_alert, pretty_text, shown_url

CONTENT_TYPE = "application/json"
_SERVER = 2
_ERROR = 2
_INFO = (9, "INFO")
_WARN = (13, "WARN")
_LARGEST = 1 << 63
_TRACE = re.compile(r"(?!0{32})[0-9a-f]{32}", re.ASCII)
_SPAN = re.compile(r"(?!0{16})[0-9a-f]{16}", re.ASCII)
_NO_SPANS = frozenset(["audit", "dns"])
_CONVENTIONS = {
    "client_src_ip": "client.address",
    "client_src_port": "client.port",
    "client_identity": "user.name",
    "dest_port": "server.port",
    "http_method": "http.request.method",
    "http_status_code": "http.response.status_code",
    "http_version": "network.protocol.version",
    "request_size": "http.request.body.size",
    "response_size": "http.response.body.size",
    "user_agent": "user_agent.original",
}
_URL = {"scheme": "url.scheme", "path": "url.path", "query": "url.query"}
# Said elsewhere in the message.
_ELSEWHERE = frozenset(["event_timestamp", "started", "duration_ms", "trace_id", "span_id", "traceparent", "url"])


def log_record(text: str, record: Record) -> bytes:
    """One line: the log record of what this output gets (`text`, JSON)."""
    shown = json.loads(text)
    number, word = _WARN if shown.get("final_action") == "deny" or is_alert(shown) else _INFO
    moment = _nanoseconds(ended_at(record))
    found = {
        "timeUnixNano": moment,
        "observedTimeUnixNano": moment,
        "severityNumber": number,
        "severityText": word,
        "body": {"stringValue": pretty_text(shown)},
        "attributes": list(_attributes(shown)),
        "traceId": _trace_of(shown),
        "spanId": _span_of(shown),
    }
    return compact(found).encode() + b"\n"


def span(text: str, record: Record) -> bytes | None:
    """One line: the span of an exchange; None for what is none."""
    if record.get("kind") in _NO_SPANS:
        return None
    shown = json.loads(text)
    ended = ended_at(record)
    found = {
        "traceId": _trace_of(shown),
        "spanId": _span_of(shown),
        "parentSpanId": _parent_of(shown),
        "name": str(shown.get("http_method") or shown.get("kind")),
        "kind": _SERVER,
        "startTimeUnixNano": _nanoseconds(min(float(record.get("started", ended)), ended)),
        "endTimeUnixNano": _nanoseconds(ended),
        "attributes": list(_attributes(shown)),
        "status": _status(shown),
    }
    return compact({name: value for name, value in found.items() if value is not None}).encode() + b"\n"


def envelope(signal: str, resource: Mapping[str, str], version: str) -> Callable[[list[bytes]], bytes]:
    """What makes a request of many lines; `signal` is `logs` or `spans`."""
    outer, scope, inner = {
        "logs": ("resourceLogs", "scopeLogs", "logRecords"),
        "spans": ("resourceSpans", "scopeSpans", "spans"),
    }[signal]
    attributes = [_attribute(name, value) for name, value in resource.items()]
    head = (
        f'{{"{outer}":[{{"resource":{{"attributes":{compact(attributes)}}},"{scope}":[{{"scope":'
        f'{compact({"name": "netfw", "version": version})},"{inner}":['
    ).encode()

    def made(lines: list[bytes]) -> bytes:
        return head + b",".join(line.rstrip(b"\n") for line in lines) + b"]}]}]}"

    return made


def accepted(answer: bytes, count: int) -> Carried:
    """What a server took of `count` log records or spans: it may refuse some, and must not get them again."""
    try:
        partial = json.loads(answer or b"{}").get("partialSuccess") or {}
        refused = int(partial.get("rejectedLogRecords") or partial.get("rejectedSpans") or 0)
        detail = str(partial.get("errorMessage", ""))
    except (ValueError, AttributeError, TypeError):
        return Carried()
    return Carried(refused=max(0, min(refused, count)), detail=detail[:200])


def _attributes(shown: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, value in shown.items():
        if name not in _ELSEWHERE and value is not None:
            yield _attribute(_CONVENTIONS.get(name, f"netfw.{name}"), value)
    domain = shown.get("dest_domain")
    if isinstance(domain, str):
        yield _attribute("server.address", domain.rstrip("."))
    url = shown.get("url")
    if isinstance(url, Mapping):
        for member, name in _URL.items():
            if url.get(member):
                yield _attribute(name, url[member])
        if url.get("authority"):
            yield _attribute("url.full", shown_url(shown))
    elif url is not None:
        yield _attribute("netfw.url", url)
    error = shown.get("error")
    if isinstance(error, Mapping) and error.get("token"):
        yield _attribute("error.type", error["token"])


def _attribute(name: str, value: object) -> dict[str, Any]:
    return {"key": name, "value": _value(value)}


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int) and -_LARGEST <= value < _LARGEST:
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, Mapping):
        members = [_attribute(str(name), member) for name, member in value.items() if member is not None]
        return {"kvlistValue": {"values": members}}
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [_value(member) for member in value if member is not None]}}
    return {"stringValue": str(value)}


def _status(shown: Mapping[str, Any]) -> dict[str, Any] | None:
    error = shown.get("error")
    if isinstance(error, Mapping):
        return {"code": _ERROR, "message": str(error.get("message") or error.get("token") or "")}
    if shown.get("final_action") == "deny":
        rule = shown.get("final_rule_name")
        return {"code": _ERROR, "message": f"denied by {rule}" if rule else "denied"}
    status = shown.get("http_status_code")
    return {"code": _ERROR} if isinstance(status, int) and status >= 500 else None


def _trace_of(shown: Mapping[str, Any]) -> str:
    given = str(shown.get("trace_id", ""))
    if _TRACE.fullmatch(given):
        return given
    return sha256(f"netfw trace {shown.get('parent_id') or shown.get('id')}".encode()).hexdigest()[:32]


def _span_of(shown: Mapping[str, Any]) -> str:
    return _span_named(shown.get("id"))


def _span_named(identifier: object) -> str:
    return sha256(f"netfw span {identifier}".encode()).hexdigest()[:16]


def _parent_of(shown: Mapping[str, Any]) -> str | None:
    """The client's span; without one, the tunnel's that the exchange came in."""
    given = str(shown.get("span_id", ""))
    if _TRACE.fullmatch(str(shown.get("trace_id", ""))) and _SPAN.fullmatch(given):
        return given
    return _span_named(shown["parent_id"]) if shown.get("parent_id") else None


def _nanoseconds(seconds: float) -> str:
    # Records know milliseconds; a float of nanoseconds would invent digits.
    return str(round(seconds * 1000) * 1_000_000)
