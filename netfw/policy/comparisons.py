"""Parsed values of a condition to one test: does this value of the fact satisfy any of them, negation set aside?

Values arrive here from `policy.values`, all of the type that the operator compares. There may be 100,000 of them: every
test is built in slices.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from netfw.policy.glob_index import GlobIndex
from netfw.policy.globs import Text, glob_matcher, has_wildcard
from netfw.policy.keys import Key, Kind
from netfw.policy.large_table import LargeTable, members
from netfw.policy.operators import Comparison, Family, Operator
from netfw.policy.slices import Building, Slices, emptied, portions, sort_in_slices
from netfw.policy.values import AddressRange

Test = Callable[[Any], bool]

_MANY = 16
"""Patterns from which on an index is cheaper than trying each."""


def comparison_test(key: Key, operator: Operator, values: list[Any], leftovers: list[Slices]) -> Building[Test]:
    """The test of one value of the fact: text, bytes, number, boolean or (version, integer) for an address.

    Appends what takes its tables apart, when the test is not used any more.
    """
    if operator.family is Family.STRING:
        if key.kind is Kind.DOMAIN:
            return _domain_test(values, leftovers)
        if operator.comparison is Comparison.EQUALS_IGNORE_CASE:
            return _ignoring_case(values, leftovers)
        return (
            _like_test(values, leftovers) if operator.comparison is Comparison.LIKE else _member_test(values, leftovers)
        )
    if operator.family is Family.ADDRESS:
        return _address_test(values, leftovers)
    return _ordered_test(operator.comparison, values, leftovers)


def _member_test(wanted: list[Any], leftovers: list[Slices]) -> Building[Test]:
    if len(wanted) == 1:
        only = wanted[0]
        return lambda value: bool(value == only)
    table = yield from members(wanted)
    leftovers.append(table.emptied())
    return table.contains()


def _ignoring_case(wanted: list[Any], leftovers: list[Slices]) -> Building[Test]:
    table = yield from members(wanted)
    leftovers.append(table.emptied())
    holds = table.contains()
    return lambda text: holds(text.lower())


def _like_test(patterns: list[Text], leftovers: list[Slices]) -> Building[Test]:
    """Whether a text matches any pattern."""
    literals: LargeTable[Text, None] = LargeTable()
    globs: list[Text] = []
    for portion in portions(patterns):
        for pattern in portion:
            if has_wildcard(pattern):
                globs.append(pattern)
            else:
                literals.setdefault(pattern, None)
        yield from literals.room()
        yield
    leftovers.append(literals.emptied())
    is_literal = literals.contains()
    if len(globs) > _MANY:
        found_by_literal = yield from _many_globs(globs, leftovers)
        return lambda text: is_literal(text) or found_by_literal(text)
    matchers = tuple(map(glob_matcher, globs))
    if not literals and len(matchers) == 1:
        return matchers[0]

    def test(text: Text) -> bool:
        if is_literal(text):
            return True
        for matches in matchers:  # noqa: SIM110  # a generator costs more than the loop
            if matches(text):
                return True
        return False

    return test


def _domain_test(patterns: list[str], leftovers: list[Slices]) -> Building[Test]:
    """Whether a canonical host text matches any of `x`, `.x`, `*.x` or a pattern."""
    exact: LargeTable[str, None] = LargeTable()
    suffixes: LargeTable[str, None] = LargeTable()
    globs: list[str] = []
    for portion in portions(patterns):
        for pattern in portion:
            name, suffix = domain_parts(pattern)
            if name is not None:
                exact.setdefault(name, None)
            if suffix is not None:
                suffixes.setdefault(suffix, None)
            if name is None and suffix is None:
                globs.append(pattern)
        yield from exact.room()
        yield from suffixes.room()
        yield
    leftovers += [exact.emptied(), suffixes.emptied()]
    is_name, is_zone = exact.contains(), suffixes.contains() if suffixes else None
    matchers: tuple[Test, ...] = tuple(map(glob_matcher, globs[:_MANY]))
    if len(globs) > _MANY:
        matchers = ((yield from _many_globs(globs, leftovers)),)

    def test(host: str) -> bool:
        if is_name(host):
            return True
        if is_zone is not None:
            place = host.find(".")
            while place >= 0:
                if is_zone(host[place:]):
                    return True
                place = host.find(".", place + 1)
        for matches in matchers:  # noqa: SIM110  # a generator costs more than the loop
            if matches(host):
                return True
        return False

    return test


def _many_globs(globs: list[Text], leftovers: list[Slices]) -> Building[Test]:
    index = GlobIndex()
    for portion in portions(globs):
        for pattern in portion:
            index.add(pattern, 0)
        yield from index.room()
        yield
    yield from emptied(globs)
    yield from index.finish()
    leftovers.append(index.dismantle())

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


def _address_test(ranges: list[AddressRange], leftovers: list[Slices]) -> Building[Test]:
    """Whether (version, integer) lies in any range. Ranges are joined, so that one bisection decides."""
    edges: dict[int, tuple[list[int], list[int]]] = {4: ([], []), 6: ([], [])}
    order: list[tuple[int, int, int]] = []
    for portion in portions(ranges):
        order += [(item.version, item.first, item.last) for item in portion]
        yield
    yield from sort_in_slices(order)
    for rows in portions(order):
        for version, first, last in rows:
            firsts, lasts = edges[version]
            if firsts and first <= lasts[-1] + 1:
                lasts[-1] = max(lasts[-1], last)
            else:
                firsts.append(first)
                lasts.append(last)
        yield
    yield from emptied(order)
    leftovers.append(emptied(*edges[4], *edges[6]))

    def test(address: tuple[int, int]) -> bool:
        firsts, lasts = edges[address[0]]
        place = bisect_right(firsts, address[1]) - 1
        return place >= 0 and address[1] <= lasts[place]

    return test


def _ordered_test(comparison: Comparison, wanted: list[Any], leftovers: list[Slices]) -> Building[Test]:
    """Numbers, dates and booleans. Any value is enough, so an order is held against the widest of them."""
    lowest = highest = wanted[0]
    for portion in portions(wanted):
        lowest, highest = min(lowest, *portion), max(highest, *portion)
        yield
    if comparison is Comparison.LESS:
        return lambda value: bool(value < highest)
    if comparison is Comparison.LESS_EQUAL:
        return lambda value: bool(value <= highest)
    if comparison is Comparison.GREATER:
        return lambda value: bool(value > lowest)
    if comparison is Comparison.GREATER_EQUAL:
        return lambda value: bool(value >= lowest)
    return (yield from _member_test(wanted, leftovers))
