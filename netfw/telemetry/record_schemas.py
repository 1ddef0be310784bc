"""Records in the schemas that log stores know: Elastic Common Schema 8.11 and OCSF 1.3. PURE.

What a schema has no place for goes under `netfw` (ECS) or `unmapped` (OCSF), so that nothing is lost. Members whose
field was left out are left out. Not here: our own forms (`record_text`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from netfw.telemetry.record_text import Record, compact, is_alert, shown_url
from netfw.telemetry.record_values import trace_ids

ECS_VERSION = "8.11.0"
OCSF_VERSION = "1.3.0"

_EVENT_TYPES = {"allow": "allowed", "deny": "denied"}
_OWN = ("generation", "parent_id", "listener", "durations", "all_matches", "first_alert_match", "names", "close_reason")
_OWN_TOO = ("origin_status", "route", "span_id", "count", "sample_rate", "src_vpc", "src_vpce", "vpce_account_id")
_METHODS = {"CONNECT": 1, "DELETE": 2, "GET": 3, "HEAD": 4, "OPTIONS": 5, "POST": 6, "PUT": 7, "TRACE": 8}
_OTHER = 99
_NETWORK, _HTTP, _DNS = 4001, 4002, 4003
_RESPONSE = 2
_OPEN, _CLOSE, _REFUSE = 1, 2, 5
_NAMES = {_NETWORK: "Network Activity", _HTTP: "HTTP Activity", _DNS: "DNS Activity"}
_NETWORK_ACTIVITIES = {_OPEN: "Open", _CLOSE: "Close", _REFUSE: "Refuse"}
_INFORMATIONAL, _LOW, _MEDIUM = 1, 2, 3
_SEVERITIES = {_INFORMATIONAL: "Informational", _LOW: "Low", _MEDIUM: "Medium"}


def ecs_text(record: Record) -> str:
    """One document of ECS as JSON."""
    started, ended = _times(record)
    action = str(record.get("final_action", ""))
    is_denied = action == "deny"
    kind = record.get("kind")
    url = _mapping(record.get("url"))
    tls = _mapping(record.get("tls"))
    error = _mapping(record.get("error"))
    dns = _mapping(record.get("dns"))
    domain = _domain(record)
    types = ["change"] if kind == "audit" else ["protocol", "info"] if kind == "dns" else ["connection"]
    if action in _EVENT_TYPES:
        types.append(_EVENT_TYPES[action])
    document = _whole(
        {
            "@timestamp": _iso(ended),
            "ecs": {"version": ECS_VERSION},
            "event": {
                "kind": "alert" if is_alert(record) else "event",
                "category": ["configuration"] if kind == "audit" else ["network", *(["web"] if url else [])],
                "type": types,
                "action": record.get("action") or kind,
                "outcome": "failure" if is_denied or error else "success",
                "id": record.get("id"),
                "start": _iso(started) if "started" in record else None,
                "end": _iso(ended),
                "duration": _times_million(record.get("duration_ms")),
                "reason": error.get("message"),
                "dataset": "netfw.records",
                "module": "netfw",
            },
            "source": _endpoint(record.get("client_src_ip"), record.get("client_src_port"), record.get("bytes_in")),
            "client": _endpoint(record.get("client_src_ip"), record.get("client_src_port"), None),
            "destination": {
                **_endpoint(record.get("dest_ip"), record.get("dest_port"), record.get("bytes_out")),
                "address": domain or record.get("dest_ip"),
                "domain": domain,
            },
            "network": _network(kind, url),
            "url": {
                "scheme": url.get("scheme"),
                "domain": domain if url else None,
                "port": record.get("dest_port") if url else None,
                "path": url.get("path"),
                "query": url.get("query"),
                "full": shown_url(record) if url else None,
            },
            "http": {
                "version": record.get("http_version"),
                "request": {"method": record.get("http_method"), "body": {"bytes": record.get("request_size")}},
                "response": {
                    "status_code": record.get("http_status_code"),
                    "body": {"bytes": record.get("response_size")},
                },
            },
            "user_agent": {"original": record.get("user_agent")},
            "user": {"name": record.get("client_identity")},
            "rule": {"name": record.get("final_rule_name"), "ruleset": record.get("final_rule_group_name")},
            "tls": {
                "client": {"server_name": tls.get("sni")},
                "version": _version(tls.get("client_version") or tls.get("origin_version")),
                "version_protocol": "tls" if tls.get("client_version") or tls.get("origin_version") else None,
            },
            "dns": _ecs_dns(record, dns),
            "error": {"code": error.get("token"), "message": error.get("message"), "type": error.get("fault")},
            "trace": {"id": _trace(record)},
            "span": {"id": record.get("span_id")},
            "observer": {"name": record.get("proxy_name"), "type": "proxy", "product": "netfw"},
            "netfw": _unmapped(record),
        }
    )
    return compact(document)


def ocsf_text(record: Record) -> str:
    """One event of OCSF as JSON: HTTP Activity, Network Activity for tunnels and connections."""
    started, ended = _times(record)
    url = _mapping(record.get("url"))
    tls = _mapping(record.get("tls"))
    error = _mapping(record.get("error"))
    action = record.get("final_action")
    is_denied, alerts = action == "deny", is_alert(record)
    class_uid, activity, activity_name = _class_and_activity(record, is_denied)
    severity = _MEDIUM if is_denied else _LOW if alerts else _INFORMATIONAL
    domain = _domain(record)
    event: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": 4,
        "category_name": "Network Activity",
        "class_uid": class_uid,
        "class_name": _NAMES[class_uid],
        "type_uid": class_uid * 100 + activity,
        "severity_id": severity,
        "severity": _SEVERITIES[severity],
        "time": int(ended * 1000),
        "start_time": int(started * 1000) if "started" in record else None,
        "end_time": int(ended * 1000),
        "duration": record.get("duration_ms"),
        "count": record.get("count"),
        "message": record.get("action"),
        "status_id": 2 if error or is_denied else 1,
        "status": "Failure" if error or is_denied else "Success",
        "status_code": error.get("token"),
        "status_detail": error.get("message"),
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "netfw", "vendor_name": "netfw"},
            "uid": record.get("id"),
            "log_name": "netfw.records",
            "correlation_uid": _trace(record),
            "profiles": ["security_control"] if action is not None else None,
        },
        "src_endpoint": {"ip": record.get("client_src_ip"), "port": record.get("client_src_port")},
        "dst_endpoint": {"hostname": domain, "ip": record.get("dest_ip"), "port": record.get("dest_port")},
        "proxy_endpoint": {"name": record.get("proxy_name")},
        "actor": {"user": {"name": record.get("client_identity")}},
        "connection_info": {"direction_id": 2, "direction": "Outbound", "protocol_name": "tcp"},
        "traffic": {"bytes_in": record.get("bytes_in"), "bytes_out": record.get("bytes_out")},
        "tls": {"version": _version(tls.get("client_version") or tls.get("origin_version")), "sni": tls.get("sni")},
        "unmapped": _unmapped(record),
    }
    if action is not None:
        event |= {
            "action_id": 2 if is_denied else 1,
            "action": "Denied" if is_denied else "Allowed",
            "disposition_id": 2 if is_denied else 19 if alerts else 1,
            "disposition": "Blocked" if is_denied else "Alert" if alerts else "Allowed",
            "firewall_rule": {"name": record.get("final_rule_name"), "category": record.get("final_rule_group_name")},
        }
    if class_uid == _DNS:
        event |= _ocsf_dns(record)
    if class_uid == _HTTP:
        event["http_request"] = {
            "http_method": record.get("http_method"),
            "user_agent": record.get("user_agent"),
            "version": record.get("http_version"),
            "uid": record.get("id"),
            "url": {
                "scheme": url.get("scheme"),
                "hostname": domain,
                "port": record.get("dest_port"),
                "path": url.get("path"),
                "query_string": url.get("query"),
                "url_string": shown_url(record),
            },
        }
        event["http_response"] = {"code": record.get("http_status_code"), "length": record.get("response_size")}
    return compact(_whole(event))


def _network(kind: object, url: Mapping[str, Any]) -> dict[str, Any] | None:
    if kind == "audit":
        return None
    return {"protocol": "dns"} if kind == "dns" else {"transport": "tcp", "protocol": url.get("scheme")}


def _ecs_dns(record: Record, dns: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"resolved_ip": dns.get("addresses")}
    if record.get("kind") == "dns":
        found |= {
            "type": "answer",
            "question": {"name": _domain(record), "type": dns.get("type")},
            "response_code": dns.get("code"),
            "answers": [{"data": address, "ttl": dns.get("ttl")} for address in dns.get("addresses") or ()] or None,
        }
    return found


def _ocsf_dns(record: Record) -> dict[str, Any]:
    """DNS Activity: what was asked, and what came."""
    dns = _mapping(record.get("dns"))
    return {
        "query": {"hostname": _domain(record), "type": dns.get("type")},
        "rcode": dns.get("code"),
        "answers": [{"rdata": address, "ttl": dns.get("ttl")} for address in dns.get("addresses") or ()] or None,
        "response_time": int(_times(record)[1] * 1000),
    }


def _class_and_activity(record: Record, is_denied: bool) -> tuple[int, int, str]:
    if record.get("kind") == "dns":
        return _DNS, _RESPONSE, "Response"
    method = record.get("http_method")
    if method is not None:
        number = _METHODS.get(str(method), _OTHER)
        return _HTTP, number, str(method).capitalize() if number != _OTHER else "Other"
    if record.get("kind") == "audit":
        return _NETWORK, _OTHER, "Other"
    number = _REFUSE if is_denied else _CLOSE
    return _NETWORK, number, _NETWORK_ACTIVITIES[number]


def _times(record: Record) -> tuple[float, float]:
    started, duration = record.get("started"), record.get("duration_ms")
    ended = float(record.get("event_timestamp", 0))
    if not isinstance(started, int | float):
        return ended, ended
    return float(started), started + duration / 1000 if isinstance(duration, int) else ended


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _times_million(milliseconds: Any) -> int | None:
    return milliseconds * 1_000_000 if isinstance(milliseconds, int) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _domain(record: Record) -> str | None:
    """The destination's name; None for an address, which `dest_domain` may hold too."""
    domain = record.get("dest_domain")
    if domain is None:
        return None
    name = str(domain).rstrip(".")
    return None if _is_address(name) and name == record.get("dest_ip") else name


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _endpoint(address: object, port: object, size: object) -> dict[str, object]:
    """A token in place of an address is no `ip`: the store would refuse the whole document."""
    is_ip = address is not None and _is_address(str(address))
    return {"address": address, "ip": address if is_ip else None, "port": port, "bytes": size}


def _version(text: Any) -> str | None:
    return str(text).removeprefix("TLSv") if text else None


def _trace(record: Record) -> str | None:
    """The trace's id; from `traceparent` where the record has no more than that."""
    found = record.get("trace_id") or (trace_ids(str(record.get("traceparent", ""))) or (None,))[0]
    return None if found is None else str(found)


def _unmapped(record: Record) -> dict[str, Any]:
    own: dict[str, Any] = {name: record[name] for name in (*_OWN, *_OWN_TOO) if name in record}
    tls = _mapping(record.get("tls"))
    if "intercepted" in tls:
        own["intercepted"] = tls["intercepted"]
    if tls.get("origin_certificate"):
        own["origin_certificate"] = tls["origin_certificate"]
    if record.get("dns"):
        own["dns"] = record["dns"]
    if record.get("kind") is not None:
        own["kind"] = record["kind"]
    for name in ("who", "reason", "changed"):
        if name in record:
            own[name] = record[name]
    return own


def _whole(value: dict[str, Any]) -> dict[str, Any]:
    """Without members that have no value, at every depth but that of our own."""
    found: dict[str, Any] = {}
    for name, member in value.items():
        kept = _whole(member) if isinstance(member, dict) and name not in ("netfw", "unmapped") else member
        if kept is not None and kept != {} and kept != "":
            found[name] = kept
    return found
