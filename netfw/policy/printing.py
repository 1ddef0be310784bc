"""A policy as the document that `policy.load` reads: what is kept in a store, and what `netfw export` writes.

Short forms come out as the rules that they stand for, files of values as their values: what is printed needs nothing
beside it. Loading what was printed gives the same policy.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from netfw.policy.model import Condition, Phase, PolicyConfiguration, Rule, RuleGroup

_YEAR_10000 = 253_402_300_800


def rule_document(rule: Rule) -> dict[str, Any]:
    """One rule, members without a value left out."""
    document: dict[str, Any] = {"ProxyRuleName": rule.name, "Action": rule.action.value}
    if rule.description is not None:
        document["Description"] = rule.description
    document["Conditions"] = [condition_document(condition) for condition in rule.conditions]
    if rule.not_after is not None:
        document["NotAfter"] = time_text(rule.not_after)
    if rule.owner is not None:
        document["Owner"] = rule.owner
    if rule.ticket is not None:
        document["Ticket"] = rule.ticket
    return document


def condition_document(condition: Condition) -> dict[str, Any]:
    """One condition."""
    return {
        "ConditionKey": condition.key,
        "ConditionOperator": condition.operator,
        "ConditionValues": list(condition.values),
    }


def rules_document(group: RuleGroup) -> dict[str, list[dict[str, Any]]]:
    """The rules of a group by phase; phases without rules are left out."""
    return {phase.value: [rule_document(rule) for rule in group.rules[phase]] for phase in Phase if group.rules[phase]}


def group_document(group: RuleGroup) -> dict[str, Any]:
    """One group."""
    document: dict[str, Any] = {"ProxyRuleGroupName": group.name}
    if group.description is not None:
        document["Description"] = group.description
    document["Rules"] = rules_document(group)
    return document


def configuration_document(policy: PolicyConfiguration) -> dict[str, Any]:
    """The configuration without its groups' rules."""
    document: dict[str, Any] = {"ProxyConfigurationName": policy.name}
    if policy.description is not None:
        document["Description"] = policy.description
    document["DefaultRulePhaseActions"] = {phase.value: policy.defaults[phase].value for phase in Phase}
    document["RuleGroups"] = [group.name for group in policy.groups]
    return document


def policy_document(policy: PolicyConfiguration) -> dict[str, Any]:
    """The whole."""
    return {
        "ProxyConfiguration": configuration_document(policy),
        "ProxyRuleGroups": [group_document(group) for group in (*policy.groups, *policy.unattached)],
    }


def time_text(seconds: float) -> str:
    """A moment in ISO 8601, UTC, a fraction only where there is one; beyond the year 9999 as seconds."""
    if not 0 <= seconds < _YEAR_10000:
        return repr(int(seconds)) if seconds == int(seconds) else repr(seconds)
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="auto" if moment.microsecond else "seconds") + "Z"
