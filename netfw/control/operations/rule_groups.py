"""Rule groups: create, describe, list, delete. Not here: single rules (`rules`)."""

from __future__ import annotations

from typing import Any

from netfw.control.operations.call import Call, Input, Output
from netfw.control.operations.finding import find
from netfw.control.operations.lists import listed
from netfw.control.operations.rules import check_group
from netfw.control.quotas import check_quota
from netfw.control.service_model import Resource
from netfw.control.translation import StoredRule, read_rules, read_tags, shown_group
from netfw.policy.model import Phase
from netfw.store.resources import StoredGroup, rules_by_phase


def create(transaction: Any, given: Input, call: Call) -> Output:
    """CreateProxyRuleGroup."""
    name, quotas = given["ProxyRuleGroupName"], call.site.quotas
    check_quota(transaction.groups.count() + 1, quotas.rule_groups, "rule groups", "rule_groups")
    rules: dict[str, list[StoredRule]] = {}
    taken: list[str] = []
    for phase in Phase:
        rules[phase.value] = read_rules(given.get("Rules", {}).get(phase.value, []), phase, quotas, taken)
        taken += [rule["ProxyRuleName"] for rule in rules[phase.value]]
    group = StoredGroup(
        name=name,
        arn=call.site.arns.of(Resource.RULE_GROUP, name),
        rules=rules_by_phase(rules),
        description=given.get("Description") or None,
        tags=read_tags(given.get("Tags", []), quotas),
    )
    check_group(group, quotas)
    return output(call.add(transaction.groups, group))


def describe(transaction: Any, given: Input, _call: Call) -> Output:
    """DescribeProxyRuleGroup."""
    return output(find(transaction, given, Resource.RULE_GROUP))


def list_all(transaction: Any, given: Input, _call: Call) -> Output:
    """ListProxyRuleGroups."""
    return listed(transaction.groups, given, "ProxyRuleGroups")


def delete(transaction: Any, given: Input, call: Call) -> Output:
    """DeleteProxyRuleGroup."""
    group = find(transaction, given, Resource.RULE_GROUP)
    call.remove(transaction.groups, group)
    return {"ProxyRuleGroupName": group.name, "ProxyRuleGroupArn": group.arn}


def output(group: StoredGroup) -> Output:
    """What most operations on groups answer."""
    return {"ProxyRuleGroup": shown_group(group), "UpdateToken": group.update_token}
