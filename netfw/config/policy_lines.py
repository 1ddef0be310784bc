"""A checked policy as lines of JSON, and back: how it comes from the process that read it. PURE.

A line holds a head, or at most `CHUNK` rules with at most `CHUNK_VALUES` values or `CHUNK_TEXT` characters or so: who
takes a policy of 100,000 rules over can do it a line at a time and look after its connections in between. The values of
a condition that has more go ahead of its rule, in lines of their own. Nothing is checked again here: both ends are
ours, and what comes was checked.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from netfw.policy.long_tuple import in_parts, put_together
from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule, RuleGroup
from netfw.policy.slices import portions_of_texts

CHUNK = 100
CHUNK_VALUES = 1000
CHUNK_TEXT = 64 * 1024

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
    values = text = 0
    for rule in rules:
        conditions: list[list[Any]] = []
        for condition in rule.conditions:
            if len(condition.values) <= CHUNK_VALUES and (size := sum(map(len, condition.values))) <= CHUNK_TEXT:
                conditions.append([condition.key, condition.operator, list(condition.values)])
                values, text = values + len(condition.values), text + size
                continue
            if plain:
                yield [], plain
                plain, values, text = [], 0, 0
            for ahead in portions_of_texts(condition.values, CHUNK_VALUES, CHUNK_TEXT):
                yield ahead, []
            conditions.append([condition.key, condition.operator, len(condition.values)])
        plain.append(
            [rule.name, rule.action.value, conditions, rule.description, rule.not_after, rule.owner, rule.ticket]
        )
        if len(plain) >= CHUNK or values >= CHUNK_VALUES or text >= CHUNK_TEXT:
            yield [], plain
            plain, values, text = [], 0, 0
    if plain:
        yield [], plain


class RuleReader:
    """Rules from what lines hold of them, in their order."""

    def __init__(self) -> None:
        self._ahead: deque[tuple[str, ...]] = deque()

    def take(self, values: list[str], rules: list[list[Any]]) -> tuple[Rule, ...]:
        """The rules of the next line; `values` are for those of lines to come. ValueError: no line of ours."""
        if values:
            self._ahead.append(tuple(values))
        return tuple([self._rule(plain) for plain in rules])

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

    def _values(self, values: list[str] | int) -> Sequence[str]:
        if not isinstance(values, int):
            return in_parts(values)
        found: list[tuple[str, ...]] = []
        missing = values
        while missing > 0 and self._ahead:
            found.append(self._ahead.popleft())
            missing -= len(found[-1])
        if missing or not found:
            raise ValueError(f"{values} values should have gone ahead: {missing} are missing")
        return put_together(found)


class PolicyLines:
    """Takes the lines in order. `policy` is there when `is_complete`."""

    def __init__(self) -> None:
        self.is_complete = False
        self._head: dict[str, Any] | None = None
        self._rules: list[dict[Phase, list[tuple[Rule, ...]]]] = []
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
            self._rules[number][_PHASES[phase]].append(self._reader.take(values, rules))

    def policy(self) -> PolicyConfiguration:
        """The whole policy; only when `is_complete`."""
        head = self._head
        assert head is not None and self.is_complete
        groups = tuple(
            RuleGroup(name, {phase: put_together(rules) for phase, rules in by_phase.items()}, description)
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
