"""Documents to policies: every mistake found at once, with its path and these very words."""

from dataclasses import replace
from datetime import date, datetime

import pytest
from exchanges import condition, document, rule

from netfw.policy.keys import TABLE, find_key
from netfw.policy.load import load_policies, load_policy
from netfw.policy.model import Action, Condition, Phase
from netfw.policy.problems import PolicyErrors
from netfw.policy.shape import VENDOR_LIMITS

PHASES = {
    "request:SourceAccount": "111",
    "request:SourceVpc": "111",
    "request:SourceVpce": "111",
    "request:Time": "111",
    "request:SourceIp": "111",
    "request:DestinationIp": "011",
    "request:SourcePort": "111",
    "request:DestinationPort": "111",
    "request:Protocol": "111",
    "request:DestinationDomain": "111",
    "request:Http:Uri": "011",
    "request:Http:Method": "011",
    "request:Http:UserAgent": "011",
    "request:Http:ContentType": "011",
    "request:Http:Header/<Name>": "011",
    "response:Http:StatusCode": "001",
    "response:Http:ContentType": "001",
    "response:Http:Header/<Name>": "001",
    "request:Sni": "011",
    "request:Http:Host": "011",
    "request:Http:Query": "011",
    "request:Http:ContentLength": "011",
    "response:Http:ContentLength": "001",
    "request:ListenerName": "111",
    "request:ClientIdentity": "111",
    "request:Tls:Intercepted": "011",
}


START = "Invalid condition at index 0 for rule test-ua in preREQUEST rule phase: "


def problems_of(raw, **more):
    with pytest.raises(PolicyErrors) as caught:
        load_policy(raw, "test", **more)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_keys_by_phase():
    """Each key is legal exactly where its value can be known; the first 18 are the vendor's."""
    found = {key.name: "".join(str(int(phase in key.phases)) for phase in Phase) for key in TABLE}
    assert found == PHASES
    assert [key.name for key in TABLE if not key.extension] == list(PHASES)[:18]


@pytest.mark.parametrize("name", PHASES)
def test_key_in_a_phase_too_early_is_refused(name):
    """The refusal has the vendor's form and says where the key can be used."""
    key = find_key(name.replace("<Name>", "X-A"))
    for phase, legal in zip(Phase, PHASES[name], strict=True):
        member = phase.hook
        raw = document(**{member: [rule("r", "DENY", condition(key.name, "Null", "true"))]})
        if legal == "1":
            assert load_policy(raw, "test").groups[0].rules[phase][0].conditions[0].key == key.name
        else:
            usable = " and ".join(one.message_name for one in Phase if one in key.phases)
            assert problems_of(raw) == [
                (
                    f"ProxyRuleGroups[0].Rules.{phase.value}[0].Conditions[0].ConditionKey",
                    START.replace("test-ua", "r").replace("preREQUEST", phase.message_name)
                    + f"Condition key {key.name} is not known in this phase; it can be used in {usable}",
                )
            ]


NOT_A_CHARACTER = "the host has a character other than letters, digits, hyphen, underscore and dot"
MISFIT = (
    "Condition operator StringEquals does not fit condition key request:SourcePort, whose value is of type number; "
    "use one of the Numeric operators"
)
CONDITION_PROBLEMS = [
    (
        condition("request:Http:UserAgent", "ForAnyValue:StringLike", "x"),
        "ConditionOperator",
        "Condition key does not support ForAnyValue or ForAllValues",
    ),
    (
        condition("request:DestinationDomian", "StringEquals", "x"),
        "ConditionKey",
        'Unknown condition key "request:DestinationDomian"; did you mean "request:DestinationDomain"?',
    ),
    (
        condition("request:http:header/x-a", "StringEquals", "x"),
        "ConditionKey",
        'Unknown condition key "request:http:header/x-a"; did you mean "request:Http:Header/x-a"?',
    ),
    (condition("request:Http:Header/", "StringEquals", "x"), "ConditionKey",
     'Unknown condition key "request:Http:Header/"; did you mean "request:Http:Header/<Name>"?'),
    (condition("zzz", "StringEquals", "x"), "ConditionKey", 'Unknown condition key "zzz"'),
    (condition("a\nb", "StringEquals", "x"), "ConditionKey", 'Unknown condition key "a\\nb"'),
    (
        condition("request:SourceVpc", "stringequals", "x"),
        "ConditionOperator",
        'Unknown condition operator "stringequals"; did you mean "StringEquals"?',
    ),
    (
        condition("request:SourcePort", "NumericGreater", "1"),
        "ConditionOperator",
        'Unknown condition operator "NumericGreater"; did you mean "NumericGreaterThan"?',
    ),
    (
        condition("request:SourceVpc", "ArnLike", "x"),
        "ConditionOperator",
        'Unknown condition operator "ArnLike"; did you mean "StringLike"?',
    ),
    (
        condition("request:SourcePort", "StringEquals", "80"),
        "ConditionOperator",
        MISFIT,
    ),
    (
        condition("request:SourcePort", "NumericEquals", "80x"),
        "ConditionValues[0]",
        '"80x" is not a number: write an integer or a decimal such as 8000 or 0.5',
    ),
    (
        condition("request:SourceIp", "IpAddress", "10.0.0.0/8", "10.0.0.1/8", "10.0.0", "300.1.1.1", "fe80::1%eth0"),
        "ConditionValues[1]",
        '"10.0.0.1/8" has bits behind its prefix: write 10.0.0.0/8',
        '"10.0.0" is not an address or a network: write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32',
        '"300.1.1.1" is not an address or a network: write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32',
        '"fe80::1%eth0" is not an address or a network: write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32',
    ),
    (
        condition("request:SourceIp", "IpAddress", "::ffff:10.0.0.0/104"),
        "ConditionValues[0]",
        '"::ffff:10.0.0.0/104" is an IPv4 network in IPv6 dress: write the IPv4 network',
    ),
    (
        condition("request:Time", "DateLessThan", "tomorrow"),
        "ConditionValues[0]",
        '"tomorrow" is not a date: write 2026-01-31T16:05:00Z or seconds since the epoch',
    ),
    (
        condition("request:Time", "DateLessThan", "20260131"),
        "ConditionValues[0]",
        '"20260131" could be a date or seconds since the epoch: write 2026-01-31 or 1769817600',
    ),
    (
        condition("request:DestinationDomain", "StringEquals", "Example.COM."),
        "ConditionValues[0]",
        '"Example.COM." is not in canonical form: write example.com',
    ),
    (
        condition("request:DestinationDomain", "StringEquals", ".Bücher.example"),
        "ConditionValues[0]",
        '".Bücher.example" is not in canonical form: write .xn--bcher-kva.example',
    ),
    (
        condition("request:DestinationDomain", "StringLike", "*.Example.com."),
        "ConditionValues[0]",
        '"*.Example.com." is not in canonical form: write *.example.com',
    ),
    (
        condition("request:DestinationDomain", "StringLike", "Api-*.example.com"),
        "ConditionValues[0]",
        '"Api-*.example.com" is not in canonical form: write api-*.example.com',
    ),
    (
        condition("request:DestinationDomain", "StringEquals", "*.example.com"),
        "ConditionValues[0]",
        '"*.example.com" holds a wildcard, which only StringLike and StringNotLike read',
    ),
    (
        condition("request:DestinationDomain", "StringEquals", "https://example.com/"),
        "ConditionValues[0]",
        f'"https://example.com/" is not a host name: {NOT_A_CHARACTER}',
    ),
    (
        condition("request:DestinationDomain", "StringEquals", "2001:DB8::0"),
        "ConditionValues[0]",
        '"2001:DB8::0" is not in canonical form: write 2001:db8::',
    ),
    (
        condition("request:DestinationDomain", "StringEquals", ".10.0.0.1"),
        "ConditionValues[0]",
        '".10.0.0.1": an address has no subdomains; write 10.0.0.1',
    ),
    (condition("request:SourceVpc", "StringEquals", ""), "ConditionValues[0]", "a value must not be empty"),
    (
        condition("request:SourceVpc", "StringEquals", "a\x00b"),
        "ConditionValues[0]",
        "a value must not hold control characters",
    ),
    (
        condition("request:SourceVpc", "StringEquals", "a\u202eb"),
        "ConditionValues[0]",
        "a value must not hold control characters",
    ),
    (condition("request:SourceVpc", "StringEquals"), "ConditionValues", "a condition has at least one value"),
    (
        condition("request:SourceAccount", "StringEquals", 123456789012),
        "ConditionValues[0]",
        "a value is text, not a number: put it in quotes",
    ),
    (condition("request:SourceVpc", "Null", "yes"), "ConditionValues[0]", '"yes" is neither "true" nor "false"'),
    (condition(None, "Null", "true"), "ConditionKey", "ConditionKey is missing"),
    (condition(3, "Null", "true"), "ConditionKey", "ConditionKey is text, not a number"),
    (condition("request:SourceVpc", None, "x"), "ConditionOperator", "ConditionOperator is missing"),
    (condition("request:SourceVpc", True, "x"), "ConditionOperator", "ConditionOperator is text, not true or false"),
    (
        {"ConditionKey": "request:SourceVpc", "ConditionOperator": "StringEquals"},
        "ConditionValues",
        "ConditionValues is missing",
    ),
    (
        condition("request:SourceVpc", "StringEquals", {"x": 1}, b"x"),
        "ConditionValues[0]",
        "a value is text, not a mapping: put it in quotes",
        "a value is text, not a bytes: put it in quotes",
    ),
    (
        {"ConditionKey": "request:SourceVpc", "ConditionOperator": "StringEquals", "ConditionValuesFile": ["hosts"]},
        "ConditionValuesFile",
        "ConditionValuesFile is the path of a file with one value a line",
    ),
    (
        condition("request:DestinationDomain", "StringLike", "api-*.bücher.example"),
        "ConditionValues[0]",
        '"api-*.bücher.example" is not a pattern of host names: write A-labels, `*` and `?`',
    ),
    (
        condition("request:Time", "DateLessThan", "2026-02-30", "2026-01-31T25:00:00Z"),
        "ConditionValues[0]",
        '"2026-02-30" is not a date: write 2026-01-31T16:05:00Z or seconds since the epoch',
        '"2026-01-31T25:00:00Z" is not a date: write 2026-01-31T16:05:00Z or seconds since the epoch',
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CONDITION_PROBLEMS, ids=lambda case: case[2][:40])
def test_problems_of_conditions(case):
    """The text of each refusal."""
    raw, member, *expected = case
    path = "ProxyRuleGroups[0].Rules.PreREQUEST[0].Conditions[0]."
    found = problems_of(document(pre_request=[rule("test-ua", "DENY", raw)]))
    assert found[0][0] == path + member
    assert [message for _, message in found] == [START + text for text in expected]


DOCUMENT_PROBLEMS = [
    (None, [("", "a policy is a mapping, not nothing")]),
    ([], [("", "a policy is a mapping, not a list")]),
    ({}, [("ProxyConfiguration", "a policy needs a ProxyConfiguration")]),
    (
        {"ProxyConfiguration": {}, "ProxyRuleGroup": []},
        [
            ("ProxyRuleGroup", 'unknown member "ProxyRuleGroup"; did you mean "ProxyRuleGroups"?'),
            ("ProxyConfiguration.ProxyConfigurationName", "ProxyConfigurationName is missing"),
            (
                "ProxyConfiguration.DefaultRulePhaseActions",
                "DefaultRulePhaseActions is missing: write an action for PreDNS, PreREQUEST, PostRESPONSE",
            ),
            (
                "ProxyConfiguration.RuleGroups",
                "RuleGroups is missing: write the names of groups in order of priority, or []",
            ),
        ],
    ),
    (
        {
            "ProxyConfiguration": {
                "ProxyConfigurationName": "a b",
                "DefaultRulePhaseActions": {"PreDNS": "allow", "PreREQUEST": "DENY"},
                "RuleGroups": ["missing", 3],
            },
            "ProxyRuleGroups": "none",
        },
        [
            ("ProxyRuleGroups", "ProxyRuleGroups is a list, not text"),
            (
                "ProxyConfiguration.ProxyConfigurationName",
                "ProxyConfigurationName is made of letters, digits and hyphens, 1 to 128 of them",
            ),
            ("ProxyConfiguration.DefaultRulePhaseActions.PreDNS", "PreDNS is one of ALLOW, DENY, ALERT"),
            (
                "ProxyConfiguration.DefaultRulePhaseActions.PostRESPONSE",
                "PostRESPONSE is missing: write ALLOW, DENY, ALERT",
            ),
            ("ProxyConfiguration.RuleGroups[0]", 'there is no group "missing" in ProxyRuleGroups'),
            ("ProxyConfiguration.RuleGroups[1]", "the name of a group is text, not a number"),
        ],
    ),
    (
        {
            "ProxyConfiguration": {
                "ProxyConfigurationName": 5,
                "DefaultRulePhaseActions": ["ALLOW"],
                "RuleGroups": ["g", "g"],
                7: "x",
            },
            "ProxyRuleGroups": [{"ProxyRuleGroupName": "g"}, "h", {"ProxyRuleGroupName": "i", "Rules": []}],
        },
        [
            ("ProxyRuleGroups[1]", "a rule group is a mapping, not text"),
            ("ProxyRuleGroups[2].Rules", "Rules is a mapping, not a list"),
            ("ProxyConfiguration", "names of members are text, not a number"),
            ("ProxyConfiguration.ProxyConfigurationName", "ProxyConfigurationName is text, not a number"),
            ("ProxyConfiguration.DefaultRulePhaseActions", "DefaultRulePhaseActions is a mapping, not a list"),
            ("ProxyConfiguration.RuleGroups[1]", 'group "g" is attached already'),
        ],
    ),
    ({"ProxyConfiguration": "x"}, [("ProxyConfiguration", "ProxyConfiguration is a mapping, not text")]),
]


@pytest.mark.parametrize(("raw", "expected"), DOCUMENT_PROBLEMS, ids=range(len(DOCUMENT_PROBLEMS)))
def test_problems_of_documents(raw, expected):
    """The text of each refusal, all of a document's at once."""
    assert problems_of(raw) == expected


def test_problems_of_rules_and_groups():
    """Names, positions, dates, duplicates, unknown members; one pass finds them all."""
    good = condition("request:SourceVpc", "StringEquals", "x")
    groups = [
        {
            "ProxyRuleGroupName": "g",
            "Rules": {
                "PreDNS": [
                    rule("a", "ALLOW", good, InsertPosition=1),
                    rule("a", "DROP", good, NotAfter="soon"),
                    {"Conditions": []},
                    rule("b", "ALLOW", Owner=3, Description="two\nlines", Tickets="x"),
                    7,
                    {"ProxyRuleName": "c", "Action": "DENY"},
                ],
                "PostREQUEST": [],
            },
            "allow": ["a.example", "ftp://x", "GET a.example/x#y", 3],
        },
        {"ProxyRuleGroupName": "g"},
    ]
    raw = document({"ProxyRuleGroupName": "g"})
    raw["ProxyRuleGroups"] = groups
    base = "ProxyRuleGroups[0].Rules"
    assert problems_of(raw) == [
        (f"{base}.PostREQUEST", 'unknown member "PostREQUEST"; did you mean "PreREQUEST"?'),
        (f"{base}.PreDNS[1].ProxyRuleName",
         f'rule name "a" is taken already by {base}.PreDNS[0].ProxyRuleName: names are unique in a group'),
        (f"{base}.PreDNS[1].Action", "Action is one of ALLOW, DENY, ALERT"),
        (f"{base}.PreDNS[1].NotAfter", '"soon" is not a date: write 2026-01-31T16:05:00Z or seconds since the epoch'),
        (f"{base}.PreDNS[2].ProxyRuleName", "ProxyRuleName is missing"),
        (f"{base}.PreDNS[2].Action", "Action is missing: write ALLOW, DENY, ALERT"),
        (f"{base}.PreDNS[2].Conditions", "a rule has at least one condition"),
        (f"{base}.PreDNS[3].Tickets", 'unknown member "Tickets"; did you mean "Ticket"?'),
        (f"{base}.PreDNS[3].Conditions", "a rule has at least one condition"),
        (f"{base}.PreDNS[3].Description", "Description must not hold control characters or line ends"),
        (f"{base}.PreDNS[3].Owner", "Owner is text, not a number"),
        (f"{base}.PreDNS[4]", "a rule is a mapping, not a number"),
        (f"{base}.PreDNS[5].Conditions", "Conditions is missing"),
        (f"{base}.PreDNS", "Insertion position must be continuous: positions start at 0 and leave no gap"),
        ("ProxyRuleGroups[0].allow[1]", "the scheme is http or https, in small letters"),
        ("ProxyRuleGroups[0].allow[2]", "an entry is [METHOD,METHOD ][http://|https://]HOST[:PORT][/PATH][?QUERY]"),
        ("ProxyRuleGroups[0].allow[3]", "an entry is text, not a number"),
        ("ProxyRuleGroups[1].ProxyRuleGroupName", 'group name "g" is taken already by ProxyRuleGroups[0]'),
    ]  # fmt: skip


def test_problems_of_positions_dates_and_conditions():
    """A position that is none, a date that is none, a condition that is none."""
    good = condition("request:SourceVpc", "StringEquals", "x")
    raw = document(
        pre_dns=[
            rule("a", "ALLOW", good, InsertPosition="0", NotAfter=["soon"]),
            rule("b", "ALLOW", good, InsertPosition=True, NotAfter=True),
            rule("c", "ALLOW", good, InsertPosition=-1, NotAfter=None),
            rule("d", "ALLOW", "x"),
            rule("e", "ALLOW", good, NotAfter=1769817600),
        ]
    )
    base = "ProxyRuleGroups[0].Rules.PreDNS"
    position = "InsertPosition is a whole number from 0 on"
    assert problems_of(raw) == [
        (f"{base}[0].InsertPosition", position),
        (f"{base}[0].NotAfter", "NotAfter is a date, not a list"),
        (f"{base}[1].InsertPosition", position),
        (f"{base}[1].NotAfter", "NotAfter is a date, not true or false"),
        (f"{base}[2].InsertPosition", position),
        (f"{base}[2].NotAfter", "NotAfter is a date, not nothing"),
        (f"{base}[3].Conditions[0]", "a condition is a mapping, not text"),
    ]


def test_the_guides_other_name_of_the_status():
    """The vendor's guide once spells response:Http:StatusCode in another way; it is that key."""
    raw = document(post_response=[rule("r", "DENY", condition("response:HttpStatusCode", "NumericEquals", "500"))])
    one = load_policy(raw, "test").groups[0].rules[Phase.POST_RESPONSE][0]
    assert one.conditions[0].key == "response:Http:StatusCode"


def test_values_that_yaml_reads_itself():
    """Numbers, dates and booleans without quotes are taken where the operator wants them."""
    raw = document(
        pre_request=[
            rule(
                "r",
                "DENY",
                condition("request:DestinationPort", "NumericEquals", 8000, 0.5),
                condition("request:Time", "DateLessThan", date(2026, 1, 31), datetime(2026, 1, 31, 16, 5), 1769817600),
                condition("request:Sni", "Null", True),
                condition("request:Tls:Intercepted", "Bool", False),
                NotAfter=date(2026, 1, 31),
            )
        ]
    )
    one = load_policy(raw, "test").groups[0].rules[Phase.PRE_REQUEST][0]
    assert [item.values for item in one.conditions] == [
        ("8000", "0.5"),
        ("2026-01-31", "2026-01-31T16:05:00", "1769817600"),
        ("true",),
        ("false",),
    ]
    assert one.not_after == 1769817600.0


def test_values_from_files():
    """A ConditionValuesFile is read through the callable, before or beside values in place; its errors are problems."""
    raw = condition("request:DestinationDomain", "StringEquals", "a.example")
    raw["ConditionValuesFile"] = "lists/hosts"
    files = {"lists/hosts": ["b.example", ".c.example"]}
    one = load_policy(document(pre_dns=[rule("r", "DENY", raw)]), "test", read_values=files.__getitem__)
    assert one.groups[0].rules[Phase.PRE_DNS][0].conditions[0].values == ("a.example", "b.example", ".c.example")

    def missing(path):
        raise FileNotFoundError(2, "No such file or directory")

    start = "Invalid condition at index 0 for rule r in preDNS rule phase: "
    place = "ProxyRuleGroups[0].Rules.PreDNS[0].Conditions[0].ConditionValuesFile"
    for reader, message in (
        (missing, '"lists/hosts" cannot be read: No such file or directory'),
        (lambda path: [], '"lists/hosts" holds no value'),
        (None, "files of values cannot be used here"),
    ):
        found = problems_of(document(pre_dns=[rule("r", "DENY", raw)]), read_values=reader)
        assert found == [(place, start + message)]


def test_documents_of_a_directory():
    """Groups come from every file, the configuration from exactly one; problems name their file."""
    first = document({"ProxyRuleGroupName": "a", "allow": ["a.example"]})
    first["ProxyConfiguration"]["RuleGroups"] = ["b", "a"]
    second = {"ProxyRuleGroups": [{"ProxyRuleGroupName": "b", "deny": ["b.example"]}, {"ProxyRuleGroupName": "spare"}]}
    one = load_policies([("1.yaml", first), ("2.yaml", second), ("3.yaml", None)])
    assert [group.name for group in one.groups] == ["b", "a"]
    assert [group.name for group in one.unattached] == ["spare"]
    with pytest.raises(PolicyErrors) as caught:
        load_policies([("1.yaml", first), ("2.yaml", {**second, "ProxyConfiguration": {}}), ("4.yaml", second)])
    place = "ProxyRuleGroups[{0}]"
    taken = f"4.yaml: {place}.ProxyRuleGroupName: group name {{1}} is taken already by 2.yaml: {place}"
    assert [str(problem) for problem in caught.value.problems] == [
        "2.yaml: ProxyConfiguration: a policy has one ProxyConfiguration; 1.yaml has it already",
        taken.format(0, '"b"'),
        taken.format(1, '"spare"'),
    ]
    with pytest.raises(PolicyErrors, match="needs a ProxyConfiguration"):
        load_policies([("2.yaml", second)])
    with pytest.raises(PolicyErrors, match="needs a ProxyConfiguration"):
        load_policies([])


def test_vendor_limits():
    """The vendor's quotas hold where they are asked for, and only there."""
    good = condition("request:SourceVpc", "StringEquals", "x")
    many = document(pre_dns=[rule(f"r{number}", "ALLOW", good) for number in range(1001)])
    long = document(
        pre_dns=[rule("r", "ALLOW", condition("request:SourceVpc", "StringEquals", "x" * 1025, *["y" * 1000] * 30))]
    )
    groups = document(*({"ProxyRuleGroupName": f"g{number}"} for number in range(11)))
    for raw in (many, long, groups):
        load_policy(raw, "test")
    assert problems_of(many, limits=VENDOR_LIMITS) == [
        ("ProxyRuleGroups[0].Rules", "a group has at most 1000 rules, not 1001")
    ]
    assert [message.rpartition(": ")[2] for _, message in problems_of(long, limits=VENDOR_LIMITS)] == [
        "a value is at most 1024 bytes long",
    ]
    fits = ["y" * 1000] * 29
    large = document(pre_dns=[rule("r", "ALLOW", condition("request:SourceVpc", "StringEquals", *fits, *fits))])
    full = [rule(f"r{number}", "ALLOW", condition("request:SourceVpc", "StringEquals", *fits)) for number in range(999)]
    wordy = document({"ProxyRuleGroupName": "g", "Description": "x" * 513})
    small = replace(VENDOR_LIMITS, group_size=1_000_000)
    for raw, limits, expected in (
        (large, VENDOR_LIMITS, ("Rules.PreDNS[0].Conditions", "the keys and values of a rule are at most 30720 bytes")),
        (wordy, VENDOR_LIMITS, ("Description", "Description is longer than 512 characters")),
        (document(pre_dns=full), small, ("Rules", "the keys and values of a group are at most 1000000 bytes")),
    ):
        load_policy(raw, "test")
        assert problems_of(raw, limits=limits) == [("ProxyRuleGroups[0]." + expected[0], expected[1])]
    assert problems_of(groups, limits=VENDOR_LIMITS) == [
        ("ProxyConfiguration.RuleGroups", "a configuration has at most 10 groups")
    ]


def _rules(entry, member="allow"):
    one = load_policy(document({"ProxyRuleGroupName": "g", member: [entry]}), "test")
    return [(phase, rule) for phase in Phase for _, rule in one.rules(phase)]


DOMAIN = Condition("request:DestinationDomain", "StringEquals", ("x.example",))
METHOD = Condition("request:Http:Method", "StringEquals", ("GET", "HEAD"))


@pytest.mark.parametrize(
    ("entry", "before", "request_only"),
    [
        ("x.example", (DOMAIN,), ()),
        ("x.example:8443", (DOMAIN, Condition("request:DestinationPort", "NumericEquals", ("8443",))), ()),
        ("x.example/v1/*", (DOMAIN,), (Condition("request:Http:Uri", "StringLike", ("/v1/*",)),)),
        ("GET,HEAD x.example", (DOMAIN,), (METHOD,)),
        (
            "GET,HEAD https://x.example/refs?service=a*",
            (DOMAIN, Condition("request:DestinationPort", "NumericEquals", ("443",))),
            (
                Condition("request:Protocol", "StringEquals", ("https",)),
                METHOD,
                Condition("request:Http:Uri", "StringEquals", ("/refs",)),
                Condition("request:Http:Query", "StringLike", ("service=a*",)),
            ),
        ),
        ("http://x.example", (DOMAIN, Condition("request:DestinationPort", "NumericEquals", ("80",))), ()),
        ("[2001:db8::1]:80/", (Condition("request:DestinationDomain", "StringEquals", ("2001:db8::1",)),
                               Condition("request:DestinationPort", "NumericEquals", ("80",))),
         (Condition("request:Http:Uri", "StringEquals", ("/",)),)),
        ("*.x.example", (Condition("request:DestinationDomain", "StringLike", ("*.x.example",)),), ()),
        ("*", (Condition("request:DestinationDomain", "StringLike", ("*",)),), ()),
    ],
)  # fmt: skip
def test_short_allow(entry, before, request_only):
    """An `allow` entry opens PreDNS for the name and port and PreREQUEST for all that it says."""
    shared = () if entry == "*" else before
    assert [(phase, rule.name, rule.action, rule.conditions) for phase, rule in _rules(entry)] == [
        (Phase.PRE_DNS, "allow-1", Action.ALLOW, before),
        (Phase.PRE_REQUEST, "allow-1-request", Action.ALLOW, (*shared, *request_only) or before),
    ]


def test_short_deny_and_alert():
    """`deny` and `alert` act in one phase: before the lookup by name, at the request when more is asked."""
    for member, action in (("deny", Action.DENY), ("alert", Action.ALERT)):
        assert _rules("x.example", member)[0][0] is Phase.PRE_DNS
        ((phase, one),) = _rules("GET,HEAD x.example/a", member)
        assert (phase, one.name, one.action) == (Phase.PRE_REQUEST, f"{member}-1", action)
        assert one.conditions == (DOMAIN, METHOD, Condition("request:Http:Uri", "StringEquals", ("/a",)))
        ((phase, one),) = _rules("https://x.example", member)
        assert (phase, len(one.conditions)) == (Phase.PRE_DNS, 2)


def test_short_forms_come_after_rules_in_a_fixed_order():
    """Rules first, then alert, deny and allow, whatever their order in the document."""
    group = {
        "ProxyRuleGroupName": "g",
        "allow": ["a.example"],
        "deny": ["b.example"],
        "alert": ["c.example"],
        "Rules": {"PreDNS": [rule("first", "DENY", condition("request:SourceVpc", "StringEquals", "x"))]},
    }
    one = load_policy(document(group), "test")
    assert [rule.name for _, rule in one.rules(Phase.PRE_DNS)] == ["first", "alert-1", "deny-1", "allow-1"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("", "an entry is [METHOD,METHOD ][http://|https://]HOST[:PORT][/PATH][?QUERY]"),
        ("get x.example", "methods are capital letters with commas between them, such as GET,HEAD"),
        ("X.example", '"X.example" is not in canonical form: write x.example'),
        ("x.example:0", "the port is a number from 1 to 65535"),
        ("x.example:70000", "the port is a number from 1 to 65535"),
        ("10.0.0.0/8", "a network does not fit here: write a rule with request:DestinationIp"),
        ("x.example/a?", "nothing stands behind the question mark"),
        ("a\x00", "an entry must not hold control characters"),
    ],
)
def test_short_form_problems(entry, message):
    """The text of each refusal."""
    assert problems_of(document({"ProxyRuleGroupName": "g", "allow": [entry]})) == [
        ("ProxyRuleGroups[0].allow[0]", message)
    ]
