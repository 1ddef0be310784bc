"""Small policies and exchanges for the examples."""

from ipaddress import ip_address

from netfw.http1.fields import Fields
from netfw.http1.heads import RequestHead, ResponseHead
from netfw.http1.target import parse_target
from netfw.names.authority import Authority
from netfw.names.host import host_from_text
from netfw.policy.compile import compile_policy
from netfw.policy.evaluate import evaluate
from netfw.policy.facts import NOT_YET, Facts
from netfw.policy.load import load_policy
from netfw.policy.model import Phase

PRE_DNS, PRE_REQUEST, POST_RESPONSE = Phase


def condition(key, operator, *values):
    return {"ConditionKey": key, "ConditionOperator": operator, "ConditionValues": list(values)}


def rule(name, action, *conditions, **more):
    return {"ProxyRuleName": name, "Action": action, "Conditions": list(conditions), **more}


def document(*groups, defaults=("DENY", "DENY", "DENY"), **rules):
    """A policy's document: groups as they are, or the rules of one group `g` by phase."""
    named = {"PreDNS": "pre_dns", "PreREQUEST": "pre_request", "PostRESPONSE": "post_response"}
    by_phase = {phase: rules[member] for phase, member in named.items() if member in rules}
    if by_phase:
        groups = (*groups, {"ProxyRuleGroupName": "g", "Rules": by_phase})
    return {
        "ProxyConfiguration": {
            "ProxyConfigurationName": "test",
            "DefaultRulePhaseActions": dict(zip(named, defaults, strict=True)),
            "RuleGroups": [group["ProxyRuleGroupName"] for group in groups],
        },
        "ProxyRuleGroups": list(groups),
    }


def policy(*groups, now=0.0, **more):
    return compile_policy(load_policy(document(*groups, **more), "test"), 1, now)


def connect(host="example.com", port=443, *, client="10.0.2.179", to="198.51.100.7", **more):
    """The facts of a CONNECT to which nothing of HTTP is visible yet."""
    return Facts(
        source_ip=ip_address(client),
        source_port=40000,
        time=more.pop("time", 1.0),
        protocol=more.pop("protocol", "https"),
        destination_domain=host,
        destination_port=port,
        destination_ip=NOT_YET if to is None else ip_address(to),
        **more,
    )


def opaque(host="example.com", port=443, **more):
    """A tunnel that is passed through."""
    facts = connect(host, port, **more)
    facts.tls_intercepted = False
    facts.hide_http()
    return facts


def request(method="GET", url="https://example.com/", headers=(), *, status=None, response_headers=(), **more):
    """A visible request, intercepted for https, and its response where a status is given."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, _, port = authority.partition(":")
    port = int(port or (443 if scheme == "https" else 80))
    facts = connect(host, port, protocol=scheme, **more)
    facts.tls_intercepted = scheme == "https"
    raw_target = (slash + path).encode() or b"/"
    head = RequestHead(method.encode(), raw_target, (1, 1), _fields(headers))
    facts.show_request(head, parse_target(head.method, raw_target), Authority(host_from_text(host), port))
    if status is not None:
        facts.show_response(ResponseHead((1, 1), status, b"", _fields(response_headers)))
    return facts


def _fields(headers):
    return Fields([(name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers])


def decide(compiled, phase, facts):
    return evaluate(compiled, phase, facts)


def verdict(compiled, phase, facts):
    """`ALLOW g/rule`, or `Open g/rule`."""
    result = evaluate(compiled, phase, facts)
    return f"{result.action.value} {result.rule}" if hasattr(result, "action") else f"Open {result.pending}"
