"""What became of an exchange in a sentence, and what to do about it, by its record. PURE.

The words come from the record: the rule, the guard's own text with the setting that would open it, the token of
RFC 9209. Advice is what an operator would type or write, and never says that a denial is a mistake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from netfw.policy.decision import DEFAULT_RULE
from netfw.policy.model import Phase
from netfw.telemetry.denial_walk import decided_phase, destination, is_allowed
from netfw.telemetry.pins import CLOSED, NO_APPLICATION_PROTOCOL, noted_in_record

_SETTING = re.compile(r"`([a-z_]+\.[a-z_]+)`|\b((?:limits|timeouts|guard)\.[a-z_]+)\b")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kind` is one of a closed set of words: allowed, rule, default, guard, names, tunnel, client, identity,
    client_tls, origin_tls, origin, parent, dns, limit, evaluation or ours. `text` is for people; `advice` is in the
    order in which to try it.
    """

    kind: str
    text: str
    advice: tuple[str, ...] = ()


def judge(record: Mapping[str, Any], *, in_store: bool) -> Verdict:
    """Say it. `in_store`: whether the policy is in a store, where `netfw allow` works, or in files."""
    error = record.get("error") or {}
    if error.get("token") == "destination_ip_prohibited":
        return _guard(record, error)
    refused = noted_in_record(record)
    if refused is not None:
        return _pinned(refused)
    if error.get("fault") == "policy" or (not is_allowed(record) and not error):
        return _policy(record, error, in_store=in_store)
    if error:
        return _error(record, error)
    if is_allowed(record):
        rule = _rule(record) or "the default action"
        return Verdict("allowed", f"it was allowed, by {rule}; the status {record.get('http_status_code')} was sent")
    return _policy(record, error, in_store=in_store)


def _rule(record: Mapping[str, Any]) -> str:
    group, name = record.get("final_rule_group_name"), record.get("final_rule_name")
    return f"{group}/{name}" if group else str(name or "")


def _where(record: Mapping[str, Any]) -> str:
    """The destination as an entry of an `allow` list."""
    host = destination(record) or "?"
    shown = f"[{host}]" if ":" in host else host
    port = record.get("dest_port")
    scheme = (record.get("url") or {}).get("scheme")
    return shown if port in (None, _PORTS.get(scheme or "https")) else f"{shown}:{port}"


def _policy(record: Mapping[str, Any], error: Mapping[str, Any], *, in_store: bool) -> Verdict:
    rule = _rule(record)
    if not rule:
        message = error.get("message") or "no rule allowed it"
        return Verdict("client", f"refused: {message}", _client_advice(record, error))
    phase = decided_phase(record)
    named = phase.value if phase is not None else "a phase"
    is_default = not record.get("final_rule_group_name") and record.get("final_rule_name") == DEFAULT_RULE
    if phase is Phase.POST_RESPONSE:
        changed = "the default action" if is_default else rule
        advice = (
            f"if it should pass: change {changed}, or put an ALLOW rule of PostRESPONSE for {_where(record)} before it",
            "an exception (netfw allow) does not help: it lets requests out, and responses are judged as ever",
        )
        what = ": no rule allows it (the default action)" if is_default else f" by the rule {rule}"
        return Verdict("default" if is_default else "rule", f"denied in {named}{what}", advice)
    entry = _where(record)
    advice_lines = []
    if in_store:
        advice_lines.append(f"for a time: netfw allow {entry} --for 2h --why 'REASON'")
    place = "a rule group" if is_default else f"a rule group before {record.get('final_rule_group_name') or rule}"
    lasting = "for good" if in_store else "if it should pass"
    after = "netfw apply" if in_store else "netfw check && netfw reload"
    advice_lines.append(f"{lasting}: add to {place}: allow: [{_quoted(entry)}]   and then: {after}")
    if is_default:
        return Verdict("default", f"denied in {named}: no rule allows it (the default action)", tuple(advice_lines))
    return Verdict("rule", f"denied in {named} by the rule {rule}", tuple(advice_lines))


def _quoted(entry: str) -> str:
    """As YAML takes it inside a flow list."""
    return json.dumps(entry) if re.search(r"[\[\]*:]", entry) else entry


def _client_advice(record: Mapping[str, Any], error: Mapping[str, Any]) -> tuple[str, ...]:
    if "clients" in str(error.get("message")):
        listener, client = record.get("listener"), record.get("client_src_ip")
        return (f"if it may use the proxy: add {client} to `clients` of the listener {listener}",)
    return ()


def _guard(record: Mapping[str, Any], error: Mapping[str, Any]) -> Verdict:
    message = str(error.get("message"))
    advice: list[str] = []
    address = _address_in(message) or record.get("dest_ip")
    for setting in _settings(message):
        if setting == "guard.allow" and address:
            advice.append(f"to open this address: guard: {{allow: [{_quoted(str(address))}]}}")
        elif setting == "guard.private":
            advice.append("to open all private addresses: guard: {private: allow}")
        elif setting == "guard.allow_ports":
            advice.append(f"to open this port: guard: {{allow_ports: [{record.get('dest_port')}]}}")
    advice.append("no rule opens what the guard closes; settings are taken over by netfw reload")
    return Verdict("guard", f"denied by the guard: {message}", tuple(advice))


def _address_in(message: str) -> str | None:
    for word in message.replace(";", " ").replace(",", " ").split():
        try:
            return str(ip_address(word))
        except ValueError:
            continue
    return None


def _settings(message: str) -> list[str]:
    return [quoted or bare for quoted, bare in _SETTING.findall(message)]


def _pinned(refused: tuple[str, str, str, float]) -> Verdict:
    host, client, sign, _ = refused
    if sign == CLOSED:
        text = f"{client} closed the connection after it was shown our certificate for {host}: it may be a refusal"
    elif sign == NO_APPLICATION_PROTOCOL:
        text = f"{client} speaks HTTP/2 only, which is not intercepted"
    else:
        text = f"{client} refused our certificate for {host} ({sign})"
    advice = [f"pass it through: tls_intercept: {{bypass: [{{domain: {host}, source: {client}}}]}}"]
    if sign not in (CLOSED, NO_APPLICATION_PROTOCOL):
        advice.insert(0, "if the client refuses every host, it lacks the CA: docs/clients.md, netfw doctor")
    advice.append("who else refuses what: netfw pins")
    return Verdict("client_tls", text, tuple(advice))


def _origin_certificate(record: Mapping[str, Any]) -> tuple[str, ...]:
    host = destination(record)
    return (
        "whoever runs the host has to mend its certificate; nothing was sent to it",
        f"if a CA of your own signed it: `upstream.hosts` gives {host} roots of its own (docs/security.md)",
    )


def _limit(record: Mapping[str, Any]) -> tuple[str, ...]:
    message = str((record.get("error") or {}).get("message"))
    named = _settings(message)
    if not named and "tunnels" in message:
        named = ["limits.tunnels"]
    return (
        f"raise {named[0]} if the machine has room for it" if named else "see `limits` in proxy.yaml",
        "netfw status shows how much is open, /metrics how often this happens",
    )


def _parent_advice(record: Mapping[str, Any]) -> tuple[str, ...]:
    tried = (record.get("route") or {}).get("tried") or ()
    return (
        *(f"tried {one}" for one in list(tried)[:_MOST_TRIED]),
        "netfw status shows which parent proxies are up; `upstream` in proxy.yaml has them and the routes to them",
    )


_MOST_TRIED = 5
_SIDES = {
    "client": "the client's side",
    "origin": "the origin's side",
    "parent": "the parent proxy's side",
    "ours": "the proxy's side",
}
_Advice = Callable[[Mapping[str, Any]], tuple[str, ...]]


def _say(*lines: str) -> _Advice:
    return lambda _: lines


# The token and whose fault, or the token alone: (kind, advice).
_BY_TOKEN: dict[str, tuple[str, _Advice]] = {
    "tls_certificate_error": ("origin_tls", _origin_certificate),
    "tls_alert_received": ("origin_tls", _say("the origin ended the handshake: it wants other TLS, or a certificate")),
    "tls_protocol_error": ("origin_tls", _say("the origin does not speak TLS as it should on this port")),
    "dns_error": ("dns", _say("look the name up as the proxy does; `dns` in proxy.yaml says which servers it asks")),
    "dns_timeout": ("dns", _say("no server of `dns` answers in timeouts.resolve")),
    "connection_refused": ("origin", _say("nothing listens there; policy had let it pass")),
    "connection_timeout": ("origin", _say("the origin, or a firewall on the way, does not answer")),
    "destination_ip_unroutable": ("origin", _say("this machine has no way to that address: routes, or its firewall")),
    "connection_limit_reached": ("limit", _limit),
    "proxy_loop_detected": ("names", _say("the request came back to this proxy: look at the client's proxy settings")),
}
_BY_STATUS: dict[int, tuple[str, _Advice]] = {
    407: ("identity", _say("give the client a name and password: netfw user add NAME; then in its proxy URL")),
    421: ("names", _say("CONNECT, ClientHello and Host must name one host; `consistency` may have others evaluated")),
    429: ("limit", _say("the client may ask again later; limits.request_rate says how often it may")),
}


def _error(record: Mapping[str, Any], error: Mapping[str, Any]) -> Verdict:
    token, fault, message = (str(error.get(name)) for name in ("token", "fault", "message"))
    status = record.get("http_status_code")
    kind, advice = _BY_STATUS.get(status if isinstance(status, int) else 0) or _BY_TOKEN.get(token) or ("", _say())
    if token == "tls_protocol_error" and fault == "client":
        kind, advice = "client_tls", _say("the client's TLS failed before it asked for anything")
    elif not kind and fault == "client" and "tunnel" in message:
        kind, advice = "tunnel", _say("`tunnels` in proxy.yaml says which ports pass what is neither TLS nor HTTP")
    elif fault == "parent":
        kind, advice = "parent", _parent_advice
    elif not kind and token == "proxy_internal_error" and "denial" in message:
        kind, advice = "evaluation", _say("the rules could not be evaluated: the program's log has the reason")
    elif not kind:
        kind = {"client": "client", "origin": "origin"}.get(fault, "ours")
    whose = _SIDES.get(fault, fault)
    ended = "it was let pass, and failed" if is_allowed(record) else "refused"
    return Verdict(kind, f"{ended}, on {whose}: {message}", advice(record))
