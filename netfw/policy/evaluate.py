"""Evaluate one phase of a policy on the facts of an exchange.

First terminal match by priority wins; alerts on the way are collected. A rule that waits for a fact which is not yet
known makes the result Open only when it could still turn the outcome: a waiting ALERT never does, and where every
possible outcome is the same action the result is that action, in the name of the first rule that is certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from netfw.policy.checks import FALSE, TRUE
from netfw.policy.compile import CompiledPolicy, CompiledRule
from netfw.policy.decision import Decision, Match, Open
from netfw.policy.facts import Facts
from netfw.policy.model import Action, Phase

_NONE: frozenset[int] = frozenset()


def evaluate(policy: CompiledPolicy, phase: Phase, facts: Facts) -> Decision | Open:
    """The decision of a phase, or Open. Raises nothing but what a bug raises; a caller turns that into a denial."""
    program = policy.programs[phase.order]
    found: list[Sequence[int]] = []
    late = _NONE
    for index in program.indexes:
        if index.collect(facts, found):  # type: ignore[arg-type]  # indexes only append
            found.append(index.late)
            late = late | index.late_set if late else index.late_set
    if program.residual:
        found.append(program.residual)
    if not found:
        return program.default
    positions = found[0] if len(found) == 1 else sorted(chain.from_iterable(found))
    previous = -1
    alerts: list[Match] = []
    waiting: dict[Action, CompiledRule] | None = None
    outcome = program.default
    rules = program.rules
    for position in positions:
        if position == previous:
            continue  # found by two values of one condition
        previous = position
        rule = rules[position]
        certain = not late or position not in late
        for check in rule.checks:
            result = check(facts)
            if result == TRUE:
                continue
            if result == FALSE:
                break
            certain = False
        else:
            if rule.not_after <= facts.time:
                continue
            if certain:
                if rule.alerts:
                    alerts.append(rule.match)
                    continue
                outcome = rule.decision
                break
            if not rule.alerts:
                if waiting is None:
                    waiting = {rule.action: rule}
                elif rule.action not in waiting:
                    return Open(phase, next(iter(waiting.values())).match.rule)
    if waiting is not None:
        first = next(iter(waiting.values()))
        if first.action is not outcome.action:
            return Open(phase, first.match.rule)
    if alerts:
        return Decision(phase, outcome.action, outcome.rule, (*alerts, *outcome.matches), outcome.reason)
    return outcome
