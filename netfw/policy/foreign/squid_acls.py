"""Squid's `acl` lines to conditions of ours: each acl becomes alternatives, and each of these conditions that all hold.

That an acl does not hold is alternatives as well. Not here: which acls decide what (`squid`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, summarize_address_range
from itertools import product
from typing import Any

from netfw.policy.foreign.imported import Document, condition

Alternatives = list[list[Document]]

_PORTS = "request:DestinationPort"
_MOST = 64
_RANGE = re.compile(r"([0-9]+)-([0-9]+)", re.ASCII)
_ADDRESSES = re.compile(r"([0-9a-fA-F.:]+)-([0-9a-fA-F.:]+)(?:/\S+)?", re.ASCII)


class NoCounterpart(Exception):
    """This acl has no meaning here; `str()` says why."""


class Acl:
    """One acl, its values collected over all its lines."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.values: list[str] = []

    def holds(self) -> Alternatives:
        """When it holds. Raises NoCounterpart."""
        return _translator(self.kind)(self.values, False)

    def holds_not(self) -> Alternatives:
        """When it does not. Raises NoCounterpart."""
        return _translator(self.kind)(self.values, True)


def both(one: Alternatives, other: Alternatives) -> Alternatives:
    """When both hold. Raises NoCounterpart when that takes too many rules."""
    if len(one) * len(other) > _MOST:
        raise NoCounterpart(f"it would take {len(one) * len(other)} rules")
    return [[*first, *second] for first, second in product(one, other)]


def _translator(kind: str) -> Callable[[list[str], bool], Alternatives]:
    found = _KINDS.get(kind)
    if found is None:
        raise NoCounterpart(f"acl type {kind} has no counterpart")
    return found


def _texts(key: str, positive: str, negative: str) -> Callable[[list[str], bool], Alternatives]:
    def translate(values: list[str], negated: bool) -> Alternatives:
        return [[condition(key, negative if negated else positive, *values)]]

    return translate


def _addresses(key: str) -> Callable[[list[str], bool], Alternatives]:
    def translate(values: list[str], negated: bool) -> Alternatives:
        named = {"all": ["0.0.0.0/0", "::/0"], "localhost": ["127.0.0.0/8", "::1"]}
        plain = [item for value in values for item in named.get(value) or _networks(value)]
        return [[condition(key, "NotIpAddress" if negated else "IpAddress", *plain)]]

    return translate


def _networks(value: str) -> list[str]:
    """One network; or those that a range of addresses is made of."""
    if not _ADDRESSES.fullmatch(value):
        return [_with_length(value)]
    first, _, last = value.partition("-")
    try:
        ends: Any = ip_address(first), ip_address(last)
        return [str(network) for network in summarize_address_range(*ends)]
    except (TypeError, ValueError):
        raise NoCounterpart(f"{value} is no range of addresses; write it as networks") from None


def _with_length(value: str) -> str:
    """255.255.0.0 behind the slash becomes 16."""
    address, slash, mask = value.partition("/")
    if slash and re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", mask):
        bits = "".join(f"{int(part):08b}" for part in mask.split("."))
        if "01" in bits:
            raise NoCounterpart(f"the mask of {value} has holes")
        return f"{address}/{bits.count('1')}"
    return value


def _ports(values: list[str], negated: bool) -> Alternatives:
    single = [value for value in values if not _RANGE.fullmatch(value)]
    ranges = [(int(found[1]), int(found[2])) for value in values if (found := _RANGE.fullmatch(value))]
    if not negated:
        alternatives: Alternatives = [[condition(_PORTS, "NumericEquals", *single)]] if single else []
        return alternatives + [
            [
                condition(_PORTS, "NumericGreaterThanEquals", str(low)),
                condition(_PORTS, "NumericLessThanEquals", str(high)),
            ]
            for low, high in ranges
        ]
    outside: Alternatives = [[condition(_PORTS, "NumericNotEquals", *single)]] if single else [[]]
    for low, high in ranges:
        sides: Alternatives = []
        if low > 0:
            sides.append([condition(_PORTS, "NumericLessThan", str(low))])
        if high < 65535:
            sides.append([condition(_PORTS, "NumericGreaterThan", str(high))])
        outside = both(outside, sides)
    return outside


def _methods(values: list[str], negated: bool) -> Alternatives:
    """CONNECT is what a tunnel begins with: the protocol says so here, the method is that of the request inside."""
    others = [value for value in values if value != "CONNECT"]
    if len(others) < len(values) and others:
        raise NoCounterpart("CONNECT and other methods in one acl: give CONNECT an acl of its own")
    if not others:
        return [[condition("request:Protocol", "StringNotEquals" if negated else "StringEquals", "https")]]
    return [[condition("request:Http:Method", "StringNotEquals" if negated else "StringEquals", *others)]]


def _protocols(values: list[str], negated: bool) -> Alternatives:
    lowered = [value.lower() for value in values]
    strange = [value for value in lowered if value not in ("http", "https")]
    if strange:
        raise NoCounterpart(f"protocol {', '.join(strange)} is not spoken here")
    return [[condition("request:Protocol", "StringNotEquals" if negated else "StringEquals", *lowered)]]


def _users(values: list[str], negated: bool) -> Alternatives:
    key = "request:ClientIdentity"
    if "REQUIRED" in values:
        return [[condition(key, "Null", "true" if negated else "false")]]
    return [[condition(key, "StringNotEquals" if negated else "StringEquals", *values)]]


def _patterns(key: str, *, part: bool) -> Callable[[list[str], bool], Alternatives]:
    """Regular expressions that are no more than a text with anchors and `.*`. `part`: the key is the whole value."""

    def translate(values: list[str], negated: bool) -> Alternatives:
        patterns = [_pattern(value, lower=part) for value in values]
        return [[condition(key, "StringNotLike" if negated else "StringLike", *patterns)]]

    return translate


_TOKEN = re.compile(r"\\([^A-Za-z0-9])|(\.\*)|([A-Za-z0-9_/ :;,=&%@~'\"<>#!-])")


def _pattern(value: str, *, lower: bool) -> str:
    text = value
    start, end = text.startswith("^"), text.endswith("$") and not text.endswith("\\$")
    text = text[1:] if start else text
    text = text[:-1] if end else text
    made, place = "", 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None or found[1] in ("*", "?"):
            raise NoCounterpart(f"the regular expression {value} is no pattern with *")
        made += "*" if found[2] else (found[1] or found[3])
        place = found.end()
    made = ("" if start else "*") + made + ("" if end else "*")
    return re.sub(r"\*+", "*", made.lower() if lower else made)


_DOMAIN = "request:DestinationDomain"
_KINDS: dict[str, Callable[[list[str], bool], Alternatives]] = {
    "dstdomain": _texts(_DOMAIN, "StringEquals", "StringNotEquals"),
    "dstdom_regex": _patterns(_DOMAIN, part=True),
    "src": _addresses("request:SourceIp"),
    "dst": _addresses("request:DestinationIp"),
    "port": _ports,
    "method": _methods,
    "proto": _protocols,
    "proxy_auth": _users,
    "ident": _users,
    "myportname": _texts("request:ListenerName", "StringEquals", "StringNotEquals"),
    "urlpath_regex": _patterns("request:Http:Uri", part=False),
    "browser": _patterns("request:Http:UserAgent", part=False),
}
