"""What a condition gives for a fact that is absent, never visible or not yet known, and for facts of two readings."""

import pytest
from exchanges import POST_RESPONSE, PRE_REQUEST, condition, connect, decide, opaque, policy, request, rule, verdict

from netfw.policy.facts import ABSENT, INVISIBLE

HEADER = "request:Http:Header/X-Auth"


def matches(facts, key, operator, *values, phase=PRE_REQUEST, action="DENY"):
    """Whether a rule of this one condition matches."""
    contrary = "ALLOW" if action == "DENY" else "DENY"
    one = policy(
        **{phase.hook: [rule("r", action, condition(key, operator, *values))]}, defaults=(contrary,) * 3
    )  # fmt: skip
    return decide(one, phase, facts).action.value == action


@pytest.mark.parametrize(
    ("operator", "values", "absent", "invisible"),
    [
        ("StringEquals", ["x"], False, False),
        ("StringNotEquals", ["x"], True, False),
        ("StringEqualsIgnoreCase", ["x"], False, False),
        ("StringNotEqualsIgnoreCase", ["x"], True, False),
        ("StringLike", ["*"], False, False),
        ("StringNotLike", ["*"], True, False),
        ("StringEqualsIfExists", ["x"], True, True),
        ("StringNotEqualsIfExists", ["x"], True, True),
        ("ForAnyValue:StringEquals", ["x"], False, False),
        ("ForAnyValue:StringNotEquals", ["x"], False, False),
        ("ForAllValues:StringEquals", ["x"], True, False),
        ("ForAllValues:StringEqualsIfExists", ["x"], True, True),
        ("Null", ["true"], True, True),
        ("Null", ["false"], False, False),
    ],
)
def test_header_without_a_value(operator, values, absent, invisible):
    """Absent in a visible request follows IAM; in a tunnel that is passed through only Null and IfExists match."""
    assert matches(request(), HEADER, operator, *values) is absent
    assert matches(opaque(), HEADER, operator, *values) is invisible


@pytest.mark.parametrize(
    "key", ["request:Http:Method", "request:Http:Uri", "request:Http:UserAgent", "request:Http:Host"]
)
def test_no_rule_on_http_matches_an_opaque_tunnel(key):
    """A negated operator does not either."""
    for operator in ("StringEquals", "StringNotEquals", "StringLike", "StringNotLike"):
        assert not matches(opaque(), key, operator, "x")


def test_absent_source_facts_follow_iam():
    """A key that the deployment does not have is absent, not invisible."""
    assert not matches(connect(), "request:SourceVpc", "StringEquals", "vpc-1")
    assert matches(connect(), "request:SourceVpc", "StringNotEquals", "vpc-1")
    assert matches(connect(), "request:ClientIdentity", "Null", "true")
    assert matches(connect(client_identity="ci"), "request:ClientIdentity", "Null", "false")


def test_repeated_header_fields():
    """Any value or the joined value; set operators look at the single values."""
    facts = request(headers=[("X-Auth", "a"), ("x-auth", "b")])
    assert matches(facts, HEADER, "StringEquals", "a")
    assert matches(facts, HEADER, "StringEquals", "b")
    assert matches(facts, HEADER, "StringEquals", "a, b")
    assert not matches(facts, HEADER, "StringNotEquals", "b")
    assert matches(facts, HEADER, "StringNotEquals", "c")
    assert matches(facts, HEADER, "ForAnyValue:StringNotEquals", "a")
    assert matches(facts, HEADER, "ForAllValues:StringEquals", "a", "b")
    assert not matches(facts, HEADER, "ForAllValues:StringEquals", "a", "a, b")
    agents = request(headers=[("User-Agent", "x"), ("User-Agent", "curl/8")])
    assert matches(agents, "request:Http:UserAgent", "StringLike", "curl*")


def test_header_names_ignore_case_and_values_do_not():
    """`X-Auth` and `x-auth` are one key."""
    facts = request(headers=[("X-AUTH", "Secret")])
    assert matches(facts, "request:Http:Header/x-auth", "StringEquals", "Secret")
    assert not matches(facts, "request:Http:Header/x-auth", "StringEquals", "secret")
    assert matches(facts, "request:Http:Header/x-auth", "StringEqualsIgnoreCase", "secret")


def test_values_are_bytes_of_utf8():
    """A value that is not ASCII is compared in UTF-8; other bytes are no error."""
    assert matches(request(headers=[("X-Auth", "é")]), HEADER, "StringEquals", "é")
    assert not matches(request(headers=[("X-Auth", b"\xe9")]), HEADER, "StringEquals", "é")
    assert matches(request(headers=[("X-Auth", b"\xe9")]), HEADER, "StringLike", "?")


@pytest.mark.parametrize(
    "path",
    ["/a/../admin", "/./admin", "/%61dmin", "/a/%2e%2E/admin", "/a/b/../../admin", "/../admin", "/%61/..//../admin"],
)
def test_paths_in_two_readings(path):
    """A DENY or ALERT matches the path as it came or in normal form; an ALLOW only both."""
    facts = request(url=f"https://example.com{path}")
    for operator, value in (("StringEquals", "/admin"), ("StringLike", "/admin*")):
        assert matches(facts, "request:Http:Uri", operator, value)
        assert not matches(facts, "request:Http:Uri", operator, value, action="ALLOW")
    assert matches(facts, "request:Http:Uri", "StringLike", "/*", action="ALLOW")
    assert not matches(facts, "request:Http:Uri", "StringNotLike", "/admin", action="ALLOW")
    assert matches(facts, "request:Http:Uri", "StringNotLike", "/admin")


def test_addresses_within_addresses():
    """A mapped address is its IPv4 address; one that leads to an IPv4 address cannot hide it from a DENY."""
    mapped, nat64, sixtofour = "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1"
    key = "request:DestinationIp"
    for address in (mapped, nat64, sixtofour):
        assert matches(connect(to=address), key, "IpAddress", "10.0.0.0/8")
        assert not matches(connect(to=address), key, "NotIpAddress", "10.0.0.0/8", action="ALLOW")
    assert matches(connect(to=mapped), key, "IpAddress", "10.0.0.0/8", action="ALLOW")
    assert not matches(connect(to=nat64), key, "IpAddress", "10.0.0.0/8", action="ALLOW")
    assert matches(connect(to=nat64), key, "IpAddress", "64:ff9b::/96", action="ALLOW")
    assert not matches(connect(to="2001:db8::1"), key, "IpAddress", "0.0.0.0/0")
    assert matches(connect(to="2001:db8::1"), key, "IpAddress", "2001:db8::/32")


def test_protocol_tcp_is_always_true():
    """`TCP` matches every exchange; `http` and `https` tell them apart."""
    for facts, other in ((connect(), "http"), (request(url="http://example.com/"), "https")):
        assert matches(facts, "request:Protocol", "StringEquals", "TCP")
        assert not matches(facts, "request:Protocol", "StringNotEquals", "TCP")
        assert not matches(facts, "request:Protocol", "StringEquals", other)


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("NumericEquals", "443", True),
        ("NumericEquals", "443.0", True),
        ("NumericEquals", "443.5", False),
        ("NumericNotEquals", "443", False),
        ("NumericLessThan", "443", False),
        ("NumericLessThan", "443.5", True),
        ("NumericLessThanEquals", "443", True),
        ("NumericGreaterThan", "8000", False),
        ("NumericGreaterThan", "-1", True),
        ("NumericGreaterThanEquals", "443", True),
    ],
)
def test_numbers(operator, value, expected):
    """Integers and decimals, exactly."""
    assert matches(connect(), "request:DestinationPort", operator, value) is expected


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("DateEquals", "2026-01-01T00:00:00Z", True),
        ("DateEquals", "1767225600", True),
        ("DateEquals", "2026-01-01", True),
        ("DateEquals", "2026-01-01T02:00:00+02:00", True),
        ("DateNotEquals", "2026-01-01", False),
        ("DateLessThan", "2026-01-01T00:00:01Z", True),
        ("DateLessThan", "2026-01-01", False),
        ("DateLessThanEquals", "2026-01-01", True),
        ("DateGreaterThan", "2025-12-31T23:59:59Z", True),
        ("DateGreaterThanEquals", "2026-01-01T00:00:01Z", False),
    ],
)
def test_dates(operator, value, expected):
    """ISO 8601 or seconds since the epoch; UTC where no zone is given; the time of an exchange in whole seconds."""
    assert matches(connect(time=1767225600.9), "request:Time", operator, value) is expected


def test_extension_keys():
    """Ours: server name, host, query, lengths, listener, identity, interception."""
    facts = request(
        "POST", "https://example.com/a?token=%61b", [("Content-Length", "12")], sni="example.com", listener_name="l1"
    )
    assert matches(facts, "request:Sni", "StringEquals", ".example.com")
    assert matches(facts, "request:Http:Host", "StringEquals", "example.com")
    assert matches(facts, "request:Http:Query", "StringLike", "*token=ab")
    assert not matches(facts, "request:Http:Query", "StringLike", "*token=ab", action="ALLOW")
    assert matches(facts, "request:Http:ContentLength", "NumericGreaterThan", "11")
    assert matches(facts, "request:ListenerName", "StringEquals", "l1")
    assert matches(facts, "request:Tls:Intercepted", "Bool", "true")
    chunked = request(status=200, response_headers=[("Transfer-Encoding", "chunked")])
    assert matches(chunked, "response:Http:ContentLength", "Null", "true", phase=POST_RESPONSE)
    assert not matches(request(), "request:Http:Query", "StringLike", "*")


def test_pending_rules():
    """Open only while a fact that is not yet known could turn the outcome; alerts never keep it open."""
    method = condition("request:Http:Method", "StringEquals", "GET")
    everything = condition("request:DestinationDomain", "StringLike", "*")
    known = condition("request:DestinationIp", "IpAddress", "198.51.100.0/24")
    facts = connect()
    for rules, default, expected in (
        ([rule("get", "ALLOW", method)], "DENY", "Open g/get"),
        ([rule("get", "ALLOW", method)], "ALLOW", "ALLOW default"),
        ([rule("get", "DENY", method)], "DENY", "DENY default"),
        ([rule("get", "ALERT", method)], "DENY", "DENY default"),
        ([rule("get", "DENY", method), rule("ip", "DENY", known)], "ALLOW", "DENY g/ip"),
        ([rule("ip", "DENY", known), rule("get", "ALLOW", method)], "ALLOW", "DENY g/ip"),
        ([rule("get", "ALLOW", method), rule("ip", "DENY", known)], "ALLOW", "Open g/get"),
        ([rule("no", "DENY", method), rule("get", "ALLOW", method)], "DENY", "Open g/no"),
        (
            [rule("both", "ALLOW", method, condition("request:SourcePort", "NumericEquals", "1"))],
            "DENY",
            "DENY default",
        ),
    ):
        one = policy(pre_request=rules, defaults=("ALLOW", default, "ALLOW"))
        assert verdict(one, PRE_REQUEST, facts) == expected
    one = policy(pre_request=[rule("a", "ALERT", everything), rule("ip", "DENY", known)])
    assert [str(match.rule) for match in decide(one, PRE_REQUEST, facts).matches] == ["g/a", "g/ip"]


def test_intercepted_get_passes_and_post_does_not():
    """Default DENY with one rule that allows GET: open at the CONNECT, decided for each inner request."""
    one = policy(pre_request=[rule("get", "ALLOW", condition("request:Http:Method", "StringEquals", "GET"))])
    facts = connect()
    assert verdict(one, PRE_REQUEST, facts) == "Open g/get"
    assert verdict(one, PRE_REQUEST, request("GET")) == "ALLOW g/get"
    assert verdict(one, PRE_REQUEST, request("POST")) == "DENY default"
    facts.hide_http()
    assert verdict(one, PRE_REQUEST, facts) == "DENY default"


def test_server_name_keeps_a_tunnel_open():
    """A rule on the SNI waits for the ClientHello; none in it is absent."""
    one = policy(
        pre_request=[rule("sni", "DENY", condition("request:Sni", "StringNotEquals", "example.com"))],
        defaults=("ALLOW",) * 3,
    )
    facts = connect()
    assert verdict(one, PRE_REQUEST, facts) == "Open g/sni"
    for sni, expected in (("example.com", "ALLOW default"), ("other.example", "DENY g/sni"), (ABSENT, "DENY g/sni")):
        facts.sni = sni
        assert verdict(one, PRE_REQUEST, facts) == expected
    facts.sni = INVISIBLE
    assert verdict(one, PRE_REQUEST, facts) == "ALLOW default"
