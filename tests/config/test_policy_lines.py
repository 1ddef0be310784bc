"""A policy as lines, and the process that prints it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from netfw.config.model import PolicySection
from netfw.config.policy_files import read_policy
from netfw.config.policy_lines import CHUNK, CHUNK_TEXT, CHUNK_VALUES, PolicyLines, print_policy
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


def test_values_go_ahead_of_their_rule() -> None:
    """However many values a rule has, no line has more than its share, and all come back in their places."""
    long, longer = [tuple(f"h{number}.example" for number in range(CHUNK_VALUES * more + 1)) for more in (1, 3)]
    name, address = ("request:DestinationDomain", "StringEquals"), ("request:DestinationIp", "IpAddress")
    rules = (
        Rule("short", Action.DENY, (Condition(*name, ("a.example",)),)),
        Rule("2", Action.DENY, (Condition(*name, longer), Condition(*address, ("10.0.0.1",)), Condition(*name, long))),
        Rule("exact", Action.DENY, (Condition(*name, long[:CHUNK_VALUES]),)),
        *(Rule(f"some-{number}", Action.ALLOW, (Condition(*name, long[:300]),)) for number in range(9)),
        Rule("one-more", Action.ALLOW, (Condition(*name, long),)),
    )
    group = RuleGroup("g", {Phase.PRE_DNS: rules, Phase.PRE_REQUEST: rules[1:2], Phase.POST_RESPONSE: ()}, "")
    policy = PolicyConfiguration("p", dict.fromkeys(Phase, Action.ALLOW), (group,), "", ())
    lines = list(print_policy(policy))
    assert max(line.count(b".example") for line in lines) < CHUNK_VALUES + 300
    assert policy == read_back(lines)
    with pytest.raises(ValueError, match="should have gone ahead"):
        read_back([line for line in lines if b"h2000." not in line])


def test_long_texts_go_ahead_as_well() -> None:
    """A line has its share of characters too, however few values that are."""
    text = "x" * (CHUNK_TEXT // 8)
    agent = ("request:Http:UserAgent", "StringLike")
    many = tuple(f"{text}{number}" for number in range(40))
    rules = (
        Rule("many", Action.DENY, (Condition(*agent, many), Condition(*agent, many[:3]))),
        *(Rule(f"some-{number}", Action.DENY, (Condition(*agent, (many[number],)),)) for number in range(40)),
    )
    group = RuleGroup("g", {Phase.PRE_DNS: (), Phase.PRE_REQUEST: rules, Phase.POST_RESPONSE: ()}, "")
    policy = PolicyConfiguration("p", dict.fromkeys(Phase, Action.ALLOW), (group,), "", ())
    lines = list(print_policy(policy))
    assert max(map(len, lines)) < 2 * CHUNK_TEXT
    assert policy == read_back(lines)


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
