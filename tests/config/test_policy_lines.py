"""A policy as lines, and the process that prints it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from netfw.config.model import PolicySection
from netfw.config.policy_files import read_policy
from netfw.config.policy_lines import CHUNK, PolicyLines, print_policy
from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule, RuleGroup

ETC = Path(__file__).parents[2] / "etc"


def read_back(lines: list[bytes]) -> PolicyConfiguration:
    reader = PolicyLines()
    for line in lines:
        assert not reader.is_complete
        reader.take(line)
    return reader.policy()


def large(count: int) -> PolicyConfiguration:
    rules = tuple(
        Rule(
            f"rule-{number}",
            Action.DENY,
            (Condition("request:DestinationDomain", "StringEquals", (f"x{number}.example", "\u00e4\x1b")),),
            description="why" if number % 2 else None,
            not_after=1.5 if number % 3 else None,
            owner="me",
        )
        for number in range(count)
    )
    group = RuleGroup("g", {Phase.PRE_DNS: rules, Phase.PRE_REQUEST: (), Phase.POST_RESPONSE: rules[:1]}, "text")
    spare = RuleGroup("spare", dict.fromkeys(Phase, ()))
    return PolicyConfiguration("p", dict.fromkeys(Phase, Action.ALERT), (group,), "d", (spare,))


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK])
def test_round_trip(count: int) -> None:
    """What is printed is read back equal, however many lines it takes."""
    policy = large(count)
    assert policy == read_back(list(print_policy(policy)))


def test_the_example_policy() -> None:
    """The shipped policy survives the way through the lines."""
    policy = read_policy(PolicySection(file=ETC / "policy.yaml", directory=None))
    assert policy == read_back(list(print_policy(policy)))


def test_a_cut_is_noticed() -> None:
    """Without its last line a policy is not complete."""
    reader = PolicyLines()
    for line in list(print_policy(large(3)))[:-1]:
        reader.take(line)
    assert not reader.is_complete


def child(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "netfw.config.policy_child", *arguments],
        capture_output=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def test_the_child_prints_a_policy() -> None:
    """Its output is the policy that reading here gives."""
    ended = child("file", str(ETC / "policy.yaml"))
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert read_policy(PolicySection(file=ETC / "policy.yaml", directory=None)) == read_back(
        ended.stdout.splitlines(keepends=True)
    )


def test_the_child_prints_problems(tmp_path: Path) -> None:
    """A bad policy gives status 1 and the list of what is wrong."""
    bad = tmp_path / "policy.yaml"
    bad.write_text("ProxyConfiguration: 1\n")
    ended = child("file", str(bad))
    assert ended.returncode == 1
    problems = json.loads(ended.stdout)
    assert problems
    assert all("policy.yaml" in problem for problem in problems)
