"""A life of a proxy as automation would live it, with nothing but boto3: every operation, and every modelled error.

Run by the interpreter of a client's own environment: `python life_of_a_proxy.py SERVICE ENDPOINT`. Keys, region and
AWS_DATA_PATH come from the environment. Prints the names of what it has done, as JSON; ends with a traceback when an
answer is not what the preview's users rely on.
"""

import json
import sys
from contextlib import contextmanager

import boto3
from botocore.config import Config

DEFAULTS = {"PreDNS": "DENY", "PreREQUEST": "ALLOW", "PostRESPONSE": "ALLOW"}
NAT = "nat-0123456789abcdef0"
STALE = "6a0b7c1e-5d0e-4b55-9a5a-0c3f5e5b7a11"

service, endpoint = sys.argv[1:3]
once = Config(retries={"max_attempts": 1}, parameter_validation=True)
client = boto3.client(service, endpoint_url=endpoint, config=once)
blind = Config(retries={"max_attempts": 1}, parameter_validation=False)
unchecked = boto3.client(service, endpoint_url=endpoint, config=blind)
done, refused = [], []


def call(operation, **given):
    done.append(operation)
    return getattr(client, operation)(**given)


@contextmanager
def refusal(code, words=""):
    """The typed exception of the service, by its name."""
    kind = getattr(client.exceptions, code)
    try:
        yield
    except kind as error:
        assert error.response["Error"]["Code"] == code, error.response
        assert words in str(error), str(error)
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        refused.append(code)
    else:
        raise AssertionError(f"{code} was expected")


def rule(name, *domains, action="ALLOW", **more):
    condition = {
        "ConditionKey": "request:DestinationDomain",
        "ConditionOperator": "StringEquals",
        "ConditionValues": list(domains) or ["a.test"],
    }
    return {"ProxyRuleName": name, "Action": action, "Conditions": [condition], **more}


def group_token(name):
    return call("describe_proxy_rule_group", ProxyRuleGroupName=name)["UpdateToken"]


def configuration_token(name):
    return call("describe_proxy_configuration", ProxyConfigurationName=name)["UpdateToken"]


def names(group, phase="PreDNS"):
    rules = call("describe_proxy_rule_group", ProxyRuleGroupName=group)["ProxyRuleGroup"]["Rules"]
    return [one["ProxyRuleName"] for one in rules.get(phase, [])]


# Groups, with rules in any order of the list.
created = call(
    "create_proxy_rule_group", ProxyRuleGroupName="web", Description="the web", Rules={"PreDNS": [rule("a")]}
)
arn = created["ProxyRuleGroup"]["ProxyRuleGroupArn"]
assert arn.endswith(":proxy-rule-group/web"), arn
assert created["ProxyRuleGroup"]["CreateTime"].year >= 2026
for name in ("db", "mail"):
    call("create_proxy_rule_group", ProxyRuleGroupName=name)
with refusal("InvalidRequestException"):
    client.create_proxy_rule_group(ProxyRuleGroupName="web")
call(
    "create_proxy_rules",
    ProxyRuleGroupArn=arn,
    Rules={
        "PreDNS": [rule("d", InsertPosition=3), rule("b", InsertPosition=1), rule("c", InsertPosition=2)],
        "PreREQUEST": [rule("r", action="DENY")],
    },
)
assert names("web") == ["a", "b", "c", "d"]
with refusal("InvalidRequestException", "Insertion position must be continuous"):
    client.create_proxy_rules(ProxyRuleGroupName="web", Rules={"PreDNS": [rule("x", InsertPosition=9)]})
with refusal("ResourceNotFoundException"):
    client.create_proxy_rules(ProxyRuleGroupName="nobody", Rules={"PreDNS": [rule("x")]})
wrong = {
    "ConditionKey": "request:Http:UserAgent",
    "ConditionOperator": "ForAnyValue:StringLike",
    "ConditionValues": ["x"],
}
with refusal("InvalidRequestException", "Invalid condition at index 0 for rule ua in preREQUEST rule phase: "):
    client.create_proxy_rules(
        ProxyRuleGroupName="web",
        Rules={"PreREQUEST": [{"ProxyRuleName": "ua", "Action": "DENY", "Conditions": [wrong]}]},
    )

# Updates of rules, as Terraform's branch does them: all old conditions out, all new ones in, in one call.
found = call("describe_proxy_rule", ProxyRuleGroupName="web", ProxyRuleName="b")
assert found["UpdateToken"] == group_token("web")
new = rule("b", "b.test", "c.test")["Conditions"]
updated = call(
    "update_proxy_rule",
    ProxyRuleGroupName="web",
    ProxyRuleName="b",
    RemoveConditions=found["ProxyRule"]["Conditions"],
    AddConditions=new,
    UpdateToken=found["UpdateToken"],
)
assert updated["ProxyRule"]["Conditions"] == new
assert updated["RemovedConditions"] == found["ProxyRule"]["Conditions"]
with refusal("InvalidTokenException"):
    client.update_proxy_rule(
        ProxyRuleGroupName="web", ProxyRuleName="b", Action="DENY", UpdateToken=found["UpdateToken"]
    )
moved = call(
    "update_proxy_rule_priorities",
    ProxyRuleGroupName="web",
    RuleGroupRequestPhase="PRE_DNS",
    Rules=[{"ProxyRuleName": name, "NewPosition": position} for position, name in enumerate("dcba")],
    UpdateToken=updated["UpdateToken"],
)
assert names("web") == ["d", "c", "b", "a"]
assert moved["UpdateToken"] == group_token("web")
call("delete_proxy_rules", ProxyRuleGroupName="web", Rules=["d", "r"])
assert names("web") == ["c", "b", "a"] and names("web", "PreREQUEST") == []
with refusal("ResourceNotFoundException"):
    client.delete_proxy_rules(ProxyRuleGroupName="web", Rules=["d"])

# A configuration: attach, reorder, detach, default actions.
configuration = call(
    "create_proxy_configuration",
    ProxyConfigurationName="main",
    RuleGroupNames=["web"],
    DefaultRulePhaseActions=DEFAULTS,
    Tags=[{"Key": "team", "Value": "net"}],
)
token = call(
    "attach_rule_groups_to_proxy_configuration",
    ProxyConfigurationName="main",
    RuleGroups=[{"ProxyRuleGroupName": "mail", "InsertPosition": 1}, {"ProxyRuleGroupName": "db", "InsertPosition": 0}],
    UpdateToken=configuration["UpdateToken"],
)["UpdateToken"]
groups = call("describe_proxy_configuration", ProxyConfigurationName="main")["ProxyConfiguration"]["RuleGroups"]
assert [group["ProxyRuleGroupName"] for group in groups] == ["db", "mail", "web"], groups
with refusal("InvalidTokenException"):
    client.update_proxy_configuration(
        ProxyConfigurationName="main", DefaultRulePhaseActions=DEFAULTS, UpdateToken=STALE
    )
order = call(
    "update_proxy_rule_group_priorities",
    ProxyConfigurationName="main",
    RuleGroups=[
        {"ProxyRuleGroupName": name, "NewPosition": position} for position, name in enumerate(("web", "db", "mail"))
    ],
    UpdateToken=token,
)
assert [group["ProxyRuleGroupName"] for group in order["ProxyRuleGroups"]] == ["web", "db", "mail"]
changed = call(
    "update_proxy_configuration",
    ProxyConfigurationName="main",
    DefaultRulePhaseActions={**DEFAULTS, "PostRESPONSE": "ALERT"},
    UpdateToken=order["UpdateToken"],
)
assert changed["ProxyConfiguration"]["DefaultRulePhaseActions"]["PostRESPONSE"] == "ALERT"
call(
    "detach_rule_groups_from_proxy_configuration",
    ProxyConfigurationName="main",
    RuleGroupNames=["mail"],
    UpdateToken=changed["UpdateToken"],
)
with refusal("InvalidRequestException", "not currently attached"):
    client.detach_rule_groups_from_proxy_configuration(
        ProxyConfigurationName="main", RuleGroupNames=["mail"], UpdateToken=configuration_token("main")
    )
with refusal("InvalidRequestException", "in use"):
    client.delete_proxy_rule_group(ProxyRuleGroupName="web")

# The proxy itself.
with refusal("UnsupportedOperationException", "always open by proxy.yaml"):
    client.create_proxy(
        ProxyName="edge",
        NatGatewayId=NAT,
        ProxyConfigurationName="main",
        ListenerProperties=[{"Port": 9, "Type": "HTTP"}],
        TlsInterceptProperties={},
    )
proxy = call(
    "create_proxy",
    ProxyName="edge",
    NatGatewayId=NAT,
    ProxyConfigurationName="main",
    TlsInterceptProperties={"TlsInterceptMode": "DISABLED"},
)
assert proxy["Proxy"]["ProxyState"] in ("ATTACHING", "ATTACHED")
described = call("describe_proxy", ProxyName="edge")
assert described["Proxy"]["PrivateDNSName"] == "proxy.test"
listeners = described["Proxy"]["ListenerProperties"]
with refusal("UnsupportedOperationException", "proxy.yaml"):
    client.update_proxy(
        ProxyName="edge",
        NatGatewayId=NAT,
        TlsInterceptProperties={"TlsInterceptMode": "ENABLED"},
        UpdateToken=described["UpdateToken"],
    )
with refusal("UnsupportedOperationException", "9 HTTP is not permitted"):
    client.update_proxy(
        ProxyName="edge",
        NatGatewayId=NAT,
        ListenerPropertiesToAdd=[{"Port": 9, "Type": "HTTP"}],
        UpdateToken=described["UpdateToken"],
    )
call(
    "update_proxy",
    ProxyName="edge",
    NatGatewayId=NAT,
    ListenerPropertiesToRemove=listeners,
    ListenerPropertiesToAdd=listeners,
    UpdateToken=described["UpdateToken"],
)
with refusal("InvalidRequestException", "in use"):
    client.delete_proxy_configuration(ProxyConfigurationName="main")

# Tags.
for resource in (arn, configuration["ProxyConfiguration"]["ProxyConfigurationArn"], proxy["Proxy"]["ProxyArn"]):
    call("tag_resource", ResourceArn=resource, Tags=[{"Key": f"k{number}", "Value": "v"} for number in range(5)])
    call("untag_resource", ResourceArn=resource, TagKeys=["k0", "team"])
    done.append("list_tags_for_resource")
    pages = client.get_paginator("list_tags_for_resource").paginate(
        ResourceArn=resource, PaginationConfig={"PageSize": 2}
    )
    assert [tag["Key"] for page in pages for tag in page["Tags"]] == ["k1", "k2", "k3", "k4"]
with refusal("ResourceNotFoundException"):
    client.tag_resource(ResourceArn=arn + "x", Tags=[{"Key": "k", "Value": "v"}])

# Lists, in pages.
for number in range(7):
    call("create_proxy_rule_group", ProxyRuleGroupName=f"page-{number}")
for operation, member, wanted in (
    ("list_proxy_rule_groups", "ProxyRuleGroups", ["db", "mail", *(f"page-{number}" for number in range(7)), "web"]),
    ("list_proxy_configurations", "ProxyConfigurations", ["main"]),
    ("list_proxies", "Proxies", ["edge"]),
):
    done.append(operation)
    pages = list(client.get_paginator(operation).paginate(PaginationConfig={"PageSize": 3}))
    assert [one["Name"] for page in pages for one in page[member]] == wanted
    assert len(pages) == -(-len(wanted) // 3)

# What boto3 sends through without a look.
for operation, given in (
    ("create_proxy_rules", {"ProxyRuleGroupName": "web", "Rules": {"PreDNS": [rule(f"n{n}") for n in range(51)]}}),
    ("create_proxy_rule_group", {"ProxyRuleGroupName": "a_b"}),
    ("create_proxy_rule_group", {"ProxyRuleGroupName": "n" * 129}),
    ("create_proxy_rules", {"ProxyRuleGroupName": "web", "Rules": {"PreDNS": [rule("x", action="DROP")]}}),
    ("list_proxies", {"MaxResults": 101}),
    ("delete_proxy_rule_group", {}),
    (
        "create_proxy",
        {
            "ProxyName": "p",
            "NatGatewayId": "n",
            "ProxyConfigurationName": "main",
            "TlsInterceptProperties": {},
            "ListenerProperties": [{"Port": port, "Type": "HTTP"} for port in (1, 2, 3)],
        },
    ),
    (
        "create_proxy",
        {
            "ProxyName": "p",
            "NatGatewayId": "n",
            "ProxyConfigurationName": "main",
            "TlsInterceptProperties": {},
            "ListenerProperties": [{"Port": 70000, "Type": "HTTP"}],
        },
    ),
    ("update_proxy_rule", {"ProxyRuleGroupName": "web", "ProxyRuleName": "a", "UpdateToken": "token"}),
):
    with refusal("InvalidRequestException"):
        getattr(client, operation)(**given)
# And what it would not send if it looked.
for operation, given in (
    ("create_proxy_rules", {"ProxyRuleGroupName": "web", "Rules": {"PreDNS": []}}),
    ("tag_resource", {"ResourceArn": arn, "Tags": []}),
    ("list_proxies", {"MaxResults": 0}),
    ("create_proxy_rule_group", {"ProxyRuleGroupName": ""}),
    ("create_proxy", {"ProxyName": "p", "NatGatewayId": "n"}),
    ("describe_proxy_rule", {"ProxyRuleGroupName": "web"}),
):
    with refusal("InvalidRequestException"):
        getattr(unchecked, operation)(**given)

# The end.
call("delete_proxy", NatGatewayId=NAT, ProxyName="edge")
with refusal("ResourceNotFoundException"):
    client.describe_proxy(ProxyName="edge")
call("delete_proxy_configuration", ProxyConfigurationName="main")
with refusal("LimitExceededException", "control.quotas.rule_groups"):
    client.create_proxy_rule_group(ProxyRuleGroupName="one-too-many")
for name in ("db", "mail", "web", *(f"page-{number}" for number in range(7))):
    call("delete_proxy_rule_group", ProxyRuleGroupName=name)
assert client.list_proxy_rule_groups()["ProxyRuleGroups"] == []

print(json.dumps({"done": sorted(set(done)), "refused": sorted(set(refused)), "version": boto3.__version__}))
