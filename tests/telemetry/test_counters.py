"""Counters keep a bounded number of labels."""

from __future__ import annotations

from typing import Any

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


def test_equal_rules_of_two_generations_share_a_count(make: Any) -> None:
    """A reload makes new rule objects; their group and phase go on counting where they were."""
    counts = RuleCounts()
    for _ in range(2):
        rule = RuleRef("team", "a", Phase.PRE_DNS)
        counts.add([make.decide(Phase.PRE_DNS, Action.DENY, rule=rule)], None)
    assert [(count.group, count.action, count.taken) for count in counts.counts()] == [("team", "deny", 2)]


def test_one_rule_may_have_two_actions(make: Any) -> None:
    """A default of ALERT alerts and allows."""
    counts = RuleCounts()
    rule = RuleRef("", "default", Phase.PRE_DNS)
    counts.add([make.decide(Phase.PRE_DNS, Action.ALLOW, rule=rule, alerts=(rule,))], None)
    assert {(count.action, count.by_default, count.taken, count.final) for count in counts.counts()} == {
        ("alert", True, 1, 0),
        ("allow", True, 1, 1),
    }


def test_looking_loses_nothing_and_counts_nothing_twice(make: Any) -> None:
    """Exchanges before and after a look, with more combinations than are kept at once."""
    counts = RuleCounts()
    for number in range(1, 5001):
        counts.add([make.decide(Phase.PRE_DNS, Action.ALLOW)], None)
        if number % 1999 == 0:
            assert [(count.taken, count.final) for count in counts.counts()] == [(number, number)]
    assert [(count.taken, count.final) for count in counts.counts()] == [(5000, 5000)]


def test_an_exchange_without_a_phase_is_a_refusal() -> None:
    """What ended before any rule was asked counts as nobody's decision."""
    counts = RuleCounts()
    counts.add([], None)
    counts.add([], None)
    assert list(counts.counts()) == []
    assert counts.refusals == 2
