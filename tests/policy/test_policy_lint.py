"""Warnings: what each says, that it says no more, and that a rule called shadowed never matches."""

import pytest
from exchanges import condition, document, rule
from hypothesis import given
from policies import facts, policies

from netfw.policy.compile import compile_policy
from netfw.policy.decision import Decision
from netfw.policy.evaluate import evaluate
from netfw.policy.lint import lint_policy
from netfw.policy.load import load_policy
from netfw.policy.model import Phase

DOMAIN, URI, METHOD = "request:DestinationDomain", "request:Http:Uri", "request:Http:Method"


def warnings_of(*groups, intercepts=True, passes_through=False, now=0.0, public_suffixes=(), **more):
    configuration = load_policy(document(*groups, **more), "test")
    found = lint_policy(
        configuration,
        intercepts=intercepts,
        passes_through=passes_through,
        now=now,
        public_suffixes=public_suffixes,
    )
    return [str(warning) for warning in found]


def domain(name, action, *values, operator="StringLike", **more):
    return rule(name, action, condition(DOMAIN, operator, *values), **more)


def test_a_good_policy_has_no_warnings():
    """What is usual is not complained about."""
    found = warnings_of(
        {
            "ProxyRuleGroupName": "g",
            "allow": [".example.com", "GET,HEAD https://example.org/a/*"],
            "deny": ["bad.example"],
        }
    )
    assert found == []


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (domain("a", "ALLOW", ".example.com"), domain("b", "DENY", "x.example.com"), "shadowed"),
        (domain("a", "ALLOW", ".example.com"), domain("b", "ALLOW", "*.example.com", "example.com"), "redundant"),
        (domain("a", "DENY", "*example.com"), domain("b", "ALERT", "*.example.com"), "shadowed"),
        (domain("a", "DENY", "*"), domain("b", "ALLOW", "x.example.com"), "unreachable"),
        (domain("a", "ALLOW", "*.example.com"), domain("b", "DENY", ".example.com"), None),
        (domain("a", "ALLOW", "x.example.com"), domain("b", "DENY", ".example.com"), None),
        (domain("a", "ALERT", ".example.com"), domain("b", "DENY", "x.example.com"), None),
        (domain("a", "DENY", ".example.com", NotAfter="2100-01-01"), domain("b", "DENY", "x.example.com"), None),
        (
            domain("a", "DENY", ".example.com", NotAfter="2100-01-01"),
            domain("b", "DENY", "x.example.com", NotAfter="2099-01-01"),
            "redundant",
        ),
        (
            rule("a", "DENY", condition("request:SourceIp", "IpAddress", "10.0.0.0/8")),
            rule("b", "ALLOW", condition("request:SourceIp", "IpAddress", "10.1.0.0/16", "10.2.0.1")),
            "shadowed",
        ),
        (
            rule("a", "DENY", condition("request:SourcePort", "NumericGreaterThan", "10")),
            rule(
                "b",
                "ALLOW",
                condition("request:SourcePort", "NumericGreaterThan", "10"),
                condition(DOMAIN, "StringLike", "a.*"),
            ),
            "shadowed",
        ),
        (
            rule("a", "DENY", condition("request:SourceVpc", "StringNotEquals", "v1")),
            rule("b", "ALLOW", condition("request:SourceVpc", "StringNotEquals", "v1", "v2")),
            "shadowed",
        ),
    ],
)  # fmt: skip
def test_shadows(first, second, expected):
    """A rule that an earlier terminal rule covers is named with that rule."""
    found = warnings_of(pre_dns=[first, second])
    codes = [line.rpartition("[")[2][:-1] for line in found if line.startswith("g/b")]
    assert codes == ([] if expected is None else [expected])
    if expected is not None:
        assert any("g/a before it" in line for line in found)


def test_an_allow_by_path_does_not_shadow_a_deny():
    """The DENY reads paths broadly: it also matches what the ALLOW leaves alone."""
    wide, narrow = condition(URI, "StringLike", "/a*"), condition(URI, "StringEquals", "/a/b")
    assert warnings_of(pre_request=[rule("a", "ALLOW", wide), rule("b", "DENY", narrow)]) == []
    assert "shadowed" in warnings_of(pre_request=[rule("a", "DENY", wide), rule("b", "ALLOW", narrow)])[0]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            {"pre_dns": [domain("a", "ALLOW", "x.example", NotAfter="1969-01-01", Owner="me")]},
            "g/a (PreDNS): has expired and is skipped; its owner is me [expired]",
        ),
        (
            {"pre_request": [rule("a", "DENY", condition(METHOD, "StringEquals", "POST"))], "intercepts": False},
            (
                "g/a (PreREQUEST): denies by a field of HTTP while TLS interception is off: it does not act on HTTPS "
                "[needs-interception]"
            ),
        ),
        (
            {"defaults": ("DENY", "DENY", "DENY"), "passes_through": True},
            (
                "policy: the default of PostRESPONSE is DENY, but tunnels that are passed through show no response: "
                "it does not deny them [opaque-response]"
            ),
        ),
        (
            {"pre_dns": [domain("a", "ALLOW", ".co.uk")]},
            'g/a (PreDNS): ".co.uk" allows every name below co.uk, which anybody can have [public-suffix]',
        ),
        (
            {"pre_dns": [domain("a", "ALLOW", "*.shared.example")], "public_suffixes": ["shared.example"]},
            (
                'g/a (PreDNS): "*.shared.example" allows every name below shared.example, which anybody can have '
                "[public-suffix]"
            ),
        ),
        (
            {"pre_dns": [domain("a", "ALLOW", "*example.com")]},
            (
                'g/a (PreDNS): "*example.com" also matches names such as notexample.com; write '
                ".example.com [loose-pattern]"
            ),
        ),
        (
            {"pre_dns": [domain("a", "DENY", "x.example", ".x.example")]},
            'g/a (PreDNS): "x.example" is part of ".x.example" [overlapping-values]',
        ),
        (
            {"pre_dns": [domain("a", "DENY", "x.example", "x.example")]},
            'g/a (PreDNS): request:DestinationDomain has "x.example" more than once [duplicate-value]',
        ),
        (
            {"pre_request": [rule("a", "DENY", condition(METHOD, "StringEquals", "post"))]},
            'g/a (PreREQUEST): "post": methods are case-sensitive; write POST [never-equal]',
        ),
        (
            {"pre_request": [rule("a", "DENY", condition(URI, "StringLike", "admin/*"))]},
            'g/a (PreREQUEST): "admin/*": a path begins with a slash; write /admin/* or */admin/* [never-equal]',
        ),
        (
            {"pre_request": [rule("a", "DENY", condition(URI, "StringLike", "/a/../b*"))]},
            'g/a (PreREQUEST): "/a/../b*" is not in normal form, so an ALLOW never matches it; write /b* [not-normal]',
        ),
        (
            {"pre_request": [rule("a", "DENY", condition(URI, "StringLike", "/a?x=1"))]},
            'g/a (PreREQUEST): "/a?x=1": the Uri is the path alone; the query is request:Http:Query [query-in-path]',
        ),
        (
            {"pre_dns": [rule("a", "DENY", condition("request:Protocol", "StringEquals", "HTTPS"))]},
            'g/a (PreDNS): "HTTPS" is none of the protocols http, https and TCP [never-equal]',
        ),
        (
            {
                "pre_request": [rule("a", "ALLOW", condition(METHOD, "StringEquals", "GET"))],
                "defaults": ("DENY", "ALLOW", "ALLOW"),
            },
            (
                "g/a (PreREQUEST): limits nothing: the default of PreREQUEST allows whatever this rule does not, and "
                "no DENY follows [limits-nothing]"
            ),
        ),
        (
            {
                "post_response": [
                    rule("a", "DENY", condition("response:Http:ContentLength", "NumericGreaterThan", "1000")),
                    rule("b", "DENY", condition("response:Http:ContentLength", "NumericGreaterThanIfExists", "1000")),
                ]
            },
            (
                "g/a (PostRESPONSE): response:Http:ContentLength is absent in chunked messages, which this rule does "
                "not deny; use NumericGreaterThanIfExists, or a second rule with Null [chunked-length]"
            ),
        ),
    ],
)
def test_other_warnings(more, expected):
    """The text of each."""
    assert warnings_of(**more) == [expected]


def test_a_double_at_the_end_of_a_long_list():
    """It is found in one pass: by comparing each with all before it this would take an hour."""
    names = [f"h{number}.example" for number in range(50_000)]
    assert warnings_of(pre_dns=[domain("a", "DENY", *names, names[0])]) == [
        'g/a (PreDNS): request:DestinationDomain has "h0.example" more than once [duplicate-value]'
    ]


def test_groups_without_effect():
    """A group that is not attached, a group without rules."""
    raw = document({"ProxyRuleGroupName": "empty"})
    raw["ProxyRuleGroups"].append({"ProxyRuleGroupName": "spare", "deny": ["x.example"]})
    found = lint_policy(load_policy(raw, "test"), intercepts=True, passes_through=False, now=0.0)
    assert [(warning.code, warning.message) for warning in found] == [
        ("unattached", "group spare is not in RuleGroups: its rules are not evaluated"),
        ("empty-group", "group empty has no rules"),
    ]


def test_null_of_a_name_covers_its_like_alone():
    """It compares truths, which are no names."""
    values = {"a": "true", "b": "false", "c": "true"}
    rules = [rule(name, "DENY", condition("request:Sni", "Null", value)) for name, value in values.items()]
    found = warnings_of(pre_request=rules)
    assert [line.partition(" ")[0] for line in found if line.endswith(("[shadowed]", "[redundant]"))] == ["g/c"]


def test_absent_or_not_is_open_until_it_is_known():
    """An ALLOW behind it may decide before, so it is not dead."""
    rules = [
        rule("a", "ALLOW", condition("request:Sni", "Null", "true", "false")),
        rule("b", "ALLOW", condition("request:SourceAccount", "StringEquals", "111122223333")),
    ]
    assert [line for line in warnings_of(pre_request=rules) if line.endswith(("[shadowed]", "[redundant]"))] == []


@given(policies(), facts())
def test_what_lint_calls_unmatchable_never_matches(policy, known):
    """No exchange, not even an impossible one, is decided or reported by a rule that is said never to match."""
    configuration, phase = policy
    found = lint_policy(configuration, intercepts=True, passes_through=False, now=0.0)
    dead = {warning.rule for warning in found if warning.code in ("shadowed", "redundant", "unreachable")}
    for one in Phase:
        result = evaluate(compile_policy(configuration, 1, 0.0), one, known)
        named = {match.rule for match in result.matches} if isinstance(result, Decision) else {result.pending}
        assert not named & dead
