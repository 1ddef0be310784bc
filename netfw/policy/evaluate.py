"""Evaluate one phase of a policy on the facts of an exchange.

First terminal match by priority wins; alerts on the way are collected. A rule that waits for a fact which is not yet
known makes the result Open only when it could still turn the outcome: a waiting ALERT never does, and where every
possible outcome is the same action the result is that action, in the name of the first rule that is certain.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain

from netfw.policy.checks import FALSE, TRUE
from netfw.policy.compile import CompiledPolicy, CompiledRule
from netfw.policy.decision import Decision, Match, Open
from netfw.policy.facts import Facts
from netfw.policy.model import Action, Phase

Late = list[list[int]]


def evaluate(policy: CompiledPolicy, phase: Phase, facts: Facts) -> Decision | Open:
    """The decision of a phase, or Open. Raises nothing but what a bug raises; a caller turns that into a denial."""
    program = policy.programs[phase.order]
    found: list[Sequence[int]] = []
    late: Late | None = None
    for index in program.indexes:
        if index.collect(facts, found):  # type: ignore[arg-type]  # indexes only append
            found.append(index.late)
            late = [index.late] if late is None else [*late, index.late]
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
        certain = late is None or not _waits(late, position)
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


def _waits(late: Late, position: int) -> bool:
    """Whether the rule is one of those that wait for a fact of an index; each list is in order."""
    for positions in late:
        place = bisect_left(positions, position)
        if place < len(positions) and positions[place] == position:
            return True
    return False
