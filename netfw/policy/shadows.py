"""Rules that can never match, because an earlier ALLOW or DENY matches whenever they do.

Comparing every rule with every earlier one would take hours for a large policy. So the rules stand in the same indexes
that evaluation uses, and a rule asks them with its own values: what does not answer cannot cover it.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace
from typing import Any

from netfw.policy.access import IndexName, new_index, possible_accesses
from netfw.policy.checks import condition_parts
from netfw.policy.covering import always_true, rule_covers
from netfw.policy.indexes import Index
from netfw.policy.model import Action, Condition, Rule
from netfw.policy.slices import finished
from netfw.policy.values import AddressRange, trusted_value

_TRIED = 300
"""Rules without a value to be found by; the first so many are compared with every later rule."""

Shadow = tuple[int, int, str, str]


def find_shadows(rules: list[Rule]) -> Iterator[Shadow]:
    """(later, earlier, code, message) for rules of one phase in order; `{}` in the message is the earlier rule."""
    closed = next((place for place, rule in enumerate(rules) if _unconditional(rule)), None)
    finder = _Finder(rules)
    for later, rule in enumerate(rules):
        if closed is not None and later > closed:
            yield later, closed, "unreachable", "can never match: {} before it matches everything"
            continue
        earlier = finder.cover(later)
        if earlier is not None:
            same = rules[earlier].action is rule.action
            code, what = ("redundant", "says the same") if same else ("shadowed", "decides first")
            yield later, earlier, code, f"can never match: {{}} before it matches whenever it would, and {what}"


def _unconditional(rule: Rule) -> bool:
    return rule.action is not Action.ALERT and rule.not_after is None and all(map(always_true, rule.conditions))


class _Finder:
    """All ALLOW and DENY rules of a phase, to be asked for one that covers another."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules
        self._indexes: dict[IndexName, Index] = {}
        self._tried: list[int] = []
        for place, rule in enumerate(rules):
            if rule.action is not Action.ALERT:
                self._enter(place, rule)
        for index in self._indexes.values():
            finished(index.finish())
            index.allowing = bytes(len(rules))  # both readings count: what is found is only a candidate

    def _enter(self, place: int, rule: Rule) -> None:
        accesses = [access for access in possible_accesses(rule) if not always_true(access[0])]
        if not accesses:
            if len(self._tried) < _TRIED:
                self._tried.append(place)
            return
        condition, name = accesses[0]
        key, operator, texts = condition_parts(condition)
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = new_index(key, name)
        for text in texts:
            index.add(operator, trusted_value(key, operator, text), place)

    def cover(self, later: int) -> int | None:
        """The first earlier rule that matches whenever this one does."""
        narrow = self._rules[later]
        candidates = {place for place in self._tried if place < later}
        for condition, name in possible_accesses(narrow):
            if name in self._indexes:
                found: list[list[int]] = []
                self._indexes[name].collect(_probe(condition), found)
                candidates.update(place for places in found for place in places if place < later)
        for place in sorted(candidates):
            if _outlives(self._rules[place], narrow) and rule_covers(self._rules[place], narrow):
                return place
        return None


def _outlives(wide: Rule, narrow: Rule) -> bool:
    if wide.not_after is None:
        return True
    return narrow.not_after is not None and narrow.not_after <= wide.not_after


def _probe(condition: Condition) -> Any:
    """Facts that have nothing but the first value of this condition: a pattern stands for the texts it matches."""
    key, operator, texts = condition_parts(condition)
    value: Any = trusted_value(key, operator, texts[0])
    if isinstance(value, AddressRange):
        value = IPv4Address(value.first) if value.version == 4 else IPv6Address(value.first)
    if key.field is not None:
        values = [value]
        value = SimpleNamespace(get_all=lambda _name: values)
    return SimpleNamespace(**{key.attribute: value})
