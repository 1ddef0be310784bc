"""Differences in words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netfw.store.difference import differences
from netfw.testing.proxy_process import domain_rule

NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True)


def group(names: list[str], action: str = "ALLOW") -> dict[tuple[str, str], dict[str, object]]:
    """A store with one group."""
    rules = [domain_rule(name, action, f"{name}.test") for name in names]
    return {("group", "g"): {"ProxyRuleGroupName": "g", "Rules": {"PreDNS": rules}}}


@given(NAMES, NAMES)
def test_what_is_told_leads_from_one_to_the_other(old: list[str], new: list[str]) -> None:
    """Take out what was removed or moved, put in what was added or moved, each where it is said: that gives `new`."""
    lines = [line.split() for one in differences(group(old), group(new)) for line in one.details]
    moved = {words[2]: int(words[-1]) for words in lines if words[3] == "moved"}
    added = {words[2]: int(words[5]) for words in lines if words[3] == "added"}
    removed = {words[2] for words in lines if words[3] == "removed"}
    rules = [name for name in old if name not in removed and name not in moved]
    for name, place in sorted({**moved, **added}.items(), key=lambda item: item[1]):
        rules.insert(place, name)
    assert rules == new
    assert len(moved) <= max(0, len(set(old) & set(new)) - 1)


def test_every_kind_of_change_is_told() -> None:
    """Of groups, of configurations and of proxies."""
    configuration = {
        "ProxyConfigurationName": "c",
        "DefaultRulePhaseActions": {"PreDNS": "DENY", "PreREQUEST": "ALLOW", "PostRESPONSE": "ALLOW"},
        "RuleGroups": ["a", "b"],
    }
    changed = {
        **configuration,
        "DefaultRulePhaseActions": {**configuration["DefaultRulePhaseActions"], "PreDNS": "ALLOW"},
        "RuleGroups": ["b", "d"],
        "Description": "new",
    }
    before = {**group(["x"]), ("configuration", "c"): configuration, ("proxy", "p"): {"ProxyConfigurationName": "c"}}
    after = {**group(["x"], "DENY"), ("configuration", "c"): changed, ("proxy", "p"): {"ProxyConfigurationName": "d"}}
    told = {one.kind: (one.change, one.details) for one in differences(before, after)}
    assert told["group"] == ("changed", ("PreDNS: rule x changed (Action)",))
    assert told["configuration"][1] == (
        "description changed",
        "default action of PreDNS is ALLOW, was DENY",
        "group a detached",
        "group d attached at 1",
    )
    assert told["proxy"][1] == ("ProxyConfigurationName c became d",)
    assert [one.change for one in differences(before, {})] == ["removed"] * 3
    assert differences(before, before) == ()
