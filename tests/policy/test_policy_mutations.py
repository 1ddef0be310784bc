"""Whatever stands in a document, loading gives a policy or PolicyErrors, and a policy that loads can be used."""

import copy

import pytest
from exchanges import condition, connect, document, opaque, request, rule
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netfw.policy.compile import compile_policy
from netfw.policy.evaluate import evaluate
from netfw.policy.explain import explain
from netfw.policy.load import load_policy
from netfw.policy.model import Phase
from netfw.policy.problems import PolicyErrors

SEED = document(
    {
        "ProxyRuleGroupName": "short",
        "Description": "text",
        "allow": [".example.com", "GET,HEAD https://example.org:8443/a/*?b=*"],
        "deny": ["*"],
        "alert": ["POST x.example/"],
    },
    pre_dns=[
        rule("a", "ALLOW", condition("request:SourceIp", "IpAddress", "10.0.0.0/8", "::1"), InsertPosition=0),
        rule("b", "DENY", condition("request:Time", "DateLessThan", "2026-01-01"), NotAfter="2030-01-01", Owner="me"),
    ],
    pre_request=[rule("c", "ALERT", condition("request:Http:Header/X", "ForAnyValue:StringLikeIfExists", "a*b?c"))],
    post_response=[rule("d", "DENY", condition("response:Http:StatusCode", "NumericNotEquals", "200.5"))],
)
UNPRINTABLE = rule(
    "a\u202e", "x\u202e", condition("request:Http:Header/\u202eX", "Null\u202e", "\u202e"), **{"\u202e": 1}
)
WORDS = [
    "ALLOW",
    "PreDNS",
    "request:Http:Method",
    "StringLike",
    "*",
    "Null",
    "true",
    "a" * 300,
    "\x00",
    "\ud800",
    "1e999",
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=5),
    st.text(max_size=20),
    st.sampled_from(WORDS),
    st.dates(),
    st.lists(st.sampled_from(WORDS), max_size=3),
    st.dictionaries(st.one_of(st.sampled_from(WORDS), st.integers(), st.none()), st.integers(), max_size=3),
)


def _places(node, found, depth=0):
    """Every (container, key) of a document, down to where documents end."""
    if depth > 12:
        return found
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(items):
        found.append((node, key))
        _places(value, found, depth + 1)
    return found


@st.composite
def mutated(draw):
    raw = copy.deepcopy(SEED)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(raw, [])
        if not places:
            break
        node, key = places[draw(st.integers(0, len(places) - 1))]
        what = draw(st.sampled_from(["replace", "delete", "double", "rename", "edit"]))
        if what == "delete":
            del node[key]
        elif what == "double" and isinstance(node, list):
            node.append(node[key])
        elif what == "rename" and isinstance(node, dict):
            node[draw(st.one_of(JUNK.filter(lambda one: one.__hash__ is not None), st.text(max_size=5)))] = node.pop(
                key
            )
        elif what == "edit" and isinstance(node[key], str):
            text, place = node[key], draw(st.integers(0, len(node[key])))
            node[key] = text[:place] + draw(st.text(max_size=3)) + text[place + draw(st.integers(0, 3)) :]
        else:
            node[key] = draw(JUNK)
    return raw


@settings(max_examples=5 * settings.default.max_examples, deadline=None)
@given(mutated())
@example({**SEED, "ProxyRuleGroups": [{"ProxyRuleGroupName": "g", "Rules": {"PreDNS": [UNPRINTABLE]}}]})
def test_mutated_documents(raw):
    """PolicyErrors with problems that can be printed, or a policy that evaluates and explains."""
    try:
        configuration = load_policy(raw, "mutated")
    except PolicyErrors as errors:
        assert errors.problems
        for problem in errors.problems:
            assert str(problem).encode("utf-8").decode().isprintable(), problem
        return
    compiled = compile_policy(configuration, 1, 0.0)
    for phase in Phase:
        for facts in (connect("a.example.com"), opaque("x.example"), request(status=200)):
            assert explain(configuration, phase, facts).result == evaluate(compiled, phase, facts)


def test_deep_nesting():
    """However deep what stands in a document, it is a mistake like another."""
    deep = [[]]
    for _ in range(100_000):
        deep = [deep]
    for number in range(len(_places(copy.deepcopy(SEED), []))):
        raw = copy.deepcopy(SEED)
        node, key = _places(raw, [])[number]
        node[key] = deep
        with pytest.raises(PolicyErrors):
            load_policy(raw, "deep")
