"""One rule group of a document to a `RuleGroup`, its rules and short forms included."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from netfw.policy import short_form
from netfw.policy.long_tuple import in_parts
from netfw.policy.model import Action, Condition, Phase, Rule, RuleGroup
from netfw.policy.shape import Report, joined, kind_of
from netfw.policy.validate import ConditionPlace, ReadValues, read_condition
from netfw.policy.values import ValueProblem, parse_date

GROUP_MEMBERS = ("ProxyRuleGroupName", "Description", "Rules", *short_form.LISTS)
RULE_MEMBERS = (
    "ProxyRuleName",
    "Action",
    "Conditions",
    "Description",
    "InsertPosition",
    "NotAfter",
    "Owner",
    "Ticket",
)
PHASE_NAMES = tuple(phase.value for phase in Phase)


class GroupReader:
    """Reads the groups of one document into a report."""

    def __init__(self, report: Report, read_values: ReadValues | None) -> None:
        self._report = report
        self._read_values = read_values

    def read(self, raw: object, path: str) -> RuleGroup | None:
        """The group, as far as it can be read; None when it has no usable name."""
        report = self._report
        members = report.mapping(raw, path, GROUP_MEMBERS, "a rule group")
        if members is None:
            return None
        name = report.name(members.get("ProxyRuleGroupName"), joined(path, "ProxyRuleGroupName"), "ProxyRuleGroupName")
        description = self._text(members, path, "Description")
        rules: dict[Phase, list[Rule]] = {phase: [] for phase in Phase}
        seen: dict[str, str] = {}
        by_phase = report.mapping(members.get("Rules", {}), joined(path, "Rules"), PHASE_NAMES, "Rules")
        for phase in Phase:
            if by_phase is not None and phase.value in by_phase:
                rules[phase] = self.read_rules(by_phase[phase.value], phase, joined(path, f"Rules.{phase.value}"), seen)
        for list_name in short_form.LISTS:
            if list_name in members:
                self._read_short(list_name, members[list_name], joined(path, list_name), rules, seen)
        self._check_group_limits(rules, path)
        if name is None:
            return None
        return RuleGroup(name, {phase: in_parts(rules[phase]) for phase in Phase}, description)

    def read_rules(self, raw: object, phase: Phase, path: str, seen: dict[str, str]) -> list[Rule]:
        """The rules of one phase in order of position; `seen` has the names of the group so far and their paths."""
        placed: list[tuple[int, Rule]] = []
        appended: list[Rule] = []
        taken: list[int] = []
        for index, item in enumerate(self._report.sequence(raw, path, f"{phase.value}, the rules of a phase,")):
            rule_path = f"{path}[{index}]"
            members = self._report.mapping(item, rule_path, RULE_MEMBERS, "a rule")
            if members is None:
                continue
            position = self._position(members.get("InsertPosition"), rule_path)
            if position is not None:
                taken.append(position)
            rule = self._read_rule(members, phase, rule_path, seen)
            if rule is None:
                continue
            if position is None:
                appended.append(rule)
            else:
                placed.append((position, rule))
        if sorted(taken) != list(range(len(taken))):
            self._report.add(path, "Insertion position must be continuous: positions start at 0 and leave no gap")
        placed.sort(key=lambda item: item[0])
        return [rule for _, rule in placed] + appended

    def _position(self, raw: object, path: str) -> int | None:
        if raw is None:
            return None
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
            self._report.add(f"{path}.InsertPosition", "InsertPosition is a whole number from 0 on")
            return None
        return raw

    def _read_rule(self, members: Mapping[str, Any], phase: Phase, path: str, seen: dict[str, str]) -> Rule | None:
        name_path = f"{path}.ProxyRuleName"
        name = self._report.name(members.get("ProxyRuleName"), name_path, "ProxyRuleName")
        if name is not None:
            self._check_name(name, name_path, seen)
        action = read_action(members.get("Action"), path, "Action", self._report)
        conditions = self._read_conditions(members.get("Conditions"), phase, path, name or "(unnamed)")
        description, owner, ticket = (
            self._text(members, path, member) for member in ("Description", "Owner", "Ticket")
        )
        not_after = self._not_after(members["NotAfter"], f"{path}.NotAfter") if "NotAfter" in members else None
        if name is None or action is None:
            return None
        return Rule(name, action, conditions, description, not_after, owner, ticket)

    def _text(self, members: Mapping[str, Any], path: str, member: str) -> str | None:
        return self._report.text(members[member], joined(path, member), member) if member in members else None

    def _check_name(self, name: str, path: str, seen: dict[str, str]) -> None:
        first = seen.setdefault(name, path)
        if first != path:
            self._report.add(path, f'rule name "{name}" is taken already by {first}: names are unique in a group')

    def _read_conditions(self, raw: object, phase: Phase, path: str, rule: str) -> tuple[Condition, ...]:
        base = f"{path}.Conditions"
        if raw is None:
            self._report.add(base, "Conditions is missing")
            return ()
        items = self._report.sequence(raw, base, "Conditions")
        if not items and isinstance(raw, list | tuple):
            self._report.add(base, "a rule has at least one condition")
        conditions = []
        for index, item in enumerate(items):
            place = ConditionPlace(self._report, f"{base}[{index}]", index, rule, phase)
            condition = read_condition(item, place, self._read_values)
            if condition is not None:
                conditions.append(condition)
        limit = self._report.limits.rule_size
        if limit is not None and _size(conditions) > limit:
            self._report.add(base, f"the keys and values of a rule are at most {limit} bytes")
        return tuple(conditions)

    def _not_after(self, raw: object, path: str) -> float | None:
        text = raw.isoformat() if isinstance(raw, date | datetime) else raw
        if isinstance(text, int) and not isinstance(text, bool):
            text = str(text)
        if not isinstance(text, str):
            self._report.add(path, f"NotAfter is a date, not {kind_of(raw)}")
            return None
        try:
            return float(parse_date(text))
        except ValueProblem as problem:
            self._report.add(path, str(problem))
            return None

    def _read_short(
        self, list_name: str, raw: object, path: str, rules: dict[Phase, list[Rule]], seen: dict[str, str]
    ) -> None:
        for index, entry in enumerate(self._report.sequence(raw, path, list_name)):
            entry_path = f"{path}[{index}]"
            if not isinstance(entry, str):
                self._report.add(entry_path, f"an entry is text, not {kind_of(entry)}")
                continue
            try:
                expanded = short_form.expand(list_name, index + 1, entry)
            except ValueProblem as problem:
                self._report.add(entry_path, str(problem))
                continue
            for phase, rule in expanded:
                self._check_name(rule.name, f"{entry_path}" if rule.name not in seen else entry_path, seen)
                rules[phase].append(rule)

    def _check_group_limits(self, rules: dict[Phase, list[Rule]], path: str) -> None:
        limits = self._report.limits
        count = sum(map(len, rules.values()))
        if limits.rules_per_group is not None and count > limits.rules_per_group:
            self._report.add(joined(path, "Rules"), f"a group has at most {limits.rules_per_group} rules, not {count}")
        if limits.group_size is not None:
            size = sum(_size(rule.conditions) for in_phase in rules.values() for rule in in_phase)
            if size > limits.group_size:
                message = f"the keys and values of a group are at most {limits.group_size} bytes"
                self._report.add(joined(path, "Rules"), message)


_ACTIONS = {action.value: action for action in Action}


def read_action(raw: object, path: str, member: str, report: Report) -> Action | None:
    """The action of a rule or of a phase's default, or None when it is none of the three."""
    if isinstance(raw, str) and raw in _ACTIONS:
        return _ACTIONS[raw]
    known = ", ".join(_ACTIONS)
    report.add(
        joined(path, member), f"{member} is missing: write {known}" if raw is None else f"{member} is one of {known}"
    )
    return None


def _size(conditions: list[Condition] | tuple[Condition, ...]) -> int:
    return sum(
        len(condition.key) + sum(len(value.encode("utf-8")) for value in condition.values) for condition in conditions
    )
