"""squid.conf's `acl` and `http_access` lines to rules of ours.

Squid walks one list when the request is there; here there are two moments. PreREQUEST gets every line in full. PreDNS
gets what can be known by then: a line that allows lets through what it may allow, a line that denies denies only when
nothing later could make a difference. So nothing is looked up that no line allows. A request that no line meets gets
the contrary of the last line.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from netfw.policy.foreign.imported import (
    Document,
    Imported,
    PlacedRule,
    Untranslated,
    condition,
    configuration_of,
    group_of,
    rule,
)
from netfw.policy.foreign.squid_acls import Acl, Alternatives, NoCounterpart, both
from netfw.policy.keys import find_key
from netfw.policy.model import Phase

_OPTIONS = ("-i", "-n", "-m", "--")
_OF_THE_PROCESS = {
    "http_port": "listeners in proxy.yaml",
    "https_port": "listeners in proxy.yaml",
    "dns_nameservers": "dns.resolvers in proxy.yaml",
    "access_log": "log in proxy.yaml",
    "tcp_outgoing_address": "egress in proxy.yaml",
    "workers": "workers in proxy.yaml",
    "ssl_bump": "tls_intercept in proxy.yaml",
    "hosts_file": "dns.hosts_file in proxy.yaml",
    "visible_hostname": "proxy.name in proxy.yaml",
    "shutdown_lifetime": "timeouts.drain in proxy.yaml",
}


def import_squid(text: str, group: str) -> Imported:
    """Translate it. Files that acls name are not read: such acls, and lines that use them, are listed."""
    untranslated: list[Untranslated] = []
    acls: dict[str, Acl] = {"all": _builtin("src", "all"), "localhost": _builtin("src", "localhost")}
    acls["CONNECT"] = _builtin("method", "CONNECT")
    broken: dict[str, str] = {
        "manager": "the cache manager is Squid's own",
        "to_localhost": "kept closed by the guard anyway",
        "to_linklocal": "kept closed by the guard anyway",
    }
    rules: list[PlacedRule] = []
    last = ""
    for number, line in _lines(text):
        place = f"line {number}"
        try:
            words = shlex.split(line, comments=True, posix=False)
        except ValueError as error:
            untranslated.append(Untranslated(place, line, str(error)))
            continue
        if not words:
            continue
        if words[0] == "acl":
            _take_acl(words, place, line, acls, broken, untranslated)
        elif words[0] == "http_access" and len(words) > 1 and words[1] in ("allow", "deny"):
            last = words[1]
            rules += _access(words, number, line, acls, broken, untranslated)
        else:
            reason = _OF_THE_PROCESS.get(words[0])
            said = f"is about the process: see {reason}" if reason else "has no counterpart among rules"
            untranslated.append(Untranslated(place, line, said))
    default = "ALLOW" if last == "deny" else "DENY"
    made = group_of(group, rules, untranslated)
    document = {
        "ProxyConfiguration": configuration_of(group, [group], default, default),
        "ProxyRuleGroups": [made],
    }
    return Imported(document, tuple(untranslated))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; a backslash at the end goes on."""
    held, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        first = first or number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        whole = (held + line).strip()
        if whole and not whole.startswith("#"):
            yield first, whole
        held, first = "", 0


def _builtin(kind: str, value: str) -> Acl:
    acl = Acl(kind)
    acl.values.append(value)
    return acl


def _take_acl(
    words: list[str],
    place: str,
    line: str,
    acls: dict[str, Acl],
    broken: dict[str, str],
    untranslated: list[Untranslated],
) -> None:
    if len(words) < 4:
        untranslated.append(Untranslated(place, line, "an acl has a name, a type and values"))
        return
    name, kind, values = words[1], words[2], [word for word in words[3:] if word not in _OPTIONS]
    acl = acls.get(name)
    if acl is None or name in ("localhost", "all", "CONNECT") and acl.kind == kind:
        acl = acls[name] = Acl(kind)
    reason = None
    if acl.kind != kind:
        reason = f"{name} is of type {acl.kind} already"
    elif any(value.startswith('"') for value in values):
        reason = "the file of values is not read: put them into the line, or use ConditionValuesFile"
    else:
        acl.values += values
        try:
            acl.holds()
        except NoCounterpart as problem:
            reason = str(problem)
    if reason is not None:
        broken[name] = reason
        untranslated.append(Untranslated(place, line, reason))


def _access(
    words: list[str],
    number: int,
    line: str,
    acls: dict[str, Acl],
    broken: dict[str, str],
    untranslated: list[Untranslated],
) -> Iterator[PlacedRule]:
    action = "ALLOW" if words[1] == "allow" else "DENY"
    try:
        alternatives = _all_of(words[2:], acls, broken)
    except NoCounterpart as problem:
        warning = "; without it more passes than before" if action == "DENY" else ""
        untranslated.append(Untranslated(f"line {number}", line, f"{problem}{warning}"))
        return
    for index, conditions in enumerate(alternatives, 1):
        name = f"line-{number}" + (f"-{index}" if len(alternatives) > 1 else "")
        full = conditions or [condition("request:DestinationDomain", "StringLike", "*")]
        early = [one for one in conditions if _known_early(one)]
        place = f"line {number}"
        if action == "ALLOW" or len(early) == len(conditions):
            before = early or [condition("request:DestinationDomain", "StringLike", "*")]
            yield PlacedRule(Phase.PRE_DNS, rule(name, action, before), place, line)
        yield PlacedRule(Phase.PRE_REQUEST, rule(f"{name}-request", action, full), place, line)


def _all_of(words: list[str], acls: dict[str, Acl], broken: dict[str, str]) -> Alternatives:
    found: Alternatives = [[]]
    for word in words:
        name = word.removeprefix("!")
        if name in broken:
            raise NoCounterpart(f"acl {name}: {broken[name]}")
        if name not in acls:
            raise NoCounterpart(f"there is no acl {name}")
        if name == "all" and word == "all":
            continue
        found = both(found, acls[name].holds_not() if word.startswith("!") else acls[name].holds())
    return found


def _known_early(one: Document) -> bool:
    key = find_key(one["ConditionKey"])
    return key is not None and Phase.PRE_DNS in key.phases
