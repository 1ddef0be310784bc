"""A policy that came by the API decides exactly as the same policy from a file: one reader, one normal form."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netfw.cli.screen import yaml_text
from netfw.config.document import parse_yaml
from netfw.config.policy_lines import print_policy
from netfw.policy.compile import compile_policy
from netfw.policy.evaluate import evaluate
from netfw.policy.load import load_policy
from netfw.policy.model import Action, Phase, PolicyConfiguration
from tests.control.conftest import Api
from tests.policy.policies import conditions, facts

ACTIONS = [action.value for action in Action]


@st.composite
def documents(draw: Any) -> dict[str, Any]:
    """A policy file: up to three groups of rules in every phase, some attached, in any order."""
    groups = []
    for number in range(draw(st.integers(1, 3))):
        rules = {
            phase.value: [
                {
                    "ProxyRuleName": f"{phase.hook.replace('_', '-')}-{position}",
                    "Action": draw(st.sampled_from(ACTIONS)),
                    "Conditions": draw(st.lists(conditions(phase), min_size=1, max_size=2)),
                    **draw(st.sampled_from([{}, {"Description": "d"}, {"NotAfter": 1767225600}, {"Owner": "ann"}])),
                }
                for position in range(draw(st.integers(0, 3)))
            ]
            for phase in Phase
        }
        groups.append(
            {"ProxyRuleGroupName": f"g{number}", "Rules": {name: found for name, found in rules.items() if found}}
        )
    return {
        "ProxyConfiguration": {
            "ProxyConfigurationName": "main",
            "DefaultRulePhaseActions": {phase.value: draw(st.sampled_from(ACTIONS)) for phase in Phase},
            "RuleGroups": draw(st.permutations([group["ProxyRuleGroupName"] for group in groups])),
        },
        "ProxyRuleGroups": groups,
    }


def write(api: Api, document: dict[str, Any], backwards: bool) -> None:
    """Make the policy of the document by calls: rules one phase at a time, groups attached one after the other."""
    wanted = document["ProxyConfiguration"]
    for group in document["ProxyRuleGroups"]:
        api("CreateProxyRuleGroup", ProxyRuleGroupName=group["ProxyRuleGroupName"])
        placed = {
            phase: [{**rule, "InsertPosition": position} for position, rule in enumerate(rules)]
            for phase, rules in group["Rules"].items()
        }
        if backwards:
            placed = {phase: rules[::-1] for phase, rules in placed.items()}
        if placed:
            api("CreateProxyRules", ProxyRuleGroupName=group["ProxyRuleGroupName"], Rules=placed)
    token = api(
        "CreateProxyConfiguration",
        ProxyConfigurationName="main",
        DefaultRulePhaseActions=wanted["DefaultRulePhaseActions"],
    )["UpdateToken"]
    for name in wanted["RuleGroups"][::-1]:
        token = api(
            "AttachRuleGroupsToProxyConfiguration",
            ProxyConfigurationName="main",
            RuleGroups=[{"ProxyRuleGroupName": name, "InsertPosition": 0}],
            UpdateToken=token,
        )["UpdateToken"]


def read(api: Api) -> PolicyConfiguration:
    """The policy that the store has."""

    def documents_of(transaction: Any) -> dict[str, Any]:
        configuration = transaction.configurations.get("main")
        return {
            "ProxyConfiguration": configuration.document(),
            "ProxyRuleGroups": [transaction.groups.get(one.name).document() for one in transaction.groups.list()],
        }

    return load_policy(api.database.read(documents_of), "store")


def forget(api: Api) -> None:
    """Nothing is in the store any more."""
    api("DeleteProxyConfiguration", ProxyConfigurationName="main")
    for group in api("ListProxyRuleGroups")["ProxyRuleGroups"]:
        api("DeleteProxyRuleGroup", ProxyRuleGroupName=group["Name"])


def test_a_policy_by_the_api_is_the_policy_of_the_file(api: Api) -> None:
    """Byte by byte in the form that workers get, and in every decision; so is one that was read and made again."""

    @settings(max_examples=settings.default.max_examples // 5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(documents(), st.booleans(), st.lists(facts(), min_size=3, max_size=3))
    def same(document: dict[str, Any], backwards: bool, exchanges: list[Any]) -> None:
        from_file = load_policy(document, "file")
        write(api, document, backwards)
        from_store = read(api)
        shown = [
            api("DescribeProxyRuleGroup", ProxyRuleGroupName=name)["ProxyRuleGroup"]
            for name in (group["ProxyRuleGroupName"] for group in document["ProxyRuleGroups"])
        ]
        forget(api)
        assert list(print_policy(from_store)) == list(print_policy(from_file))
        one, other = compile_policy(from_file, 1, 0.0), compile_policy(from_store, 1, 0.0)
        for phase in Phase:
            for known in exchanges:
                assert evaluate(one, phase, known) == evaluate(other, phase, known)
        for group in shown:
            api("CreateProxyRuleGroup", ProxyRuleGroupName=group["ProxyRuleGroupName"], Rules=group["Rules"])
        api(
            "CreateProxyConfiguration",
            ProxyConfigurationName="main",
            RuleGroupNames=document["ProxyConfiguration"]["RuleGroups"],
            DefaultRulePhaseActions=document["ProxyConfiguration"]["DefaultRulePhaseActions"],
        )
        again = read(api)
        forget(api)
        assert list(print_policy(again)) == list(print_policy(from_file))

    same()


def test_what_is_applied_comes_out_again(api: Api) -> None:
    """A document that was applied is exported as the same policy; applying that is nothing to do, and so is a plan."""

    @settings(max_examples=settings.default.max_examples // 5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(documents())
    def again(document: dict[str, Any]) -> None:
        from_file = load_policy(document, "file")
        token = api("PlanPolicy", Document=document)["UpdateToken"]
        api("ApplyPolicy", Document=document, UpdateToken=token)
        exported = api("ExportPolicy", ProxyConfigurationName="main", AllGroups=True)["Document"]
        assert api("PlanPolicy", Document=exported)["Differences"] == []
        # As `netfw export` prints it and `netfw apply` reads it.
        printed = parse_yaml(yaml_text(exported), "export")
        assert list(print_policy(load_policy(printed, "export"))) == list(print_policy(from_file))
        forget(api)

    again()
