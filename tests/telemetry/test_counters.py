"""Counters keep a bounded number of labels."""

from __future__ import annotations

from netfw.policy.decision import RuleRef
from netfw.policy.model import Action, Phase
from netfw.telemetry.counters import OTHER, RuleCounts, Words, known_word


def test_words_are_bounded() -> None:
    """A peer that makes up words, or sends what is no word, ends in `other`."""
    words = Words()
    for number in range(1000):
        words.add(f"word{number}")
    words.add('x"\n} 1')
    words.add("")
    assert len(words) <= 65
    assert sum(words.values()) == 1002
    assert words[OTHER] == 938


def test_nothing_is_none() -> None:
    """No word counts as `none`."""
    words = Words()
    words.add(None)
    assert words == {"none": 1}


def test_a_word_that_is_kept_stays_known() -> None:
    """Also when there is no room for new ones."""
    kept = {f"w{number}": 0 for number in range(64)}
    assert known_word("w63", kept) == "w63"
    assert known_word("w64", kept) == OTHER


def test_equal_rules_of_two_generations_share_a_count() -> None:
    """A reload makes new rule objects; their group and phase go on counting where they were."""
    counts = RuleCounts()
    for _ in range(2):
        counts.count_of(RuleRef("team", "a", Phase.PRE_DNS), Action.DENY).taken += 1
    assert [(count.group, count.action, count.taken) for count in counts] == [("team", "deny", 2)]


def test_one_rule_may_have_two_actions() -> None:
    """A default of ALERT alerts and allows."""
    counts = RuleCounts()
    rule = RuleRef("", "default", Phase.PRE_DNS)
    counts.count_of(rule, Action.ALERT).taken += 1
    counts.count_of(rule, Action.ALLOW).taken += 2
    assert counts.count_of(rule, Action.ALERT).taken == 1
    assert {(count.action, count.by_default) for count in counts} == {("alert", True), ("allow", True)}
