"""Rules of other programs, from files as one finds them: what is translated decides as there, the rest is listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from exchanges import request

from netfw.cli.main import netfw as netfw_group
from netfw.config.document import parse_yaml
from netfw.policy.compile import compile_policy
from netfw.policy.evaluate import evaluate
from netfw.policy.facts import ABSENT
from netfw.policy.foreign.aws_rule_group import export_aws_rule_group, import_aws_rule_group
from netfw.policy.foreign.console_csv import export_csv, import_csv
from netfw.policy.foreign.hosts import import_hosts
from netfw.policy.foreign.imported import Imported
from netfw.policy.foreign.smokescreen import import_smokescreen
from netfw.policy.foreign.squid import import_squid
from netfw.policy.load import load_parts, load_policy
from netfw.policy.model import Action, Phase

SQUID = r"""
# /etc/squid/squid.conf
acl localnet src 10.0.0.0/8 192.168.0.0/255.255.0.0
acl localnet src fc00::/7
acl SSL_ports port 443 8443
acl Safe_ports port 80          # http
acl Safe_ports port 443 8443
acl Safe_ports port 1025-65535
acl allowed dstdomain .example.com api.partner.test
acl cdn dstdom_regex -i \.cdn\.test$
acl bad_path urlpath_regex ^/admin/.*
acl writes method POST PUT \
    DELETE
acl office time MTWHF 08:00-18:00
acl listed dstdomain "/etc/squid/listed.txt"
http_access deny !Safe_ports
http_access deny CONNECT !SSL_ports
http_access deny manager
http_access deny bad_path allowed
http_access allow localnet allowed !writes
http_access allow localnet cdn
http_access allow office
http_access allow listed
http_access deny all
http_port 3128
cache_dir ufs /var/spool/squid 100 16 256
"""


def decide(
    imported: Imported,
    *,
    host: str,
    source: str = "10.0.2.3",
    port: int | None = None,
    protocol: str = "http",
    method: str = "GET",
    path: str = "/",
    identity: str | None = None,
) -> str:
    """What the imported policy says to a request: the phases one after the other."""
    policy = compile_policy(load_policy(imported.document, "x"), 1, 0.0)
    url = f"{protocol}://{host}{f':{port}' if port else ''}{path}"
    for phase in (Phase.PRE_DNS, Phase.PRE_REQUEST):
        decision = evaluate(policy, phase, request(method, url, client=source, client_identity=identity or ABSENT))
        if decision.action is Action.DENY:
            return f"deny {phase.value}"
    return "allow"


def reasons(imported: Imported) -> dict[str, str]:
    """What was not translated, and why."""
    return {one.text: one.reason for one in imported.untranslated}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"host": "www.example.com"}, "allow"),
        ({"host": "example.com", "source": "192.168.9.9"}, "allow"),
        ({"host": "example.com", "source": "172.16.0.1"}, "deny PreDNS"),
        ({"host": "other.test"}, "deny PreDNS"),
        ({"host": "a.cdn.test", "method": "POST"}, "allow"),
        ({"host": "cdn.test"}, "deny PreDNS"),
        ({"host": "api.partner.test", "method": "POST"}, "deny PreREQUEST"),
        ({"host": "api.partner.test", "path": "/admin/x"}, "deny PreREQUEST"),
        ({"host": "example.com", "port": 25}, "deny PreDNS"),
        ({"host": "example.com", "port": 8080}, "allow"),
        ({"host": "example.com", "port": 8080, "protocol": "https"}, "deny PreDNS"),
        ({"host": "example.com", "port": 8443, "protocol": "https"}, "allow"),
    ],
)
def test_squid_decides_the_same(request_: dict[str, Any], said: str) -> None:
    """First match over one list there, two phases here."""
    assert decide(import_squid(SQUID, "squid"), **request_) == said


def test_squid_lists_what_it_cannot_say() -> None:
    """Times, files, regular expressions, the cache: each with its line and a reason; a lost denial with a warning."""
    found = import_squid(SQUID + "http_access deny office\nacl re dstdom_regex ^(a|b)\\.test$\n", "squid")
    why = reasons(found)
    assert "acl type time has no counterpart" in why["acl office time MTWHF 08:00-18:00"]
    assert "not read" in why['acl listed dstdomain "/etc/squid/listed.txt"']
    assert "acl office" in why["http_access allow office"]
    assert "acl listed" in why["http_access allow listed"]
    assert "more passes than before" in why["http_access deny office"]
    assert "listeners" in why["http_port 3128"]
    assert "no counterpart" in why["cache_dir ufs /var/spool/squid 100 16 256"]
    assert "no pattern" in why["acl re dstdom_regex ^(a|b)\\.test$"]
    assert "line 15" in {one.place for one in found.untranslated}
    assert set(why) >= {"http_access deny manager"}


SMOKESCREEN = """\
---
version: v1
services:
  - name: payments
    project: usersec
    action: enforce
    allowed_domains: [api.bank.test, '*.vault.test']
  - name: crawler
    project: research
    action: report
  - name: legacy
    project: old
    action: open
    allowed_domains_mitm:
      - domain: x.test
default:
  project: other
  action: enforce
  allowed_domains: [pypi.test]
global_deny_list: ['*.evil.test']
global_allow_list: [status.test]
"""


@pytest.mark.parametrize(
    ("identity", "host", "said"),
    [
        ("payments", "api.bank.test", "allow"),
        ("payments", "a.vault.test", "allow"),
        ("payments", "vault.test", "deny PreDNS"),
        ("payments", "pypi.test", "deny PreDNS"),
        ("payments", "status.test", "allow"),
        ("crawler", "anything.test", "allow"),
        ("crawler", "x.evil.test", "deny PreDNS"),
        ("legacy", "anything.test", "allow"),
        ("legacy", "x.evil.test", "deny PreDNS"),
        ("stranger", "pypi.test", "allow"),
        ("stranger", "anything.test", "deny PreDNS"),
        (None, "pypi.test", "allow"),
        (None, "anything.test", "deny PreDNS"),
    ],
)
def test_smokescreen_decides_the_same(identity: str | None, host: str, said: str) -> None:
    """A service's list, the global lists, its action, in this order; strangers are the default."""
    imported = import_smokescreen(parse_yaml(SMOKESCREEN, "x"), "smoke")
    assert decide(imported, host=host, identity=identity) == said


def test_smokescreen_keeps_owners_and_lists_the_rest() -> None:
    """Projects own their rules; what has no counterpart is named, of wrong documents as well."""
    imported = import_smokescreen(parse_yaml(SMOKESCREEN, "x"), "smoke")
    rules = imported.document["ProxyRuleGroups"][0]["Rules"]["PreDNS"]
    assert rules[0]["Owner"] == "usersec"
    assert [one.place for one in imported.untranslated] == ["services, legacy, allowed_domains_mitm"]
    assert import_smokescreen([1], "x").untranslated[0].reason.startswith("is no mapping")
    strange = import_smokescreen({"services": [{"name": "a", "action": "maybe"}, 7], "more": 1}, "x")
    assert {one.place for one in strange.untranslated} == {"more", "services", "a"}


HOSTS = """\
# StevenBlack/hosts, shortened
127.0.0.1 localhost
::1 localhost ip6-localhost
0.0.0.0 0.0.0.0
0.0.0.0 ads.example   # banner
0.0.0.0 Track.Example. more.example
10.1.2.3 intranet.corp
bare.example
0.0.0.0 no..name
"""


def test_a_hosts_file_denies_what_it_sends_nowhere() -> None:
    """Names in one spelling; real entries and what is no name are listed."""
    found = import_hosts(HOSTS, "blocked")
    (group,), configuration = load_parts([("x", found.document)])
    assert configuration is None
    (made,) = group.rules[Phase.PRE_DNS]
    assert made.action is Action.DENY
    assert made.conditions[0].values == ("ads.example", "track.example", "more.example", "bare.example")
    assert sorted(one.place for one in found.untranslated) == [
        "line 2",
        "line 3",
        "line 3",
        "line 4",
        "line 7",
        "line 9",
    ]
    many = import_hosts("\n".join(f"0.0.0.0 h{number}.example" for number in range(2500)), "x")
    assert len(many.document["ProxyRuleGroups"][0]["Rules"]["PreDNS"]) == 3


CONSOLE = """\
rulePriority,ruleHookType,ruleName,ruleAction,conditionKey,conditionOperator,conditionValue
1,PreDNS,second,DENY,,,
,,,,request:DestinationDomain,StringLike,"*.facebook.com,facebook.com"
0,PreDNS,first,ALLOW,,,
,,,,request:DestinationDomain,StringEquals,httpbin.org
,,,,request:SourceVpc,StringEquals,vpc-0aaa
0,PostRESPONSE,errors,ALERT,,,
,,,,response:Http:StatusCode,NumericEquals,500
0,PreREQUEST,wrong,DENY,,,
,,,,request:Http:UserAgent,ForAnyValue:StringEquals,x
x,PreDNS,numberless,DENY,,,
,,,,request:DestinationDomain,StringEquals,lost.test
"""


def test_the_consoles_csv_is_read_and_written() -> None:
    """In order of priority, phase by phase; what is refused is listed with the rule's own words."""
    found = import_csv(CONSOLE, "console")
    rules = found.document["ProxyRuleGroups"][0]["Rules"]
    assert [one["ProxyRuleName"] for one in rules["PreDNS"]] == ["first", "second"]
    assert rules["PreDNS"][1]["Conditions"][0]["ConditionValues"] == ["*.facebook.com", "facebook.com"]
    assert [one.place for one in found.untranslated] == ["line 11", "line 12", "line 9"]
    text, lost = export_csv(rules)
    assert lost == ()
    again = import_csv(text, "console")
    assert (again.document, again.untranslated) == (found.document, ())


def test_a_plain_list_is_read() -> None:
    """With a header that says which column is what."""
    header = "domain,action,description,owner,until\n"
    text = f"{header}.a.test,allow,why,me,2099-01-01\nb.test:8443,deny,,,\nc d,allow,,,\ne.test,maybe,,,\n"
    found = import_csv(text, "list")
    (group,), _ = load_parts([("x", found.document)])
    assert [one.name for one in group.rules[Phase.PRE_DNS]] == ["allow-1", "deny-2"]
    assert (group.rules[Phase.PRE_DNS][0].owner, group.rules[Phase.PRE_DNS][0].not_after is not None) == ("me", True)
    assert [one.place for one in found.untranslated] == ["line 4", "line 5"]
    assert import_csv("x,y\n1,2\n", "list").untranslated[1].text == "1,2"


def test_the_vendors_json_goes_in_and_out() -> None:
    """As DescribeProxyRuleGroup shows it; state and tags are listed, what is ours is left out on the way back."""
    rules = {
        "PreDNS": [
            {
                "ProxyRuleName": "a",
                "Action": "ALLOW",
                "Conditions": [
                    {
                        "ConditionKey": "request:DestinationDomain",
                        "ConditionOperator": "StringEquals",
                        "ConditionValues": ["example.com"],
                    }
                ],
            }
        ]
    }
    described = {
        "ProxyRuleGroup": {
            "ProxyRuleGroupName": "rg1",
            "ProxyRuleGroupArn": "arn:aws:network-firewall:us-east-2:123456789012:proxy-rule-group/rg1",
            "CreateTime": 1795219200.123,
            "Rules": {**rules, "PreREQUEST": [{**rules["PreDNS"][0], "Action": "DROP", "ProxyRuleName": "b"}]},
            "Tags": [{"Key": "team", "Value": "x"}],
        },
        "UpdateToken": "6a0b7c1e-5d0e-4b55-9a5a-0c3f5e5b7a11",
    }
    found = import_aws_rule_group(json.loads(json.dumps(described)), None)
    assert found.document == {"ProxyRuleGroups": [{"ProxyRuleGroupName": "rg1", "Rules": rules}]}
    places = {one.place for one in found.untranslated}
    assert places == {"UpdateToken", "ProxyRuleGroupArn", "CreateTime", "Tags", "Rules.PreREQUEST[0]"}
    ours = {"PreDNS": [*rules["PreDNS"], {**rules["PreDNS"][0], "ProxyRuleName": "t", "NotAfter": 1}]}
    document, lost = export_aws_rule_group("rg1", "d", ours, {"team": "x"})
    tags = [{"Key": "team", "Value": "x"}]
    assert document == {"ProxyRuleGroupName": "rg1", "Description": "d", "Rules": rules, "Tags": tags}
    assert [one.text for one in lost] == ["t"]


def test_the_networks_of_squids_own_example_are_translated() -> None:
    """A range of addresses is the networks that it is made of; what is none is listed."""
    lines = ["acl localnet src 0.0.0.1-0.255.255.255 10.0.0.0/8", "http_access allow localnet", "http_access deny all"]
    imported = import_squid("\n".join(lines), "squid")
    assert imported.untranslated == ()
    first = imported.document["ProxyRuleGroups"][0]["Rules"]["PreDNS"][0]["Conditions"][0]["ConditionValues"]
    assert (first[0], first[-2:]) == ("0.0.0.1/32", ["0.128.0.0/9", "10.0.0.0/8"])
    for wrong in ("10.0.0.9-10.0.0.1", "10.0.0.1-::1", "10.0.0.1-10.0.0.999"):
        listed = import_squid(f"acl a src {wrong}\nhttp_access allow a", "squid").untranslated
        assert "is no range of addresses" in listed[0].reason


def test_positions_count_as_in_the_call() -> None:
    """What has one stands there, the others come behind in their order; nothing that says nothing is listed."""
    rules = [{**RULE_OF_THE_VENDOR, "ProxyRuleName": name, **more} for name, more in (
        ("last", {}), ("second", {"InsertPosition": 1}), ("first", {"InsertPosition": 0}),
    )]  # fmt: skip
    imported = import_aws_rule_group({"ProxyRuleGroupName": "g", "Rules": {"PreDNS": rules}, "Tags": []}, None)
    made = imported.document["ProxyRuleGroups"][0]["Rules"]["PreDNS"]
    assert [rule["ProxyRuleName"] for rule in made] == ["first", "second", "last"]
    assert imported.untranslated == ()


def test_what_the_consoles_csv_cannot_say_is_listed() -> None:
    """A key of this proxy alone would be refused there."""
    ours = {"ConditionKey": "request:ClientIdentity", "ConditionOperator": "StringEquals", "ConditionValues": ["ann"]}
    text, lost = export_csv({"PreDNS": [RULE_OF_THE_VENDOR, {**RULE_OF_THE_VENDOR, "Conditions": [ours]}]})
    assert len(text.splitlines()) == 3
    assert "request:ClientIdentity, of this proxy only: left out" in lost[0].reason


RULE_OF_THE_VENDOR: dict[str, Any] = {
    "ProxyRuleName": "a",
    "Action": "ALLOW",
    "Conditions": [
        {
            "ConditionKey": "request:DestinationDomain",
            "ConditionOperator": "StringEquals",
            "ConditionValues": ["example.com"],
        }
    ],
}


@pytest.mark.parametrize(("form", "text"), [("squid", SQUID), ("smokescreen", SMOKESCREEN), ("hosts", HOSTS)])
def test_what_is_printed_can_be_applied(form: str, text: str, tmp_path: Path) -> None:
    """By the command, into a file that `netfw validate` accepts; what was not translated stands in it as comments."""
    source, made = tmp_path / "source", tmp_path / "made.yaml"
    source.write_text(text)
    done = CliRunner().invoke(netfw_group, ["import", form, str(source), "--output", str(made)])
    assert done.exit_code == 1 and "not translated" in done.output
    assert made.read_text().startswith("# Not translated:")
    checked = CliRunner().invoke(netfw_group, ["validate", str(made)])
    assert checked.exit_code == 0, checked.output
