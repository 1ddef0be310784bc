"""Random policies and random facts, close enough to each other that rules do match."""

from ipaddress import ip_address

from hypothesis import strategies as st

from netfw.http1.fields import Fields
from netfw.policy.facts import ABSENT, INVISIBLE, NOT_YET, Facts
from netfw.policy.keys import TABLE, Kind, find_key
from netfw.policy.load import load_policy
from netfw.policy.model import Phase
from netfw.policy.operators import FAMILY_OF_KIND, OPERATORS, Family, SetPrefix

NAMES = ["example.com", "a.example.com", "b.a.example.com", "notexample.com", "example.org", "com", "192.0.2.1"]
DOMAIN_VALUES = [*NAMES, ".example.com", ".com", "*.example.com", "*.a.example.com", "*example.com", "?.example.com",
                 "*a*.com", "*", "ex*le.*"]  # fmt: skip
PATHS = [b"/", b"/admin", b"/a/../admin", b"/%61dmin", b"/admin/x.exe", b"/a/b/c", b"/a%2fb", b"*", b"/a/./b/c", b"/.."]
PATH_VALUES = ["/", "/admin", "/admin*", "*/b/*", "*.exe", "/a/*", "/%61*", "*", "/?dmin", "*dmin*", "/a/*/c", "/../*"]
ADDRESSES = ["192.0.2.1", "10.1.2.3", "2001:db8::1", "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1"]
NETWORKS = [
    "192.0.2.0/24",
    "10.0.0.0/8",
    "10.1.2.3",
    "0.0.0.0/0",
    "2001:db8::/32",
    "::/0",
    "64:ff9b::/96",
    "10.1.0.0/16",
]
TEXTS = ["GET", "POST", "get", "curl/8", "a, b", "a", "b", "é", "TCP", "http", "https", "text/html; charset=utf-8"]
TEXT_VALUES = [*TEXTS, "*", "cu*", "*/*", "?", "*ET", "a*b", "http*", "*l/8", "*html*", "text*utf*"]
NUMBERS = [0, 1, 80, 443, 8000, 404]
NUMBER_VALUES = ["0", "1", "80", "443", "443.5", "8000", "-1", "404"]
TIMES = [0.0, 1e9, 1767225600.0, 1767225600.5, 2e9]
DATE_VALUES = ["2026-01-01", "2026-01-01T00:00:00Z", "1767225600.5", "1000000000", "2030-01-01T00:00:00+02:00"]
VALUES = {
    Kind.DOMAIN: DOMAIN_VALUES,
    Kind.PATH: PATH_VALUES,
    Kind.ADDRESS: NETWORKS,
    Kind.TEXT: TEXT_VALUES,
    Kind.PROTOCOL: ["http", "https", "TCP", "tcp", "http*"],
    Kind.NUMBER: NUMBER_VALUES,
    Kind.DATE: DATE_VALUES,
    Kind.BOOLEAN: ["true", "false"],
}
KEYS = [name for key in TABLE for name in ([key.name] if key.field != b"" else
        [key.name.replace("<Name>", "X-One"), key.name.replace("<Name>", "x-two")])]  # fmt: skip


@st.composite
def conditions(draw, phase):
    key = find_key(draw(st.sampled_from([name for name in KEYS if phase in find_key(name).phases])))
    family = FAMILY_OF_KIND[key.kind]
    operator = draw(
        st.sampled_from(
            [
                op
                for op in OPERATORS.values()
                if op.family in (family, Family.PRESENCE) and (key.multi_valued or op.set_prefix is SetPrefix.NONE)
            ]
        )
    )
    values = ["true", "false"] if operator.family is Family.PRESENCE else VALUES[key.kind]
    if key.kind is Kind.DOMAIN and operator.comparison.name != "LIKE":
        values = [value for value in values if "*" not in value and "?" not in value]
    return {
        "ConditionKey": key.name,
        "ConditionOperator": operator.name,
        "ConditionValues": draw(st.lists(st.sampled_from(values), min_size=1, max_size=3)),
    }


@st.composite
def policies(draw, max_rules=12):
    """A policy with one phase of rules worth looking at: (configuration, phase)."""
    phase = draw(st.sampled_from(list(Phase)))
    groups = []
    for number in range(draw(st.integers(1, 2))):
        rules = [
            {
                "ProxyRuleName": f"r{index}",
                "Action": draw(st.sampled_from(["ALLOW", "DENY", "ALERT"])),
                "Conditions": draw(st.lists(conditions(phase), min_size=1, max_size=3)),
                **({"NotAfter": "2026-01-01"} if draw(st.integers(0, 9)) == 0 else {}),
            }
            for index in range(draw(st.integers(0, max_rules)))
        ]
        groups.append({"ProxyRuleGroupName": f"g{number}", "Rules": {phase.value: rules}})
    defaults = {one.value: draw(st.sampled_from(["ALLOW", "DENY", "ALERT"])) for one in Phase}
    document = {
        "ProxyConfiguration": {
            "ProxyConfigurationName": "c",
            "DefaultRulePhaseActions": defaults,
            "RuleGroups": [group["ProxyRuleGroupName"] for group in groups],
        },
        "ProxyRuleGroups": groups,
    }
    return load_policy(document, "random"), phase


def _or_absent(strategy):
    return st.one_of(strategy, st.sampled_from([ABSENT, NOT_YET, INVISIBLE]))


@st.composite
def facts(draw):
    """Facts in any state, also in states that no exchange has."""
    one = Facts(
        source_ip=ip_address(draw(st.sampled_from(ADDRESSES))),
        source_port=draw(st.sampled_from(NUMBERS)),
        time=draw(st.sampled_from(TIMES)),
        protocol=draw(st.sampled_from(["http", "https"])),
        destination_domain=draw(st.sampled_from(NAMES)),
        destination_port=draw(st.sampled_from(NUMBERS)),
        source_account=draw(_or_absent(st.sampled_from(TEXTS))),
        source_vpc=draw(_or_absent(st.sampled_from(TEXTS))),
        source_vpce=draw(_or_absent(st.sampled_from(TEXTS))),
        listener_name=draw(_or_absent(st.sampled_from(TEXTS))),
        client_identity=draw(_or_absent(st.sampled_from(TEXTS))),
        destination_ip=draw(_or_absent(st.sampled_from(ADDRESSES).map(ip_address))),
        sni=draw(_or_absent(st.sampled_from(NAMES))),
        tls_intercepted=draw(st.one_of(st.booleans(), st.just(NOT_YET))),
    )
    state = draw(st.sampled_from(["hidden", "awaited", "request", "response", "any"]))
    if state == "hidden":
        one.hide_http()
    if state in ("request", "response", "any"):
        wrap = _or_absent if state == "any" else lambda strategy: strategy
        values = st.sampled_from(TEXTS).map(str.encode)
        lines = st.lists(
            st.tuples(st.sampled_from([b"X-One", b"x-TWO", b"User-Agent", b"Content-Type"]), values), max_size=5
        )
        one.method = draw(wrap(values))
        one.path = draw(wrap(st.sampled_from(PATHS)))
        one.query = draw(_or_absent(st.sampled_from([b"a=%61", b"GET", b"a"])))
        one.request_fields = draw(wrap(lines.map(Fields)))
        one.http_host = draw(wrap(st.sampled_from(NAMES)))
        one.request_content_length = draw(_or_absent(st.sampled_from(NUMBERS)))
        if state != "request":
            one.status = draw(wrap(st.sampled_from(NUMBERS)))
            one.response_fields = draw(wrap(lines.map(Fields)))
            one.response_content_length = draw(_or_absent(st.sampled_from(NUMBERS)))
    return one
