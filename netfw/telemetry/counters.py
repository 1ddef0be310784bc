"""Counters by label, each with a cap on how many labels there can be. PURE.

A label that peers or reloads can choose freely would grow the process and whoever collects its metrics without end.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from netfw.policy.model import Action
from netfw.telemetry.outcome import outcome

if TYPE_CHECKING:
    from netfw.errors import NetfwError
    from netfw.policy.decision import Decision, RuleRef

OTHER = "other"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}", re.ASCII)
_WORDS_KEPT = 64
_GROUPS_KEPT = 1000
_COMBINATIONS_KEPT = 4096
_ALERT: Final = Action.ALERT


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
    """The counts of all rules, over whole exchanges.

    Without alerts a compiled policy gives the same decision objects every time, so exchanges are counted by the
    combination of their decisions, found by identity: one addition an exchange, whatever the number of phases. Rules
    get their shares when somebody asks.
    """

    def __init__(self) -> None:
        self.refusals = 0
        """Exchanges that ended before any phase, or by the proxy's own refusal after all allowed."""
        self._counts: dict[tuple[str, str, str, bool], RuleCount] = {}
        self._combinations: dict[tuple[int, ...], list[Any]] = {}
        self._groups: set[str] = set()

    def add(self, decisions: Sequence[Decision], error: NetfwError | None) -> None:
        """Count an exchange that ended with these decisions."""
        if error is None:
            combination = self._combinations.get(key := tuple([id(decision) for decision in decisions]))
            if combination is not None:
                combination[0] += 1
                return
            if len(self._combinations) >= _COMBINATIONS_KEPT:
                self._share_out()
            # The entry holds the decisions, so that their identities cannot come to mean others.
            self._combinations[key] = [1, tuple(decisions)]
        else:
            self._count(decisions, error, 1)

    def counts(self) -> Collection[RuleCount]:
        """What each rule decided."""
        self._share_out()
        return self._counts.values()

    def _share_out(self) -> None:
        combinations, self._combinations = self._combinations, {}
        for times, decisions in combinations.values():
            self._count(decisions, None, times)

    def _count(self, decisions: Sequence[Decision], error: NetfwError | None, times: int) -> None:
        for decision in decisions:
            self._count_of(decision.rule, decision.action).taken += times
            for match in decision.matches:
                if match.action is _ALERT:
                    self._count_of(match.rule, _ALERT).taken += times
        allowed, rule = outcome(decisions, error)
        if rule is None or not decisions:
            self.refusals += times
        else:
            self._count_of(rule, Action.ALLOW if allowed else Action.DENY).final += times

    def _count_of(self, rule: RuleRef, action: Action) -> RuleCount:
        name = (rule.phase.hook, action.name.lower(), self._known_group(rule.group), not rule.group)
        count = self._counts.get(name)
        if count is None:
            count = self._counts[name] = RuleCount(*name)
        return count

    def _known_group(self, group: str) -> str:
        if group and group not in self._groups:
            if len(self._groups) >= _GROUPS_KEPT:
                return OTHER
            self._groups.add(group)
        return group
