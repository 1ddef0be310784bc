"""Parsed values of a condition to one test: does this value of the fact satisfy any of them, negation set aside?

Values arrive here from `policy.values`, all of the type that the operator compares.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any

from netfw.policy.glob_index import GlobIndex
from netfw.policy.globs import Text, glob_matcher, has_wildcard
from netfw.policy.keys import Key, Kind
from netfw.policy.operators import Comparison, Family, Operator
from netfw.policy.values import AddressRange, Value

Test = Callable[[Any], bool]

_MANY = 16
"""Patterns from which on an index is cheaper than trying each."""


def comparison_test(key: Key, operator: Operator, values: Iterable[Value]) -> Test:
    """The test of one value of the fact: text, bytes, number, boolean or (version, integer) for an address."""
    wanted: list[Any] = list(values)
    if operator.family is Family.STRING:
        if key.kind is Kind.DOMAIN:
            return domain_test(wanted)
        if operator.comparison is Comparison.EQUALS_IGNORE_CASE:
            lowered = frozenset(wanted)
            return lambda text: text.lower() in lowered
        return like_test(wanted) if operator.comparison is Comparison.LIKE else _member_test(wanted)
    if operator.family is Family.ADDRESS:
        return address_test(wanted)
    return _ordered_test(operator.comparison, wanted)


def _member_test(wanted: list[Any]) -> Test:
    if len(wanted) == 1:
        only = wanted[0]
        return lambda value: bool(value == only)
    return frozenset(wanted).__contains__


def like_test(patterns: list[Text]) -> Callable[[Text], bool]:
    """Whether a text matches any pattern."""
    literals = frozenset(pattern for pattern in patterns if not has_wildcard(pattern))
    globs = [pattern for pattern in patterns if has_wildcard(pattern)]
    if len(globs) > _MANY:
        found_by_literal = _many_globs(globs)
        return lambda text: text in literals or found_by_literal(text)
    matchers = tuple(map(glob_matcher, globs))
    if not literals and len(matchers) == 1:
        return matchers[0]

    def test(text: Text) -> bool:
        if text in literals:
            return True
        for matches in matchers:  # noqa: SIM110  # a generator costs more than the loop
            if matches(text):
                return True
        return False

    return test


def domain_test(patterns: list[str]) -> Callable[[str], bool]:
    """Whether a canonical host text matches any of `x`, `.x`, `*.x` or a pattern."""
    exact: set[str] = set()
    suffixes: set[str] = set()
    globs: list[str] = []
    for pattern in patterns:
        name, suffix = domain_parts(pattern)
        if name is not None:
            exact.add(name)
        if suffix is not None:
            suffixes.add(suffix)
        if name is None and suffix is None:
            globs.append(pattern)
    matchers = (_many_globs(globs),) if len(globs) > _MANY else tuple(map(glob_matcher, globs))

    def test(host: str) -> bool:
        if host in exact:
            return True
        if suffixes:
            place = host.find(".")
            while place >= 0:
                if host[place:] in suffixes:
                    return True
                place = host.find(".", place + 1)
        for matches in matchers:  # noqa: SIM110  # a generator costs more than the loop
            if matches(host):
                return True
        return False

    return test


def _many_globs(globs: list[Text]) -> Callable[[Text], bool]:
    index = GlobIndex()
    for pattern in globs:
        index.add(pattern, 0)
    for _ in index.finish():
        pass

    def test(text: Text) -> bool:
        found: list[list[int]] = []
        index.find(text, found)
        return bool(found)

    return test


def domain_parts(pattern: str) -> tuple[str | None, str | None]:
    """(the name itself, `.x` for all below x) of a domain pattern; (None, None): a pattern of another form."""
    if pattern.startswith("."):
        return pattern[1:], pattern
    if not has_wildcard(pattern):
        return pattern, None
    if pattern.startswith("*.") and not has_wildcard(pattern[2:]):
        return None, pattern[1:]
    return None, None


def address_test(ranges: list[AddressRange]) -> Callable[[tuple[int, int]], bool]:
    """Whether (version, integer) lies in any range. Ranges are joined, so that one bisection decides."""
    edges: dict[int, tuple[list[int], list[int]]] = {4: ([], []), 6: ([], [])}
    for item in sorted(ranges, key=lambda item: (item.version, item.first)):
        firsts, lasts = edges[item.version]
        if firsts and item.first <= lasts[-1] + 1:
            lasts[-1] = max(lasts[-1], item.last)
        else:
            firsts.append(item.first)
            lasts.append(item.last)

    def test(address: tuple[int, int]) -> bool:
        firsts, lasts = edges[address[0]]
        place = bisect_right(firsts, address[1]) - 1
        return place >= 0 and address[1] <= lasts[place]

    return test


def _ordered_test(comparison: Comparison, wanted: list[Any]) -> Test:
    """Numbers, dates and booleans. Any value is enough, so an order is held against the widest of them."""
    lowest, highest = min(wanted), max(wanted)
    if comparison is Comparison.LESS:
        return lambda value: bool(value < highest)
    if comparison is Comparison.LESS_EQUAL:
        return lambda value: bool(value <= highest)
    if comparison is Comparison.GREATER:
        return lambda value: bool(value > lowest)
    if comparison is Comparison.GREATER_EQUAL:
        return lambda value: bool(value >= lowest)
    return _member_test(wanted)
