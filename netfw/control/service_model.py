"""The operations of the API: what each takes, gives and may fail with, and what it asks of its caller. PURE.

Not here: what the operations do (`operations`), and the bytes they travel as (`json_protocol`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from netfw.control import resource_shapes as shapes
from netfw.control.shapes import Member, Shape, Structure, Text

API_VERSION = "2020-11-12"
TARGET_PREFIX = "NetworkFirewall_20201112"
OWN_TARGET_PREFIX = "Netfw_2026"
SIGNING_NAME = "network-firewall"


class Resource(Enum):
    """What an operation is about. `value` is the word in its ARN."""

    PROXY = "proxy"
    CONFIGURATION = "proxy-configuration"
    RULE_GROUP = "proxy-rule-group"
    TAGS = "tags"
    POLICY = "policy"
    """Several at once, in operations of ours."""
    RECORDS = "records"
    """What was done, in operations of ours."""


@dataclass(frozen=True, slots=True)
class Operation:
    """`writes`: it changes something. `paged`: the member of the output that comes in pages. `own`: ours alone."""

    name: str
    about: str
    resource: Resource
    writes: bool
    input: Structure
    output: Structure
    errors: tuple[str, ...]
    paged: str | None = None
    own: bool = False

    @property
    def target(self) -> str:
        """What X-Amz-Target says of it."""
        return f"{OWN_TARGET_PREFIX if self.own else TARGET_PREFIX}.{self.name}"


_MESSAGE = Member("Message", Text("ErrorMessage"))
ERRORS: dict[str, Structure] = {
    name: Structure(name, (_MESSAGE,), exception=True, fault=name == "InternalServerError")
    for name in (
        "InvalidRequestException",
        "InternalServerError",
        "ResourceNotFoundException",
        "InvalidTokenException",
        "LimitExceededException",
        "ThrottlingException",
        "UnsupportedOperationException",
    )
}
_ERROR_CODES = {
    "IR": "InvalidRequestException",
    "ISE": "InternalServerError",
    "NF": "ResourceNotFoundException",
    "UO": "UnsupportedOperationException",
    "LE": "LimitExceededException",
    "TH": "ThrottlingException",
}

_Members = dict[str, Shape]
_PROXY: _Members = {"ProxyName": shapes.RESOURCE_NAME, "ProxyArn": shapes.RESOURCE_ARN}
_CONFIGURATION: _Members = {
    "ProxyConfigurationName": shapes.RESOURCE_NAME,
    "ProxyConfigurationArn": shapes.RESOURCE_ARN,
}
_GROUP: _Members = {"ProxyRuleGroupName": shapes.RESOURCE_NAME, "ProxyRuleGroupArn": shapes.RESOURCE_ARN}
_TOKEN: _Members = {"UpdateToken": shapes.UPDATE_TOKEN}
_TAGS: _Members = {"Tags": shapes.TAG_LIST}
_NEXT: _Members = {"NextToken": shapes.PAGINATION_TOKEN}
_PAGE: _Members = {**_NEXT, "MaxResults": shapes.PAGINATION_MAX_RESULTS}
_GIVES_PROXY: _Members = {"Proxy": shapes.PROXY, **_TOKEN}
_GIVES_CONFIGURATION: _Members = {"ProxyConfiguration": shapes.CONFIGURATION, **_TOKEN}
_GIVES_GROUP: _Members = {"ProxyRuleGroup": shapes.RULE_GROUP, **_TOKEN}


def _operation(
    name: str,
    about: str,
    resource: Resource,
    takes: _Members,
    gives: _Members,
    errors: str,
    *,
    required: str = "",
    paged: str | None = None,
) -> Operation:
    needed = required.split()
    extensions = ("NotAfter", "Owner", "Ticket")
    given = tuple(
        Member(member, shape, required=member in needed, extension=member in extensions)
        for member, shape in takes.items()
    )
    result = tuple(Member(member, shape) for member, shape in gives.items())
    return Operation(
        name,
        about,
        resource,
        not name.startswith(("Describe", "List")),
        Structure(f"{name}Request", given),
        Structure(f"{name}Response", result),
        tuple(_ERROR_CODES[code] for code in errors.split()),
        paged,
    )


OPERATIONS: tuple[Operation, ...] = (
    _operation(
        "AttachRuleGroupsToProxyConfiguration",
        "Attaches rule groups to a configuration, each at its InsertPosition (0 is first) or, without one, at the end.",
        Resource.CONFIGURATION,
        {**_CONFIGURATION, "RuleGroups": shapes.ATTACHMENT_LIST, **_TOKEN},
        _GIVES_CONFIGURATION,
        "IR ISE NF TH",
        required="RuleGroups UpdateToken",
    ),
    _operation(
        "CreateProxy",
        "Makes a proxy that follows a configuration. NatGatewayId is an opaque handle, one proxy for each. proxy.yaml "
        "says which listeners there may be, and whether TLS may be intercepted.",
        Resource.PROXY,
        {
            "ProxyName": shapes.RESOURCE_NAME,
            "NatGatewayId": shapes.NAT_GATEWAY_ID,
            **_CONFIGURATION,
            "ListenerProperties": shapes.LISTENER_REQUESTS,
            "TlsInterceptProperties": shapes.TLS_REQUEST,
            **_TAGS,
        },
        _GIVES_PROXY,
        "IR ISE NF UO LE TH",
        required="ProxyName NatGatewayId TlsInterceptProperties",
    ),
    _operation(
        "CreateProxyConfiguration",
        "Makes a configuration: an action for each phase, and rule groups in order of priority. Names come before ARNs "
        "when both are given.",
        Resource.CONFIGURATION,
        {
            "ProxyConfigurationName": shapes.RESOURCE_NAME,
            "Description": shapes.DESCRIPTION,
            "RuleGroupNames": shapes.RESOURCE_NAME_LIST,
            "RuleGroupArns": shapes.RESOURCE_ARN_LIST,
            "DefaultRulePhaseActions": shapes.DEFAULT_ACTIONS,
            **_TAGS,
        },
        _GIVES_CONFIGURATION,
        "IR ISE NF LE TH",
        required="ProxyConfigurationName DefaultRulePhaseActions",
    ),
    _operation(
        "CreateProxyRuleGroup",
        "Makes a rule group, with rules in order of priority if they are given.",
        Resource.RULE_GROUP,
        {
            "ProxyRuleGroupName": shapes.RESOURCE_NAME,
            "Description": shapes.DESCRIPTION,
            "Rules": shapes.RULES_BY_PHASE,
            **_TAGS,
        },
        _GIVES_GROUP,
        "IR ISE LE TH",
        required="ProxyRuleGroupName",
    ),
    _operation(
        "CreateProxyRules",
        "Adds rules to a group. Rules with an InsertPosition are put in by ascending position, whatever their order in "
        "the list; those without go to the end of their phase.",
        Resource.RULE_GROUP,
        {
            "ProxyRuleGroupArn": shapes.RESOURCE_ARN,
            "ProxyRuleGroupName": shapes.RESOURCE_NAME,
            "Rules": shapes.CREATE_RULES_BY_PHASE,
        },
        _GIVES_GROUP,
        "IR ISE TH",
        required="Rules",
    ),
    _operation(
        "DeleteProxy",
        "Removes a proxy. Nodes that carry its name go on with the last policy that they had.",
        Resource.PROXY,
        {"NatGatewayId": shapes.NAT_GATEWAY_ID, **_PROXY},
        {"NatGatewayId": shapes.NAT_GATEWAY_ID, **_PROXY},
        "IR ISE NF UO TH",
        required="NatGatewayId",
    ),
    _operation(
        "DeleteProxyConfiguration",
        "Removes a configuration that no proxy uses.",
        Resource.CONFIGURATION,
        _CONFIGURATION,
        _CONFIGURATION,
        "IR ISE NF TH",
    ),
    _operation(
        "DeleteProxyRuleGroup",
        "Removes a rule group that no configuration uses.",
        Resource.RULE_GROUP,
        _GROUP,
        _GROUP,
        "IR ISE NF TH",
    ),
    _operation(
        "DeleteProxyRules",
        "Removes rules by name, from any phase. The answer has no token: describe the group for it.",
        Resource.RULE_GROUP,
        {
            "ProxyRuleGroupArn": shapes.RESOURCE_ARN,
            "ProxyRuleGroupName": shapes.RESOURCE_NAME,
            "Rules": shapes.RESOURCE_NAME_LIST,
        },
        {"ProxyRuleGroup": shapes.RULE_GROUP},
        "IR ISE NF TH",
        required="Rules",
    ),
    _operation(
        "DescribeProxy",
        "Shows a proxy.",
        Resource.PROXY,
        _PROXY,
        {"Proxy": shapes.DESCRIBED_PROXY, **_TOKEN},
        "IR ISE NF TH",
    ),
    _operation(
        "DescribeProxyConfiguration",
        "Shows a configuration.",
        Resource.CONFIGURATION,
        _CONFIGURATION,
        _GIVES_CONFIGURATION,
        "IR ISE NF TH",
    ),
    _operation(
        "DescribeProxyRule",
        "Shows one rule; the token is that of its group.",
        Resource.RULE_GROUP,
        {"ProxyRuleName": shapes.RESOURCE_NAME, **_GROUP},
        {"ProxyRule": shapes.RULE, **_TOKEN},
        "IR ISE NF TH",
        required="ProxyRuleName",
    ),
    _operation(
        "DescribeProxyRuleGroup",
        "Shows a rule group; the order of the rules in each phase is their priority.",
        Resource.RULE_GROUP,
        _GROUP,
        _GIVES_GROUP,
        "IR ISE NF TH",
    ),
    _operation(
        "DetachRuleGroupsFromProxyConfiguration",
        "Takes rule groups from a configuration.",
        Resource.CONFIGURATION,
        {
            **_CONFIGURATION,
            "RuleGroupNames": shapes.RESOURCE_NAME_LIST,
            "RuleGroupArns": shapes.RESOURCE_ARN_LIST,
            **_TOKEN,
        },
        _GIVES_CONFIGURATION,
        "IR ISE NF TH",
        required="UpdateToken",
    ),
    _operation(
        "ListProxies",
        "Lists proxies by name, in pages.",
        Resource.PROXY,
        _PAGE,
        {"Proxies": shapes.PROXIES, **_NEXT},
        "IR ISE TH",
        paged="Proxies",
    ),
    _operation(
        "ListProxyConfigurations",
        "Lists configurations by name, in pages.",
        Resource.CONFIGURATION,
        _PAGE,
        {"ProxyConfigurations": shapes.CONFIGURATIONS, **_NEXT},
        "IR ISE NF TH",
        paged="ProxyConfigurations",
    ),
    _operation(
        "ListProxyRuleGroups",
        "Lists rule groups by name, in pages.",
        Resource.RULE_GROUP,
        _PAGE,
        {"ProxyRuleGroups": shapes.RULE_GROUPS, **_NEXT},
        "IR ISE NF TH",
        paged="ProxyRuleGroups",
    ),
    _operation(
        "ListTagsForResource",
        "Lists the tags of a resource by key, in pages.",
        Resource.TAGS,
        {**_NEXT, "MaxResults": shapes.TAGS_PAGINATION_MAX_RESULTS, "ResourceArn": shapes.RESOURCE_ARN},
        {**_NEXT, **_TAGS},
        "TH ISE NF IR",
        required="ResourceArn",
        paged="Tags",
    ),
    _operation(
        "TagResource",
        "Sets tags of a resource; those of the same key are replaced.",
        Resource.TAGS,
        {"ResourceArn": shapes.RESOURCE_ARN, **_TAGS},
        {},
        "TH ISE NF IR",
        required="ResourceArn Tags",
    ),
    _operation(
        "UntagResource",
        "Removes tags of a resource; keys that it does not have are passed over.",
        Resource.TAGS,
        {"ResourceArn": shapes.RESOURCE_ARN, "TagKeys": shapes.TAG_KEY_LIST},
        {},
        "TH ISE NF IR",
        required="ResourceArn TagKeys",
    ),
    _operation(
        "UpdateProxy",
        "Opens and closes ports, and turns TLS interception off and on, within what proxy.yaml permits.",
        Resource.PROXY,
        {
            "NatGatewayId": shapes.NAT_GATEWAY_ID,
            **_PROXY,
            "ListenerPropertiesToAdd": shapes.LISTENER_REQUESTS,
            "ListenerPropertiesToRemove": shapes.LISTENER_REQUESTS,
            "TlsInterceptProperties": shapes.TLS_REQUEST,
            **_TOKEN,
        },
        _GIVES_PROXY,
        "IR ISE NF UO TH",
        required="NatGatewayId UpdateToken",
    ),
    _operation(
        "UpdateProxyConfiguration",
        "Sets the default actions of a configuration.",
        Resource.CONFIGURATION,
        {**_CONFIGURATION, "DefaultRulePhaseActions": shapes.DEFAULT_ACTIONS, **_TOKEN},
        _GIVES_CONFIGURATION,
        "IR ISE NF TH",
        required="DefaultRulePhaseActions UpdateToken",
    ),
    _operation(
        "UpdateProxyRule",
        "Changes a rule: what is not given stays. RemoveConditions are taken away first, then AddConditions are added; "
        "a condition is removed by writing all of it. The token is that of the group.",
        Resource.RULE_GROUP,
        {
            **_GROUP,
            "ProxyRuleName": shapes.RESOURCE_NAME,
            "Description": shapes.DESCRIPTION,
            "Action": shapes.ACTION,
            "AddConditions": shapes.CONDITION_LIST,
            "RemoveConditions": shapes.CONDITION_LIST,
            **{member.name: member.shape for member in shapes.RULE.members if member.extension},
            **_TOKEN,
        },
        {"ProxyRule": shapes.RULE, "RemovedConditions": shapes.CONDITION_LIST, **_TOKEN},
        "IR ISE NF TH",
        required="ProxyRuleName UpdateToken",
    ),
    _operation(
        "UpdateProxyRuleGroupPriorities",
        "Gives rule groups of a configuration new positions; the others keep their order around them.",
        Resource.CONFIGURATION,
        {**_CONFIGURATION, "RuleGroups": shapes.GROUP_PRIORITY_LIST, **_TOKEN},
        {"ProxyRuleGroups": shapes.GROUP_PRIORITY_RESULT_LIST, **_TOKEN},
        "IR ISE NF TH",
        required="RuleGroups UpdateToken",
    ),
    _operation(
        "UpdateProxyRulePriorities",
        "Gives rules of one phase new positions; the others keep their order around them.",
        Resource.RULE_GROUP,
        {**_GROUP, "RuleGroupRequestPhase": shapes.PHASE, "Rules": shapes.RULE_PRIORITY_LIST, **_TOKEN},
        {**_GROUP, "RuleGroupRequestPhase": shapes.PHASE, "Rules": shapes.RULE_PRIORITY_LIST, **_TOKEN},
        "IR ISE NF TH",
        required="RuleGroupRequestPhase Rules UpdateToken",
    ),
)
OPERATION: dict[str, Operation] = {operation.name: operation for operation in OPERATIONS}
