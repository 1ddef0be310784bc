"""A rule group as the vendor's API shows and takes it: JSON of DescribeProxyRuleGroup or CreateProxyRuleGroup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from netfw.policy.foreign.imported import Document, Imported, PlacedRule, Untranslated, group_of
from netfw.policy.keys import find_key
from netfw.policy.model import Phase

_MEMBERS = {"ProxyRuleGroupName", "Description", "Rules"}
_STATE = {
    "ProxyRuleGroupArn": "a store gives ARNs of its own",
    "CreateTime": "a store has times of its own",
    "DeleteTime": "the group was being deleted",
    "Tags": "a policy document has no tags: set them on the group in the store",
    "UpdateToken": "a store has tokens of its own",
}
_OURS = ("NotAfter", "Owner", "Ticket")


def import_aws_rule_group(read: Any, group: str | None) -> Imported:
    """Translate the parsed JSON; `group` is another name for it."""
    untranslated: list[Untranslated] = []
    members: Any = read
    if isinstance(read, Mapping) and "ProxyRuleGroup" in read:
        _note(read, {"ProxyRuleGroup"}, untranslated)
        members = read["ProxyRuleGroup"]
    if not isinstance(members, Mapping):
        untranslated.append(Untranslated("document", str(members)[:80], "is no rule group"))
        members = {}
    _note(members, _MEMBERS, untranslated)
    name = group or members.get("ProxyRuleGroupName")
    if not isinstance(name, str):
        untranslated.append(Untranslated("ProxyRuleGroupName", str(name), "is missing: the group is called imported"))
        name = "imported"
    description = members.get("Description")
    if description is not None and not isinstance(description, str):
        untranslated.append(Untranslated("Description", str(description), "is no text"))
        description = None
    made = group_of(name, _rules(members.get("Rules") or {}, untranslated), untranslated, description)
    return Imported({"ProxyRuleGroups": [made]}, tuple(untranslated))


def _rules(rules: Any, untranslated: list[Untranslated]) -> Iterator[PlacedRule]:
    if not isinstance(rules, Mapping):
        untranslated.append(Untranslated("Rules", str(rules)[:80], "is no mapping of phases"))
        return
    phases = {phase.value: phase for phase in Phase}
    for name, in_phase in rules.items():
        if name not in phases or not isinstance(in_phase, list):
            untranslated.append(Untranslated(f"Rules.{name}", str(in_phase)[:80], "is no list of a phase's rules"))
            continue
        placed: list[tuple[tuple[int, Any], Any]] = []
        for index, one in enumerate(in_phase):
            position = one.get("InsertPosition") if isinstance(one, Mapping) else None
            # As CreateProxyRules does it: what has a position is put there, what has none comes behind.
            has_place = isinstance(position, int) and not isinstance(position, bool)
            placed.append(((0, position) if has_place else (1, index), one))
        for index, (_, one) in enumerate(sorted(placed, key=lambda item: item[0])):
            place = f"Rules.{name}[{index}]"
            if not isinstance(one, Mapping):
                untranslated.append(Untranslated(place, str(one)[:80], "is no rule"))
                continue
            made = {member: value for member, value in one.items() if member != "InsertPosition"}
            yield PlacedRule(phases[name], made, place, str(one.get("ProxyRuleName")))


def export_aws_rule_group(
    name: str, description: str | None, rules: Mapping[str, Any], tags: Mapping[str, str]
) -> tuple[Document, tuple[Untranslated, ...]]:
    """The input of CreateProxyRuleGroup, exact: nothing that the vendor does not know. And what that leaves out."""
    untranslated: list[Untranslated] = []
    exported: dict[str, list[Document]] = {}
    for phase in Phase:
        for one in rules.get(phase.value, ()):
            ours = sorted({item["ConditionKey"] for item in one["Conditions"] if is_ours(item["ConditionKey"])})
            if one.get("NotAfter") is not None or ours:
                reason = (
                    f"uses {', '.join(ours)}, of this proxy only" if ours else "ends at a time, and there it would not"
                )
                untranslated.append(Untranslated(phase.value, one["ProxyRuleName"], f"{reason}: left out"))
                continue
            lost = [member for member in _OURS if one.get(member) is not None]
            if lost:
                note = f"{', '.join(lost)} is not known there; the rule is there without"
                untranslated.append(Untranslated(phase.value, one["ProxyRuleName"], note))
            exported.setdefault(phase.value, []).append(
                {member: value for member, value in one.items() if member not in _OURS}
            )
    document: Document = {"ProxyRuleGroupName": name}
    if description is not None:
        document["Description"] = description
    document["Rules"] = exported
    if tags:
        document["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    return document, tuple(untranslated)


def is_ours(name: str) -> bool:
    """Whether this key is unknown to the vendor."""
    key = find_key(name)
    return key is None or key.extension


def _note(members: Mapping[str, Any], known: set[str], untranslated: list[Untranslated]) -> None:
    for member, value in members.items():
        if member not in known and value not in ([], {}):
            untranslated.append(Untranslated(member, str(value)[:80], _STATE.get(member, "is not known")))
