"""Work over many rules in steps: what is built is right, no step is a long one, and nothing is freed too early."""

import gc

import pytest
from exchanges import condition, connect, document, rule
from hypothesis import given
from hypothesis import strategies as st

from netfw.policy.compile import compile_in_slices, compile_policy
from netfw.policy.evaluate import evaluate
from netfw.policy.letting_go import let_go, take_apart, when_unused
from netfw.policy.load import load_policy
from netfw.policy.long_tuple import in_parts, put_together
from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule, RuleGroup
from netfw.policy.slices import STEP, emptied, finished, list_of, portions, portions_of_texts, sort_in_slices

MANY = 4000
NAMES = [f"host{number}.example.com" for number in range(MANY)]
NETWORKS = [f"10.{number // 250}.{number % 250}.0/24" for number in range(MANY)]
DOMAIN, SOURCE, SNI = "request:DestinationDomain", "request:SourceIp", "request:Sni"
LARGE = {
    "names": condition(DOMAIN, "StringEquals", *NAMES),
    "other names": condition(DOMAIN, "StringNotEquals", *NAMES),
    "other zones": condition(DOMAIN, "StringNotEquals", *["." + name for name in NAMES]),
    "other patterns": condition(DOMAIN, "StringNotLike", *["*" + name for name in NAMES]),
    "networks": condition(SOURCE, "IpAddress", *NETWORKS),
    "other networks": condition(SOURCE, "NotIpAddress", *NETWORKS),
    "ports": condition("request:DestinationPort", "NumericEquals", *map(str, range(1, MANY))),
    "other ports": condition("request:DestinationPort", "NumericNotEquals", *map(str, range(1, MANY))),
}


def policy_of(*conditions):
    return load_policy(document(pre_dns=[rule("large", "DENY", *conditions)]), "test")


@given(st.lists(st.integers(), max_size=40), st.integers(0, 60))
def test_sorting(items, times):
    """The list is in order at the end, however many runs it had."""
    items = items * times
    expected = sorted(items)
    finished(sort_in_slices(items))
    assert items == expected


def test_no_step_is_over_many():
    """As many steps as it takes."""
    items = [(number * 7919) % 50_021 for number in range(50_000)]
    assert sum(1 for _ in sort_in_slices(items)) > 100
    assert [one for portion in portions(items) for one in portion] == items
    assert sum(1 for _ in list_of(items)) >= 100
    assert finished(list_of(iter(items))) == items
    table = dict.fromkeys(items)
    members = set(items)
    assert sum(1 for _ in emptied(items, members, table)) >= 3 * 50_000 / STEP - 3
    assert not items
    assert not members
    assert not table


@pytest.mark.parametrize("large", LARGE)
def test_a_rule_of_many_values_is_compiled_in_steps(large):
    """Whether it is found by that condition or tried, alone or beside another that is as large."""
    for conditions in ([LARGE[large]], [LARGE["names"], LARGE[large]]):
        assert sum(1 for _ in compile_in_slices(policy_of(*conditions), 1, 0.0)) >= MANY / STEP


@pytest.mark.parametrize("large", LARGE)
def test_a_policy_is_taken_apart_when_nobody_has_it(large):
    """Until then it decides as before; then it goes in steps, its rules as well."""
    conditions = [LARGE["names"], LARGE[large]]
    compiled = compile_policy(policy_of(*conditions), 1, 0.0)
    works = []
    when_unused(compiled, works.append)
    facts = connect("host7.example.com")
    decided = evaluate(compiled, Phase.PRE_DNS, facts)
    under_way = compiled
    del compiled
    gc.collect()
    assert works == []
    assert evaluate(under_way, Phase.PRE_DNS, facts) == decided
    del under_way
    [work] = works
    assert sum(1 for _ in work) >= MANY / STEP


def test_long_values_count_for_several():
    """Of values of a mebibyte, few are looked at in one step."""
    texts = ["x" * 2**20, *"abc", *["y" * 600] * 60]
    found = list(portions_of_texts(texts))
    assert [text for portion in found for text in portion] == texts
    assert [len(portion) for portion in found] == [1, 46, 17]
    long = [condition("request:Http:UserAgent", "StringNotLike", f"{number}{'z' * 2**16}*") for number in range(8)]
    loaded = load_policy(document(pre_request=[rule(f"r{n}", "DENY", one) for n, one in enumerate(long)]), "test")
    few = load_policy(document(pre_request=[rule("r", "DENY", condition(DOMAIN, "StringEquals", "a.example"))]), "test")
    steps, usual = (sum(1 for _ in compile_in_slices(one, 1, 0.0)) for one in (loaded, few))
    assert steps >= usual + len(long)


class Freed:
    """A text of a rule, of which it is known when it goes."""

    alive = 0

    def __init__(self):
        type(self).alive += 1

    def __del__(self):
        type(self).alive -= 1


@pytest.mark.parametrize("whole", [True, False], ids=["a policy", "groups alone"])
@pytest.mark.parametrize(("rules", "values"), [(1, 20_000), (3000, 1), (200, 60), (60, 500)])
def test_never_many_are_let_go_in_one_step(rules, values, whole):
    """However they are spread over rules."""

    def made(name):
        texts = in_parts(Freed() for _ in range(values))
        return Rule(name, Action.DENY, (Condition(DOMAIN, "StringEquals", texts),))

    parts = [tuple(map(made, portion)) for portion in portions(map(str, range(rules)), 100)]
    group = RuleGroup("g", {Phase.PRE_DNS: put_together(parts), Phase.PRE_REQUEST: (), Phase.POST_RESPONSE: ()})
    held = [PolicyConfiguration("test", dict.fromkeys(Phase, Action.ALLOW), (group,))] if whole else [group]
    del parts, group, made
    assert Freed.alive == rules * values
    before, most = Freed.alive, 0
    for _ in (take_apart if whole else let_go)(held):
        most, before = max(most, before - Freed.alive), Freed.alive
    assert Freed.alive == 0
    assert 0 < most <= 100 * STEP
