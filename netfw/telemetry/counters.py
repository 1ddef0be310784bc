"""Counters by label, each with a cap on how many labels there can be. PURE.

A label that peers or reloads can choose freely would grow the process and whoever collects its metrics without end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netfw.policy.decision import RuleRef
    from netfw.policy.model import Action

OTHER = "other"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}", re.ASCII)
_WORDS_KEPT = 64
_GROUPS_KEPT = 1000
_RULES_KEPT = 16384


def known_word(word: str, kept: Mapping[str, object]) -> str:
    """The word itself while there is room for it, else `other`; what is no word is `other` too."""
    if word in kept or (len(kept) < _WORDS_KEPT and _WORD.fullmatch(word)):
        return word
    return OTHER


class Words(dict[str, int]):
    """A counter by word, with at most `_WORDS_KEPT` of them; the rest, and what is no word, count as `other`."""

    def add(self, word: str | None) -> None:
        """Count one."""
        word = known_word("none" if word is None else word, self)
        self[word] = self.get(word, 0) + 1


class RuleCount:
    """What one rule (or the default of a phase) decided: how often, and how often as the last word of an exchange."""

    __slots__ = ("action", "by_default", "final", "group", "phase", "taken")

    def __init__(self, phase: str, action: str, group: str, by_default: bool) -> None:
        self.phase = phase
        self.action = action
        self.group = group
        self.by_default = by_default
        self.taken = 0
        self.final = 0


class RuleCounts:
    """The counts of all rules. A rule is found by its object's identity: hashing it would cost more than counting."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, str, bool], RuleCount] = {}
        self._by_rule: dict[int, tuple[RuleRef, Action, RuleCount]] = {}
        self._groups: set[str] = set()

    def __iter__(self) -> Iterator[RuleCount]:
        return iter(self._counts.values())

    def count_of(self, rule: RuleRef, action: Action) -> RuleCount:
        """Where this rule counts."""
        key = id(rule) ^ id(action)
        known = self._by_rule.get(key)
        if known is not None and known[0] is rule and known[1] is action:
            return known[2]
        name = (rule.phase.hook, action.name.lower(), self._known_group(rule.group), not rule.group)
        count = self._counts.get(name)
        if count is None:
            count = self._counts[name] = RuleCount(*name)
        if len(self._by_rule) >= _RULES_KEPT:
            self._by_rule.clear()
        # The entry holds the rule, so that its identity cannot come to mean another one.
        self._by_rule[key] = (rule, action, count)
        return count

    def _known_group(self, group: str) -> str:
        if group and group not in self._groups:
            if len(self._groups) >= _GROUPS_KEPT:
                return OTHER
            self._groups.add(group)
        return group
