"""Evaluate one phase of a policy on the facts of an exchange.

First terminal match by priority wins; alerts on the way are collected. A rule that waits for a fact which is not yet
known makes the result Open only when it could still turn the outcome: a waiting ALERT never does, and where every
possible outcome is the same action the result is that action, in the name of the first rule that is certain.
"""

from __future__ import annotations

from netfw.policy.checks import FALSE, PENDING, TRUE
from netfw.policy.compile import CompiledPolicy
from netfw.policy.decision import Decision, Match, Open
from netfw.policy.facts import Facts
from netfw.policy.model import Action, Phase


def evaluate(policy: CompiledPolicy, phase: Phase, facts: Facts) -> Decision | Open:
    """The decision of a phase, or Open. Raises nothing but what a bug raises; a caller turns that into a denial."""
    program = policy.programs[phase.order]
    alerts: list[Match] = []
    waiting: dict[Action, Open] = {}
    outcome = program.default
    for rule in program.rules:
        if rule.not_after <= facts.time:
            continue
        state = TRUE
        for check in rule.checks:
            result = check(facts)
            if result == FALSE:
                state = FALSE
                break
            if result == PENDING:
                state = PENDING
        if state == FALSE:
            continue
        if rule.decision is None:
            if state == TRUE:
                alerts.append(rule.match)
        elif state == PENDING:
            waiting.setdefault(rule.action, Open(phase, rule.ref))
            if len(waiting) == 2:
                return next(iter(waiting.values()))
        else:
            outcome = rule.decision
            break
    for action, still_open in waiting.items():
        if action is not outcome.action:
            return still_open
    if alerts:
        return Decision(phase, outcome.action, outcome.rule, (*alerts, *outcome.matches), outcome.reason)
    return outcome
