"""Allowed or denied, and by which rule."""

from __future__ import annotations

from typing import Any

import pytest

from netfw import errors
from netfw.policy.decision import RuleRef
from netfw.policy.model import Action, Phase
from netfw.telemetry.outcome import outcome


def test_without_a_decision_nothing_was_allowed() -> None:
    """Neither silence nor an error before the first phase is an ALLOW."""
    assert outcome([], None) == (False, None)
    assert outcome([], errors.MalformedRequest("no")) == (False, None)


def test_the_rule_of_the_last_phase_allows(make: Any) -> None:
    """An allowed exchange names the rule that ended its last phase."""
    rule = RuleRef("team", "get-only", Phase.PRE_REQUEST)
    decisions = [make.decide(Phase.PRE_DNS, Action.ALLOW), make.decide(Phase.PRE_REQUEST, Action.ALLOW, rule=rule)]
    assert outcome(decisions, None) == (True, rule)


def test_the_denying_rule_is_named(make: Any) -> None:
    """A denied one names the rule that denied."""
    decisions = [make.decide(Phase.PRE_DNS, Action.ALLOW), make.decide(Phase.PRE_REQUEST, Action.DENY)]
    assert outcome(decisions, errors.Denied("no")) == (False, decisions[1].rule)


def test_a_denial_that_only_the_error_knows(make: Any) -> None:
    """`Denied` carries its decision: it counts also where the list does not have it."""
    decision = make.decide(Phase.PRE_REQUEST, Action.DENY)
    error = errors.Denied("no", decision=decision)
    assert outcome([], error) == (False, decision.rule)
    assert outcome([make.decide(Phase.PRE_DNS, Action.ALLOW)], error) == (False, decision.rule)


@pytest.mark.parametrize(
    "error",
    [
        errors.DestinationProhibited("no"),
        errors.PolicyFailure("no"),
        errors.MisdirectedRequest("no"),
        errors.LoopDetected("no"),
        errors.Overloaded("no"),
        errors.NotOffered("no"),
        errors.Denied("no"),
    ],
)
def test_refusals_of_the_proxys_own(make: Any, error: errors.NetfwError) -> None:
    """Guards, limits and the binding of names deny without a rule, whatever policy allowed before."""
    assert outcome([make.decide(Phase.PRE_DNS, Action.ALLOW)], error) == (False, None)


@pytest.mark.parametrize("error", [errors.OriginRefused("no"), errors.ClientGone("no"), errors.DnsTimeout("no")])
def test_a_failure_after_an_allow_is_no_denial(make: Any, error: errors.NetfwError) -> None:
    """What policy let out stays let out when the origin fails or the client leaves."""
    decision = make.decide(Phase.PRE_DNS, Action.ALLOW)
    assert outcome([decision], error) == (True, decision.rule)
