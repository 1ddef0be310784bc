"""The record as its JSON line, printed straight. PURE, and on the hot path of every exchange.

It says exactly what `exchange_record.build_record` says (a property test compares the two); a dict and `json.dumps`
would cost several times as much. Strings go through the C function that `json` itself uses for `ensure_ascii`. What a
rule adds to a line is printed once a rule and kept, found again by the rule object's identity.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as quote
from typing import TYPE_CHECKING, Any

from netfw.policy.model import Action
from netfw.telemetry.outcome import outcome
from netfw.telemetry.record_values import LIST_LIMIT, cut, path_text, peer_text, query_text

if TYPE_CHECKING:
    from netfw.errors import NetfwError
    from netfw.policy.decision import Decision, Match
    from netfw.policy.model import Phase
    from netfw.telemetry.exchange_record import RecordedExchange
    from netfw.transport.resolution import Resolution

_KEPT = 4096
_ALERT = Action.ALERT
_METHOD = '"http_method":'
_EMPTY = '""'
_NO_RULE = '"final_rule_name":"","final_rule_group_name":""'

# Identity -> (object, ..., fragment). The entry holds its object, so an identity cannot come to mean another one.
_matches: dict[int, tuple[Any, Any, Any, str]] = {}
_rules: dict[int, tuple[Any, str]] = {}
_address_lists: dict[int, tuple[Any, str]] = {}


def _match_fragment(match: Match, phase: Phase) -> str:
    rule, action = match.rule, match.action
    key = id(rule) ^ id(action)
    kept = _matches.get(key)
    if kept is not None and kept[0] is rule and kept[1] is action and kept[2] is phase:
        return kept[3]
    rule_id = f"{rule.group}/{rule.name}" if rule.group else rule.name
    fragment = f'{{"rule_id":{quote(rule_id)},"hook":{quote(phase.hook)},"action":{quote(action.name.lower())}}}'
    if len(_matches) >= _KEPT:
        _matches.clear()
    _matches[key] = (rule, action, phase, fragment)
    return fragment


def _rule_fragment(rule: Any) -> str:
    kept = _rules.get(id(rule))
    if kept is not None and kept[0] is rule:
        return kept[1]
    fragment = f'"final_rule_name":{quote(rule.name)},"final_rule_group_name":{quote(rule.group)}'
    if len(_rules) >= _KEPT:
        _rules.clear()
    _rules[id(rule)] = (rule, fragment)
    return fragment


def _address_list(addresses: tuple[Any, ...]) -> str:
    kept = _address_lists.get(id(addresses))
    if kept is not None and kept[0] is addresses:
        return kept[1]
    fragment = ",".join([f'"{address}"' for address in addresses[:LIST_LIMIT]])
    if len(_address_lists) >= _KEPT:
        _address_lists.clear()
    _address_lists[id(addresses)] = (addresses, fragment)
    return fragment


def _matches_members(decisions: list[Decision]) -> str:
    fragments = []
    first_alert = None
    for decision in decisions:
        phase = decision.phase
        for match in decision.matches:
            fragments.append(_match_fragment(match, phase))
            if first_alert is None and match.action is _ALERT:
                first_alert = match.rule.name
    if not fragments:
        return ""
    alert = "" if first_alert is None else f'"first_alert_match":{quote(first_alert)},'
    return f'{alert}"all_matches":{{"matches":[{",".join(fragments)}]}},'


def _destination_members(exchange: RecordedExchange) -> str:
    authority = exchange.authority
    host = authority.host if authority is not None else None
    members = ""
    if host is not None:
        members = f'"dest_domain":{quote(host.text if host.is_address else host.text + ".")},'
    if exchange.path is not None:
        shown = ""
        scheme = exchange.scheme
        if authority is not None and host is not None:
            port = authority.port
            shown = host.bracketed
            if port != (80 if scheme == "http" else 443 if scheme == "https" else None):
                shown = f"{shown}:{port}"
        query = exchange.query
        members += (
            f'"url":{{"scheme":{quote(scheme or "")},"authority":{quote(shown)},'
            f'"path":{quote(path_text(exchange.path))},'
            f'"query":{quote(query_text(query)) if query else _EMPTY},"fragment":""}},'
        )
    return members


def _dns_member(resolution: Resolution) -> str:
    if resolution.source == "literal":
        return ""
    chain = ",".join([quote(peer_text(name)) for name in resolution.chain[:LIST_LIMIT]])
    return (
        f',"dns":{{"source":"{resolution.source}","resolver":{quote(resolution.resolver)},"ttl":{resolution.ttl},'
        f'"chain":[{chain}],"addresses":[{_address_list(resolution.addresses)}]}}'
    )


def _tls_member(exchange: RecordedExchange) -> str:
    members = ""
    if exchange.sni is not None:
        members += f',"sni":{quote(peer_text(exchange.sni))}'
    if exchange.client_tls_version is not None:
        members += f',"client_version":{quote(exchange.client_tls_version)}'
    if exchange.client_alpn is not None:
        members += f',"client_alpn":{quote(peer_text(exchange.client_alpn))}'
    if exchange.origin_tls_version is not None:
        members += f',"origin_version":{quote(exchange.origin_tls_version)}'
    if exchange.origin_certificate is not None:
        facts = list(exchange.origin_certificate.items())[:LIST_LIMIT]
        printed = ",".join([f"{quote(cut(name))}:{quote(peer_text(value))}" for name, value in facts])
        members += f',"origin_certificate":{{{printed}}}'
    if not members and not exchange.intercepted:
        return ""
    return f',"tls":{{"intercepted":{"true" if exchange.intercepted else "false"}{members}}}'


def _error_member(error: NetfwError) -> str:
    detail = f',"detail":{quote(peer_text(error.detail))}' if error.detail else ""
    return f',"error":{{"token":"{error.token}","fault":"{error.fault}","message":{quote(cut(error.message))}{detail}}}'


def _source_members(exchange: RecordedExchange) -> str:
    vpc, vpce, account = exchange.source_vpc, exchange.source_vpce, exchange.source_account
    members = "" if vpc is None else f'"src_vpc":{quote(peer_text(vpc))},'
    if vpce is not None:
        members += f'"src_vpce":{quote(peer_text(vpce))},'
    if account is not None:
        members += f'"vpce_account_id":{quote(peer_text(account))},'
    return members


def record_line(exchange: RecordedExchange) -> bytes:
    """The record of a finished exchange as one line of ASCII, its newline included."""
    finished = exchange.finished
    decisions = exchange.decisions
    error = exchange.error
    authority = exchange.authority
    allowed, rule = outcome(decisions, error)

    parts = ""
    if (dest_ip := exchange.dest_ip) is not None:
        parts = f'"dest_ip":{quote(dest_ip)},'
    if (dest_port := exchange.dest_port) is not None:
        parts += f'"dest_port":{dest_port},'
    elif authority is not None:
        parts += f'"dest_port":{authority.port},'
    if (status := exchange.status) is not None:
        parts += f'"http_status_code":{status},'

    durations = exchange.durations
    total = durations.get("total")
    if total is None:
        total = finished - exchange.started
    steps = ",".join([f'"{name}":{value * 1000:.3f}' for name, value in durations.items() if name != "total"])

    last = ""
    if (parent_id := exchange.parent_id) is not None:
        last = f',"parent_id":{quote(parent_id)}'
    if (generation := exchange.generation) is not None:
        last += f',"generation":{generation}'
    if (identity := exchange.client_identity) is not None:
        last += f',"client_identity":{quote(peer_text(identity))}'
    if steps:
        last += f',"durations_ms":{{{steps}}}'
    if (version := exchange.http_version) is not None:
        last += f',"http_version":{quote(version)}'
    if (user_agent := exchange.user_agent) is not None:
        last += f',"user_agent":{quote(peer_text(user_agent))}'
    if (traceparent := exchange.traceparent) is not None:
        last += f',"traceparent":{quote(peer_text(traceparent))}'
    if (origin_status := exchange.origin_status) is not None and origin_status != status:
        last += f',"origin_status":{origin_status}'
    if (resolution := exchange.resolution) is not None:
        last += _dns_member(resolution)
    last += _tls_member(exchange)
    if error is not None:
        last += _error_member(error)
    if (close_reason := exchange.close_reason) is not None:
        last += f',"close_reason":{quote(close_reason)}'

    method = exchange.method
    line = (
        f'{{"event_timestamp":{int(finished)},"proxy_name":{quote(exchange.proxy_name)},'
        f'"final_action":"{"allow" if allowed else "deny"}",'
        f'"client_src_ip":{quote(exchange.client_ip)},"client_src_port":{exchange.client_port},'
        f"{_source_members(exchange)}{_destination_members(exchange)}"
        f"{'' if method is None else _METHOD + quote(peer_text(method)) + ','}"
        f"{parts}{_matches_members(decisions)}{_NO_RULE if rule is None else _rule_fragment(rule)},"
        f'"request_size":{exchange.request_size},"response_size":{exchange.response_size},'
        f'"id":{quote(exchange.id)},"kind":{quote(exchange.kind)},"listener":{quote(exchange.listener_name)},'
        f'"started":{exchange.started:.3f},"duration_ms":{total * 1000:.3f},'
        f'"bytes_in":{exchange.bytes_in},"bytes_out":{exchange.bytes_out}{last}}}\n'
    )
    return line.encode("ascii")
