"""Rules of a group: create, describe, update, move, delete.

A rule has no token of its own: the group's counts. Names are unique in a group over all phases. Not here: what a
condition may say (`policy.validate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from netfw.config.model import Quotas
from netfw.control.operations.call import Call, Input, Output
from netfw.control.operations.finding import find
from netfw.control.positions import insert, move
from netfw.control.quotas import check_quota
from netfw.control.refusals import InvalidRequest, ResourceNotFound
from netfw.control.service_model import Resource
from netfw.control.shapes import shown
from netfw.control.translation import StoredRule, read_rules, shown_group, shown_rule
from netfw.policy.model import Phase
from netfw.store.resources import StoredGroup

_PHASE_OF_REQUEST = {"PRE_DNS": Phase.PRE_DNS, "PRE_REQ": Phase.PRE_REQUEST, "POST_RES": Phase.POST_RESPONSE}
_ANNOTATIONS = ("Description", "Action", "NotAfter", "Owner", "Ticket")


def create(transaction: Any, given: Input, call: Call) -> Output:
    """CreateProxyRules."""
    group = _group(transaction, given)
    if not given["Rules"]:
        raise InvalidRequest("Rules: rules of PreDNS, PreREQUEST or PostRESPONSE are wanted")
    taken = rule_names(group)
    rules = dict(group.rules)
    for phase in Phase:
        added = given["Rules"].get(phase.value, [])
        read = read_rules(added, phase, call.site.quotas, taken)
        taken += [rule["ProxyRuleName"] for rule in read]
        positions = [rule.get("InsertPosition") for rule in added]
        rules[phase.value] = tuple(
            insert(rules[phase.value], list(zip(read, positions, strict=True)), f"{phase.value} of {group.name}")
        )
    changed = _replace(transaction, group, rules, call, None)
    return {"ProxyRuleGroup": shown_group(changed), "UpdateToken": changed.update_token}


def describe(transaction: Any, given: Input, _call: Call) -> Output:
    """DescribeProxyRule."""
    group = _group(transaction, given)
    phase, position = _find(group, given["ProxyRuleName"])
    return {"ProxyRule": shown_rule(group.rules[phase.value][position]), "UpdateToken": group.update_token}


def update(transaction: Any, given: Input, call: Call) -> Output:
    """UpdateProxyRule: what is not given stays; conditions are removed first, then added."""
    group = _group(transaction, given)
    phase, position = _find(group, given["ProxyRuleName"])
    before = group.rules[phase.value][position]
    conditions, removed = _without(before["Conditions"], given.get("RemoveConditions", []), before["ProxyRuleName"])
    wanted = {
        **shown_rule(before),
        **{name: given[name] for name in _ANNOTATIONS if name in given},
        "Conditions": [*conditions, *given.get("AddConditions", [])],
    }
    after = read_rules([wanted], phase, call.site.quotas)[0]
    in_phase = list(group.rules[phase.value])
    in_phase[position] = after
    rules = {**group.rules, phase.value: tuple(in_phase)}
    changed = _replace(transaction, group, rules, call, given["UpdateToken"])
    return {
        "ProxyRule": shown_rule(after),
        "RemovedConditions": removed or None,
        "UpdateToken": changed.update_token,
    }


def update_priorities(transaction: Any, given: Input, call: Call) -> Output:
    """UpdateProxyRulePriorities."""
    group = _group(transaction, given)
    phase = _PHASE_OF_REQUEST[given["RuleGroupRequestPhase"]]
    by_name = {rule["ProxyRuleName"]: rule for rule in group.rules[phase.value]}
    moved = [(one["ProxyRuleName"], one["NewPosition"]) for one in given["Rules"]]
    order = move(list(by_name), moved, f"{phase.value} of {group.name}")
    rules = {**group.rules, phase.value: tuple(by_name[name] for name in order)}
    changed = _replace(transaction, group, rules, call, given["UpdateToken"])
    return {
        "ProxyRuleGroupName": group.name,
        "ProxyRuleGroupArn": group.arn,
        "RuleGroupRequestPhase": given["RuleGroupRequestPhase"],
        "Rules": [{"ProxyRuleName": name, "NewPosition": position} for position, name in enumerate(order)],
        "UpdateToken": changed.update_token,
    }


def delete(transaction: Any, given: Input, call: Call) -> Output:
    """DeleteProxyRules."""
    group = _group(transaction, given)
    doomed = set(given["Rules"])
    if not doomed:
        raise InvalidRequest("Rules: names of rules are wanted")
    unknown = sorted(doomed - set(rule_names(group)))
    if unknown:
        raise ResourceNotFound(f"rule group {group.name} has no rule {', '.join(map(shown, unknown[:20]))}")
    rules = {
        phase: tuple(rule for rule in in_phase if rule["ProxyRuleName"] not in doomed)
        for phase, in_phase in group.rules.items()
    }
    return {"ProxyRuleGroup": shown_group(_replace(transaction, group, rules, call, None))}


def rule_names(group: StoredGroup) -> list[str]:
    """The names of all rules of a group."""
    return [rule["ProxyRuleName"] for in_phase in group.rules.values() for rule in in_phase]


def check_group(group: StoredGroup, quotas: Quotas) -> None:
    """Raises `LimitExceeded` when a group has become too large."""
    rules = [rule for in_phase in group.rules.values() for rule in in_phase]
    check_quota(len(rules), quotas.rules_per_group, f"rules in {group.name}", "rules_per_group")
    if quotas.group_size is not None:
        size = sum(map(_size, rules))
        check_quota(size, quotas.group_size, f"bytes of keys and values in {group.name}", "group_size")


def _group(transaction: Any, given: Input) -> StoredGroup:
    found: StoredGroup = find(transaction, given, Resource.RULE_GROUP)
    return found


def _replace(
    transaction: Any, group: StoredGroup, rules: Mapping[str, tuple[StoredRule, ...]], call: Call, token: str | None
) -> StoredGroup:
    after = replace(group, rules=rules)
    check_group(after, call.site.quotas)
    return call.replace(transaction.groups, group, after, token)


def _find(group: StoredGroup, name: str) -> tuple[Phase, int]:
    for phase in Phase:
        for position, rule in enumerate(group.rules[phase.value]):
            if rule["ProxyRuleName"] == name:
                return phase, position
    raise ResourceNotFound(f"rule group {group.name} has no rule {shown(name)}")


def _without(
    present: Sequence[Mapping[str, Any]], doomed: Iterable[Mapping[str, Any]], rule: str
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """What is left of the conditions, and what was taken away: each must be there, word for word."""
    left, removed = list(present), []
    for index, condition in enumerate(doomed):
        found = [position for position, one in enumerate(left) if one == condition]
        if not found:
            raise InvalidRequest(
                f"RemoveConditions[{index}]: rule {rule} has no such condition; write key, operator and all values as "
                f"DescribeProxyRule shows them"
            )
        removed.append(left.pop(found[0]))
    return left, removed


def _size(rule: StoredRule) -> int:
    return sum(
        len(condition["ConditionKey"]) + sum(len(value.encode("utf-8")) for value in condition["ConditionValues"])
        for condition in rule["Conditions"]
    )
