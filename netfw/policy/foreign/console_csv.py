"""Rules as comma-separated values: as the vendor's console writes a group, and as a plain list of destinations.

The console's file has a line with priority, phase, name and action for each rule, then a line for each condition with
its values joined by commas. A plain list has a header with `domain`, and may have action, description, owner, ticket
and until.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from netfw.policy.foreign.aws_rule_group import is_ours
from netfw.policy.foreign.imported import Document, Imported, PlacedRule, Untranslated, condition, group_of, rule
from netfw.policy.model import Phase
from netfw.policy.short_form import expand
from netfw.policy.values import ValueProblem

HEADER = (
    "rulePriority",
    "ruleHookType",
    "ruleName",
    "ruleAction",
    "conditionKey",
    "conditionOperator",
    "conditionValue",
)
_PLAIN = ("domain", "action", "description", "owner", "ticket", "until")
_PHASES = {phase.value: phase for phase in Phase}


def import_csv(text: str, group: str) -> Imported:
    """Translate either of the two."""
    rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    untranslated: list[Untranslated] = []
    header = [cell.strip() for cell in rows[0]] if rows else []
    numbered = [(number, row) for number, row in enumerate(rows[1:], 2) if any(cell.strip() for cell in row)]
    if tuple(header) == HEADER:
        rules = list(_console_rules(numbered, untranslated))
    elif "domain" in [name.lower() for name in header]:
        rules = list(_plain_rules([name.lower() for name in header], numbered, untranslated))
    else:
        reason = f"the first line is neither {','.join(HEADER)} nor a header with domain"
        untranslated.append(Untranslated("line 1", ",".join(header), reason))
        untranslated += [Untranslated(f"line {number}", ",".join(row), "without a header") for number, row in numbered]
        rules = []
    return Imported({"ProxyRuleGroups": [group_of(group, rules, untranslated)]}, tuple(untranslated))


def _console_rules(rows: Iterable[tuple[int, list[str]]], untranslated: list[Untranslated]) -> Iterator[PlacedRule]:
    found: list[tuple[tuple[int, int], PlacedRule]] = []
    conditions: list[Document] | None = None
    for number, row in rows:
        place, shown = f"line {number}", ",".join(row)
        cells = [cell.strip() for cell in (*row, *[""] * len(HEADER))][: len(HEADER)]
        priority, hook, name, action, key, operator, values = cells
        if len(row) > len(HEADER):
            untranslated.append(Untranslated(place, shown, f"has {len(row)} columns, not {len(HEADER)}"))
            continue
        if priority or name:
            conditions = None
            if hook not in _PHASES or not priority.isascii() or not priority.isdigit():
                reason = f"a rule needs a number and one of {', '.join(_PHASES)}"
                untranslated.append(Untranslated(place, shown, reason))
                continue
            conditions = []
            made = {"ProxyRuleName": name, "Action": action, "Conditions": conditions}
            order = (_PHASES[hook].order, int(priority))
            found.append((order, PlacedRule(_PHASES[hook], made, place, shown)))
        if key or operator or values:
            if conditions is None:
                untranslated.append(Untranslated(place, shown, "a condition without a rule that can be used"))
            else:
                conditions.append(condition(key, operator, *(one.strip() for one in values.split(","))))
    found.sort(key=lambda item: item[0])
    for _, placed in found:
        yield placed


def _plain_rules(
    header: list[str], rows: Iterable[tuple[int, list[str]]], untranslated: list[Untranslated]
) -> Iterator[PlacedRule]:
    strange = [name for name in header if name not in _PLAIN]
    if strange:
        untranslated.append(Untranslated("line 1", ",".join(strange), f"columns are {', '.join(_PLAIN)}"))
    for number, row in rows:
        place, shown = f"line {number}", ",".join(row)
        cells: Mapping[str, Any] = {name: cell.strip() for name, cell in zip(header, row, strict=False)}
        action = (cells.get("action") or "allow").lower()
        if len(row) > len(header) or action not in ("allow", "deny", "alert"):
            reason = "has more columns than the header" if len(row) > len(header) else f"{action} is no action"
            untranslated.append(Untranslated(place, shown, reason))
            continue
        try:
            expanded = expand(action, number - 1, cells.get("domain", ""))
        except ValueProblem as problem:
            untranslated.append(Untranslated(place, shown, str(problem)))
            continue
        more = {
            member: cells.get(column) or None
            for member, column in (
                ("Description", "description"), ("Owner", "owner"), ("Ticket", "ticket"), ("NotAfter", "until"),
            )
        }  # fmt: skip
        for phase, one in expanded:
            conditions = [condition(item.key, item.operator, *item.values) for item in one.conditions]
            yield PlacedRule(phase, rule(one.name, one.action.value, conditions, **more), place, shown)


def export_csv(rules: Mapping[str, Iterable[Document]]) -> tuple[str, tuple[Untranslated, ...]]:
    """The console's form of a group's rules, and what that form cannot say."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    untranslated: list[Untranslated] = []
    for phase in Phase:
        priority = 0
        for one in rules.get(phase.value, ()):
            reason = _unsayable(one)
            if reason is not None:
                untranslated.append(Untranslated(phase.value, one["ProxyRuleName"], reason))
                continue
            writer.writerow([priority, phase.value, one["ProxyRuleName"], one["Action"], "", "", ""])
            for item in one["Conditions"]:
                values = ",".join(item["ConditionValues"])
                writer.writerow(["", "", "", "", item["ConditionKey"], item["ConditionOperator"], values])
            lost = [member for member in ("Description", "Owner", "Ticket") if one.get(member) is not None]
            if lost:
                note = f"{', '.join(lost)} has no column; the rule is there without"
                untranslated.append(Untranslated(phase.value, one["ProxyRuleName"], note))
            priority += 1
    return out.getvalue(), tuple(untranslated)


def _unsayable(one: Document) -> str | None:
    if one.get("NotAfter") is not None:
        return "ends at a time, and there it would not: left out"
    ours = sorted({item["ConditionKey"] for item in one["Conditions"] if is_ours(item["ConditionKey"])})
    if ours:
        return f"uses {', '.join(ours)}, of this proxy only: left out"
    if any("," in value for item in one["Conditions"] for value in item["ConditionValues"]):
        return "a value with a comma would be read as two: left out"
    return None
