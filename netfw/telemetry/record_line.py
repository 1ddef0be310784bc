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
    from netfw.names.authority import Authority
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
_decisions: dict[int, tuple[Any, str]] = {}
_matches: dict[int, tuple[Any, Any, Any, str]] = {}
_rules: dict[int, tuple[Any, str]] = {}
_address_lists: dict[int, tuple[Any, str]] = {}
_authorities: dict[int, tuple[Any, str | None, tuple[str, str]]] = {}
_durations_forms: dict[tuple[str, ...], str] = {}


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


def _durations_form(names: tuple[str, ...]) -> str:
    """Which steps were taken differs little between exchanges: one `%` over all of them is half the cost of each."""
    form = _durations_forms.get(names)
    if form is None:
        steps = ",".join([f"{quote(name)}:%.6f" for name in names])
        form = f',"durations":{{{steps}}}'
        if len(_durations_forms) >= _KEPT:
            _durations_forms.clear()
        _durations_forms[names] = form
    return form


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
        kept = _decisions.get(id(decision))
        if kept is not None and kept[0] is decision:
            fragments.append(kept[1])
            continue
        phase = decision.phase
        for match in decision.matches:
            fragments.append(_match_fragment(match, phase))
            if first_alert is None and match.action is _ALERT:
                first_alert = match.rule.name
        if len(decision.matches) == 1 and decision.matches[0].action is not _ALERT:
            # Without alerts a compiled policy gives the same object every time; with them, a new one.
            if len(_decisions) >= _KEPT:
                _decisions.clear()
            _decisions[id(decision)] = (decision, fragments[-1])
    if not fragments:
        return ""
    alert = "" if first_alert is None else f'"first_alert_match":{quote(first_alert)},'
    return f'{alert}"all_matches":{{"matches":[{",".join(fragments)}]}},'


def _authority_fragments(authority: Authority, scheme: str | None) -> tuple[str, str]:
    """The `dest_domain` member, and scheme and authority of the `url` member."""
    kept = _authorities.get(id(authority))
    if kept is not None and kept[0] is authority and kept[1] == scheme:
        return kept[2]
    host = authority.host
    shown = host.bracketed
    if authority.port != (80 if scheme == "http" else 443 if scheme == "https" else None):
        shown = f"{shown}:{authority.port}"
    fragments = (
        f'"dest_domain":{quote(host.text if host.is_address else host.text + ".")},',
        f'"url":{{"scheme":{quote(scheme or "")},"authority":{quote(shown)},',
    )
    if len(_authorities) >= _KEPT:
        _authorities.clear()
    _authorities[id(authority)] = (authority, scheme, fragments)
    return fragments


def _destination_members(exchange: RecordedExchange) -> str:
    authority = exchange.authority
    scheme = exchange.scheme
    if authority is not None:
        domain, url = _authority_fragments(authority, scheme)
    else:
        domain, url = "", f'"url":{{"scheme":{quote(scheme or "")},"authority":"",'
    path = exchange.path
    if path is None:
        return domain
    query = exchange.query
    shown = quote(query_text(query)) if query else _EMPTY
    return f'{domain}{url}"path":{quote(path_text(path))},"query":{shown},"fragment":""}},'


def _dns_member(resolution: Resolution) -> str:
    if resolution.source == "literal":
        return ""
    chain = ""
    if resolution.chain:
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


def _names_member(exchange: RecordedExchange, names: dict[str, str | None]) -> str:
    """All four, those that are not known as null."""
    certificate = (exchange.origin_certificate or {}).get("names")
    members = [*names.items(), ("certificate", certificate)]
    printed = [f"{quote(name)}:{'null' if value is None else quote(peer_text(value))}" for name, value in members]
    return f',"names":{{{",".join(printed)}}}'


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

    last = ""
    if (parent_id := exchange.parent_id) is not None:
        last = f',"parent_id":{quote(parent_id)}'
    if (generation := exchange.generation) is not None:
        last += f',"generation":{generation}'
    if (identity := exchange.client_identity) is not None:
        last += f',"client_identity":{quote(peer_text(identity))}'
    if durations:
        last += _durations_form(tuple(durations)) % tuple(durations.values())
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
    if (names := exchange.names) is not None:
        last += _names_member(exchange, names)
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
        f'"started":{exchange.started:.3f},"duration_ms":{int(total * 1000)},'
        f'"bytes_in":{exchange.bytes_in},"bytes_out":{exchange.bytes_out}{last}}}\n'
    )
    return line.encode("ascii")
