"""The short form of rules: `allow`, `deny` and `alert` lists inside a group.

An entry is `[METHOD,METHOD ][http://|https://]HOST[:PORT][/PATH][?QUERY]`: HOST is a name, `.name` (it and all below),
a pattern with `*`, or an address; PATH and QUERY may hold `*`. It becomes ordinary rules with names such as `allow-1`
and `allow-1-request`; what they are is said in docs/policy.md.
"""

from __future__ import annotations

import re

from netfw.policy.globs import has_wildcard
from netfw.policy.model import Action, Condition, Phase, Rule
from netfw.policy.values import ValueProblem, parse_domain_pattern, unfit_characters

LISTS: dict[str, Action] = {"alert": Action.ALERT, "deny": Action.DENY, "allow": Action.ALLOW}
"""The members in the order in which their rules are evaluated, after the rules of `Rules`."""

_ENTRY = re.compile(
    r"(?:(?P<methods>[^\s/:.*]+)\s+)?"
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?"
    r"(?P<host>\[[^\]\s]*\]|[^\s/?#:\[\]]+)"
    r"(?::(?P<port>[^\s/?#]*))?"
    r"(?P<path>/[^\s?#]*)?"
    r"(?:\?(?P<query>[^\s#]*))?"
)
_METHOD = re.compile(r"[A-Z][A-Z0-9-]*", re.ASCII)
_PORTS = {"http": "80", "https": "443"}


def expand(list_name: str, number: int, entry: str) -> list[tuple[Phase, Rule]]:
    """The rules of one entry. Raises ValueProblem."""
    action = LISTS[list_name]
    target, request = _conditions(entry, action)
    name = f"{list_name}-{number}"
    if action is Action.ALLOW:
        return [
            (Phase.PRE_DNS, Rule(name, action, tuple(target) or (_ANY_HOST,))),
            (Phase.PRE_REQUEST, Rule(f"{name}-request", action, (*target, *request) or (_ANY_HOST,))),
        ]
    if request:
        return [(Phase.PRE_REQUEST, Rule(name, action, (*target, *request)))]
    return [(Phase.PRE_DNS, Rule(name, action, tuple(target) or (_ANY_HOST,)))]


_ANY_HOST = Condition("request:DestinationDomain", "StringLike", ("*",))


def _conditions(entry: str, action: Action) -> tuple[list[Condition], list[Condition]]:
    """(conditions that PreDNS can judge, conditions that need more)."""
    if unfit_characters(entry):
        raise ValueProblem("an entry must not hold control characters")
    found = _ENTRY.fullmatch(entry.strip(" "))
    if found is None:
        raise ValueProblem("an entry is [METHOD,METHOD ][http://|https://]HOST[:PORT][/PATH][?QUERY]")
    target = _host(found["host"], found["path"])
    request: list[Condition] = []
    scheme, port = found["scheme"], found["port"]
    if scheme is not None and scheme not in _PORTS:
        raise ValueProblem("the scheme is http or https, in small letters")
    if port is not None and (re.fullmatch(r"[1-9][0-9]{0,4}", port, re.ASCII) is None or int(port) > 65535):
        raise ValueProblem("the port is a number from 1 to 65535")
    if port is not None or scheme is not None:
        target.append(Condition("request:DestinationPort", "NumericEquals", (port or _PORTS[scheme or ""],)))
    if scheme == "https" and action is Action.ALLOW:
        # Plain HTTP to port 443 is not what was allowed; a denial of the port needs no such distinction.
        request.append(Condition("request:Protocol", "StringEquals", ("https",)))
    if found["methods"] is not None:
        methods = tuple(found["methods"].split(","))
        if not all(_METHOD.fullmatch(method) for method in methods):
            raise ValueProblem("methods are capital letters with commas between them, such as GET,HEAD")
        request.append(Condition("request:Http:Method", "StringEquals", methods))
    for key, text in (("request:Http:Uri", found["path"]), ("request:Http:Query", found["query"])):
        if text == "":
            raise ValueProblem("nothing stands behind the question mark")
        if text is not None:
            operator = "StringLike" if has_wildcard(text) else "StringEquals"
            request.append(Condition(key, operator, (text,)))
    return target, request


def _host(host: str, path: str | None) -> list[Condition]:
    if host == "*":
        return []
    if host.startswith("["):
        host = host[1:-1]
    elif path is not None and re.fullmatch(r"[0-9.]+", host) and re.fullmatch(r"/[0-9]{1,2}", path):
        raise ValueProblem("a network does not fit here: write a rule with request:DestinationIp")
    parse_domain_pattern(host, patterns=True)
    operator = "StringLike" if has_wildcard(host) else "StringEquals"
    return [Condition("request:DestinationDomain", operator, (host,))]
