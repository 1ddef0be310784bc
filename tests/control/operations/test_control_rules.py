"""Rules: positions, tokens, partial updates, and what is refused."""

from dataclasses import replace

import pytest

from netfw.config.defaults import QUOTAS
from tests.control.conftest import SITE, Api, on_domains, rule

STALE = "6a0b7c1e-5d0e-4b55-9a5a-0c3f5e5b7a11"


@pytest.fixture
def group(api: Api) -> Api:
    """With a group g of rules a and b in PreDNS, r in PreREQUEST."""
    api(
        "CreateProxyRuleGroup",
        ProxyRuleGroupName="g",
        Rules={"PreDNS": [rule("a"), rule("b")], "PreREQUEST": [rule("r")]},
    )
    return api


def create(api: Api, *rules: dict[str, object], phase: str = "PreDNS") -> None:
    """Add rules to g."""
    api("CreateProxyRules", ProxyRuleGroupName="g", Rules={phase: list(rules)})


def test_rules_go_where_their_positions_say(group: Api) -> None:
    """Whatever their order in the list, for clients fill it from maps."""
    create(group, rule("y", InsertPosition=3), rule("x", InsertPosition=1), rule("last"))
    assert group.names("g") == ["a", "x", "b", "y", "last"]


def test_a_gap_is_refused_in_the_vendors_words(group: Api) -> None:
    """And nothing is stored of the call."""
    refusal = group.refusal(
        "CreateProxyRules", ProxyRuleGroupName="g", Rules={"PreDNS": [rule("x"), rule("y", InsertPosition=4)]}
    )
    assert refusal.startswith("InvalidRequestException: Insertion position must be continuous")
    assert group.names("g") == ["a", "b"]


def test_names_are_unique_over_the_phases_of_a_group(group: Api) -> None:
    """Rules are addressed by name alone."""
    for phase in ("PreDNS", "PostRESPONSE"):
        refusal = group.refusal("CreateProxyRules", ProxyRuleGroupName="g", Rules={phase: [rule("r")]})
        assert 'rule name "r" is taken already' in refusal


def test_a_condition_that_cannot_be_is_refused_in_the_vendors_words(group: Api) -> None:
    """With index, rule and phase."""
    wrong = {
        "ConditionKey": "request:Http:UserAgent",
        "ConditionOperator": "ForAnyValue:StringLike",
        "ConditionValues": ["x"],
    }
    refusal = group.refusal(
        "CreateProxyRules",
        ProxyRuleGroupName="g",
        Rules={"PreREQUEST": [{"ProxyRuleName": "test-ua", "Action": "DENY", "Conditions": [wrong]}]},
    )
    assert refusal == (
        "InvalidRequestException: Invalid condition at index 0 for rule test-ua in preREQUEST rule phase: "
        "Condition key does not support ForAnyValue or ForAllValues"
    )


@pytest.mark.parametrize(
    ("phase", "key", "operator"),
    [
        ("PreDNS", "request:Http:Method", "StringEquals"),
        ("PreDNS", "request:DestinationIp", "IpAddress"),
        ("PreREQUEST", "response:Http:StatusCode", "NumericEquals"),
        ("PreDNS", "request:SourceIp", "StringEquals"),
        ("PreDNS", "request:Nothing", "StringEquals"),
        ("PreDNS", "request:SourceIp", "ArnEquals"),
    ],
)
def test_keys_and_operators_are_judged_as_in_files(group: Api, phase: str, key: str, operator: str) -> None:
    """The API accepts nothing that a file may not say."""
    wrong = {"ConditionKey": key, "ConditionOperator": operator, "ConditionValues": ["10.0.0.1"]}
    refusal = group.refusal(
        "CreateProxyRules",
        ProxyRuleGroupName="g",
        Rules={phase: [{"ProxyRuleName": "x", "Action": "DENY", "Conditions": [wrong]}]},
    )
    assert refusal.startswith("InvalidRequestException: Invalid condition at index 0 for rule x")


def test_a_rule_is_described_with_its_groups_token(group: Api) -> None:
    """That is the one to update it with."""
    found = group("DescribeProxyRule", ProxyRuleGroupName="g", ProxyRuleName="r")
    assert found == {"ProxyRule": rule("r"), "UpdateToken": group.token("g")}


def test_what_an_update_does_not_say_stays(group: Api) -> None:
    """And the token is a new one."""
    token = group.token("g")
    answer = group("UpdateProxyRule", ProxyRuleGroupName="g", ProxyRuleName="a", Description="why", UpdateToken=token)
    assert answer["ProxyRule"] == {**rule("a"), "Description": "why"}
    assert answer["UpdateToken"] == group.token("g") != token
    answer = group(
        "UpdateProxyRule", ProxyRuleGroupName="g", ProxyRuleName="a", Action="DENY", UpdateToken=answer["UpdateToken"]
    )
    assert answer["ProxyRule"] == {**rule("a", action="DENY"), "Description": "why"}
    assert group.names("g") == ["a", "b"]


def test_conditions_are_removed_first_and_then_added(group: Api) -> None:
    """So that a client can name all the old ones and all the new ones, and what is in both stays."""
    answer = group(
        "UpdateProxyRule",
        ProxyRuleGroupName="g",
        ProxyRuleName="a",
        RemoveConditions=[on_domains("a.test")],
        AddConditions=[on_domains("a.test"), on_domains("b.test", "c.test")],
        UpdateToken=group.token("g"),
    )
    assert answer["ProxyRule"]["Conditions"] == [on_domains("a.test"), on_domains("b.test", "c.test")]
    assert answer["RemovedConditions"] == [on_domains("a.test")]


def test_a_condition_that_is_not_there_cannot_be_removed(group: Api) -> None:
    """Nor the last one."""
    for removed, words in (
        (on_domains("b.test"), "no such condition"),
        (on_domains("a.test"), "at least one condition"),
    ):
        refusal = group.refusal(
            "UpdateProxyRule",
            ProxyRuleGroupName="g",
            ProxyRuleName="a",
            RemoveConditions=[removed],
            UpdateToken=group.token("g"),
        )
        assert refusal.startswith("InvalidRequestException")
        assert words in refusal


def test_an_old_token_changes_nothing(group: Api) -> None:
    """Whatever it is asked with."""
    for operation, given in (
        ("UpdateProxyRule", {"ProxyRuleName": "a", "Action": "DENY"}),
        (
            "UpdateProxyRulePriorities",
            {"RuleGroupRequestPhase": "PRE_DNS", "Rules": [{"ProxyRuleName": "a", "NewPosition": 1}]},
        ),
    ):
        refusal = group.refusal(operation, ProxyRuleGroupName="g", UpdateToken=STALE, **given)
        assert refusal.startswith("InvalidTokenException: ")
    assert group.names("g") == ["a", "b"]


def test_rules_move_to_their_new_positions(group: Api) -> None:
    """The answer is the whole order."""
    create(group, rule("c"))
    answer = group(
        "UpdateProxyRulePriorities",
        ProxyRuleGroupName="g",
        RuleGroupRequestPhase="PRE_DNS",
        Rules=[{"ProxyRuleName": "c", "NewPosition": 0}],
        UpdateToken=group.token("g"),
    )
    assert group.names("g") == ["c", "a", "b"]
    assert [one["ProxyRuleName"] for one in answer["Rules"]] == ["c", "a", "b"]
    assert answer["UpdateToken"] == group.token("g")


def test_rules_are_deleted_by_name_from_any_phase_and_the_gap_closes(group: Api) -> None:
    """At once, and the answer has no token."""
    answer = group("DeleteProxyRules", ProxyRuleGroupName="g", Rules=["a", "r"])
    assert sorted(answer) == ["ProxyRuleGroup"]
    assert answer["ProxyRuleGroup"]["Rules"] == {"PreDNS": [rule("b")]}
    assert group.refusal("DeleteProxyRules", ProxyRuleGroupName="g", Rules=["a"]).startswith(
        "ResourceNotFoundException"
    )
    assert group.refusal("DescribeProxyRule", ProxyRuleGroupName="g", ProxyRuleName="a").startswith("ResourceNotFound")


def test_rules_have_an_end_an_owner_and_a_ticket(group: Api) -> None:
    """Extensions that files have as well; an update keeps them."""
    annotated = rule("x", NotAfter=1795219200.0, Owner="ann", Ticket="NET-1")
    create(group, annotated)
    group("UpdateProxyRule", ProxyRuleGroupName="g", ProxyRuleName="x", Action="DENY", UpdateToken=group.token("g"))
    found = group("DescribeProxyRule", ProxyRuleGroupName="g", ProxyRuleName="x")["ProxyRule"]
    assert found == {**annotated, "Action": "DENY"}


def test_a_group_has_at_most_as_many_rules_as_the_quota(group: Api) -> None:
    """The last one that fits, and one more."""
    group.site = replace(SITE, quotas=replace(QUOTAS, rules_per_group=4))
    create(group, rule("c"))
    refusal = group.refusal("CreateProxyRules", ProxyRuleGroupName="g", Rules={"PreDNS": [rule("d")]})
    assert refusal.startswith("LimitExceededException: 5 rules in g")
    assert "control.quotas.rules_per_group" in refusal


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        ("CreateProxyRules", {"Rules": {"PreDNS": [rule("x")]}}),
        ("DescribeProxyRule", {"ProxyRuleName": "a"}),
        ("DeleteProxyRules", {"Rules": ["a"]}),
        ("UpdateProxyRule", {"ProxyRuleName": "a", "UpdateToken": STALE}),
    ],
)
def test_a_group_is_named_and_is_there(group: Api, operation: str, given: dict[str, object]) -> None:
    """By name, by ARN, or by both when they agree."""
    assert group.refusal(operation, **given).startswith("InvalidRequestException: ProxyRuleGroupName or")
    assert group.refusal(operation, ProxyRuleGroupName="no", **given).startswith("ResourceNotFoundException")
    arn = "arn:aws:network-firewall:us-east-2:123456789012:proxy-rule-group/no"
    assert group.refusal(operation, ProxyRuleGroupName="g", ProxyRuleGroupArn=arn, **given).startswith("InvalidRequest")


def test_no_rules_are_no_call(group: Api) -> None:
    """Neither to create nor to delete."""
    assert group.refusal("CreateProxyRules", ProxyRuleGroupName="g", Rules={}).startswith("InvalidRequestException")
    assert group.refusal("DeleteProxyRules", ProxyRuleGroupName="g", Rules=[]).startswith("InvalidRequestException")
