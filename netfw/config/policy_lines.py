"""A checked policy as lines of JSON, and back: how it comes from the process that read it. PURE.

A line holds a head, or at most `CHUNK` rules, so that whoever takes a policy of 100,000 rules over can do it a line at
a time and look after its connections in between. Nothing is checked again here: both ends are ours, and what comes was
checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule, RuleGroup

CHUNK = 100
_PHASES = {phase.value: phase for phase in Phase}


def print_policy(policy: PolicyConfiguration) -> Iterator[bytes]:
    """The lines of a policy; the last one says that it is the last."""
    groups = [*policy.groups, *policy.unattached]
    yield _line(
        {
            "name": policy.name,
            "description": policy.description,
            "defaults": {phase.value: action.value for phase, action in policy.defaults.items()},
            "groups": [[group.name, group.description] for group in groups],
            "attached": len(policy.groups),
        }
    )
    for number, group in enumerate(groups):
        for phase in Phase:
            rules = group.rules[phase]
            for start in range(0, len(rules), CHUNK):
                yield _line([number, phase.value, [plain_rule(rule) for rule in rules[start : start + CHUNK]]])
    yield _line("end")


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def plain_rule(rule: Rule) -> list[Any]:
    """The rule as it stands in a line."""
    return [
        rule.name,
        rule.action.value,
        [[condition.key, condition.operator, condition.values] for condition in rule.conditions],
        rule.description,
        rule.not_after,
        rule.owner,
        rule.ticket,
    ]


class PolicyLines:
    """Takes the lines in order. `policy` is there when `is_complete`."""

    def __init__(self) -> None:
        self.is_complete = False
        self._head: dict[str, Any] | None = None
        self._rules: list[dict[Phase, list[Rule]]] = []

    def take(self, line: bytes) -> None:
        """The next line. Raises ValueError for one that is no line of ours."""
        value = json.loads(line)
        if self._head is None:
            self._head = value
            self._rules = [{phase: [] for phase in Phase} for _ in value["groups"]]
        elif value == "end":
            self.is_complete = True
        else:
            number, phase, rules = value
            self._rules[number][_PHASES[phase]] += [rule_of_plain(plain) for plain in rules]

    def policy(self) -> PolicyConfiguration:
        """The whole policy; only when `is_complete`."""
        head = self._head
        assert head is not None and self.is_complete
        groups = tuple(
            RuleGroup(name, {phase: tuple(rules) for phase, rules in by_phase.items()}, description)
            for (name, description), by_phase in zip(head["groups"], self._rules, strict=True)
        )
        attached = head["attached"]
        return PolicyConfiguration(
            name=head["name"],
            defaults={_PHASES[phase]: Action(action) for phase, action in head["defaults"].items()},
            groups=groups[:attached],
            description=head["description"],
            unattached=groups[attached:],
        )


_ACTIONS = {action.value: action for action in Action}


def rule_of_plain(plain: list[Any]) -> Rule:
    """The rule of a line."""
    name, action, conditions, description, not_after, owner, ticket = plain
    return Rule(
        name,
        _ACTIONS[action],
        tuple([Condition(key, operator, tuple(values)) for key, operator, values in conditions]),
        description,
        not_after,
        owner,
        ticket,
    )
