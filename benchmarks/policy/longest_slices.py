"""How long the steps of taking over a large policy are, each of them. Run by hand:

    python benchmarks/policy/longest_slices.py [--values 100000] [--worst 3] [--rounds 2]

What the serving process does of a reload (take over the lines that the reading process printed, compile, print
for the workers, take that over there, let the former policy go) goes in slices, between which connections are looked
after. Prints for several shapes of a policy the longest steps of each stage in milliseconds of CPU time of the thread.
The garbage collector is held off meanwhile and what is alive then frozen, as `transport.slices` does it in the service.
Of several rounds each step's shortest time counts: what was long once was the machine's doing.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from time import thread_time
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from netfw.config.policy_lines import print_policy
from netfw.policy.letting_go import when_unused
from netfw.policy.load import load_policy
from netfw.policy.model import Phase
from netfw.service.policy_reading import take_over
from netfw.workers.messages import LIMIT_TO_WORKER, TO_WORKER, MessageReader
from netfw.workers.snapshot import compile_snapshot, print_snapshot

Conditions = list[tuple[str, str, list[str]]]


def document(phase: Phase, rules: list[Conditions]) -> dict[str, Any]:
    """A policy with these rules in one phase."""
    return {
        "ProxyConfiguration": {
            "ProxyConfigurationName": "bench",
            "DefaultRulePhaseActions": {one.value: "ALLOW" for one in Phase},
            "RuleGroups": ["g"],
        },
        "ProxyRuleGroups": [
            {
                "ProxyRuleGroupName": "g",
                "Rules": {
                    phase.value: [
                        {
                            "ProxyRuleName": f"r{number}",
                            "Action": "DENY",
                            "Conditions": [
                                {"ConditionKey": key, "ConditionOperator": operator, "ConditionValues": values}
                                for key, operator, values in conditions
                            ],
                        }
                        for number, conditions in enumerate(rules)
                    ]
                },
            }
        ],
    }


def shapes(count: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """The policies that are measured, each of `count` values."""
    numbers = range(count)
    domains = [f"host{number}.zone{number % 977}.example.com" for number in numbers]
    suffixes = ["." + domain for domain in domains]
    networks = [f"{20 + number // 65536}.{number // 256 % 256}.{number % 256}.0/24" for number in numbers]
    globs = [f"/api/v{number % 97}/service{number}/*" for number in numbers]
    inner = [f"*secret{number}x*" for number in numbers]
    tails = [f"*/file{number}.bin" for number in numbers]
    name, uri = "request:DestinationDomain", "request:Http:Uri"
    before, request = Phase.PRE_DNS, Phase.PRE_REQUEST

    def each(phase: Phase, key: str, operator: str, values: list[str]) -> Callable[[], dict[str, Any]]:
        return lambda: document(phase, [[(key, operator, [value])] for value in values])

    def one(phase: Phase, key: str, operator: str, values: list[str]) -> Callable[[], dict[str, Any]]:
        return lambda: document(phase, [[(key, operator, values)]])

    return {
        "names, a rule each": each(before, name, "StringEquals", domains),
        "fifty names a rule": lambda: document(
            before, [[(name, "StringEquals", domains[start : start + 50])] for start in range(0, count, 50)]
        ),
        "names, one rule": one(before, name, "StringEquals", domains),
        "suffixes, one rule": one(before, name, "StringEquals", suffixes),
        "networks, a rule each": each(request, "request:DestinationIp", "IpAddress", networks),
        "networks, one rule": one(request, "request:DestinationIp", "IpAddress", networks),
        "heads of paths, a rule each": each(request, uri, "StringLike", globs),
        "heads of paths, one rule": one(request, uri, "StringLike", globs),
        "tails of paths, one rule": one(request, uri, "StringLike", tails),
        "parts of paths, one rule": one(request, uri, "StringLike", inner),
        "not these names, one rule": one(before, name, "StringNotEquals", domains),
        "not these networks, one rule": one(request, "request:DestinationIp", "NotIpAddress", networks),
        "not these paths, one rule": one(request, uri, "StringNotLike", inner),
        "two long conditions, one rule": lambda: document(
            before, [[(name, "StringEquals", domains), ("request:SourceIp", "IpAddress", networks)]]
        ),
    }


def timed(work: Generator[None, None, Any], steps: list[tuple[float, int]]) -> Any:
    """Run the generator to its end; (seconds, number) of each step into `steps`. Returns what it returns."""
    number = 0
    while True:
        began = thread_time()
        try:
            next(work)
        except StopIteration as stopped:
            steps.append((thread_time() - began, number))
            return stopped.value
        steps.append((thread_time() - began, number))
        number += 1


Stages = dict[str, list[tuple[float, int]]]


def measured(stage: str, work: Generator[None, None, Any], stages: Stages) -> Any:
    """One stage under the collector's treatment of the service."""
    steps: list[tuple[float, int]] = []
    gc.disable()
    result = timed(work, steps)
    gc.freeze()
    gc.enable()
    before = stages.setdefault(stage, steps)
    stages[stage] = [min(one, other) for one, other in zip(before, steps, strict=True)]
    return result


def show(stages: Stages, worst: int) -> None:
    """A line for each stage."""
    for stage, steps in stages.items():
        whole = sum(seconds for seconds, _ in steps)
        longest = sorted(steps, reverse=True)[:worst]
        shown = "  ".join(f"{seconds * 1e3:6.2f} (#{number})" for seconds, number in longest)
        print(f"    {stage:34}{whole:8.3f} s in {len(steps):6} steps; longest: {shown}", flush=True)


def one_round(make: Callable[[], dict[str, Any]], stages: Stages) -> list[bytes]:
    """All stages of one policy; its lines."""
    printed = [line.rstrip(b"\n") for line in print_policy(load_policy(make(), "bench"))]
    policy = measured("take over and compile", take_over([*printed], 1, 0.0), stages)
    messages = measured("print for workers", print_snapshot(policy.configuration, 1, 1, 0.0), stages)
    reader = MessageReader(TO_WORKER, LIMIT_TO_WORKER)
    payloads = [message.payload for octets in messages for message in reader.feed(octets)]
    messages = None
    there = measured("take over and compile in a worker", compile_snapshot(payloads, 1, 0.0), stages)
    works: list[Generator[None, None, None]] = []
    when_unused(policy, works.append)
    when_unused(there, works.append)
    del policy, there
    for work, who in zip(works, ("let go", "let go in a worker"), strict=True):
        measured(who, work, stages)
    return printed


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--values", type=int, default=100_000)
    parser.add_argument("--worst", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="shapes with this in their name")
    arguments = parser.parse_args()
    for name, make in shapes(arguments.values).items():
        if arguments.only not in name:
            continue
        stages: Stages = {}
        for _ in range(arguments.rounds):
            lines = one_round(make, stages)
        print(f"{name}: {len(lines)} lines, the longest of {max(map(len, lines))} octets")
        show(stages, arguments.worst)


if __name__ == "__main__":
    main()
