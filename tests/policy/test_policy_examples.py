"""The examples of the vendor's documentation and of people who tried the service, evaluated."""

import pytest
from exchanges import (
    POST_RESPONSE,
    PRE_DNS,
    PRE_REQUEST,
    condition,
    connect,
    decide,
    opaque,
    policy,
    request,
    rule,
    verdict,
)

from netfw.policy.model import Action, Phase

DOMAIN = "request:DestinationDomain"

GUIDE = policy(
    pre_dns=[
        rule(
            "app-to-httpbin",
            "ALLOW",
            condition("request:SourceVpc", "StringEquals", "vpc-0aaa"),
            condition(DOMAIN, "StringEquals", "httpbin.org"),
            InsertPosition=0,
        ),
        rule("social", "DENY", condition(DOMAIN, "StringLike", "*.facebook.com", "facebook.com"), InsertPosition=1),
    ],
    pre_request=[rule("no-post", "DENY", condition("request:Http:Method", "StringEquals", "POST"), InsertPosition=0)],
    post_response=[
        rule(
            "no-binaries",
            "DENY",
            condition("response:Http:ContentType", "StringLike", "application/octet-stream*"),
            InsertPosition=0,
        )
    ],
    defaults=("ALLOW", "ALLOW", "ALLOW"),
)


@pytest.mark.parametrize(
    ("host", "more", "expected"),
    [
        ("httpbin.org", {"source_vpc": "vpc-0aaa"}, "ALLOW g/app-to-httpbin"),
        ("httpbin.org", {"source_vpc": "vpc-0bbb"}, "ALLOW default"),
        ("httpbin.org", {}, "ALLOW default"),
        ("www.facebook.com", {}, "DENY g/social"),
        ("facebook.com", {}, "DENY g/social"),
        ("notfacebook.com", {}, "ALLOW default"),
    ],
)
def test_guide_before_dns(host, more, expected):
    """Conditions are ANDed, values ORed; an absent network matches no rule for one."""
    assert verdict(GUIDE, PRE_DNS, connect(host, **more)) == expected


def test_guide_request_and_response():
    """Methods and content types are judged where they are visible, in plain HTTP and in intercepted HTTPS."""
    for scheme in ("http", "https"):
        url = f"{scheme}://httpbin.org/post"
        assert verdict(GUIDE, PRE_REQUEST, request("POST", url)) == "DENY g/no-post"
        assert verdict(GUIDE, PRE_REQUEST, request("GET", url)) == "ALLOW default"
        for kind, expected in (
            ("application/octet-stream", "DENY g/no-binaries"),
            ("application/octet-stream; charset=binary", "DENY g/no-binaries"),
            ("text/html", "ALLOW default"),
        ):
            facts = request("GET", url, status=200, response_headers=[("Content-Type", kind)])
            assert verdict(GUIDE, POST_RESPONSE, facts) == expected
    assert verdict(GUIDE, PRE_REQUEST, opaque("httpbin.org")) == "ALLOW default"


@pytest.mark.parametrize(
    ("operator", "value", "matching", "other"),
    [
        ("StringEquals", "google.com", ["google.com"], ["www.google.com", "agoogle.com"]),
        ("StringLike", "*.facebook.com", ["www.facebook.com", "a.b.facebook.com"], ["facebook.com", "notfacebook.com"]),
        ("StringLike", "*facebook.com", ["www.facebook.com", "facebook.com", "notfacebook.com"], ["facebook.com.x"]),
        (
            "StringEquals",
            ".aws.amazon.com",
            ["aws.amazon.com", "docs.aws.amazon.com"],
            ["amazon.com", "xaws.amazon.com"],
        ),
        ("StringLike", ".amazonaws.com", ["amazonaws.com", "sts.amazonaws.com", "a.b.amazonaws.com"], ["aws.com"]),
        ("StringEquals", "198.51.100.7", ["198.51.100.7"], ["198.51.100.70"]),
        ("StringEquals", "2001:db8::1", ["2001:db8::1"], ["2001:db8::2"]),
        ("StringLike", "api-??.example.com", ["api-eu.example.com"], ["api-e.example.com", "api-eu1.example.com"]),
    ],
)
def test_destination_domain(operator, value, matching, other):
    """The three domain forms and patterns; addresses are compared as text; negation is the exact contrary."""
    allow = policy(pre_dns=[rule("r", "ALLOW", condition(DOMAIN, operator, value))])
    negated = operator.replace("String", "StringNot")
    deny = policy(pre_dns=[rule("r", "DENY", condition(DOMAIN, negated, value))], defaults=("ALLOW",) * 3)
    for host in matching:
        assert decide(allow, PRE_DNS, connect(host)).allowed, host
        assert decide(deny, PRE_DNS, connect(host)).allowed, host
    for host in other:
        assert not decide(allow, PRE_DNS, connect(host)).allowed, host
        assert not decide(deny, PRE_DNS, connect(host)).allowed, host


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/admin*", "/admin/secret", True),
        ("/admin*", "/anything/admin/secret", False),
        ("*/admin*", "/anything/admin/secret", True),
        ("/admin", "/admin?x=1", True),
        ("/Admin", "/admin", False),
    ],
)
def test_uri_is_the_path_from_its_start(pattern, path, expected):
    """The Uri is the path without its query, matched as a whole, case-sensitive."""
    one = policy(
        pre_request=[rule("r", "DENY", condition("request:Http:Uri", "StringLike", pattern))], defaults=("ALLOW",) * 3
    )
    assert decide(one, PRE_REQUEST, request("GET", f"https://httpbin.org{path}")).allowed is not expected


def test_source_ip_and_status():
    """`IpAddress` with a /32 and `NumericGreaterThanEquals`, as people used them on the live service."""
    one = policy(
        pre_dns=[rule("me", "ALLOW", condition("request:SourceIp", "IpAddress", "10.0.2.179/32"))],
        post_response=[
            rule("broken", "DENY", condition("response:Http:StatusCode", "NumericGreaterThanEquals", "500"))
        ],
        defaults=("DENY", "ALLOW", "ALLOW"),
    )
    assert decide(one, PRE_DNS, connect()).allowed
    assert not decide(one, PRE_DNS, connect(client="10.0.2.180")).allowed
    for status, allowed in ((499, True), (500, False), (503, False)):
        assert decide(one, POST_RESPONSE, request(status=status)).allowed is allowed


def test_status_code_alias():
    """The spelling of the guide's last example is accepted and printed as the other one."""
    one = policy(post_response=[rule("r", "DENY", condition("response:HttpStatusCode", "NumericEquals", "500"))])
    assert one.needs(POST_RESPONSE) == {"response:Http:StatusCode"}


def test_order_of_groups_and_rules():
    """Groups by priority, rules by position, first terminal match; ALERT goes on, several are kept in order."""
    everything = condition(DOMAIN, "StringLike", "*")
    first = {"ProxyRuleGroupName": "first", "Rules": {"PreDNS": [rule("a1", "ALERT", everything)]}}
    second = {
        "ProxyRuleGroupName": "second",
        "Rules": {
            "PreDNS": [
                rule("late", "DENY", everything, InsertPosition=2),
                rule("a2", "ALERT", everything, InsertPosition=0),
                rule("early", "ALLOW", condition(DOMAIN, "StringEquals", "example.com"), InsertPosition=1),
                rule("appended", "ALERT", everything),
            ]
        },
    }
    one = policy(first, second)
    allowed = decide(one, PRE_DNS, connect("example.com"))
    assert [str(match.rule) for match in allowed.matches] == ["first/a1", "second/a2", "second/early"]
    assert allowed.action is Action.ALLOW
    denied = decide(one, PRE_DNS, connect("example.org"))
    assert [str(match.rule) for match in denied.matches] == ["first/a1", "second/a2", "second/late"]
    assert denied.action is Action.DENY


@pytest.mark.parametrize("phase", list(Phase))
def test_default_actions(phase):
    """No match: the default, under the name `default`; a default ALERT allows and says so."""
    facts = request(status=200)
    for default in ("ALLOW", "DENY"):
        decision = decide(policy(defaults=(default,) * 3), phase, facts)
        assert (decision.action.value, str(decision.rule), decision.rule.group) == (default, "default", "")
        assert [match.action.value for match in decision.matches] == [default]
    decision = decide(policy(defaults=("ALERT",) * 3), phase, facts)
    assert decision.allowed
    assert [(str(match.rule), match.action.value) for match in decision.matches] == [
        ("default", "ALERT"),
        ("default", "ALLOW"),
    ]


def test_empty_policy_with_default_deny_allows_nothing():
    """Nothing is allowed by accident."""
    for phase in Phase:
        for facts in (connect(), opaque(), request(), request(status=200)):
            assert not decide(policy(), phase, facts).allowed


def test_expired_rules_are_skipped():
    """From NotAfter on a rule does not count, whether it had expired when the policy was compiled or expires later."""
    dated = [rule("r", "ALLOW", condition(DOMAIN, "StringEquals", "example.com"), NotAfter="1970-01-01T01:00:00Z")]
    for compiled_at in (0.0, 3600.0):
        one = policy(pre_dns=dated, now=compiled_at)
        assert not decide(one, PRE_DNS, connect(time=3600.0)).allowed
    assert decide(policy(pre_dns=dated), PRE_DNS, connect(time=3599.9)).allowed


def test_reason_is_the_description():
    """A decision carries the words that the writer of the rule left."""
    one = policy(pre_dns=[rule("r", "DENY", condition(DOMAIN, "StringLike", "*"), Description="ask the desk")])
    assert decide(one, PRE_DNS, connect()).reason == "ask the desk"
