"""Configurations: create, describe, list, update, attach, detach, reorder, delete.

The order of a configuration's rule groups is their priority, from 0 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from netfw.control.arns import name_of
from netfw.control.operations.call import Call, Input, Output
from netfw.control.operations.finding import find, find_by
from netfw.control.operations.lists import listed
from netfw.control.positions import insert, move
from netfw.control.quotas import check_quota
from netfw.control.refusals import InvalidRequest
from netfw.control.service_model import Resource
from netfw.control.shapes import shown
from netfw.control.translation import read_tags, shown_configuration
from netfw.store.resources import StoredConfiguration


def create(transaction: Any, given: Input, call: Call) -> Output:
    """CreateProxyConfiguration."""
    name, quotas = given["ProxyConfigurationName"], call.site.quotas
    check_quota(transaction.configurations.count() + 1, quotas.configurations, "configurations", "configurations")
    groups = _groups(transaction, given)
    _refuse_twice(groups)
    configuration = StoredConfiguration(
        name=name,
        arn=call.site.arns.of(Resource.CONFIGURATION, name),
        defaults=dict(given["DefaultRulePhaseActions"]),
        groups=tuple(groups),
        description=given.get("Description") or None,
        tags=read_tags(given.get("Tags", []), quotas),
    )
    _check_number(groups, call)
    return _output(transaction, call.add(transaction.configurations, configuration))


def describe(transaction: Any, given: Input, _call: Call) -> Output:
    """DescribeProxyConfiguration."""
    return _output(transaction, _configuration(transaction, given))


def list_all(transaction: Any, given: Input, _call: Call) -> Output:
    """ListProxyConfigurations."""
    return listed(transaction.configurations, given, "ProxyConfigurations")


def update(transaction: Any, given: Input, call: Call) -> Output:
    """UpdateProxyConfiguration."""
    before = _configuration(transaction, given)
    after = replace(before, defaults=dict(given["DefaultRulePhaseActions"]))
    return _output(transaction, call.replace(transaction.configurations, before, after, given["UpdateToken"]))


def attach(transaction: Any, given: Input, call: Call) -> Output:
    """AttachRuleGroupsToProxyConfiguration."""
    before = _configuration(transaction, given)
    added = [(one["ProxyRuleGroupName"], one.get("InsertPosition")) for one in given["RuleGroups"]]
    for name, _ in added:
        transaction.groups.get(name)
        if name in before.groups:
            raise InvalidRequest(f"rule group {shown(name)} is attached to {before.name} already")
    groups = insert(before.groups, added, f"the rule groups of {before.name}")
    _refuse_twice(groups)
    _check_number(groups, call)
    after = replace(before, groups=tuple(groups))
    return _output(transaction, call.replace(transaction.configurations, before, after, given["UpdateToken"]))


def detach(transaction: Any, given: Input, call: Call) -> Output:
    """DetachRuleGroupsFromProxyConfiguration."""
    before = _configuration(transaction, given)
    doomed = set(_groups(transaction, given))
    if not doomed:
        raise InvalidRequest("RuleGroupNames or RuleGroupArns are wanted")
    for name in sorted(doomed):
        if name not in before.groups:
            raise InvalidRequest(f"rule group {shown(name)} is not currently attached to {before.name}")
    after = replace(before, groups=tuple(name for name in before.groups if name not in doomed))
    return _output(transaction, call.replace(transaction.configurations, before, after, given["UpdateToken"]))


def update_priorities(transaction: Any, given: Input, call: Call) -> Output:
    """UpdateProxyRuleGroupPriorities."""
    before = _configuration(transaction, given)
    moved = [(one["ProxyRuleGroupName"], one["NewPosition"]) for one in given["RuleGroups"]]
    groups = move(before.groups, moved, f"the rule groups of {before.name}")
    after = replace(before, groups=tuple(groups))
    changed = call.replace(transaction.configurations, before, after, given["UpdateToken"])
    return {
        "ProxyRuleGroups": [
            {"ProxyRuleGroupName": name, "Priority": position} for position, name in enumerate(changed.groups)
        ],
        "UpdateToken": changed.update_token,
    }


def delete(transaction: Any, given: Input, call: Call) -> Output:
    """DeleteProxyConfiguration."""
    configuration = _configuration(transaction, given)
    call.remove(transaction.configurations, configuration)
    return {"ProxyConfigurationName": configuration.name, "ProxyConfigurationArn": configuration.arn}


def _configuration(transaction: Any, given: Input) -> StoredConfiguration:
    found: StoredConfiguration = find(transaction, given, Resource.CONFIGURATION)
    return found


def _groups(transaction: Any, given: Input) -> list[str]:
    """Groups by name and by ARN: both lists may say the same, or each a part, names first."""
    names = list(given.get("RuleGroupNames", []))
    of_arns = [
        find_by(transaction, Resource.RULE_GROUP, name_of(Resource.RULE_GROUP, arn), arn).name
        for arn in given.get("RuleGroupArns", [])
    ]
    return names if names == of_arns else names + of_arns


def _refuse_twice(groups: Sequence[str]) -> None:
    for name in groups:
        if groups.count(name) > 1:
            raise InvalidRequest(f"rule group {shown(name)} stands in the request twice")


def _check_number(groups: Sequence[str], call: Call) -> None:
    most = call.site.quotas.groups_per_configuration
    check_quota(len(groups), most, "rule groups of a configuration", "groups_per_configuration")


def _output(transaction: Any, configuration: StoredConfiguration) -> Output:
    shown_form = shown_configuration(configuration, transaction.groups.arns(configuration.groups))
    return {"ProxyConfiguration": shown_form, "UpdateToken": configuration.update_token}
