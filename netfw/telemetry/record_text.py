"""Records as lines of text: JSON with all fields, the AWS proxy's selection, Squid's access log, and for people. PURE.

Each function takes a record as a dict, whose members may be missing or hold a token instead, and gives one line without
its end; None where the form has no line for such a record. Not here: other programs' schemas (`record_schemas`), and
which fields are left (`record_shape`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from netfw.names.printable import printable
from netfw.telemetry.record_fields import AWS_NAMES

Record = Mapping[str, Any]

_AWS = tuple(name for name in AWS_NAMES if "." not in name)
_SAFE = "!#$%&'()*+,/:;=?@[]~-._"
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
OURS = ("audit", "dns")
"""Kinds of records that no other program's log has a line for."""
_MARKS = {"allow": "+", "deny": "-"}


def compact(value: object) -> str:
    """JSON without blanks, ASCII only."""
    return json.dumps(value, separators=(",", ":"))


def json_text(record: Record) -> str:
    """All that is left of it."""
    return compact(record)


def aws_text(record: Record) -> str | None:
    """The vended log's fields, in its order. What is ours alone is left out."""
    if record.get("kind") in OURS:
        return None
    return compact({name: record[name] for name in _AWS if name in record})


def squid_text(record: Record) -> str | None:
    """Squid's native access log: time, milliseconds, client, result/status, bytes, method, URL, user, peer, type."""
    if record.get("kind") in OURS:
        return None
    duration = record.get("duration_ms", 0)
    ended = ended_at(record)
    status = record.get("http_status_code")
    denied = record.get("final_action") == "deny"
    peer = record.get("dest_ip")
    method = str(record.get("http_method") or "NONE")
    if denied:
        result = "TCP_DENIED"
    elif status is None:
        result = "NONE_NONE"
    else:
        result = "TCP_TUNNEL" if method == "CONNECT" else "TCP_MISS"
    return " ".join(
        (
            f"{ended:.3f}",
            f"{duration:6d}" if isinstance(duration, int) else _word(duration),
            _word(record.get("client_src_ip")),
            f"{result}/{status if status is not None else 0:03d}",
            str(record.get("bytes_out", 0)),
            _word(method),
            _word(shown_url(record) or "error:no-request"),
            _word(record.get("client_identity")),
            f"HIER_DIRECT/{_word(peer)}" if peer and not denied else "HIER_NONE/-",
            "-",
        )
    )


def pretty_text(record: Record) -> str:
    """One line for people: when, what came of it (`+` allowed, `-` denied, `!` with an alert), what, and by which rule.

    Whatever cannot be seen is shown as an escape: a terminal obeys it otherwise.
    """
    when = datetime.fromtimestamp(ended_at(record), UTC)
    if record.get("kind") == "audit":
        return printable(f"{when:%Y-%m-%dT%H:%M:%SZ} # {record.get('action', 'audit')} by {compact(record.get('who'))}")
    if record.get("kind") == "dns":
        return printable(f"{when:%Y-%m-%dT%H:%M:%SZ} {_resolved(record)}")
    mark = _MARKS.get(str(record.get("final_action")), "?")
    if mark == "+" and is_alert(record):
        mark = "!"
    parts = [f"{when:%Y-%m-%dT%H:%M:%SZ}", mark]
    parts.append(str(record.get("http_method") or str(record.get("kind", "-")).upper()))
    parts.append(shown_url(record) or "-")
    if (status := record.get("http_status_code")) is not None:
        parts.append(str(status))
    if (sent := record.get("bytes_out")) is not None:
        parts.append(_size(sent))
    if (duration := record.get("duration_ms")) is not None:
        parts.append(f"{duration}ms")
    client = record.get("client_identity") or record.get("client_src_ip")
    parts.append(f"from {client or '-'}")
    parts.append(f"({_why(record)})")
    if identifier := record.get("id"):
        parts.append(str(identifier))
    return printable(" ".join(parts))


FORMS: dict[str, Callable[[Record], str | None]] = {
    "json": json_text,
    "aws": aws_text,
    "squid": squid_text,
    "pretty": pretty_text,
}


def is_alert(record: Record) -> bool:
    """Whether an ALERT rule matched."""
    if record.get("first_alert_match") is not None:
        return True
    matches = record.get("all_matches")
    return isinstance(matches, Mapping) and any(one.get("action") == "alert" for one in matches.get("matches", ()))


def shown_url(record: Record) -> str | None:
    """The URL of a request, `host:port` of a CONNECT; None where there is neither."""
    url = record.get("url")
    if isinstance(url, Mapping) and url.get("authority"):
        query = url.get("query")
        return f"{url.get('scheme') or 'http'}://{url['authority']}{url.get('path') or '/'}" + (
            f"?{query}" if query else ""
        )
    name = _name(record)
    port = record.get("dest_port")
    return (f"{name}:{port}" if port is not None else name) if name else None


def ended_at(record: Record) -> float:
    """When it ended, in seconds since the epoch, to the millisecond where that is known."""
    started, duration = record.get("started"), record.get("duration_ms")
    if isinstance(started, int | float) and isinstance(duration, int):
        return started + duration / 1000
    return float(record.get("event_timestamp", 0))


def _name(record: Record) -> str:
    domain = record.get("dest_domain")
    return str(domain).rstrip(".") if domain is not None else str(record.get("dest_ip") or "")


def _resolved(record: Record) -> str:
    """What the DNS said, and who."""
    dns, error = record.get("dns"), record.get("error")
    about = dns if isinstance(dns, Mapping) else {}
    said = ", ".join(map(str, about.get("addresses") or ())) or str(about.get("code") or "nothing")
    if isinstance(error, Mapping):
        said = str(error.get("message"))
    took = f"{record.get('duration_ms')}ms" if about.get("source") != "cache" else "cached"
    return f"~ DNS {about.get('type', '-')} {_name(record)} {said} {took} from {about.get('resolver', '-')}"


def _why(record: Record) -> str:
    rule, group = record.get("final_rule_name"), record.get("final_rule_group_name")
    shown = f"{group}/{rule}" if group and rule else str(rule or "")
    error = record.get("error")
    if isinstance(error, Mapping) and (not shown or record.get("final_action") == "allow"):
        return f"{shown}: {error.get('message')}".lstrip(": ")
    return shown or "no rule"


def _word(value: object) -> str:
    """One word of a line whose columns blanks separate."""
    return "-" if value is None or value == "" else quote(str(value), safe=_SAFE, errors="backslashreplace")


def _size(number: Any) -> str:
    size = float(number)
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f}{unit}" if unit == "B" else f"{size:.1f}{unit}"
