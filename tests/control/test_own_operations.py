"""The operations that are ours alone: several resources, one generation, nothing by halves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netfw.control.json_protocol import read_input
from netfw.control.own_model import OWN_OPERATIONS
from netfw.control.performing import perform
from netfw.control.refusals import AccessDenied
from netfw.control.roles import Caller, Role
from netfw.control.service_model import OPERATIONS, Operation, Resource
from netfw.store.database import Database
from tests.control.conftest import DEFAULTS, OPERATION_OF, Api, rule

FUTURE = 4_000_000_000


def policy(*names: str, group: str = "g", configuration: str = "main") -> dict[str, Any]:
    """A document with one group of these rules."""
    return {
        "ProxyConfiguration": {
            "ProxyConfigurationName": configuration,
            "DefaultRulePhaseActions": DEFAULTS,
            "RuleGroups": [group],
        },
        "ProxyRuleGroups": [{"ProxyRuleGroupName": group, "Rules": {"PreDNS": [rule(name) for name in names]}}],
    }


def put(api: Api, document: dict[str, Any], proxy: str | None = "edge") -> dict[str, Any]:
    """Plan and apply."""
    given = {"Document": document, **({} if proxy is None else {"ProxyName": proxy})}
    return api("ApplyPolicy", UpdateToken=api("PlanPolicy", **given)["UpdateToken"], **given)


def test_names_of_operations_are_unique() -> None:
    """They are looked up by name in one table each, and told apart by their prefix on the wire."""
    names = [operation.name for operation in (*OPERATIONS, *OWN_OPERATIONS)]
    assert len(set(names)) == len(names)
    assert {operation.target.partition(".")[0] for operation in OWN_OPERATIONS} == {"Netfw_2026"}


def test_a_policy_is_applied_in_one_generation_and_comes_out_again(api: Api) -> None:
    """Group, configuration and proxy; each is a change on record."""
    assert put(api, policy("a", "b"))["Generation"] == 1
    assert [change.arn.rpartition(":")[2] for change in api.changes] == [
        "proxy-configuration/main", "proxy-rule-group/g", "proxy/edge",
    ]  # fmt: skip
    assert api("ExportPolicy", ProxyName="edge")["Document"] == policy("a", "b")
    assert put(api, policy("a", "b"))["Differences"] == []
    changed = put(api, policy("b", "c"))
    assert changed["Differences"][0]["Details"] == [
        "PreDNS: rule a removed (ALLOW)", "PreDNS: rule c added at 1 (ALLOW)",
    ]  # fmt: skip


def test_a_plan_that_somebody_overtook_is_not_done(api: Api) -> None:
    """Only what was shown is done."""
    put(api, policy("a"))
    token = api("PlanPolicy", Document=policy("b"))["UpdateToken"]
    put(api, policy("c"))
    assert api.refusal("ApplyPolicy", Document=policy("b"), UpdateToken=token).startswith("InvalidTokenException: ")
    assert api.names("g") == ["c"]


def test_a_document_with_mistakes_is_refused_with_all_of_them(api: Api) -> None:
    """With their places, and files are not read here."""
    document = policy("a")
    rules = document["ProxyRuleGroups"][0]["Rules"]["PreDNS"]
    rules.append({"ProxyRuleName": "x", "Action": "MAYBE", "Conditions": []})
    rules[0]["Conditions"][0] = {
        "ConditionKey": "request:DestinationDomain",
        "ConditionOperator": "StringEquals",
        "ConditionValuesFile": "/etc/passwd",
    }
    said = api.refusal("PlanPolicy", Document=document)
    assert "ProxyRuleGroups[0].Rules.PreDNS[1].Action" in said
    assert "ConditionValuesFile" in said and "root:" not in said


def test_history_and_the_way_back(api: Api) -> None:
    """Who, what, and back as a new generation; a newer one that the caller has not seen stops it."""
    put(api, policy("a"))
    put(api, policy("b"))
    newest, first = api("ListGenerations")["Generations"]
    assert (newest["Generation"], newest["Editor"]) == (2, "ann")
    assert newest["Changed"] == [{"Kind": "rule group", "Name": "g"}]
    assert api("ListGenerations", Before=2)["Generations"] == [first]
    compared = api("CompareGenerations", OldGeneration=1)
    assert (compared["NewGeneration"], len(compared["Differences"])) == (2, 1)
    assert api.refusal("RollBack", Generation=1, SeenGeneration=1).startswith("InvalidTokenException: ")
    assert api.refusal("RollBack", Generation=9, SeenGeneration=2).startswith("ResourceNotFoundException: ")
    assert api("RollBack", Generation=1, SeenGeneration=2)["Generation"] == 3
    assert api.names("g") == ["a"]
    back = api("RollBack", Generation=1, SeenGeneration=3)
    assert (back["Differences"], "Generation" in back) == ([], False)
    assert api("PruneGenerations", Keep=1)["OldestGeneration"] == 2


def test_exceptions_come_and_go(api: Api) -> None:
    """In front of all groups, with an end; a mistake in the entry is the caller's."""
    put(api, policy("a"))
    made = api("AllowForTime", Domain=".x.test", NotAfter=FUTURE, Description="why", ProxyName="edge")
    assert (made["TimedException"]["Owner"], made["Generation"]) == ("ann", 2)
    order = api("DescribeProxyConfiguration", ProxyConfigurationName="main")["ProxyConfiguration"]["RuleGroups"]
    assert [one["ProxyRuleGroupName"] for one in order] == ["exceptions", "g"]
    name = made["TimedException"]["Name"]
    assert api("ListExceptions")["TimedExceptions"] == [made["TimedException"]]
    for wrong, code in (
        ({"Domain": "what is this"}, "InvalidRequestException: Domain: "),
        ({"NotAfter": 1}, "InvalidRequestException: NotAfter: "),
        ({"ProxyName": "strange"}, "ResourceNotFoundException: "),
    ):
        given = {"Domain": "y.test", "NotAfter": FUTURE, "Description": "why", "ProxyName": "edge", **wrong}
        assert api.refusal("AllowForTime", **given).startswith(code)
    assert api.refusal("EndExceptions", Names=[name, "none"]).startswith("ResourceNotFoundException: ")
    assert [one["Name"] for one in api("EndExceptions", Names=[name])["TimedExceptions"]] == [name]
    assert api("ListExceptions")["TimedExceptions"] == []


def test_groups_are_summarized(api: Api) -> None:
    """With tags, numbers and whom they are attached to."""
    put(api, policy("a", "b"))
    (found,) = api("SummarizeRuleGroups")["RuleGroupSummaries"]
    assert (found["Name"], found["Rules"]["PreDNS"], found["AttachedTo"]) == ("g", 2, ["main"])


NOBODY = Caller("nobody", frozenset())
CALLERS = {
    "viewer": Caller("vic", frozenset({Role.VIEWER})),
    "editor": Caller("eve", frozenset({Role.EDITOR}), ("payments-*",)),
    "operator": Caller("oto", frozenset({Role.OPERATOR})),
    "owner": Caller("ann", frozenset({Role.OWNER})),
}
GROUP = {"ProxyRuleGroupName": "payments-api"}
OTHER = {"ProxyRuleGroupName": "other"}
ATTACHED = [{"ProxyRuleGroupName": "other"}]
MAIN = {"ProxyConfigurationName": "main"}
GATEWAY = {"NatGatewayId": "nat-0123456789abcdef0"}
ARN = "arn:aws:network-firewall:us-east-2:123456789012:proxy-"
TAGS = [{"Key": "k", "Value": "v"}]
ALL = "viewer editor operator owner"
# Operation, what is given, who may. UpdateToken is put in; what a call makes is undone before the next.
MATRIX: list[tuple[str, dict[str, Any], str]] = [
    ("CreateProxyRuleGroup", {"ProxyRuleGroupName": "payments-new"}, "editor owner"),
    ("CreateProxyRuleGroup", {"ProxyRuleGroupName": "new"}, "owner"),
    ("DescribeProxyRuleGroup", GROUP, ALL),
    ("ListProxyRuleGroups", {}, ALL),
    ("DeleteProxyRuleGroup", {"ProxyRuleGroupName": "payments-free"}, "editor owner"),
    ("CreateProxyRules", {**GROUP, "Rules": {"PreDNS": [rule("x")]}}, "editor owner"),
    ("CreateProxyRules", {**OTHER, "Rules": {"PreDNS": [rule("x")]}}, "owner"),
    ("DescribeProxyRule", {**GROUP, "ProxyRuleName": "a"}, ALL),
    ("UpdateProxyRule", {**GROUP, "ProxyRuleName": "a", "Action": "DENY"}, "editor owner"),
    (
        "UpdateProxyRulePriorities",
        {**GROUP, "RuleGroupRequestPhase": "PRE_DNS", "Rules": [{"ProxyRuleName": "a", "NewPosition": 1}]},
        "editor owner",
    ),
    ("DeleteProxyRules", {**GROUP, "Rules": ["a"]}, "editor owner"),
    (
        "CreateProxyConfiguration",
        {"ProxyConfigurationName": "new", "DefaultRulePhaseActions": DEFAULTS},
        "operator owner",
    ),
    ("DescribeProxyConfiguration", MAIN, ALL),
    ("ListProxyConfigurations", {}, ALL),
    ("UpdateProxyConfiguration", {**MAIN, "DefaultRulePhaseActions": DEFAULTS}, "operator owner"),
    ("AttachRuleGroupsToProxyConfiguration", {**MAIN, "RuleGroups": ATTACHED}, "operator owner"),
    ("DetachRuleGroupsFromProxyConfiguration", {**MAIN, "RuleGroupNames": ["payments-api"]}, "operator owner"),
    (
        "UpdateProxyRuleGroupPriorities",
        {**MAIN, "RuleGroups": [{"ProxyRuleGroupName": "payments-api", "NewPosition": 0}]},
        "operator owner",
    ),
    ("DeleteProxyConfiguration", {"ProxyConfigurationName": "free"}, "operator owner"),
    (
        "CreateProxy",
        {"ProxyName": "new", "NatGatewayId": "nat-1", **MAIN, "TlsInterceptProperties": {}},
        "operator owner",
    ),
    ("DescribeProxy", {"ProxyName": "p"}, ALL),
    ("ListProxies", {}, ALL),
    ("UpdateProxy", {"ProxyName": "p", **GATEWAY}, "operator owner"),
    ("DeleteProxy", {"ProxyName": "p", **GATEWAY}, "operator owner"),
    ("ListTagsForResource", {"ResourceArn": f"{ARN}rule-group/payments-api"}, ALL),
    ("TagResource", {"ResourceArn": f"{ARN}rule-group/payments-api", "Tags": TAGS}, "editor owner"),
    ("TagResource", {"ResourceArn": f"{ARN}configuration/main", "Tags": TAGS}, "operator owner"),
    ("UntagResource", {"ResourceArn": f"{ARN}rule-group/other", "TagKeys": ["k"]}, "owner"),
    ("PlanPolicy", {"Document": policy("b", group="payments-api")}, ALL),
    ("ApplyPolicy", {"Document": policy("a", group="payments-api")}, "owner"),
    ("ApplyPolicy", {"Document": {"ProxyRuleGroups": [{**GROUP, "Rules": {}}]}}, "editor owner"),
    ("ApplyPolicy", {"Document": {"ProxyRuleGroups": [{**GROUP, "Rules": {}}, {**OTHER, "Rules": {}}]}}, "owner"),
    (
        "ApplyPolicy",
        {"Document": policy("a", "b", group="payments-api")},
        "operator owner",
    ),
    ("ExportPolicy", MAIN, ALL),
    ("SummarizeRuleGroups", {}, ALL),
    ("ListGenerations", {}, ALL),
    ("CompareGenerations", {"OldGeneration": 0}, ALL),
    ("RollBack", {"Generation": 6, "SeenGeneration": 0}, "editor owner"),
    ("RollBack", {"Generation": 4, "SeenGeneration": 0}, "owner"),
    ("PruneGenerations", {"Keep": 1}, "owner"),
    ("AllowForTime", {"Domain": "x.test", "NotAfter": FUTURE, "Description": "d", **MAIN}, "owner"),
    (
        "AllowForTime",
        {"Domain": "x.test", "NotAfter": FUTURE, "Description": "d", **MAIN, **GROUP},
        "editor owner",
    ),
    ("ListExceptions", {}, ALL),
    ("EndExceptions", {"Over": True, **GROUP}, "editor operator owner"),
]  # fmt: skip


def test_the_matrix_is_whole() -> None:
    """Every operation is in it, but those on records, which everybody with a role may call: what they see is another
    right (tests/integration/test_record_rights.py).
    """
    assert {name for name, _, _ in MATRIX} == {
        operation.name for operation in (*OPERATIONS, *OWN_OPERATIONS) if operation.resource is not Resource.RECORDS
    }


class _Undone(Exception):
    """Ends a transaction."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store with something of every kind."""
    database = Database.open(f"sqlite:///{tmp_path_factory.mktemp('matrix') / 'policy.sqlite'}")
    api = Api(database)
    for name in ("payments-api", "payments-free", "other"):
        api("CreateProxyRuleGroup", ProxyRuleGroupName=name, Rules={"PreDNS": [rule("a"), rule("b")]})
    for name, groups in (("main", ["payments-api"]), ("free", [])):
        api(
            "CreateProxyConfiguration",
            ProxyConfigurationName=name,
            RuleGroupNames=groups,
            DefaultRulePhaseActions={**DEFAULTS, "PostRESPONSE": "DENY"},
        )
    api("CreateProxy", ProxyName="p", TlsInterceptProperties={}, **MAIN, **GATEWAY)
    api("DeleteProxyRules", ProxyRuleGroupName="payments-free", Rules=["b"])
    yield api
    database.close()


def token(api: Api, operation: Operation, given: dict[str, Any]) -> str:
    """The token that the operation is to be called with."""
    if operation.name == "ApplyPolicy":
        return str(api("PlanPolicy", **given)["UpdateToken"])
    named = "ProxyRuleGroupName" if operation.resource is Resource.RULE_GROUP else "ProxyConfigurationName"
    named = "ProxyName" if operation.resource is Resource.PROXY else named
    return str(api(f"Describe{named.removesuffix('Name')}", **{named: given[named]})["UpdateToken"])


@pytest.mark.parametrize(("operation", "given", "allowed"), MATRIX)
def test_each_role_may_do_what_the_matrix_says(
    filled: Api, operation: str, given: dict[str, Any], allowed: str
) -> None:
    """Everything else is an AccessDeniedException; who has no role may do nothing at all."""
    found = OPERATION_OF[operation]
    wanted = dict(given)
    if any(member.name == "UpdateToken" for member in found.input.members):
        wanted["UpdateToken"] = token(filled, found, given)
    if operation == "RollBack":
        wanted["SeenGeneration"] = filled("ListGenerations", MaxResults=1)["Generations"][0]["Generation"]
    read = read_input(found, json.dumps(wanted).encode())
    may = {}
    for role, caller in {**CALLERS, "nobody": NOBODY}.items():

        def attempt(transaction: Any, caller: Caller = caller) -> None:
            perform(transaction, found, read, caller, filled.site)
            raise _Undone

        try:
            filled.database.transact(attempt)
        except _Undone:
            may[role] = True
        except AccessDenied:
            may[role] = False
    assert {role for role, done in may.items() if done} == set(allowed.split())
    assert len(may) == len(CALLERS) + 1
