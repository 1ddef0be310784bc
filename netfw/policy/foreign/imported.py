"""What an importer gives: a policy document of ours, and every line that could not be translated, with the reason.

Nothing is dropped in silence: what an importer does not understand, and what the policy language refuses, is listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from netfw.policy.load import load_group
from netfw.policy.model import Phase
from netfw.policy.problems import PolicyErrors

Document = dict[str, Any]
_LONGEST_TEXT = 160


@dataclass(frozen=True, slots=True)
class Untranslated:
    """`place`: a line number, or where in the document; `text`: what stood there."""

    place: str
    text: str
    reason: str

    def __str__(self) -> str:
        text = self.text if len(self.text) <= _LONGEST_TEXT else f"{self.text[:_LONGEST_TEXT]}..."
        return f"{self.place}: {text}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Imported:
    """`document` has groups, and a configuration where the source says what happens when no rule decides."""

    document: Document
    untranslated: tuple[Untranslated, ...]


@dataclass(frozen=True, slots=True)
class PlacedRule:
    """A rule of ours and where it came from."""

    phase: Phase
    rule: Document
    place: str
    text: str


def condition(key: str, operator: str, *values: str) -> Document:
    """One condition."""
    return {"ConditionKey": key, "ConditionOperator": operator, "ConditionValues": list(values)}


def rule(name: str, action: str, conditions: Iterable[Document], **more: str | None) -> Document:
    """One rule; members without a value are left out."""
    members = {member: value for member, value in more.items() if value is not None}
    return {"ProxyRuleName": name, "Action": action, "Conditions": list(conditions), **members}


def group_of(
    name: str, rules: Iterable[PlacedRule], untranslated: list[Untranslated], description: str | None = None
) -> Document:
    """The group of these rules; those that the policy language refuses go to `untranslated` with its words."""
    by_phase: dict[str, list[Document]] = {}
    seen: set[str] = set()
    for placed in rules:
        candidate = {"ProxyRuleGroupName": "x", "Rules": {placed.phase.value: [placed.rule]}}
        try:
            load_group(candidate, "")
        except PolicyErrors as errors:
            reason = "; ".join(problem.message for problem in errors.problems)
            untranslated.append(Untranslated(placed.place, placed.text, reason))
            continue
        if placed.rule["ProxyRuleName"] in seen:
            reason = f"the name {placed.rule['ProxyRuleName']} is taken: names are unique in a group"
            untranslated.append(Untranslated(placed.place, placed.text, reason))
            continue
        seen.add(placed.rule["ProxyRuleName"])
        by_phase.setdefault(placed.phase.value, []).append(placed.rule)
    group: Document = {"ProxyRuleGroupName": name}
    if description is not None:
        group["Description"] = description
    group["Rules"] = {phase.value: by_phase[phase.value] for phase in Phase if phase.value in by_phase}
    return group


def configuration_of(name: str, groups: list[str], pre_dns: str, pre_request: str = "ALLOW") -> Document:
    """A configuration with these default actions; responses pass."""
    return {
        "ProxyConfigurationName": name,
        "DefaultRulePhaseActions": {"PreDNS": pre_dns, "PreREQUEST": pre_request, "PostRESPONSE": "ALLOW"},
        "RuleGroups": groups,
    }
