"""The verbs that work on a store, each as one types it, on a store in SQLite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from netfw.cli.main import netfw
from netfw.cli.store_access import open_store
from netfw.policy.load import load_policy
from netfw.policy.printing import policy_document
from netfw.store.timed_exceptions import GROUP
from netfw.testing.proxy_process import condition, domain_rule, policy, rule

Run = Callable[..., Result]
CONFIGURATION = """\
proxy: {name: p1}
listeners: [{name: main, type: HTTP, address: 127.0.0.1, port: 3128}]
policy: {store: "sqlite:///policy.sqlite", last_good: last-good}
"""


def three(*order: str) -> dict[str, Any]:
    """A policy whose one group has these rules in this order."""
    return policy(
        pre_dns="DENY", groups={"g": {"PreDNS": [domain_rule(name, "ALLOW", f"{name}.test") for name in order]}}
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a verb; it must end with this status."""
    (tmp_path / "proxy.yaml").write_text(CONFIGURATION)

    def invoke(*arguments: str, status: int = 0) -> Result:
        verb, *rest = arguments
        place = [] if verb in ("validate", "import") else ["--config", str(tmp_path / "proxy.yaml")]
        result = CliRunner().invoke(netfw, [verb, *rest, *place])
        assert result.exit_code == status, (result.output, result.exception)
        return result

    return invoke


@pytest.fixture
def put(run: Run, tmp_path: Path) -> Callable[..., Result]:
    """Writes a document to a file and applies it."""

    def apply(document: dict[str, Any], *options: str, status: int = 0) -> Result:
        file = tmp_path / "policy.yaml"
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        return run("apply", str(file), *(options or ("--yes",)), status=status)

    return apply


def test_apply_shows_its_plan_and_does_it(put: Callable[..., Result], run: Run) -> None:
    """Rules added, removed, moved and changed are told one by one; nobody is asked with --yes."""
    first = put(three("a", "b", "e", "c"), "--yes")
    assert "added    rule group g" in first.output and "follows test" in first.output
    second = put(three("c", "a", "e", "d"), "--yes")
    assert "rule b removed" in second.output
    assert "rule d added at 3" in second.output
    assert "rule c moved from 3 to 0" in second.output and "rule a moved" not in second.output
    assert "applied as generation 2" in second.output
    assert "nothing to do" in put(three("c", "a", "e", "d"), "--yes").output
    assert len(json.loads(run("history", "--json").output)) == 2


def test_what_is_made_has_the_arn_that_the_api_would_give(put: Callable[..., Result], run: Run, tmp_path: Path) -> None:
    """Region and account are those of the configuration, for groups, exceptions' groups, configurations and proxies."""
    place = tmp_path / "proxy.yaml"
    place.write_text(place.read_text() + 'control: {region: eu-north-1, account: "123456789012"}\n')
    put(three("a"), "--yes")
    run("allow", "x.test", "--for", "2h", "--why", "a test")
    with open_store(place) as database:
        found = database.read(
            lambda store: [
                one.arn
                for collection, names in (
                    (store.groups, ("g", GROUP)), (store.configurations, ("test",)), (store.proxies, ("p1",)),
                )
                for one in map(collection.get, names)
            ]
        )  # fmt: skip
    kinds = ["proxy-rule-group/g", f"proxy-rule-group/{GROUP}", "proxy-configuration/test", "proxy/p1"]
    assert found == [f"arn:aws:network-firewall:eu-north-1:123456789012:{kind}" for kind in kinds]


def test_a_dry_run_changes_nothing(put: Callable[..., Result], run: Run) -> None:
    """It only shows the plan; and where nobody can be asked, nothing is done either."""
    assert "added    rule group g" in put(three("a"), "--dry-run").output
    assert "nobody to ask" in put(three("a"), "--json", status=1).output
    assert json.loads(run("groups", "--json").output) == []


def test_what_was_applied_is_exported(put: Callable[..., Result], run: Run, tmp_path: Path) -> None:
    """The document that comes out loads as the same policy, and applying it again is nothing to do."""
    document = policy(
        pre_dns="DENY",
        groups={
            "one": {
                "PreDNS": [{**domain_rule("a", "ALLOW", ".x.test"), "NotAfter": "2099-01-01T00:00:00Z", "Owner": "me"}],
                "PreREQUEST": [
                    rule("m", "DENY", condition("request:Http:Method", "StringEquals", "POST", "PUT")),
                    {**domain_rule("n", "ALERT", "\u00fc.test".encode("idna").decode()), "Description": "gr\u00fcn"},
                ],
            },
            "two": {"PostRESPONSE": [rule("s", "DENY", condition("response:Http:StatusCode", "NumericEquals", "500"))]},
            "none": {},
        },
    )
    put(document)
    out = run("export").output
    loaded = load_policy(yaml.safe_load(out), "export")
    assert loaded == load_policy(document, "test")
    assert policy_document(loaded) == yaml.safe_load(out)
    (tmp_path / "again.yaml").write_text(out)
    assert "nothing to do" in run("apply", str(tmp_path / "again.yaml"), "--yes").output
    assert json.loads(run("export", "--format", "json").output) == yaml.safe_load(out)


def test_groups_alone_can_be_applied(put: Callable[..., Result], run: Run) -> None:
    """A team that owns a group needs no configuration; others attach it."""
    put(three("a"))
    put({"ProxyRuleGroups": [{"ProxyRuleGroupName": "team", "allow": ["team.test"]}]})
    run("attach", "team", "--position", "0")
    assert json.loads(run("priorities", "--json").output)["groups"] == ["team", "g"]
    assert "currently attached" not in run("priorities", "g").output
    assert json.loads(run("priorities", "--json").output)["groups"] == ["g", "team"]
    assert "attached to test already" in run("attach", "g", status=1).output
    assert "is not currently attached" in run("detach", "strange", status=1).output
    assert "there is no rule group 'strange'" in run("attach", "strange", status=1).output
    run("detach", "team")
    rows = {row["name"]: row["attached_to"] for row in json.loads(run("groups", "--json").output)}
    assert rows == {"g": ["test"], "team": []}
    assert json.loads(run("groups", "team").output)["ProxyRuleGroupName"] == "team"


def test_an_exception_passes_for_a_time(put: Callable[..., Result], run: Run) -> None:
    """In front of every other group, with owner and reason; it can be ended early."""
    put(three("a"))
    made = json.loads(
        run(
            "allow", ".late.test", "--for", "2h", "--why", "release", "--owner", "eve", "--ticket", "T-1", "--json"
        ).output
    )
    assert (made["owner"], made["why"], made["over"]) == ("eve", "release", False)
    run("allow", ".late.test", "--for", "1d", "--why", "again")
    document = yaml.safe_load(run("export").output)
    assert document["ProxyConfiguration"]["RuleGroups"] == ["exceptions", "g"]
    rules = document["ProxyRuleGroups"][0]["Rules"]
    assert [one["ProxyRuleName"] for one in rules["PreDNS"]] == ["late-test-1", "late-test-2"]
    assert (rules["PreDNS"][0]["Ticket"], rules["PreREQUEST"][0]["NotAfter"]) == ("T-1", made["until"])
    assert "eve" in run("exceptions").output
    assert "there is no exception x" in run("exceptions", "--end", "x", status=1).output
    left = json.loads(run("exceptions", "--end", "late-test-1", "--json").output)
    assert [one["name"] for one in left] == ["late-test-2"]
    assert "above 0" in run("allow", "x.test", "--for", "0s", "--why", "x", status=2).output
    assert "Domain: an entry is" in run("allow", "what is this", "--for", "1h", "--why", "x", status=1).output


def test_history_leads_back(put: Callable[..., Result], run: Run) -> None:
    """Each generation is there; going back is a new one."""
    put(three("a"))
    put({**three("a", "b"), "ProxyRuleGroups": [*three("a", "b")["ProxyRuleGroups"], {"ProxyRuleGroupName": "more"}]})
    assert "rule b added at 1" in run("diff", "1").output
    assert "rule b removed" in run("diff", "2", "1").output
    assert "no difference" in run("diff", "2", "2").output
    assert "there is no generation 9" in run("diff", "1", "9", status=1).output
    assert "rule b removed" in run("rollback", "1", "--dry-run").output
    assert "nobody to ask" in run("rollback", "1", status=1).output
    assert "as in generation 1: generation 3" in run("rollback", "1", "--yes").output
    assert "no difference" in run("diff", "1", "3").output
    assert [row["name"] for row in json.loads(run("groups", "--json").output)] == ["g"]
    assert "nothing to do" in run("rollback", "1", "--yes").output
    run("rollback", "2", "--yes")
    assert [row["name"] for row in json.loads(run("groups", "--json").output)] == ["g", "more"]
    assert [row["generation"] for row in json.loads(run("history", "--json").output)] == [4, 3, 2, 1]


def test_the_fleet_is_shown(put: Callable[..., Result], run: Run) -> None:
    """Of an empty one there is nothing to say; who lags is tested with real proxies."""
    put(three("a"))
    assert json.loads(run("status", "--fleet", "--json").output) == {"generation": 1, "nodes": []}


def test_validate_lists_every_mistake(run: Run, tmp_path: Path) -> None:
    """With its file and line; the vendor's quotas only where they are asked for."""
    file = tmp_path / "p.yaml"
    document = three("a")
    document["ProxyRuleGroups"][0]["Rules"]["PreDNS"][0]["Description"] = "x" * 600
    file.write_text(yaml.safe_dump(document))
    assert "1 group with 1 rule" in run("validate", str(file)).output
    assert "longer than 512" in run("validate", str(file), "--vendor-limits", status=1).output
    document["ProxyRuleGroups"][0]["Rules"]["PreDNS"][0]["Action"] = "MAYBE"
    file.write_text(yaml.safe_dump(document))
    problems = json.loads(run("validate", str(file), "--json", status=1).output)["problems"]
    assert [problem["path"] for problem in problems] == ["ProxyRuleGroups[0].Rules.PreDNS[0].Action"]


def test_with_files_the_verbs_say_so(tmp_path: Path, run: Run) -> None:
    """A policy in files is not a store."""
    (tmp_path / "proxy.yaml").write_text(
        CONFIGURATION.replace('store: "sqlite:///policy.sqlite", last_good: last-good', "file: x")
    )
    assert "is in files" in run("groups", status=1).output


def test_the_policy_of_a_store_is_looked_at_like_any_other(put: Callable[..., Result], run: Run) -> None:
    """explain, show and check read what the store says."""
    put(three("a"))
    assert '"outcome": "allow"' in run("explain", "http://a.test/", "--json").output
    assert "g/a" in run("show").output
    assert "sqlite:///" in run("check").output


def test_a_group_goes_out_as_the_vendor_has_it_and_comes_back(
    put: Callable[..., Result], run: Run, tmp_path: Path
) -> None:
    """JSON and CSV; what these cannot say is listed, and the status is 1."""
    put(three("a", "b"))
    exact = json.loads(run("export", "aws-rule-group", "g").stdout)
    assert exact["Rules"]["PreDNS"][0] == domain_rule("a", "ALLOW", "a.test")
    for form in ("json", "csv"):
        file = tmp_path / f"g.{form}"
        run("export", "aws-rule-group", "g", "--format", form, "--output", str(file))
        name = "aws-rule-group" if form == "json" else "csv"
        document = json.loads(run("import", name, str(file), "--json", "--group", "g").output)["document"]
        assert document["ProxyRuleGroups"][0]["Rules"] == exact["Rules"]
    timed = three("a")
    timed["ProxyRuleGroups"][0]["Rules"]["PreDNS"][0]["NotAfter"] = "2099-01-01"
    put(timed)
    assert "left out" in run("export", "aws-rule-group", "g", status=1).output


def test_why_walks_the_rules_that_were_in_force(put: Callable[..., Result], run: Run, tmp_path: Path) -> None:
    """The generation of the record, from history; the exception to make is a command; a lost generation is said."""
    place = tmp_path / "proxy.yaml"
    place.write_text(CONFIGURATION + "log: {path: records.jsonl}\n")
    put(three("one"))
    then = json.loads(run("history", "--json").output)[0]["generation"]
    put(three("one", "two"))
    record = {
        "event_timestamp": 1_800_000_000, "proxy_name": "p1", "final_action": "deny", "client_src_ip": "10.0.0.1",
        "client_src_port": 4000, "dest_domain": "two.test.", "http_method": "CONNECT", "dest_port": 443,
        "http_status_code": 403, "final_rule_name": "default", "final_rule_group_name": "",
        "all_matches": {"matches": [{"rule_id": "default", "hook": "pre_dns", "action": "deny"}]},
        "id": "2HA26-1F5FD", "kind": "connect", "listener": "main", "generation": then,
        "error": {"token": "http_request_denied", "fault": "policy", "message": "denied"},
    }  # fmt: skip
    (tmp_path / "records.jsonl").write_text(json.dumps(record) + "\n")
    told = json.loads(run("why", "[2ha26-if5fd]", "--json").output)
    assert told["policy"] == {"source": f"generation {then}, in force then", "of_then": True}
    assert told["differs"] is None
    assert [one["rule"] for one in told["phases"][0]["rules"]] == ["g/one"]
    assert told["advice"][0] == "for a time: netfw allow two.test --for 2h --why 'REASON'"
    record["generation"] = 99
    (tmp_path / "records.jsonl").write_text(json.dumps(record) + "\n")
    told = json.loads(run("why", "2HA26-1F5FD", "--json").output)
    assert told["policy"]["of_then"] is False
    assert "there is no generation 99" in told["policy"]["source"]
    assert "this walk comes to ALLOW by g/two" in told["differs"]
