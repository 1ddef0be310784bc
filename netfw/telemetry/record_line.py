"""The record as its JSON line, printed straight. PURE, and on the hot path of every exchange.

It says exactly what `exchange_record.build_record` says (a property test compares the two); a dict and `json.dumps`
would cost several times as much. Strings go through the C function that `json` itself uses for `ensure_ascii`. What a
decision, a resolution or a certificate adds to a line is printed once and kept, found again by the object's identity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final

from netfw.policy.model import Action
from netfw.telemetry.outcome import outcome
from netfw.telemetry.record_values import LIST_LIMIT, cut, path_text, peer_text, query_text, trace_ids

if TYPE_CHECKING:
    from netfw.errors import NetfwError
    from netfw.names.authority import Authority
    from netfw.policy.decision import Decision, Match
    from netfw.telemetry.exchange_record import RecordedCaller, RecordedExchange
    from netfw.transport.resolution import Resolution

_KEPT: Final = 4096
_LONGEST_WORD: Final = 256
_ALERT: Final = Action.ALERT
_EMPTY: Final = '""'
quote: Final = encode_basestring_ascii

# Identity -> (object, ..., fragment). The entry holds its object, so an identity cannot come to mean another one.
_decisions: Final[dict[tuple[int, ...], tuple[tuple[Decision, ...], tuple[str, str]]]] = {}
_resolutions: Final[dict[int, tuple[Resolution, str]]] = {}
_certificates: Final[dict[int, tuple[Mapping[str, str], str]]] = {}
_authorities: Final[dict[int, tuple[Authority, str | None, tuple[str, str]]]] = {}
_durations_forms: Final[dict[tuple[str, ...], str]] = {}
_words: Final[dict[bytes | str, str]] = {}
_own_words: Final[dict[str, str]] = {}


def _keep(kept: dict[Any, Any], key: Any, entry: Any) -> None:
    """Remember an entry; a full table starts anew."""
    if len(kept) >= _KEPT:
        kept.clear()
    kept[key] = entry


def _word(value: bytes | str) -> str:
    """A peer's value, quoted: methods, products and versions are few and come again and again."""
    shown = _words.get(value)
    if shown is None:
        shown = quote(peer_text(value))
        if len(value) <= _LONGEST_WORD:
            _keep(_words, value, shown)
    return shown


def _own_word(value: str) -> str:
    """A word of the configuration or of ours, quoted."""
    shown = _own_words.get(value)
    if shown is None:
        shown = quote(value)
        _keep(_own_words, value, shown)
    return shown


def _durations_form(names: tuple[str, ...]) -> str:
    """Which steps were taken differs little between exchanges: one `%` over all of them is half the cost of each."""
    form = _durations_forms.get(names)
    if form is None:
        steps = ",".join([f"{quote(name)}:%.6f" for name in names])
        form = f',"durations":{{{steps}}}'
        _keep(_durations_forms, names, form)
    return form


def _match_fragment(match: Match, hook: str) -> str:
    rule = match.rule
    rule_id = f"{rule.group}/{rule.name}" if rule.group else rule.name
    return f'{{"rule_id":{quote(rule_id)},"hook":{quote(hook)},"action":{quote(match.action.name.lower())}}}'


def _decided(decisions: Sequence[Decision], error: NetfwError | None) -> tuple[str, str]:
    """`final_action`, and what the decisions add to a line: `first_alert_match`, `all_matches` and the final rule.

    Without alerts a compiled policy gives the same objects every time.
    """
    key = tuple([id(decision) for decision in decisions])
    if error is None:
        kept = _decisions.get(key)
        if kept is not None:
            return kept[1]
    first_alert: str | None = None
    fragments = []
    for decision in decisions:
        for match in decision.matches:
            fragments.append(_match_fragment(match, decision.phase.hook))
            if first_alert is None and match.action is _ALERT:
                first_alert = match.rule.name
    allowed, rule = outcome(decisions, error)
    action = f'"final_action":"{"allow" if allowed else "deny"}",'
    members = "" if first_alert is None else f'"first_alert_match":{quote(first_alert)},'
    if fragments:
        members += f'"all_matches":{{"matches":[{",".join(fragments)}]}},'
    name, group = (_EMPTY, _EMPTY) if rule is None else (quote(rule.name), quote(rule.group))
    members += f'"final_rule_name":{name},"final_rule_group_name":{group},'
    if error is None and first_alert is None:
        # With alerts the decision is a new object each time, and would only push others out.
        _keep(_decisions, key, (tuple(decisions), (action, members)))
    return action, members


def _authority_fragments(authority: Authority, scheme: str | None) -> tuple[str, str]:
    """The `dest_domain` member, and scheme and authority of the `url` member."""
    kept = _authorities.get(id(authority))
    if kept is not None and kept[1] == scheme:
        return kept[2]
    host = authority.host
    shown = host.bracketed
    if authority.port != (80 if scheme == "http" else 443 if scheme == "https" else None):
        shown = f"{shown}:{authority.port}"
    fragments = (
        f'"dest_domain":{quote(host.text if host.is_address else host.text + ".")},',
        f'"url":{{"scheme":{quote(scheme or "")},"authority":{quote(shown)},',
    )
    _keep(_authorities, id(authority), (authority, scheme, fragments))
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
    kept = _resolutions.get(id(resolution))
    if kept is not None:
        return kept[1]
    member = ""
    if resolution.source != "literal":
        chain = ",".join([quote(peer_text(name)) for name in resolution.chain[:LIST_LIMIT]])
        addresses = ",".join([f'"{address}"' for address in resolution.addresses[:LIST_LIMIT]])
        member = (
            f',"dns":{{"source":"{resolution.source}","resolver":{quote(resolution.resolver)},'
            f'"ttl":{resolution.ttl},"chain":[{chain}],"addresses":[{addresses}]}}'
        )
    _keep(_resolutions, id(resolution), (resolution, member))
    return member


def _certificate_member(facts: Mapping[str, str]) -> str:
    kept = _certificates.get(id(facts))
    if kept is not None:
        return kept[1]
    shown = list(facts.items())[:LIST_LIMIT]
    members = ",".join([f"{quote(cut(name))}:{quote(peer_text(value))}" for name, value in shown])
    member = f',"origin_certificate":{{{members}}}'
    _keep(_certificates, id(facts), (facts, member))
    return member


def _tls_member(exchange: RecordedExchange) -> str:
    members = ""
    if exchange.sni is not None:
        members = f',"sni":{_word(exchange.sni)}'
    if exchange.client_tls_version is not None:
        members += f',"client_version":{_own_word(exchange.client_tls_version)}'
    if exchange.client_alpn is not None:
        members += f',"client_alpn":{_word(exchange.client_alpn)}'
    if exchange.origin_tls_version is not None:
        members += f',"origin_version":{_own_word(exchange.origin_tls_version)}'
    if exchange.origin_certificate is not None:
        members += _certificate_member(exchange.origin_certificate)
    if not members and not exchange.intercepted:
        return ""
    return f',"tls":{{"intercepted":{"true" if exchange.intercepted else "false"}{members}}}'


def _names_member(exchange: RecordedExchange, names: dict[str, str | None]) -> str:
    """All four, those that are not known as null."""
    certificate = (exchange.origin_certificate or {}).get("names")
    members = [*names.items(), ("certificate", certificate)]
    printed = [f"{quote(name)}:{'null' if value is None else quote(peer_text(value))}" for name, value in members]
    return f',"names":{{{",".join(printed)}}}'


def _route_member(route: Mapping[str, Any]) -> str:
    """The way out: words of the configuration, addresses, and the parents that failed before."""
    members = []
    for name, value in route.items():
        if isinstance(value, str):
            members.append(f"{quote(name)}:{quote(peer_text(value))}")
        else:
            members.append(f"{quote(name)}:[{','.join([quote(peer_text(one)) for one in value[:LIST_LIMIT]])}]")
    return f',"route":{{{",".join(members)}}}'


def _error_member(error: NetfwError) -> str:
    detail = f',"detail":{quote(peer_text(error.detail))}' if error.detail else ""
    return f',"error":{{"token":"{error.token}","fault":"{error.fault}","message":{quote(cut(error.message))}{detail}}}'


def _trace_members(traceparent: bytes) -> str:
    text = peer_text(traceparent)
    members = f',"traceparent":{quote(text)}'
    ids = trace_ids(text)
    if ids is not None:
        members += f',"trace_id":{quote(ids[0])},"span_id":{quote(ids[1])}'
    return members


def _client_members(caller: RecordedCaller) -> str:
    """Where the client is: the same for all exchanges of its connection, and printed for the first."""
    printed = caller.printed
    if printed is None:
        printed = f'"client_src_ip":{quote(caller.address_text)},"client_src_port":{caller.port},'
        for name, value in (
            ("src_vpc", caller.source_vpc),
            ("src_vpce", caller.source_vpce),
            ("vpce_account_id", caller.source_account),
        ):
            if value is not None:
                printed += f'"{name}":{quote(peer_text(value))},'
        caller.printed = printed
    return printed


def record_line(exchange: RecordedExchange) -> bytes:
    """The record of a finished exchange as one line of ASCII, its newline included."""
    finished = exchange.finished
    started = exchange.started
    error = exchange.error
    caller = exchange.caller

    before = "" if (method := exchange.method) is None else f'"http_method":{_word(method)},'
    if (dest_ip := exchange.dest_ip) is not None:
        before += f'"dest_ip":{quote(dest_ip)},'
    dest_port = exchange.dest_port
    if dest_port is None and exchange.authority is not None:
        dest_port = exchange.authority.port
    if dest_port is not None:
        before += f'"dest_port":{dest_port},'
    if (status := exchange.status) is not None:
        before += f'"http_status_code":{status},'

    durations = exchange.durations
    total = durations.get("total")
    if total is None:
        total = finished - started

    last = ""
    if (parent_id := exchange.parent_id) is not None:
        last = f',"parent_id":{quote(parent_id)}'
    if (generation := exchange.generation) is not None:
        last += f',"generation":{generation}'
    if (identity := caller.identity) is not None:
        last += f',"client_identity":{_word(identity)}'
    if durations:
        last += _durations_form(tuple(durations)) % tuple(durations.values())
    if (version := exchange.http_version) is not None:
        last += f',"http_version":{_own_word(version)}'
    if (user_agent := exchange.user_agent) is not None:
        last += f',"user_agent":{_word(user_agent)}'
    if exchange.traceparent is not None:
        last += _trace_members(exchange.traceparent)
    if (origin_status := exchange.origin_status) is not None and origin_status != status:
        last += f',"origin_status":{origin_status}'
    if (resolution := exchange.resolution) is not None:
        last += _dns_member(resolution)
    last += _tls_member(exchange)
    if (names := exchange.names) is not None:
        last += _names_member(exchange, names)
    if (route := exchange.route) is not None:
        last += _route_member(route)
    if error is not None:
        last += _error_member(error)
    if (close_reason := exchange.close_reason) is not None:
        last += f',"close_reason":{quote(close_reason)}'

    # Not in the braces below: mypyc puts pieces together directly only where none of them has a format of its own.
    began = format(started, ".3f")
    action, decided = _decided(exchange.decisions, error)
    line = (
        f'{{"event_timestamp":{int(finished)},"proxy_name":{_own_word(exchange.proxy_name)},'
        f"{action}"
        f"{_client_members(caller)}{_destination_members(exchange)}"
        f"{before}{decided}"
        f'"request_size":{exchange.request_size},"response_size":{exchange.response_size},'
        f'"id":{quote(exchange.id)},"kind":{_own_word(exchange.kind)},"listener":{_own_word(caller.listener_name)},'
        f'"started":{began},"duration_ms":{int(total * 1000)},'
        f'"bytes_in":{exchange.bytes_in},"bytes_out":{exchange.bytes_out}{last}}}\n'
    )
    return line.encode("ascii")
