"""Groups, configurations, proxies and tags: their lives, and what is refused."""

from dataclasses import replace

import pytest

from netfw.config.defaults import QUOTAS, VENDOR_QUOTAS
from netfw.config.listener_ports import PermittedListeners
from netfw.control.arns import Arns
from netfw.control.roles import Caller, Role
from netfw.store.repository import Transaction
from netfw.store.resources import StoredListener, StoredProxy
from tests.control.conftest import DEFAULTS, FACTS, SITE, Api, rule, site

STALE = "6a0b7c1e-5d0e-4b55-9a5a-0c3f5e5b7a11"
PREFIX = "arn:aws:network-firewall:us-east-2:123456789012:"


@pytest.fixture
def made(api: Api) -> Api:
    """Groups a, b, c, and configuration main with a and b."""
    for name in "abc":
        api("CreateProxyRuleGroup", ProxyRuleGroupName=name)
    api(
        "CreateProxyConfiguration",
        ProxyConfigurationName="main",
        RuleGroupNames=["a", "b"],
        DefaultRulePhaseActions=DEFAULTS,
    )
    return api


def main(api: Api) -> tuple[list[str], str]:
    """The attached groups in order, and the token."""
    answer = api("DescribeProxyConfiguration", ProxyConfigurationName="main")
    groups = answer["ProxyConfiguration"].get("RuleGroups", [])
    assert [group["Priority"] for group in groups] == list(range(len(groups)))
    return [group["ProxyRuleGroupName"] for group in groups], answer["UpdateToken"]


def test_a_new_group_is_what_was_given(api: Api) -> None:
    """With its ARN, its time and its token."""
    answer = api(
        "CreateProxyRuleGroup",
        ProxyRuleGroupName="g",
        Description="d",
        Rules={"PreDNS": [rule("b"), rule("a")]},
        Tags=[{"Key": "k", "Value": "v"}],
    )
    group = answer["ProxyRuleGroup"]
    assert group.pop("CreateTime") > 1_700_000_000
    assert group == {
        "ProxyRuleGroupName": "g",
        "ProxyRuleGroupArn": PREFIX + "proxy-rule-group/g",
        "Description": "d",
        "Rules": {"PreDNS": [rule("b"), rule("a")]},
        "Tags": [{"Key": "k", "Value": "v"}],
    }
    described = api("DescribeProxyRuleGroup", ProxyRuleGroupArn=PREFIX + "proxy-rule-group/g")
    assert described["UpdateToken"] == answer["UpdateToken"]


def test_a_name_is_taken_once(made: Api) -> None:
    """Per kind: a group and a configuration may share it."""
    assert made.refusal("CreateProxyRuleGroup", ProxyRuleGroupName="a").startswith("InvalidRequestException")
    refusal = made.refusal("CreateProxyConfiguration", ProxyConfigurationName="main", DefaultRulePhaseActions=DEFAULTS)
    assert refusal.startswith("InvalidRequestException")
    made("CreateProxyConfiguration", ProxyConfigurationName="a", DefaultRulePhaseActions=DEFAULTS)


def test_what_is_in_use_is_not_deleted(made: Api) -> None:
    """And the message says by whom."""
    made("CreateProxy", ProxyName="p", NatGatewayId="nat-1", ProxyConfigurationName="main", TlsInterceptProperties={})
    assert "in use by main" in made.refusal("DeleteProxyRuleGroup", ProxyRuleGroupName="a")
    assert "in use by p" in made.refusal("DeleteProxyConfiguration", ProxyConfigurationName="main")
    made("DeleteProxy", ProxyName="p", NatGatewayId="nat-1")
    made("DeleteProxyConfiguration", ProxyConfigurationName="main")
    made("DeleteProxyRuleGroup", ProxyRuleGroupName="a")
    assert made.refusal("DescribeProxyRuleGroup", ProxyRuleGroupName="a").startswith("ResourceNotFoundException")


def test_groups_are_attached_at_positions_or_at_the_end(made: Api) -> None:
    """One call may attach several."""
    made("CreateProxyRuleGroup", ProxyRuleGroupName="d")
    attach = [{"ProxyRuleGroupName": "d"}, {"ProxyRuleGroupName": "c", "InsertPosition": 0}]
    made(
        "AttachRuleGroupsToProxyConfiguration",
        ProxyConfigurationName="main",
        RuleGroups=attach,
        UpdateToken=main(made)[1],
    )
    assert main(made)[0] == ["c", "a", "b", "d"]


@pytest.mark.parametrize(
    ("attach", "code"),
    [
        ([{"ProxyRuleGroupName": "a"}], "InvalidRequestException"),
        ([{"ProxyRuleGroupName": "no"}], "ResourceNotFoundException"),
        ([{"ProxyRuleGroupName": "c"}, {"ProxyRuleGroupName": "c"}], "InvalidRequestException"),
        ([{"ProxyRuleGroupName": "c", "InsertPosition": 3}], "InvalidRequestException: Insertion position"),
        ([], "InvalidRequestException"),
    ],
)
def test_what_cannot_be_attached(made: Api, attach: list[dict[str, object]], code: str) -> None:
    """Already there, not there at all, twice, behind a gap, nothing."""
    refusal = made.refusal(
        "AttachRuleGroupsToProxyConfiguration",
        ProxyConfigurationName="main",
        RuleGroups=attach,
        UpdateToken=main(made)[1],
    )
    assert refusal.startswith(code)
    assert main(made)[0] == ["a", "b"]


def test_groups_are_detached_by_name_or_arn(made: Api) -> None:
    """With the words that clients look for when one is not there."""
    detach = "DetachRuleGroupsFromProxyConfiguration"
    refusal = made.refusal(detach, ProxyConfigurationName="main", RuleGroupNames=["c"], UpdateToken=main(made)[1])
    assert refusal.startswith("InvalidRequestException")
    assert "not currently attached" in refusal
    assert made.refusal(detach, ProxyConfigurationName="main", UpdateToken=main(made)[1]).startswith("InvalidRequest")
    made(detach, ProxyConfigurationName="main", RuleGroupNames=["a"], UpdateToken=main(made)[1])
    arn = PREFIX + "proxy-rule-group/b"
    answer = made(detach, ProxyConfigurationName="main", RuleGroupArns=[arn], UpdateToken=main(made)[1])
    assert answer["ProxyConfiguration"]["RuleGroups"] == []


def test_groups_get_new_priorities(made: Api) -> None:
    """The answer is the whole order."""
    answer = made(
        "UpdateProxyRuleGroupPriorities",
        ProxyConfigurationName="main",
        RuleGroups=[{"ProxyRuleGroupName": "b", "NewPosition": 0}],
        UpdateToken=main(made)[1],
    )
    assert answer["ProxyRuleGroups"] == [
        {"ProxyRuleGroupName": "b", "Priority": 0},
        {"ProxyRuleGroupName": "a", "Priority": 1},
    ]
    assert main(made) == (["b", "a"], answer["UpdateToken"])


def test_default_actions_are_replaced_together(made: Api) -> None:
    """All three are wanted."""
    changed = {**DEFAULTS, "PostRESPONSE": "ALERT"}
    answer = made(
        "UpdateProxyConfiguration",
        ProxyConfigurationName="main",
        DefaultRulePhaseActions=changed,
        UpdateToken=main(made)[1],
    )
    assert answer["ProxyConfiguration"]["DefaultRulePhaseActions"] == changed
    refusal = made.refusal(
        "UpdateProxyConfiguration",
        ProxyConfigurationName="main",
        DefaultRulePhaseActions={"PreDNS": "DENY"},
        UpdateToken=main(made)[1],
    )
    assert "DefaultRulePhaseActions.PreREQUEST: it is missing" in refusal


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        ("AttachRuleGroupsToProxyConfiguration", {"RuleGroups": [{"ProxyRuleGroupName": "c"}]}),
        ("DetachRuleGroupsFromProxyConfiguration", {"RuleGroupNames": ["a"]}),
        ("UpdateProxyConfiguration", {"DefaultRulePhaseActions": DEFAULTS}),
        ("UpdateProxyRuleGroupPriorities", {"RuleGroups": [{"ProxyRuleGroupName": "b", "NewPosition": 0}]}),
    ],
)
def test_an_old_token_changes_nothing(made: Api, operation: str, given: dict[str, object]) -> None:
    """A rule in an attached group does not make a configuration's token old, another change of it does."""
    old = main(made)[1]
    made("CreateProxyRules", ProxyRuleGroupName="a", Rules={"PreDNS": [rule("x")]})
    assert main(made)[1] == old
    before = main(made)
    assert made.refusal(operation, ProxyConfigurationName="main", UpdateToken=STALE, **given).startswith("InvalidToken")
    assert main(made) == before


def test_groups_by_name_and_by_arn_come_in_that_order(made: Api) -> None:
    """The same list both ways counts once; one group twice is a mistake."""
    arns = [PREFIX + f"proxy-rule-group/{name}" for name in "ab"]
    create = "CreateProxyConfiguration"
    made(create, ProxyConfigurationName="x", RuleGroupNames=["c"], RuleGroupArns=arns, DefaultRulePhaseActions=DEFAULTS)
    found = made("DescribeProxyConfiguration", ProxyConfigurationName="x")["ProxyConfiguration"]["RuleGroups"]
    assert [one["ProxyRuleGroupName"] for one in found] == ["c", "a", "b"]
    made(
        create,
        ProxyConfigurationName="y",
        RuleGroupNames=["a", "b"],
        RuleGroupArns=arns,
        DefaultRulePhaseActions=DEFAULTS,
    )
    refusal = made.refusal(
        create, ProxyConfigurationName="z", RuleGroupNames=["a"], RuleGroupArns=arns, DefaultRulePhaseActions=DEFAULTS
    )
    assert "twice" in refusal


def test_the_quotas_hold_at_their_last_number(made: Api) -> None:
    """One that fits, one that does not."""
    made.site = replace(SITE, quotas=replace(QUOTAS, rule_groups=4, configurations=2, groups_per_configuration=2))
    made("CreateProxyRuleGroup", ProxyRuleGroupName="d")
    assert made.refusal("CreateProxyRuleGroup", ProxyRuleGroupName="e").startswith("LimitExceededException")
    made("CreateProxyConfiguration", ProxyConfigurationName="two", DefaultRulePhaseActions=DEFAULTS)
    refusal = made.refusal("CreateProxyConfiguration", ProxyConfigurationName="three", DefaultRulePhaseActions=DEFAULTS)
    assert refusal.startswith("LimitExceededException")
    refusal = made.refusal(
        "AttachRuleGroupsToProxyConfiguration",
        ProxyConfigurationName="main",
        RuleGroups=[{"ProxyRuleGroupName": "c"}],
        UpdateToken=main(made)[1],
    )
    assert refusal.startswith("LimitExceededException")


def create_proxy(api: Api, name: str = "p", gateway: str = "nat-1", **more: object) -> dict[str, object]:
    """A proxy of configuration main."""
    given = {"ProxyConfigurationName": "main", "TlsInterceptProperties": {}, **more}
    return api("CreateProxy", ProxyName=name, NatGatewayId=gateway, **given)


def test_a_proxy_shows_what_proxy_yaml_says(made: Api) -> None:
    """Listeners, interception, the CA and the name that clients call it by."""
    create_proxy(made)
    proxy = made("DescribeProxy", ProxyName="p")["Proxy"]
    assert proxy["ProxyArn"] == PREFIX + "proxy/p"
    assert proxy["ListenerProperties"] == [{"Port": 3128, "Type": "HTTP"}, {"Port": 8443, "Type": "HTTPS"}]
    assert proxy["TlsInterceptProperties"] == {"PcaArn": FACTS.ca_arn, "TlsInterceptMode": "ENABLED"}
    assert proxy["PrivateDNSName"] == "proxy.test"
    assert proxy["ProxyState"] == "ATTACHING"
    assert proxy["ProxyConfigurationArn"] == PREFIX + "proxy-configuration/main"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"ListenerProperties": [{"Port": 9, "Type": "HTTP"}]}, "UnsupportedOperationException"),
        (
            {"ListenerProperties": [{"Port": 9, "Type": "HTTP"}, {"Port": 9, "Type": "HTTPS"}]},
            "InvalidRequestException",
        ),
        ({"TlsInterceptProperties": {"PcaArn": "arn:aws:acm-pca:x"}}, "InvalidRequestException: PcaArn"),
        ({"ProxyConfigurationName": "no"}, "ResourceNotFoundException"),
        ({"ProxyConfigurationName": None}, "InvalidRequestException"),
        ({"gateway": "nat-0"}, "InvalidRequestException"),
        ({"name": "other"}, "InvalidRequestException"),
    ],
)
def test_a_proxy_that_cannot_be(made: Api, more: dict[str, object], code: str) -> None:
    """What proxy.yaml does not permit, what is not there, what is taken."""
    create_proxy(made, "other", "nat-0")
    given = {"name": "p", "gateway": "nat-1", "TlsInterceptProperties": {}, "ProxyConfigurationName": "main", **more}
    refusal = made.refusal("CreateProxy", ProxyName=given.pop("name"), NatGatewayId=given.pop("gateway"), **given)
    assert refusal.startswith(code)


def test_a_proxy_is_updated_within_what_proxy_yaml_permits(made: Api) -> None:
    """A fixed listener stays; others come and go among the ports that are permitted; the last one stays."""
    token = create_proxy(made)["UpdateToken"]
    http, https = {"Port": 3128, "Type": "HTTP"}, {"Port": 8443, "Type": "HTTPS"}
    update = {"ProxyName": "p", "NatGatewayId": "nat-1", "UpdateToken": token}
    for change, words in (
        ({"ListenerPropertiesToRemove": [http]}, "UnsupportedOperationException: 3128 HTTP is always open"),
        ({"ListenerPropertiesToAdd": [http]}, "InvalidRequestException: ListenerPropertiesToAdd"),
        ({"ListenerPropertiesToRemove": [{"Port": 8444, "Type": "HTTPS"}]}, "InvalidRequestException: Listener"),
        ({"ListenerPropertiesToRemove": [http, https]}, "InvalidRequestException: p would have no listener"),
        (
            {"ListenerPropertiesToAdd": [{"Port": 8450, "Type": "HTTPS"}]},
            "UnsupportedOperationException: 8450 HTTPS is not",
        ),
        (
            {"ListenerPropertiesToAdd": [{"Port": 8444, "Type": "HTTP"}]},
            "UnsupportedOperationException: 8444 HTTP is not",
        ),
    ):
        refusal = made.refusal("UpdateProxy", **update, **change)
        assert refusal.startswith(words)
        if words.startswith("Unsupported"):
            assert refusal.endswith("listeners are 3128 HTTP, HTTPS on 8443-8449 (from_store)")
    answer = made("UpdateProxy", **update, ListenerPropertiesToRemove=[http], ListenerPropertiesToAdd=[http])
    assert answer["Proxy"]["ProxyModifyState"] == "MODIFYING"
    assert made.refusal("UpdateProxy", **update).startswith("InvalidTokenException")
    assert made.refusal("UpdateProxy", **{**update, "NatGatewayId": "nat-2"}).startswith("InvalidRequestException")
    other = {"Port": 8449, "Type": "HTTPS"}
    given = {**update, "UpdateToken": answer["UpdateToken"]}
    answer = made("UpdateProxy", **given, ListenerPropertiesToRemove=[https], ListenerPropertiesToAdd=[other])
    assert made("DescribeProxy", ProxyName="p")["Proxy"]["ListenerProperties"] == [http, other]
    given = {**update, "UpdateToken": answer["UpdateToken"]}
    made("UpdateProxy", **given, ListenerPropertiesToRemove=[other])
    assert made("DescribeProxy", ProxyName="p")["Proxy"]["ListenerProperties"] == [http]
    # What is fixed is not the store's: another proxy.yaml may have it elsewhere.
    made.site = site(replace(FACTS, permitted=PermittedListeners(((3129, "HTTP"),))))
    assert made("DescribeProxy", ProxyName="p")["Proxy"]["ListenerProperties"] == [{"Port": 3129, "Type": "HTTP"}]


def test_who_asks_for_no_listeners_gets_those_of_proxy_yaml(made: Api) -> None:
    """An empty list is as good as none; the store keeps nothing, so that a new proxy.yaml is shown as it is."""
    create_proxy(made, ListenerProperties=[])
    assert made.database.read(lambda transaction: transaction.proxies.get("p").listeners) is None
    made.site = site(replace(FACTS, listeners=(StoredListener(80, "HTTP"),)))
    assert made("DescribeProxy", ProxyName="p")["Proxy"]["ListenerProperties"] == [{"Port": 80, "Type": "HTTP"}]


def test_of_a_proxy_without_a_node_nobody_knows_what_is_permitted(made: Api) -> None:
    """It is made as asked, and is shown so; a CA cannot be named for it."""
    made.site = site(None)
    asked = [{"Port": 9, "Type": "HTTP"}]
    create_proxy(made, ListenerProperties=asked, TlsInterceptProperties={"TlsInterceptMode": "ENABLED"})
    proxy = made("DescribeProxy", ProxyName="p")["Proxy"]
    assert (proxy["ListenerProperties"], proxy["TlsInterceptProperties"]) == (asked, {"TlsInterceptMode": "ENABLED"})
    assert "PrivateDNSName" not in proxy
    refusal = made.refusal(
        "CreateProxy",
        ProxyName="q",
        NatGatewayId="nat-2",
        ProxyConfigurationName="main",
        TlsInterceptProperties={"PcaArn": "arn:aws:acm-pca:x"},
    )
    assert "none is known here" in refusal


def test_a_proxy_of_the_command_takes_the_gateway_that_it_is_called_by(made: Api) -> None:
    """`netfw apply` makes it without one."""

    def add(transaction: Transaction) -> None:
        transaction.proxies.add(StoredProxy("p", PREFIX + "proxy/p", "main"))
        transaction.bump_generation("test", "apply")

    made.database.transact(add)
    shown = made("DescribeProxy", ProxyName="p")
    assert shown["Proxy"]["TlsInterceptProperties"]["TlsInterceptMode"] == "ENABLED"
    made("UpdateProxy", ProxyName="p", NatGatewayId="nat-7", UpdateToken=shown["UpdateToken"])
    assert made("DeleteProxy", NatGatewayId="nat-7")["ProxyName"] == "p"


def test_interception_is_turned_off_and_on_where_proxy_yaml_permits_it(made: Api) -> None:
    """Off always; on only where there is a CA."""
    token = create_proxy(made)["UpdateToken"]
    update = {"ProxyName": "p", "NatGatewayId": "nat-1"}
    off, on = ({"TlsInterceptMode": mode} for mode in ("DISABLED", "ENABLED"))
    answer = made("UpdateProxy", **update, TlsInterceptProperties=off, UpdateToken=token)
    assert answer["Proxy"]["TlsInterceptProperties"] == off
    made.site = site(replace(FACTS, tls_mode="DISABLED", ca_arn=None))
    refusal = made.refusal("UpdateProxy", **update, TlsInterceptProperties=on, UpdateToken=answer["UpdateToken"])
    assert refusal.startswith("UnsupportedOperationException")
    made.site = SITE
    answer = made("UpdateProxy", **update, TlsInterceptProperties=on, UpdateToken=answer["UpdateToken"])
    assert answer["Proxy"]["TlsInterceptProperties"] == {**on, "PcaArn": FACTS.ca_arn}


def test_the_vendors_profile_has_one_proxy(made: Api) -> None:
    """Ours has as many as there are names."""
    create_proxy(made)
    made.site = replace(SITE, quotas=VENDOR_QUOTAS)
    refusal = made.refusal(
        "CreateProxy",
        ProxyName="q",
        NatGatewayId="nat-2",
        ProxyConfigurationName="main",
        TlsInterceptProperties={},
    )
    assert refusal.startswith("LimitExceededException")


def test_a_proxy_is_found_by_its_gateway_alone(made: Api) -> None:
    """Name and ARN are optional in the model."""
    create_proxy(made)
    assert made("DeleteProxy", NatGatewayId="nat-1")["ProxyName"] == "p"
    assert made.refusal("DeleteProxy", NatGatewayId="nat-1").startswith("ResourceNotFoundException")


def test_lists_come_in_pages(made: Api) -> None:
    """Of the size that is asked for; a token of another list is refused."""
    first = made("ListProxyRuleGroups", MaxResults=2)
    assert [one["Name"] for one in first["ProxyRuleGroups"]] == ["a", "b"]
    second = made("ListProxyRuleGroups", MaxResults=2, NextToken=first["NextToken"])
    assert second == {"ProxyRuleGroups": [{"Name": "c", "Arn": PREFIX + "proxy-rule-group/c"}]}
    assert made.refusal("ListProxies", NextToken=first["NextToken"]).startswith("InvalidRequestException: NextToken")


@pytest.mark.parametrize("kind", ["proxy-rule-group/a", "proxy-configuration/main", "proxy/p"])
def test_tags_come_and_go(made: Api, kind: str) -> None:
    """Without a new token, and without a new generation."""
    create_proxy(made)
    generation = made.database.read(lambda transaction: transaction.generation)
    arn = PREFIX + kind
    made("TagResource", ResourceArn=arn, Tags=[{"Key": key, "Value": key} for key in "cab"])
    made("TagResource", ResourceArn=arn, Tags=[{"Key": "a", "Value": "new"}])
    made("UntagResource", ResourceArn=arn, TagKeys=["b", "unknown"])
    first = made("ListTagsForResource", ResourceArn=arn, MaxResults=1)
    assert first["Tags"] == [{"Key": "a", "Value": "new"}]
    second = made("ListTagsForResource", ResourceArn=arn, MaxResults=0, NextToken=first["NextToken"])
    assert second == {"Tags": [{"Key": "c", "Value": "c"}]}
    assert made.database.read(lambda transaction: transaction.generation) == generation


def test_a_resource_has_fifty_tags(made: Api) -> None:
    """And not one more."""
    arn = PREFIX + "proxy-rule-group/a"
    made("TagResource", ResourceArn=arn, Tags=[{"Key": str(number), "Value": ""} for number in range(50)])
    refusal = made.refusal("TagResource", ResourceArn=arn, Tags=[{"Key": "x", "Value": ""}])
    assert refusal.startswith("LimitExceededException")
    assert made.refusal("TagResource", ResourceArn=arn + "x", Tags=[{"Key": "x", "Value": ""}]).startswith(
        "ResourceNot"
    )


def test_every_change_has_a_generation_and_what_was_before_and_after(made: Api) -> None:
    """For history and audit."""
    before = made.database.read(lambda transaction: transaction.generation)
    made("CreateProxyRules", ProxyRuleGroupName="a", Rules={"PreDNS": [rule("x")]})
    assert made.database.read(lambda transaction: transaction.generation) == before + 1
    (change,) = made.changes
    assert change.arn == PREFIX + "proxy-rule-group/a"
    assert change.before is not None and "Rules" not in change.before
    assert change.after is not None and change.after["Rules"] == {"PreDNS": [rule("x")]}


def test_an_editor_changes_the_groups_of_the_key_and_no_others(made: Api) -> None:
    """By any operation, tags included; whether they are there or not."""
    editor = made.by(Caller("eve", frozenset({Role.EDITOR}), ("a", "team-*")))
    editor("CreateProxyRuleGroup", ProxyRuleGroupName="team-x")
    editor("CreateProxyRules", ProxyRuleGroupName="a", Rules={"PreDNS": [rule("x")]})
    editor("TagResource", ResourceArn=PREFIX + "proxy-rule-group/a", Tags=[{"Key": "k", "Value": "v"}])
    editor("DescribeProxyRuleGroup", ProxyRuleGroupName="b")
    for operation, given in (
        ("CreateProxyRules", {"ProxyRuleGroupName": "b", "Rules": {"PreDNS": [rule("x")]}}),
        ("DeleteProxyRuleGroup", {"ProxyRuleGroupArn": PREFIX + "proxy-rule-group/c"}),
        ("CreateProxyRuleGroup", {"ProxyRuleGroupName": "other"}),
        ("TagResource", {"ResourceArn": PREFIX + "proxy-rule-group/b", "Tags": [{"Key": "k", "Value": "v"}]}),
        ("UntagResource", {"ResourceArn": PREFIX + "proxy-configuration/main", "TagKeys": ["k"]}),
        ("DeleteProxyConfiguration", {"ProxyConfigurationName": "main"}),
    ):
        assert editor.refusal(operation, **given).startswith("AccessDeniedException: eve may not call")


def test_a_resource_keeps_its_arn_when_another_account_is_configured(made: Api) -> None:
    """It is found by the ARN that it shows, everywhere, and by no other; what is made then is the new account's."""
    create_proxy(made)
    made.site = replace(SITE, arns=Arns("eu-west-1", "999999999999"))
    old, new = PREFIX, "arn:aws:network-firewall:eu-west-1:999999999999:"
    made("CreateProxyRuleGroup", ProxyRuleGroupName="d")
    listed = made("ListProxyRuleGroups")["ProxyRuleGroups"]
    assert [one["Arn"] for one in listed] == [
        *(f"{old}proxy-rule-group/{n}" for n in "abc"),
        f"{new}proxy-rule-group/d",
    ]
    made(
        "AttachRuleGroupsToProxyConfiguration",
        ProxyConfigurationArn=old + "proxy-configuration/main",
        RuleGroups=[{"ProxyRuleGroupName": "d"}],
        UpdateToken=main(made)[1],
    )
    shown = made("DescribeProxyConfiguration", ProxyConfigurationArn=old + "proxy-configuration/main")
    arns = [one["ProxyRuleGroupArn"] for one in shown["ProxyConfiguration"]["RuleGroups"]]
    assert arns == [f"{old}proxy-rule-group/a", f"{old}proxy-rule-group/b", f"{new}proxy-rule-group/d"]
    proxy = made("DescribeProxy", ProxyArn=old + "proxy/p")["Proxy"]
    assert (proxy["ProxyArn"], proxy["ProxyConfigurationArn"]) == (f"{old}proxy/p", f"{old}proxy-configuration/main")
    made("TagResource", ResourceArn=old + "proxy/p", Tags=[{"Key": "k", "Value": "v"}])
    for operation, given in (
        ("DescribeProxy", {"ProxyArn": new + "proxy/p"}),
        ("DeleteProxy", {"ProxyArn": new + "proxy/p", "NatGatewayId": "nat-1"}),
        ("TagResource", {"ResourceArn": new + "proxy/p", "Tags": [{"Key": "k", "Value": "v"}]}),
        ("CreateProxyRules", {"ProxyRuleGroupArn": new + "proxy-rule-group/a", "Rules": {"PreDNS": [rule("x")]}}),
        (
            "DetachRuleGroupsFromProxyConfiguration",
            {
                "ProxyConfigurationName": "main",
                "RuleGroupArns": [new + "proxy-rule-group/a"],
                "UpdateToken": main(made)[1],
            },
        ),
    ):
        refusal = made.refusal(operation, **given)
        assert refusal.startswith("ResourceNotFoundException") and old in refusal
