"""The same walk as `evaluate`, with every rule and every condition told: why it matched, or why it did not.

Nothing is skipped here and nothing is indexed, so this is for people and tests, not for the data path. The result is
plain data; how it is printed is the command line's and the console's matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import Enum
from typing import Any

from netfw.names.printable import printable
from netfw.policy.checks import FALSE, PENDING, build_check, condition_parts, key_reader
from netfw.policy.compile import default_decision
from netfw.policy.decision import Decision, Match, Open, RuleRef
from netfw.policy.facts import ABSENT, INVISIBLE, NOT_YET, Facts, Unknown
from netfw.policy.imagined_request import ImaginedRequest
from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule

_SHOWN_VALUES = 8
_SHOWN_TEXT = 200


class RuleState(Enum):
    """What became of a rule."""

    MATCHED = "matched"
    NOT_MATCHED = "not matched"
    WAITING = "not yet certain"
    EXPIRED = "expired"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True)
class ConditionStep:
    """One condition: what it wanted, what it found. `result` is true, false or `not yet known`."""

    key: str
    operator: str
    values: tuple[str, ...]
    more_values: int
    found: str
    result: str


@dataclass(frozen=True, slots=True)
class RuleStep:
    """One rule. A rule that was not reached or has expired has no conditions told."""

    rule: RuleRef
    action: Action
    state: RuleState
    conditions: tuple[ConditionStep, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A phase told. `nearest`: the rule that would have given another outcome and came closest, if there is one."""

    phase: Phase
    result: Decision | Open
    steps: tuple[RuleStep, ...]
    nearest: RuleStep | None = field(default=None)

    @property
    def outcome(self) -> str:
        """allow, deny, or open: not certain without facts that are not there."""
        if isinstance(self.result, Open):
            return "open"
        return "allow" if self.result.allowed else "deny"

    def as_data(self) -> dict[str, Any]:
        """As mappings, lists and texts, for JSON."""
        return {
            "phase": self.phase.value,
            "result": result_as_data(self.result),
            "nearest": None if self.nearest is None else _step_as_data(self.nearest),
            "rules": [_step_as_data(step) for step in self.steps],
        }


def explain(configuration: PolicyConfiguration, phase: Phase, facts: Facts) -> Explanation:
    """Tell how a phase is evaluated on these facts."""
    steps: list[RuleStep] = []
    alerts: list[Match] = []
    waiting: list[RuleStep] = []
    outcome: Decision | None = None
    for group, rule in configuration.rules(phase):
        ref = RuleRef(group.name, rule.name, phase)
        if outcome is not None:
            steps.append(RuleStep(ref, rule.action, RuleState.NOT_REACHED, (), f"{outcome.rule} had decided"))
            continue
        step = _tell(rule, ref, facts)
        steps.append(step)
        if step.state is RuleState.MATCHED:
            match = Match(ref, rule.action)
            if rule.action is Action.ALERT:
                alerts.append(match)
            else:
                outcome = Decision(phase, rule.action, ref, (*alerts, match), rule.description)
        elif step.state is RuleState.WAITING and rule.action is not Action.ALERT:
            waiting.append(step)
    if outcome is None:
        default = default_decision(phase, configuration.defaults[phase])
        outcome = Decision(phase, default.action, default.rule, (*alerts, *default.matches), default.reason)
    result: Decision | Open = outcome
    if any(step.action is not outcome.action for step in waiting):
        result = Open(phase, waiting[0].rule)
    return Explanation(phase, result, tuple(steps), _nearest(steps, outcome.action))


def explain_request(
    configuration: PolicyConfiguration, request: ImaginedRequest, intercepted: bool
) -> list[Explanation]:
    """Tell each phase that the request goes through, up to the one that denies it or stays open; one at least."""
    explanations: list[Explanation] = []
    for phase, facts in request.phases(intercepted):
        explanations.append(explain(configuration, phase, facts))
        if explanations[-1].outcome != "allow":
            break
    return explanations


def _tell(rule: Rule, ref: RuleRef, facts: Facts) -> RuleStep:
    if rule.not_after is not None and rule.not_after <= facts.time:
        return RuleStep(ref, rule.action, RuleState.EXPIRED, (), "its NotAfter has passed")
    conditions = tuple(_tell_condition(condition, rule.action, facts) for condition in rule.conditions)
    results = [condition.result for condition in conditions]
    if "false" in results:
        failed = conditions[results.index("false")]
        return RuleStep(ref, rule.action, RuleState.NOT_MATCHED, conditions, _why(failed))
    if "not yet known" in results:
        open_one = conditions[results.index("not yet known")]
        return RuleStep(ref, rule.action, RuleState.WAITING, conditions, f"{open_one.key} is not yet known")
    return RuleStep(ref, rule.action, RuleState.MATCHED, conditions)


def _tell_condition(condition: Condition, action: Action, facts: Facts) -> ConditionStep:
    result = build_check(condition, action)(facts)
    key, _, _ = condition_parts(condition)
    return ConditionStep(
        condition.key,
        condition.operator,
        tuple(condition.values[:_SHOWN_VALUES]),
        max(0, len(condition.values) - _SHOWN_VALUES),
        shown(key_reader(key)(facts)),
        "not yet known" if result == PENDING else "false" if result == FALSE else "true",
    )


def _why(failed: ConditionStep) -> str:
    wanted = ", ".join(map(shown, failed.values)) + (f" and {failed.more_values} more" if failed.more_values else "")
    return f"{failed.key} is {failed.found}; wanted {failed.operator} {wanted}"


def shown(value: object) -> str:
    """A fact as text: printable, of bounded length."""
    if isinstance(value, Unknown):
        return {ABSENT: "absent", INVISIBLE: "never visible here", NOT_YET: "not yet known"}[value]
    if isinstance(value, bytes):
        text = value.decode("ascii", "backslashreplace")
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, list):
        return ", ".join(shown(item) for item in value)
    else:
        text = str(value)
    text = printable(text)
    return text if len(text) <= _SHOWN_TEXT else text[: _SHOWN_TEXT - 3] + "..."


def _nearest(steps: list[RuleStep], outcome: Action) -> RuleStep | None:
    """The rule of the other outcome with the fewest conditions that are false, and most like what was asked for."""
    best: RuleStep | None = None
    best_rank = (0, 0.0)
    for step in steps:
        if step.action in (outcome, Action.ALERT) or step.state is not RuleState.NOT_MATCHED:
            continue
        failed = [condition for condition in step.conditions if condition.result == "false"]
        likeness = max(_likeness(condition) for condition in failed)
        if len(failed) == len(step.conditions) and likeness < 0.7:
            continue
        rank = (-len(failed), likeness)
        if best is None or rank > best_rank:
            best, best_rank = step, rank
    return best


def _likeness(condition: ConditionStep) -> float:
    """How much what was found looks like a value that was wanted, from 0 to 1."""
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(condition.found)
    best = 0.0
    for value in condition.values:
        matcher.set_seq1(value[:_SHOWN_TEXT].strip(".*"))
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best:
            best = max(best, matcher.ratio())
    return best


def result_as_data(result: Decision | Open) -> dict[str, Any]:
    """A decision, or openness, as mappings, lists and texts."""
    if isinstance(result, Open):
        return {"open": True, "pending": str(result.pending)}
    return {
        "open": False,
        "action": result.action.value,
        "rule": str(result.rule),
        "matches": [{"rule": str(match.rule), "action": match.action.value} for match in result.matches],
        "reason": result.reason,
    }


def _step_as_data(step: RuleStep) -> dict[str, Any]:
    return {
        "rule": str(step.rule),
        "action": step.action.value,
        "state": step.state.value,
        "why": step.why,
        "conditions": [
            {
                "key": condition.key,
                "operator": condition.operator,
                "values": list(condition.values),
                "more_values": condition.more_values,
                "found": condition.found,
                "result": condition.result,
            }
            for condition in step.conditions
        ],
    }
