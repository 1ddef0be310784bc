"""Work over many rules in steps: what is built is right, no step is a long one, and nothing is freed too early."""

import gc

import pytest
from exchanges import condition, connect, document, rule
from hypothesis import given
from hypothesis import strategies as st

from netfw.policy.compile import compile_in_slices, compile_policy
from netfw.policy.evaluate import evaluate
from netfw.policy.letting_go import when_unused
from netfw.policy.load import load_policy
from netfw.policy.model import Phase
from netfw.policy.slices import APART, STEP, emptied, finished, grows_soon, portions, set_of, sort_in_slices

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
    assert sum(1 for _ in set_of(items)) >= len(items) / STEP
    assert [one for portion in portions(items) for one in portion] == items
    assert finished(set_of(items)) == set(items)
    table = dict.fromkeys(items)
    members = set(items)
    assert sum(1 for _ in emptied(items, members, table)) >= 3 * 50_000 / STEP - 3
    assert not items
    assert not members
    assert not table


def test_growth_is_foreseen():
    """A dict that is filled a step at a time is moved only where that was said."""
    table, before = {}, None
    moved = 0
    for start in range(0, 200_000, STEP):
        said, before = grows_soon(len(table)), table.__sizeof__()
        table.update(dict.fromkeys(range(start, start + STEP)))
        if table.__sizeof__() != before and len(table) > 21_000:
            moved += 1
            assert said, len(table)
    assert moved >= 3


@pytest.mark.parametrize("operator", ["StringEquals", "StringNotEquals"])
def test_zones_and_names_grow_at_different_steps(operator):
    """What that takes is in nobody's way: the same names are found."""
    zones = [f".zone{number}.example.com" for number in range(APART + 50)]
    compiled = compile_policy(policy_of(condition(DOMAIN, operator, *zones)), 1, 0.0)
    for host, listed in (("zone7.example.com", True), (f"a.zone{APART + 40}.example.com", True), ("0.example", False)):
        denied = evaluate(compiled, Phase.PRE_DNS, connect(host)).matches[-1].rule.name == "large"
        assert denied is (listed is (operator == "StringEquals")), host


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
