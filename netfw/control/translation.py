"""The API's rules, groups, configurations and proxies, from and to what the store keeps. PURE.

Rules are judged by the policy's own reader: the API accepts what a file may say and keeps it in the same normal form.
A second dialect of the API gets a sibling of this module. Not here: what may be changed by whom (`operations`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netfw.config.model import Quotas
from netfw.control.quotas import check_quota, policy_limits
from netfw.control.refusals import InvalidRequest
from netfw.policy.groups import GroupReader
from netfw.policy.model import Phase, Rule
from netfw.policy.printing import time_text
from netfw.policy.problems import Problem
from netfw.policy.shape import Report
from netfw.policy.values import parse_date
from netfw.store.resources import StoredConfiguration, StoredGroup, StoredListener, StoredProxy

StoredRule = Mapping[str, Any]
_MOST_PROBLEMS = 20


def read_rules(
    given: Sequence[Mapping[str, Any]], phase: Phase, quotas: Quotas, taken: Iterable[str] = ()
) -> list[StoredRule]:
    """A request's rules of one phase as they are kept. `taken`: names that other rules of the group have.

    Raises `InvalidRequest` with everything that is wrong, in the vendor's words.
    """
    report = Report("", policy_limits(quotas))
    seen = dict.fromkeys(taken, "a rule of the group")
    rules = GroupReader(report, None).read_rules([_document(rule) for rule in given], phase, phase.value, seen)
    if report.problems:
        raise InvalidRequest(told_problems(report.problems, of_one_group=True))
    return [stored_rule(rule) for rule in rules]


def stored_rule(rule: Rule) -> StoredRule:
    """A checked rule as the store keeps it."""
    optional = {
        "Description": rule.description or None,
        "NotAfter": None if rule.not_after is None else _iso(rule.not_after),
        "Owner": rule.owner,
        "Ticket": rule.ticket,
    }
    return {
        "ProxyRuleName": rule.name,
        "Action": rule.action.value,
        "Conditions": [
            {"ConditionKey": one.key, "ConditionOperator": one.operator, "ConditionValues": list(one.values)}
            for one in rule.conditions
        ],
        **{name: value for name, value in optional.items() if value is not None},
    }


def shown_rule(rule: StoredRule) -> dict[str, Any]:
    """A kept rule as the API shows it."""
    shown = dict(rule)
    if shown.get("NotAfter") is not None:
        shown["NotAfter"] = float(parse_date(str(shown["NotAfter"])))
    return shown


def shown_group(group: StoredGroup) -> dict[str, Any]:
    """`ProxyRuleGroup`. Phases without rules are left out."""
    return {
        "ProxyRuleGroupName": group.name,
        "ProxyRuleGroupArn": group.arn,
        "CreateTime": group.created,
        "Rules": {phase: [shown_rule(rule) for rule in rules] for phase, rules in group.rules.items() if rules},
        "Description": group.description,
        "Tags": shown_tags(group.tags) or None,
    }


def shown_configuration(configuration: StoredConfiguration, group_arns: Mapping[str, str]) -> dict[str, Any]:
    """`ProxyConfiguration`. Priority is the position."""
    return {
        "ProxyConfigurationName": configuration.name,
        "ProxyConfigurationArn": configuration.arn,
        "Description": configuration.description,
        "CreateTime": configuration.created,
        "RuleGroups": [
            {"ProxyRuleGroupName": name, "ProxyRuleGroupArn": group_arns[name], "Priority": position}
            for position, name in enumerate(configuration.groups)
        ],
        "DefaultRulePhaseActions": dict(configuration.defaults),
        "Tags": shown_tags(configuration.tags) or None,
    }


def shown_proxy(proxy: StoredProxy, configuration_arn: str) -> dict[str, Any]:
    """`Proxy`."""
    return {
        "ProxyName": proxy.name,
        "ProxyArn": proxy.arn,
        "ProxyConfigurationName": proxy.configuration,
        "ProxyConfigurationArn": configuration_arn,
        "NatGatewayId": proxy.nat_gateway or None,
        "ProxyState": proxy.state,
        "ProxyModifyState": proxy.modify_state or None,
        "FailureCode": proxy.failure_code or None,
        "FailureMessage": proxy.failure_message or None,
        "ListenerProperties": [{"Port": one.port, "Type": one.type} for one in proxy.listeners or ()],
        "TlsInterceptProperties": {"PcaArn": proxy.ca_arn or None, "TlsInterceptMode": proxy.tls_mode or None},
        "CreateTime": proxy.created,
        "UpdateTime": proxy.modified,
        "DeleteTime": proxy.deleted,
        "Tags": shown_tags(proxy.tags) or None,
    }


def shown_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags by key."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def read_tags(given: Sequence[Mapping[str, str]], quotas: Quotas) -> dict[str, str]:
    """Tags of a request. Raises `InvalidRequest` when a key stands there twice."""
    tags = {tag["Key"]: tag["Value"] for tag in given}
    if len(tags) < len(given):
        raise InvalidRequest("Tags: a key stands there twice")
    check_tags(tags, quotas)
    return tags


def check_tags(tags: Mapping[str, str], quotas: Quotas) -> None:
    """Raises `LimitExceeded` when a resource would have too many tags."""
    check_quota(len(tags), quotas.tags_per_resource, "tags of a resource", "tags_per_resource")


def read_listeners(given: Sequence[Mapping[str, Any]]) -> tuple[StoredListener, ...]:
    """Listeners of a request. Raises `InvalidRequest` when a port stands there twice."""
    listeners = tuple(StoredListener(one["Port"], one["Type"]) for one in given)
    if len({one.port for one in listeners}) < len(listeners):
        raise InvalidRequest("listeners: a port stands there twice")
    return listeners


def _document(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule of a request as a policy file would have it."""
    document = {name: value for name, value in rule.items() if name != "InsertPosition"}
    if "NotAfter" in document:
        document["NotAfter"] = _iso(document["NotAfter"])
    return document


def _iso(moment: float) -> str:
    return time_text(int(moment))


def told_problems(problems: Sequence[Problem], *, of_one_group: bool = False) -> str:
    """In one line. What is said of a condition names its place in a group itself, as the vendor's messages do."""
    told = [
        problem.message if of_one_group and problem.message.startswith("Invalid condition") else str(problem)
        for problem in problems[:_MOST_PROBLEMS]
    ]
    rest = f"; and {len(problems) - _MOST_PROBLEMS} more" if len(problems) > _MOST_PROBLEMS else ""
    return "; ".join(told) + rest
