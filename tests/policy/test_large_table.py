"""A table in parts is a dict to whoever looks things up, and none of its parts gets large."""

import pytest
from exchanges import condition, document, request, rule
from hypothesis import given
from hypothesis import strategies as st

from netfw.policy import large_table
from netfw.policy.compile import compile_policy
from netfw.policy.evaluate import evaluate
from netfw.policy.large_table import LargeTable, count, members
from netfw.policy.load import load_policy
from netfw.policy.model import Phase
from netfw.policy.slices import STEP, finished, portions

LAST_SHORT_GROWTH = 21_845
"""A dict is moved to a larger place when it gets one more entry than this, which takes a millisecond and more."""


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers()), max_size=300), st.integers(1, 40))
def test_it_is_a_dict(entries, part):
    """Whatever is put in, and however often it is divided meanwhile."""
    plain, table = {}, LargeTable()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(large_table, "PART", part)
        for portion in portions(entries, 10):
            for key, value in portion:
                assert table.setdefault(key, value) == plain.setdefault(key, value)
            for _ in table.room():
                pass
    assert table.count == len(table.parts)
    assert dict(table.items()) == plain
    assert sorted(table) == sorted(plain)
    assert len(table) == len(plain)
    holds = table.contains()
    for key in range(-60, 60):
        assert table.get(key) == plain.get(key)
        assert holds(key) is (key in plain)
    asked = [*range(-60, 60), *range(-60, 0)]
    assert sorted(table.of_any(asked)) == sorted(plain.values())
    finished(table.emptied())
    assert len(table) == 0


def test_no_part_gets_large():
    """A table of 300,000 names is divided, a few entries at a time, before any part is moved to a large place."""
    table = finished(members(f"host{number}.example" for number in range(300_000)))
    assert len(table) == 300_000
    assert table.count > 16
    assert max(map(len, table.parts)) < LAST_SHORT_GROWTH
    few = finished(members(range(1000)))
    assert few.count == 1
    dividing = LargeTable()
    for number in range(large_table.PART + 1):
        dividing.setdefault(number, None)
    assert len(list(dividing.room())) >= large_table.PART / STEP
    assert dividing.count == 3
    assert len(dividing) == large_table.PART + 1


def test_counting():
    """How often each key came."""
    table = LargeTable()
    for letter in "abracadabra":
        count(table, letter)
    assert dict(table.items()) == {"a": 5, "b": 2, "r": 2, "c": 1, "d": 1}


MANY = 300
NAME, SOURCE = "request:DestinationDomain", "request:SourceIp"
PATH, AGENT = "request:Http:Uri", "request:Http:UserAgent"
CONDITIONS = {
    "names": condition(NAME, "StringEquals", *[f"h{number}.example.com" for number in range(MANY)]),
    "zones": condition(NAME, "StringEquals", *[f".h{number}.example.com" for number in range(MANY)]),
    "patterns of names": condition(NAME, "StringLike", *[f"h{number}.*" for number in range(MANY)]),
    "other names": condition(NAME, "StringNotEquals", *[f"h{number}.example.com" for number in range(MANY)]),
    "other zones": condition(NAME, "StringNotEquals", *[f".h{number}.example.com" for number in range(MANY)]),
    "networks": condition(SOURCE, "IpAddress", *[f"10.{number // 25}.{number % 25}.0/24" for number in range(MANY)]),
    "not networks": condition(
        SOURCE, "NotIpAddress", *[f"10.{number // 25}.{number % 25}.0/24" for number in range(MANY)]
    ),
    "paths": condition(PATH, "StringEquals", *[f"/a/{number}" for number in range(MANY)]),
    "heads": condition(PATH, "StringLike", *[f"/a/{number}*" for number in range(MANY)]),
    "words": condition(PATH, "StringLike", *[f"*/w{number}/*" for number in range(MANY)]),
    "pieces": condition(PATH, "StringLike", *[f"*piece{number}x*" for number in range(MANY)]),
    "not pieces": condition(PATH, "StringNotLike", *[f"*piece{number}x*" for number in range(MANY)]),
    "agents": condition(AGENT, "StringEqualsIgnoreCase", *[f"Agent/{number}" for number in range(MANY)]),
    "not agents": condition(AGENT, "StringNotEqualsIgnoreCase", *[f"Agent/{number}" for number in range(MANY)]),
}


def exchanges():
    found = []
    for number, other in (
        (0, 5000),
        (7, 7),
        (25, MANY),
        (MANY - 1, 0),
        (MANY, MANY - 1),
        (8, 8),
        (5000, 25),
        (9000, 9),
    ):
        for path in ("/a/{}", "/a/{}/more", "/x/w{}/y", "/xpiece{}xx", "/nothing"):
            host = f"{'a.' if number % 2 else ''}h{number}.example.com"
            agent = [("User-Agent", f"aGENT/{number}")]
            client = f"10.{other // 25}.{other % 25}.9"
            found.append(request("GET", f"https://{host}{path.format(number)}", agent, client=client))
    return found


@pytest.mark.parametrize("action", ["DENY", "ALLOW"])
@pytest.mark.parametrize("case", CONDITIONS)
def test_decisions_are_the_same(case, action, monkeypatch):
    """A policy decides alike whether its tables are in one part or in many, as an index and as a check."""
    beside = CONDITIONS["names" if "networks" in case else "networks"]
    for conditions in ([CONDITIONS[case]], [beside, CONDITIONS[case]]):
        loaded = load_policy(document(pre_request=[rule("large", action, *conditions)]), "test")
        whole = compile_policy(loaded, 1, 0.0)
        with monkeypatch.context() as patched:
            patched.setattr(large_table, "PART", 12)
            divided = compile_policy(loaded, 1, 0.0)
        matched = 0
        for facts in exchanges():
            decided = evaluate(divided, Phase.PRE_REQUEST, facts)
            assert decided == evaluate(whole, Phase.PRE_REQUEST, facts)
            matched += decided.matches[-1].rule.name == "large"
        assert 0 < matched < len(exchanges())
