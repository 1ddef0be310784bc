"""The shapes of the API: every text, list and structure with its bounds, as the vendor's preview has them. PURE.

Validation, messages, the service description and docs/api.md all read this one table. What the vendor leaves open and
we do not is marked `demanded` or `own_`; what is ours alone is marked `extension`.
"""

from __future__ import annotations

from netfw.control.shapes import ListOf, Member, Moment, Number, Shape, Structure, Text

_ACTIONS = ("ALLOW", "DENY", "ALERT")


def _structure(name: str, **members: Shape | tuple[Shape, str]) -> Structure:
    """A structure of members: a shape, or a shape and one of the words required, demanded and extension."""
    made = []
    for member, given in members.items():
        shape, word = given if isinstance(given, tuple) else (given, "")
        made.append(Member(member, shape, word == "required", word == "demanded", word == "extension"))
    return Structure(name, tuple(made))


RESOURCE_NAME = Text("ResourceName", 1, 128, "^[a-zA-Z0-9-]+$", hint="write letters, digits and hyphens")
RESOURCE_NAME_LIST = ListOf("ResourceNameList", RESOURCE_NAME)
RESOURCE_ARN = Text("ResourceArn", 1, 256, "^arn:aws.*")
RESOURCE_ARN_LIST = ListOf("ResourceArnList", RESOURCE_ARN)
DESCRIPTION = Text("Description", None, 512, "^.*$", hint="write one line")
UPDATE_TOKEN = Text(
    "UpdateToken",
    1,
    1024,
    "^([0-9a-f]{8})-([0-9a-f]{4}-){3}([0-9a-f]{12})$",
    hint="give the UpdateToken of the last answer about this resource",
)
PAGINATION_TOKEN = Text("PaginationToken", 1, 4096, r"[0-9A-Za-z:\/+=]+$")
PAGINATION_MAX_RESULTS = Number("PaginationMaxResults", 1, 100)
TAGS_PAGINATION_MAX_RESULTS = Number("TagsPaginationMaxResults", 0, 100)
INSERT_POSITION = Number("InsertPosition", own_least=0, own_most=1_000_000)
CREATE_TIME, DELETE_TIME, UPDATE_TIME = Moment("CreateTime"), Moment("DeleteTime"), Moment("UpdateTime")

TAG = _structure(
    "Tag",
    Key=(Text("TagKey", 1, 128, "^.*$", hint="write one line"), "required"),
    Value=(Text("TagValue", 0, 256, "^.*$", hint="write one line"), "required"),
)
TAG_LIST = ListOf("TagList", TAG, 1, 200)
TAG_KEY_LIST = ListOf("TagKeyList", TAG.members[0].shape, 1, 200)

PHASE = Text("RuleGroupRequestPhase", words=("PRE_DNS", "PRE_REQ", "POST_RES"))
ACTION = Text("ProxyRulePhaseAction", words=_ACTIONS)
CONDITION = _structure(
    "ProxyRuleCondition",
    ConditionOperator=(Text("ConditionOperator"), "demanded"),
    ConditionKey=(Text("ConditionKey"), "demanded"),
    ConditionValues=(ListOf("ProxyConditionValueList", Text("ProxyConditionValue"), own_least=1), "demanded"),
)
CONDITION_LIST = ListOf("ProxyRuleConditionList", CONDITION)

# An exception with an end and somebody to ask: what files call NotAfter, Owner and Ticket.
_ANNOTATIONS: dict[str, Shape | tuple[Shape, str]] = {
    "NotAfter": (Moment("NotAfter"), "extension"),
    "Owner": (Text("Owner", 1, 512, "^.*$", hint="write one line"), "extension"),
    "Ticket": (Text("Ticket", 1, 512, "^.*$", hint="write one line"), "extension"),
}
RULE = _structure(
    "ProxyRule",
    ProxyRuleName=(RESOURCE_NAME, "demanded"),
    Description=DESCRIPTION,
    Action=(ACTION, "demanded"),
    Conditions=(CONDITION_LIST, "demanded"),
    **_ANNOTATIONS,
)
RULES_BY_PHASE = _structure(
    "ProxyRulesByRequestPhase", **dict.fromkeys(("PreDNS", "PreREQUEST", "PostRESPONSE"), ListOf("ProxyRuleList", RULE))
)
CREATE_RULE = _structure(
    "CreateProxyRule",
    ProxyRuleName=(RESOURCE_NAME, "demanded"),
    Description=DESCRIPTION,
    Action=(ACTION, "demanded"),
    Conditions=(CONDITION_LIST, "demanded"),
    InsertPosition=INSERT_POSITION,
    **_ANNOTATIONS,
)
CREATE_RULES_BY_PHASE = _structure(
    "CreateProxyRulesByRequestPhase",
    **dict.fromkeys(("PreDNS", "PreREQUEST", "PostRESPONSE"), ListOf("CreateProxyRuleList", CREATE_RULE, 1, 50)),
)
RULE_GROUP = _structure(
    "ProxyRuleGroup",
    ProxyRuleGroupName=RESOURCE_NAME,
    ProxyRuleGroupArn=RESOURCE_ARN,
    CreateTime=CREATE_TIME,
    DeleteTime=DELETE_TIME,
    Rules=RULES_BY_PHASE,
    Description=DESCRIPTION,
    Tags=TAG_LIST,
)
RULE_PRIORITY = _structure(
    "ProxyRulePriority", ProxyRuleName=(RESOURCE_NAME, "demanded"), NewPosition=(INSERT_POSITION, "demanded")
)
RULE_PRIORITY_LIST = ListOf("ProxyRulePriorityList", RULE_PRIORITY, own_least=1)

DEFAULT_ACTIONS = _structure(
    "ProxyConfigDefaultRulePhaseActionsRequest",
    PreDNS=(ACTION, "demanded"),
    PreREQUEST=(ACTION, "demanded"),
    PostRESPONSE=(ACTION, "demanded"),
)
ATTACHMENT_LIST = ListOf(
    "ProxyRuleGroupAttachmentList",
    _structure(
        "ProxyRuleGroupAttachment", ProxyRuleGroupName=(RESOURCE_NAME, "demanded"), InsertPosition=INSERT_POSITION
    ),
    own_least=1,
)
GROUP_PRIORITY_LIST = ListOf(
    "ProxyRuleGroupPriorityList",
    _structure(
        "ProxyRuleGroupPriority",
        ProxyRuleGroupName=(RESOURCE_NAME, "demanded"),
        NewPosition=(INSERT_POSITION, "demanded"),
    ),
    own_least=1,
)
GROUP_PRIORITY_RESULT_LIST = ListOf(
    "ProxyRuleGroupPriorityResultList",
    _structure(
        "ProxyRuleGroupPriorityResult",
        ProxyRuleGroupName=RESOURCE_NAME,
        Priority=Number("ProxyRuleGroupPriorityResultPriority"),
    ),
)
CONFIGURATION = _structure(
    "ProxyConfiguration",
    ProxyConfigurationName=RESOURCE_NAME,
    ProxyConfigurationArn=RESOURCE_ARN,
    Description=DESCRIPTION,
    CreateTime=CREATE_TIME,
    DeleteTime=DELETE_TIME,
    RuleGroups=ListOf(
        "ProxyConfigRuleGroupSet",
        _structure(
            "ProxyConfigRuleGroup",
            ProxyRuleGroupName=RESOURCE_NAME,
            ProxyRuleGroupArn=RESOURCE_ARN,
            Type=Text("ProxyConfigRuleGroupType"),
            Priority=Number("ProxyConfigRuleGroupPriority"),
        ),
    ),
    DefaultRulePhaseActions=DEFAULT_ACTIONS,
    Tags=TAG_LIST,
)

NAT_GATEWAY_ID = Text("NatGatewayId", 1, own_most=128)
_PORT = Number("NatGatewayPort", own_least=1, own_most=65535)
_LISTENER_TYPE = Text("ListenerPropertyType", words=("HTTP", "HTTPS"))
LISTENER_REQUESTS = ListOf(
    "ListenerPropertiesRequest",
    _structure("ListenerPropertyRequest", Port=(_PORT, "required"), Type=(_LISTENER_TYPE, "required")),
    0,
    2,
)
_LISTENERS = ListOf("ListenerProperties", _structure("ListenerProperty", Port=_PORT, Type=_LISTENER_TYPE))
_TLS_MODE = Text("TlsInterceptMode", words=("ENABLED", "DISABLED"))
TLS_REQUEST = _structure("TlsInterceptPropertiesRequest", PcaArn=RESOURCE_ARN, TlsInterceptMode=_TLS_MODE)
_TLS = _structure("TlsInterceptProperties", PcaArn=RESOURCE_ARN, TlsInterceptMode=_TLS_MODE)
_PROXY_STATE = Text(
    "ProxyState", words=("ATTACHING", "ATTACHED", "DETACHING", "DETACHED", "ATTACH_FAILED", "DETACH_FAILED")
)
_MODIFY_STATE = Text("ProxyModifyState", words=("MODIFYING", "COMPLETED", "FAILED"))
_FAILURE: dict[str, Shape] = {"FailureCode": Text("FailureCode"), "FailureMessage": Text("FailureMessage")}
PROXY = _structure(
    "Proxy",
    CreateTime=CREATE_TIME,
    DeleteTime=DELETE_TIME,
    UpdateTime=UPDATE_TIME,
    **_FAILURE,
    ProxyState=_PROXY_STATE,
    ProxyModifyState=_MODIFY_STATE,
    NatGatewayId=NAT_GATEWAY_ID,
    ProxyConfigurationName=RESOURCE_NAME,
    ProxyConfigurationArn=RESOURCE_ARN,
    ProxyName=RESOURCE_NAME,
    ProxyArn=RESOURCE_ARN,
    ListenerProperties=_LISTENERS,
    TlsInterceptProperties=_TLS,
    Tags=TAG_LIST,
)
DESCRIBED_PROXY = _structure(
    "DescribeProxyResource",
    ProxyName=RESOURCE_NAME,
    ProxyArn=RESOURCE_ARN,
    ProxyConfigurationName=RESOURCE_NAME,
    ProxyConfigurationArn=RESOURCE_ARN,
    NatGatewayId=NAT_GATEWAY_ID,
    ProxyState=_PROXY_STATE,
    ProxyModifyState=_MODIFY_STATE,
    ListenerProperties=_LISTENERS,
    TlsInterceptProperties=_TLS,
    VpcEndpointServiceName=Text("VpcEndpointServiceName"),
    PrivateDNSName=Text("PrivateDNSName"),
    CreateTime=CREATE_TIME,
    DeleteTime=DELETE_TIME,
    UpdateTime=UPDATE_TIME,
    **_FAILURE,
    Tags=TAG_LIST,
)


def _names(list_name: str, item_name: str) -> ListOf:
    return ListOf(list_name, _structure(item_name, Name=RESOURCE_NAME, Arn=RESOURCE_ARN))


PROXIES = _names("Proxies", "ProxyMetadata")
CONFIGURATIONS = _names("ProxyConfigurations", "ProxyConfigurationMetadata")
RULE_GROUPS = _names("ProxyRuleGroups", "ProxyRuleGroupMetadata")
