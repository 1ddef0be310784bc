"""Which function does which operation, and whom an operation is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netfw.control.arns import read_arn
from netfw.control.operations import configurations, proxies, rule_groups, rules, tags
from netfw.control.operations.call import Call, Input, Output
from netfw.control.operations.finding import name_meant
from netfw.control.service_model import Operation, Resource

FUNCTIONS: dict[str, Callable[[Any, Input, Call], Output]] = {
    "AttachRuleGroupsToProxyConfiguration": configurations.attach,
    "CreateProxy": proxies.create,
    "CreateProxyConfiguration": configurations.create,
    "CreateProxyRuleGroup": rule_groups.create,
    "CreateProxyRules": rules.create,
    "DeleteProxy": proxies.delete,
    "DeleteProxyConfiguration": configurations.delete,
    "DeleteProxyRuleGroup": rule_groups.delete,
    "DeleteProxyRules": rules.delete,
    "DescribeProxy": proxies.describe,
    "DescribeProxyConfiguration": configurations.describe,
    "DescribeProxyRule": rules.describe,
    "DescribeProxyRuleGroup": rule_groups.describe,
    "DetachRuleGroupsFromProxyConfiguration": configurations.detach,
    "ListProxies": proxies.list_all,
    "ListProxyConfigurations": configurations.list_all,
    "ListProxyRuleGroups": rule_groups.list_all,
    "ListTagsForResource": tags.list_all,
    "TagResource": tags.tag,
    "UntagResource": tags.untag,
    "UpdateProxy": proxies.update,
    "UpdateProxyConfiguration": configurations.update,
    "UpdateProxyRule": rules.update,
    "UpdateProxyRuleGroupPriorities": configurations.update_priorities,
    "UpdateProxyRulePriorities": rules.update_priorities,
}


def target(operation: Operation, transaction: Any, given: Input) -> tuple[Resource, str]:
    """The kind and the name of the resource that an operation would change."""
    if operation.resource is Resource.TAGS:
        return read_arn(given["ResourceArn"])
    if operation.resource is Resource.PROXY:
        return Resource.PROXY, proxies.proxy_name(transaction, given)
    return operation.resource, name_meant(given, operation.resource)
