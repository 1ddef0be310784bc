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
_tls_members: Final[dict[tuple[Any, ...], tuple[Mapping[str, str] | None, str]]] = {}
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


def _tls_member(exchange: RecordedExchange) -> str:
    certificate = exchange.origin_certificate
    if exchange.sni is None and certificate is None and not exchange.intercepted and _no_version(exchange):
        return ""
    key = (
        exchange.sni,
        exchange.client_tls_version,
        exchange.client_alpn,
        exchange.origin_tls_version,
        id(certificate),
        exchange.intercepted,
    )
    kept = _tls_members.get(key)
    if kept is not None:
        return kept[1]
    members = ""
    if exchange.sni is not None:
        members = f',"sni":{_word(exchange.sni)}'
    if exchange.client_tls_version is not None:
        members += f',"client_version":{quote(exchange.client_tls_version)}'
    if exchange.client_alpn is not None:
        members += f',"client_alpn":{_word(exchange.client_alpn)}'
    if exchange.origin_tls_version is not None:
        members += f',"origin_version":{quote(exchange.origin_tls_version)}'
    if certificate is not None:
        shown = list(certificate.items())[:LIST_LIMIT]
        printed = ",".join([f"{quote(cut(name))}:{quote(peer_text(value))}" for name, value in shown])
        members += f',"origin_certificate":{{{printed}}}'
    member = f',"tls":{{"intercepted":{"true" if exchange.intercepted else "false"}{members}}}'
    _keep(_tls_members, key, (certificate, member))
    return member


def _no_version(exchange: RecordedExchange) -> bool:
    return exchange.client_tls_version is None and exchange.client_alpn is None and exchange.origin_tls_version is None


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
    started, finished = exchange.started, exchange.finished
    caller = exchange.caller
    error = exchange.error
    status = exchange.status
    dest_port = exchange.dest_port
    if dest_port is None and exchange.authority is not None:
        dest_port = exchange.authority.port
    durations = exchange.durations
    total = durations.get("total")
    if total is None:
        total = finished - started
    action, decided = _decided(exchange.decisions, error)

    method = "" if exchange.method is None else f'"http_method":{_word(exchange.method)},'
    dest_ip = "" if exchange.dest_ip is None else f'"dest_ip":{_own_word(exchange.dest_ip)},'
    port = "" if dest_port is None else f'"dest_port":{dest_port},'
    code = "" if status is None else f'"http_status_code":{status},'
    parent = "" if exchange.parent_id is None else f',"parent_id":{quote(exchange.parent_id)}'
    generation = "" if exchange.generation is None else f',"generation":{exchange.generation}'
    identity = "" if caller.identity is None else f',"client_identity":{_word(caller.identity)}'
    steps = _durations_form(tuple(durations)) % tuple(durations.values()) if durations else ""
    version = "" if exchange.http_version is None else f',"http_version":{_own_word(exchange.http_version)}'
    agent = "" if exchange.user_agent is None else f',"user_agent":{_word(exchange.user_agent)}'
    trace = "" if exchange.traceparent is None else _trace_members(exchange.traceparent)
    origin_status = exchange.origin_status
    origin = "" if origin_status is None or origin_status == status else f',"origin_status":{origin_status}'
    dns = "" if exchange.resolution is None else _dns_member(exchange.resolution)
    names = "" if exchange.names is None else _names_member(exchange, exchange.names)
    route = "" if exchange.route is None else _route_member(exchange.route)
    failure = "" if error is None else _error_member(error)
    reason = "" if exchange.close_reason is None else f',"close_reason":{_own_word(exchange.close_reason)}'
    # Not in the braces below: mypyc puts pieces together directly only where none of them has a format of its own.
    began = format(started, ".3f")
    line = (
        f'{{"event_timestamp":{int(finished)},"proxy_name":{_own_word(exchange.proxy_name)},{action}'
        f"{_client_members(caller)}{_destination_members(exchange)}{method}{dest_ip}{port}{code}{decided}"
        f'"request_size":{exchange.request_size},"response_size":{exchange.response_size},'
        f'"id":{quote(exchange.id)},"kind":{_own_word(exchange.kind)},"listener":{_own_word(caller.listener_name)},'
        f'"started":{began},"duration_ms":{int(total * 1000)},'
        f'"bytes_in":{exchange.bytes_in},"bytes_out":{exchange.bytes_out}{parent}{generation}{identity}{steps}'
        f"{version}{agent}{trace}{origin}{dns}{_tls_member(exchange)}{names}{route}{failure}{reason}}}\n"
    )
    return line.encode("ascii")
