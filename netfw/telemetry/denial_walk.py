"""A record walked through the rules again: what each said, and which came nearest to another outcome. PURE.

A record has no header fields but User-Agent, so conditions on others find them absent, and what the walk comes to may
differ from what was decided: `differs` says so, and the record is right. Not here: what to do about it
(`denial_advice`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from netfw.names.authority import parse_authority
from netfw.policy.decision import Open
from netfw.policy.explain import Explanation, explain
from netfw.policy.facts import ABSENT, NOT_YET
from netfw.policy.imagined_request import ImaginedRequest
from netfw.policy.model import Phase, PolicyConfiguration
from netfw.telemetry.decrypted_fields import is_decrypted

PHASES = {phase.hook: phase for phase in Phase}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Walk:
    """`phases` as far as the walk went; `differs`: why it comes to something else than the record, None where it
    does not. A record that came to no destination has no phases, and `differs` says why.
    """

    phases: tuple[Explanation, ...]
    differs: str | None


def decided_phase(record: Mapping[str, Any]) -> Phase | None:
    """The last phase in which something matched, by the record."""
    entries = (record.get("all_matches") or {}).get("matches") or [{}]
    return PHASES.get(str(entries[-1].get("hook")))


def is_allowed(record: Mapping[str, Any]) -> bool:
    """Whether policy let it out, by the record."""
    return record.get("final_action") == "allow"


def destination(record: Mapping[str, Any]) -> str | None:
    """The host that was asked for, without the final dot."""
    domain = record.get("dest_domain")
    return str(domain).removesuffix(".") if domain else None


def walk(policy: PolicyConfiguration, record: Mapping[str, Any], *, decrypted: bool = True) -> Walk:
    """Ask the rules of this policy about what the record says; without `decrypted` not about what only decryption
    shows: otherwise rules that somebody makes for it would tell.
    """
    if destination(record) is None:
        return Walk((), "it ended before a destination was known: no rule was asked")
    try:
        request, intercepted = _request(record, veil=not decrypted and is_decrypted(record))
    except (ValueError, UnicodeError) as problem:
        return Walk((), f"the request cannot be made again from its record: {problem}")
    last = decided_phase(record)
    told: list[Explanation] = []
    for phase, facts in request.phases(intercepted):
        if last is not None and phase.order > last.order:
            break
        told.append(explain(policy, phase, facts))
        result = told[-1].result
        if not isinstance(result, Open) and not result.allowed:
            break
    return Walk(tuple(told), _difference(record, told, last))


def _difference(record: Mapping[str, Any], told: list[Explanation], last: Phase | None) -> str | None:
    if last is None or not told:
        return None
    entries = record["all_matches"]["matches"]
    then = str(entries[-1].get("rule_id"))
    explanation = told[-1]
    result = explanation.result
    if isinstance(result, Open):
        return f"{last.value} was decided by {then}; with what the record keeps, {result.pending} is not certain"
    now = str(result.rule)
    if explanation.phase is last and now == then:
        return None
    return f"{last.value} was decided by {then}; this walk comes to {result.action.value} by {now}"


def _request(record: Mapping[str, Any], *, veil: bool) -> tuple[ImaginedRequest, bool]:
    """The request, and whether TLS was opened for it. Raises ValueError."""
    host = str(destination(record))
    url = record.get("url") or {}
    scheme = url.get("scheme") or "https"
    tls = record.get("tls") or {}
    shown = f"[{host}]" if ":" in host else host
    authority = parse_authority(f"{shown}:{record.get('dest_port') or _PORTS[scheme]}".encode("ascii"), 443)
    method = str(record.get("http_method") or "GET")
    target = (url.get("path") or "/") + (f"?{url['query']}" if url.get("query") else "")
    if veil:
        target = "/"
    addresses = (record.get("dns") or {}).get("addresses") or []
    address = record.get("dest_ip") or (addresses[0] if addresses else None)
    agent = record.get("user_agent")
    reached_response = decided_phase(record) is Phase.POST_RESPONSE
    request = ImaginedRequest(
        method=method,
        scheme=scheme,
        authority=authority,
        target=target.encode("ascii"),
        tunnel=method == "CONNECT",
        headers=[(b"User-Agent", str(agent).encode("utf-8"))] if agent else [],
        source_ip=ip_address(str(record.get("client_src_ip"))),
        source_port=record.get("client_src_port") or NOT_YET,
        destination_ip=ip_address(address) if address else NOT_YET,
        sni=tls.get("sni") or (None if authority.host.is_address else authority.host.text),
        status=record.get("origin_status", record.get("http_status_code")) if reached_response else None,
        response_headers=[],
        time=float(record.get("started") or record.get("event_timestamp") or 0.0),
        source_account=record.get("vpce_account_id") or ABSENT,
        source_vpc=record.get("src_vpc") or ABSENT,
        source_vpce=record.get("src_vpce") or ABSENT,
        listener_name=record.get("listener") or ABSENT,
        client_identity=record.get("client_identity") or ABSENT,
        veiled=veil,
    )
    return request, bool(tls.get("intercepted")) or "path" in url
