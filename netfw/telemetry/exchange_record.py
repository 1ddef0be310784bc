"""The record: what is written once for every exchange, as a dict. PURE.

The first members are the AWS proxy's, names and forms as its log has them (`dest_domain` with a final dot,
`final_action` in lower case, `event_timestamp` in whole seconds: the moment the exchange ended); those from `id` on are
ours. A member without a value is left out: `dest_ip` and `http_status_code` when the exchange did not get so far.
`durations` are in seconds.

`build_record` is the form to read; `record_line.record_line` prints the same without building it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from netfw.telemetry.outcome import outcome
from netfw.telemetry.record_line import record_line
from netfw.telemetry.record_values import LIST_LIMIT, cut, path_text, peer_text, query_text, trace_ids

if TYPE_CHECKING:
    from netfw.errors import NetfwError
    from netfw.names.authority import Authority
    from netfw.policy.decision import Decision, RuleRef
    from netfw.transport.resolution import Resolution

__all__ = ["RecordedExchange", "build_record", "record_line"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


class RecordedCaller(Protocol):
    """Who is at the other end. All but `identity` are settled before the first exchange; `printed` is the record line's
    own, kept here since it is the same for every exchange of a connection.
    """

    address_text: str
    port: int
    listener_name: str
    source_vpc: str | None
    source_vpce: str | None
    source_account: str | None
    identity: str | None
    printed: str | None


class RecordedExchange(Protocol):
    """What a record is made of; `netfw.proxy.exchange.Exchange` offers it.

    `started` and `finished` are seconds since the epoch, `durations` those of dns, connect, tls, first_byte and total.
    Sizes are of message bodies, `bytes_in` and `bytes_out` of the client's wire. `status` is what the client was sent.
    """

    id: str
    kind: str
    started: float
    finished: float
    proxy_name: str
    parent_id: str | None
    scheme: str | None
    authority: Authority | None
    method: bytes | None
    path: bytes | None
    query: bytes | None
    http_version: str | None
    user_agent: bytes | None
    traceparent: bytes | None
    decisions: list[Decision]
    resolution: Resolution | None
    dest_ip: str | None
    dest_port: int | None
    status: int | None
    origin_status: int | None
    request_size: int
    response_size: int
    bytes_in: int
    bytes_out: int
    sni: str | None
    client_tls_version: str | None
    client_alpn: str | None
    origin_tls_version: str | None
    origin_certificate: dict[str, str] | None
    intercepted: bool
    names: dict[str, str | None] | None
    route: dict[str, Any] | None
    error: NetfwError | None
    close_reason: str | None

    @property
    def caller(self) -> RecordedCaller:
        """Who asked."""

    @property
    def durations(self) -> dict[str, float]:
        """Seconds of each step."""

    @property
    def generation(self) -> int | None:
        """The policy generation that decided."""


def _names(exchange: RecordedExchange) -> dict[str, str | None] | None:
    """All four names where they disagreed, those that are not known as None."""
    if exchange.names is None:
        return None
    members = {**exchange.names, "certificate": (exchange.origin_certificate or {}).get("names")}
    return {name: _peer_text(value) for name, value in members.items()}


def _with_values(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _peer_text(value: bytes | str | None) -> str | None:
    return None if value is None else peer_text(value)


def _rule_id(rule: RuleRef) -> str:
    return f"{rule.group}/{rule.name}" if rule.group else rule.name


def _match_entries(decisions: Sequence[Decision]) -> list[dict[str, str]]:
    return [
        {"rule_id": _rule_id(match.rule), "hook": decision.phase.hook, "action": match.action.name.lower()}
        for decision in decisions
        for match in decision.matches
    ]


def _first_alert(decisions: Sequence[Decision]) -> str | None:
    for decision in decisions:
        for match in decision.matches:
            if match.action.name == "ALERT":
                return match.rule.name
    return None


def _url(exchange: RecordedExchange) -> dict[str, str] | None:
    if exchange.path is None:
        return None
    authority = ""
    if exchange.authority is not None:
        authority = exchange.authority.host.bracketed
        if exchange.authority.port != _DEFAULT_PORTS.get(exchange.scheme or ""):
            authority = f"{authority}:{exchange.authority.port}"
    return {
        "scheme": exchange.scheme or "",
        "authority": authority,
        "path": path_text(exchange.path),
        "query": "" if exchange.query is None else query_text(exchange.query),
        "fragment": "",
    }


def _dest_domain(authority: Authority | None) -> str | None:
    if authority is None:
        return None
    return authority.host.text if authority.host.is_address else f"{authority.host.text}."


def _dns(resolution: Resolution | None) -> dict[str, Any] | None:
    if resolution is None or resolution.source == "literal":
        return None
    return {
        "source": resolution.source,
        "resolver": resolution.resolver,
        "ttl": resolution.ttl,
        "chain": [peer_text(name) for name in resolution.chain[:LIST_LIMIT]],
        "addresses": [str(address) for address in resolution.addresses[:LIST_LIMIT]],
    }


def _certificate(facts: Mapping[str, str] | None) -> dict[str, str] | None:
    if facts is None:
        return None
    return {cut(name): peer_text(value) for name, value in list(facts.items())[:LIST_LIMIT]}


def _tls(exchange: RecordedExchange) -> dict[str, Any] | None:
    members = _with_values(
        sni=_peer_text(exchange.sni),
        client_version=exchange.client_tls_version,
        client_alpn=_peer_text(exchange.client_alpn),
        origin_version=exchange.origin_tls_version,
        origin_certificate=_certificate(exchange.origin_certificate),
    )
    if not members and not exchange.intercepted:
        return None
    return {"intercepted": exchange.intercepted, **members}


def _route(route: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if route is None:
        return None
    return {
        name: peer_text(value) if isinstance(value, str) else [peer_text(one) for one in value[:LIST_LIMIT]]
        for name, value in route.items()
    }


def _error(error: NetfwError | None) -> dict[str, str] | None:
    if error is None:
        return None
    members = {"token": error.token, "fault": error.fault, "message": cut(error.message)}
    if error.detail:
        members["detail"] = peer_text(error.detail)
    return members


def build_record(exchange: RecordedExchange) -> dict[str, Any]:
    """The record of a finished exchange."""
    caller = exchange.caller
    decisions = exchange.decisions
    allowed, rule = outcome(decisions, exchange.error)
    matches = _match_entries(decisions)
    dest_port = exchange.dest_port
    if dest_port is None and exchange.authority is not None:
        dest_port = exchange.authority.port
    durations = exchange.durations
    total = durations.get("total", exchange.finished - exchange.started)
    traceparent = _peer_text(exchange.traceparent)
    ids = trace_ids(traceparent) if traceparent is not None else None
    return _with_values(
        event_timestamp=int(exchange.finished),
        proxy_name=exchange.proxy_name,
        final_action="allow" if allowed else "deny",
        client_src_ip=caller.address_text,
        client_src_port=caller.port,
        src_vpc=_peer_text(caller.source_vpc),
        src_vpce=_peer_text(caller.source_vpce),
        vpce_account_id=_peer_text(caller.source_account),
        dest_domain=_dest_domain(exchange.authority),
        url=_url(exchange),
        http_method=_peer_text(exchange.method),
        dest_ip=exchange.dest_ip,
        dest_port=dest_port,
        http_status_code=exchange.status,
        first_alert_match=_first_alert(decisions),
        all_matches={"matches": matches} if matches else None,
        final_rule_name=rule.name if rule is not None else "",
        final_rule_group_name=rule.group if rule is not None else "",
        request_size=exchange.request_size,
        response_size=exchange.response_size,
        id=exchange.id,
        kind=exchange.kind,
        parent_id=exchange.parent_id,
        generation=exchange.generation,
        listener=caller.listener_name,
        client_identity=_peer_text(caller.identity),
        started=round(exchange.started, 3),
        duration_ms=int(total * 1000),
        durations={name: round(seconds, 6) for name, seconds in durations.items()} or None,
        bytes_in=exchange.bytes_in,
        bytes_out=exchange.bytes_out,
        http_version=exchange.http_version,
        user_agent=_peer_text(exchange.user_agent),
        traceparent=traceparent,
        trace_id=ids[0] if ids is not None else None,
        span_id=ids[1] if ids is not None else None,
        # The client was sent something else than the origin said: a denied response, or an error while it came.
        origin_status=exchange.origin_status if exchange.origin_status != exchange.status else None,
        dns=_dns(exchange.resolution),
        tls=_tls(exchange),
        names=_names(exchange),
        route=_route(exchange.route),
        error=_error(exchange.error),
        close_reason=exchange.close_reason,
    )
