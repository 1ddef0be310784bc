"""Changes of the store by command: on record with what was before and after, and within the quotas of the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from netfw.cli.main import netfw
from netfw.testing.proxy_process import domain_rule, policy

CONFIGURATION = """\
proxy: {name: p1}
listeners: [{name: main, type: HTTP, address: 127.0.0.1, port: 3128}]
policy: {store: "sqlite:///policy.sqlite", last_good: last-good}
control: {audit: audit.jsonl, quotas: {rules_per_group: 3, groups_per_configuration: 2, value_size: 20}}
"""
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a verb; it must end with this status."""
    (tmp_path / "proxy.yaml").write_text(CONFIGURATION)

    def invoke(*arguments: str, status: int = 0) -> Result:
        result = CliRunner().invoke(netfw, [*arguments, "--config", str(tmp_path / "proxy.yaml")])
        assert result.exit_code == status, (result.output, result.exception)
        return result

    return invoke


@pytest.fixture
def put(run: Run, tmp_path: Path) -> Callable[..., Result]:
    """Applies groups of rules that allow these names."""

    def apply(status: int = 0, **groups: tuple[str, ...]) -> Result:
        rules = {
            group: {"PreDNS": [domain_rule(name[:9], "ALLOW", f"{name}.test") for name in names]}
            for group, names in groups.items()
        }
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy(pre_dns="DENY", groups=rules), sort_keys=False))
        return run("apply", str(tmp_path / "policy.yaml"), "--yes", status=status)

    return apply


def records(directory: Path) -> list[dict[str, Any]]:
    """What was recorded."""
    return [json.loads(line) for line in (directory / "audit.jsonl").read_text().splitlines()]


def test_each_change_is_one_record(put: Callable[..., Result], run: Run, tmp_path: Path) -> None:
    """With the verb, the generation that it made, and what differs; what only looks leaves none."""
    put(g=("a", "b"))
    put(g=("a", "c"))
    run("detach", "g")
    run("attach", "g")
    run("allow", "x.test", "--for", "2h", "--why", "release")
    run("priorities", "g")
    run("exceptions", "--clear")
    run("rollback", "1", "--yes")
    for looking in ("groups", "history", "exceptions", "priorities", "export"):
        run(looking)
    found = records(tmp_path)
    assert [one["operation"] for one in found] == [
        "ApplyPolicy", "ApplyPolicy", "DetachRuleGroupsFromProxyConfiguration", "AttachRuleGroupsToProxyConfiguration",
        "AllowForTime", "UpdateProxyRuleGroupPriorities", "EndExceptions", "RollBack",
    ]  # fmt: skip
    assert [one["generation"] for one in found] == [1, 2, 3, 4, 5, 6, None, 7]
    assert {one["outcome"] for one in found} == {"done"}
    first, second, detached, *_ = found
    assert {change["arn"].rpartition(":")[2] for change in first["changes"]} == {
        "proxy-rule-group/g", "proxy-configuration/test", "proxy/p1",
    }  # fmt: skip
    (change,) = second["changes"]
    assert [rule["ProxyRuleName"] for rule in change["before"]["Rules"]["PreDNS"]] == ["b"]
    assert [rule["ProxyRuleName"] for rule in change["after"]["Rules"]["PreDNS"]] == ["c"]
    assert detached["about"]["ProxyConfigurationName"] == "test"
    assert detached["changes"][0]["arn"].endswith("proxy-configuration/test")
    assert found[4]["about"]["Description"] == "release"


def test_what_is_more_than_the_quotas_is_refused_and_on_record(
    put: Callable[..., Result], run: Run, tmp_path: Path
) -> None:
    """Just inside it is done, just outside nothing is; the error names the setting."""
    put(g=("a", "b", "c"))
    assert "control.quotas.rules_per_group" in put(1, g=("a", "b", "c", "d")).output
    put(g=("a", "b", "c"), h=("a",))
    assert "control.quotas.groups_per_configuration" in put(1, g=("a",), h=("a",), i=("a",)).output
    put(h=("v" * 15,))
    assert "PreDNS" in put(1, h=("v" * 16,)).output
    run("allow", "y.test", "--for", "2h", "--why", "no room", status=0)
    assert len(json.loads(run("history", "--json").output)) == 4
    assert [one["outcome"] for one in records(tmp_path)] == [
        "done", "LimitExceededException", "done", "LimitExceededException", "done", "done",
    ]  # fmt: skip


def test_one_may_go_back_to_what_is_more_than_todays_quotas(
    put: Callable[..., Result], run: Run, tmp_path: Path
) -> None:
    """The way back in a bad hour is no place for refusing what was accepted once."""
    put(g=("a", "b", "c"))
    put(g=("a",))
    place = tmp_path / "proxy.yaml"
    place.write_text(place.read_text().replace("rules_per_group: 3", "rules_per_group: 2"))
    assert "rules_per_group" in put(1, g=("a", "b", "c")).output
    run("rollback", "1", "--yes")
    assert json.loads(run("groups", "--json").output)[0]["rules"]["PreDNS"] == 3


def test_what_cannot_be_recorded_is_not_done(put: Callable[..., Result], run: Run, tmp_path: Path) -> None:
    """The file is opened first."""
    (tmp_path / "audit.jsonl").mkdir()
    assert "no audit record can be written, so nothing is done" in put(1, g=("a",)).output
    assert json.loads(run("groups", "--json").output) == []


def test_old_history_is_taken_out_on_demand(put: Callable[..., Result], run: Run, tmp_path: Path) -> None:
    """Asked for twice over: by --keep, and by --yes or an answer. It is on record."""
    for name in ("a", "b", "c", "d"):
        put(g=(name,))
    assert "nobody to ask" in run("history", "--keep", "1", status=1).output
    assert "generation 3 stands for all before it" in run("history", "--keep", "1", "--yes").output
    assert "nothing to do" in run("history", "--keep", "1", "--yes").output
    assert [one["generation"] for one in json.loads(run("history", "--json").output)] == [4, 3]
    assert "was taken out of the history" in run("diff", "1", status=1).output
    assert "rule c added" in run("diff", "4", "3").output
    assert [one["about"]["Keep"] for one in records(tmp_path) if one["operation"] == "PruneGenerations"] == [1, 1]
