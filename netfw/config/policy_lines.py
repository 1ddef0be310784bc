"""A checked policy as lines of JSON, and back: how it comes from the process that read it. PURE.

A line holds a head, or at most `CHUNK` rules with at most `CHUNK_VALUES` values or so: who takes a policy of 100,000
rules over can do it a line at a time and look after its connections in between. The values of a condition that has more
go ahead of its rule, in lines of their own. Nothing is checked again here: both ends are ours, and what comes was
checked.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule, RuleGroup

CHUNK = 100
CHUNK_VALUES = 1000

Plain = tuple[list[str], list[list[Any]]]
"""What a line holds of rules: values that go ahead, then rules."""

_PHASES = {phase.value: phase for phase in Phase}
_ACTIONS = {action.value: action for action in Action}


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
            for values, rules in plain_rules(group.rules[phase]):
                yield _line([number, phase.value, values, rules])
    yield _line("end")


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def plain_rules(rules: Iterable[Rule]) -> Iterator[Plain]:
    """The rules as they stand in lines, a line's worth at a time."""
    plain: list[list[Any]] = []
    values = 0
    for rule in rules:
        for condition in rule.conditions:
            values += len(condition.values)
            if len(condition.values) > CHUNK_VALUES:
                if plain:
                    yield [], plain
                    plain = []
                for start in range(0, len(condition.values), CHUNK_VALUES):
                    yield list(condition.values[start : start + CHUNK_VALUES]), []
        plain.append(_plain_rule(rule))
        if len(plain) >= CHUNK or values >= CHUNK_VALUES:
            yield [], plain
            plain, values = [], 0
    if plain:
        yield [], plain


def _plain_rule(rule: Rule) -> list[Any]:
    return [
        rule.name,
        rule.action.value,
        [
            [
                condition.key,
                condition.operator,
                # Their number, where they went ahead.
                condition.values if len(condition.values) <= CHUNK_VALUES else len(condition.values),
            ]
            for condition in rule.conditions
        ],
        rule.description,
        rule.not_after,
        rule.owner,
        rule.ticket,
    ]


class RuleReader:
    """Rules from what lines hold of them, in their order."""

    def __init__(self) -> None:
        self._ahead: deque[list[str]] = deque()

    def take(self, values: list[str], rules: list[list[Any]]) -> list[Rule]:
        """The rules of the next line; `values` are for those of lines to come. ValueError: no line of ours."""
        if values:
            self._ahead.append(values)
        return [self._rule(plain) for plain in rules]

    def _rule(self, plain: list[Any]) -> Rule:
        name, action, conditions, description, not_after, owner, ticket = plain
        return Rule(
            name,
            _ACTIONS[action],
            tuple([Condition(key, operator, self._values(values)) for key, operator, values in conditions]),
            description,
            not_after,
            owner,
            ticket,
        )

    def _values(self, values: list[str] | int) -> tuple[str, ...]:
        if not isinstance(values, int):
            return tuple(values)
        found: list[list[str]] = []
        missing = values
        while missing > 0 and self._ahead:
            found.append(self._ahead.popleft())
            missing -= len(found[-1])
        if missing or not found:
            raise ValueError(f"{values} values should have gone ahead: {missing} are missing")
        return tuple(chain.from_iterable(found))


class PolicyLines:
    """Takes the lines in order. `policy` is there when `is_complete`."""

    def __init__(self) -> None:
        self.is_complete = False
        self._head: dict[str, Any] | None = None
        self._rules: list[dict[Phase, list[Rule]]] = []
        self._reader = RuleReader()

    def take(self, line: bytes) -> None:
        """The next line. Raises ValueError for one that is no line of ours."""
        value = json.loads(line)
        if self._head is None:
            self._head = value
            self._rules = [{phase: [] for phase in Phase} for _ in value["groups"]]
        elif value == "end":
            self.is_complete = True
        else:
            number, phase, values, rules = value
            self._rules[number][_PHASES[phase]] += self._reader.take(values, rules)

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
