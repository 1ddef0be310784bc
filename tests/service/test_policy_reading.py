"""Reading a policy without stalling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netfw.config.model import PolicySection
from netfw.config.policy_files import read_policy
from netfw.service.policy_reading import PolicyUnreadable, read_and_compile
from netfw.testing.reactor_runs import run_in_reactor


def written(path: Path, rules: int) -> PolicySection:
    condition = {"ConditionKey": "request:DestinationDomain", "ConditionOperator": "StringEquals"}
    path.write_text(
        json.dumps(
            {
                "ProxyConfiguration": {
                    "ProxyConfigurationName": "large",
                    "DefaultRulePhaseActions": {"PreDNS": "DENY", "PreREQUEST": "ALLOW", "PostRESPONSE": "ALLOW"},
                    "RuleGroups": ["g"],
                },
                "ProxyRuleGroups": [
                    {
                        "ProxyRuleGroupName": "g",
                        "Rules": {
                            "PreDNS": [
                                {
                                    "ProxyRuleName": f"r{number}",
                                    "Action": "ALLOW",
                                    "Conditions": [{**condition, "ConditionValues": [f"h{number}.example"]}],
                                }
                                for number in range(rules)
                            ]
                        },
                    }
                ],
            }
        )
    )
    return PolicySection(file=path, directory=None)


def test_a_large_policy_is_taken_over_in_slices(tmp_path: Path) -> None:
    """The reactor goes on turning while it is read and compiled, and the policy is the one that the file says."""
    section = written(tmp_path / "policy.json", 5000)
    turns = 0

    async def scenario(reactor):
        nonlocal turns
        ticking = True

        def tick() -> None:
            nonlocal turns
            turns += 1
            if ticking:
                reactor.callLater(0.001, tick)

        tick()
        policy = await read_and_compile(reactor, section, 7, 0.0)
        ticking = False
        return policy

    policy = run_in_reactor(scenario, timeout=60)
    assert policy.generation == 7
    assert read_policy(section) == policy.configuration
    assert turns > 20


@pytest.mark.parametrize("text", ["", "{", '{"ProxyConfiguration": 1}'])
def test_what_is_wrong_is_told(tmp_path: Path, text: str) -> None:
    """A file that cannot be used fails with its problems."""
    path = tmp_path / "policy.json"
    path.write_text(text)

    async def scenario(reactor):
        with pytest.raises(PolicyUnreadable) as caught:
            await read_and_compile(reactor, PolicySection(file=path, directory=None), 1, 0.0)
        return caught.value.problems

    problems = run_in_reactor(scenario, timeout=60)
    assert problems
    assert all("policy.json" in problem for problem in problems)
