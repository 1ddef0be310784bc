"""What a decision costs, and how little it depends on the number of rules. Run by hand:

    python benchmarks/policy/bench_policy.py

Prints a table; each figure is the best of several rounds, in microseconds of CPU time a decision.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from ipaddress import ip_address
from typing import Any

from netfw.http1.fields import Fields
from netfw.policy.compile import CompiledPolicy, compile_in_slices, compile_policy
from netfw.policy.evaluate import evaluate
from netfw.policy.facts import Facts
from netfw.policy.load import load_policy
from netfw.policy.model import Phase

ROUNDS = 1500
CALLS = 200
"""Short rounds: on a machine that others use as well some of them have it to themselves."""
LONG = b"/repos/octo/hello-world/pulls/12345/comments"


def document(phase: Phase, rules: list[dict[str, Any]], default: str = "DENY") -> dict[str, Any]:
    """A policy with these rules in one phase."""
    return {
        "ProxyConfiguration": {
            "ProxyConfigurationName": "bench",
            "DefaultRulePhaseActions": {one.value: default for one in Phase},
            "RuleGroups": ["g"],
        },
        "ProxyRuleGroups": [{"ProxyRuleGroupName": "g", "Rules": {phase.value: rules}}],
    }


def rule(number: int, action: str, *conditions: tuple[str, str, list[str]]) -> dict[str, Any]:
    """One rule of a document."""
    return {
        "ProxyRuleName": f"r{number}",
        "Action": action,
        "Conditions": [
            {"ConditionKey": key, "ConditionOperator": operator, "ConditionValues": values}
            for key, operator, values in conditions
        ],
    }


def compiled(phase: Phase, rules: list[dict[str, Any]], default: str = "DENY") -> CompiledPolicy:
    """The policy, ready."""
    return compile_policy(load_policy(document(phase, rules, default), "bench"), 1, 0.0)


def facts(host: str, path: bytes = b"/", agent: bytes = b"curl/8.5.0") -> Facts:
    """An intercepted GET."""
    one = Facts(
        source_ip=ip_address("10.9.0.4"),
        source_port=40000,
        time=1.0,
        protocol="https",
        destination_domain=host,
        destination_port=443,
        destination_ip=ip_address("198.51.100.7"),
    )
    one.method, one.path, one.query = b"GET", path, b"q=1"
    one.request_fields = Fields([(b"Host", host.encode()), (b"User-Agent", agent), (b"Accept", b"*/*")])
    one.http_host, one.request_content_length = host, 0
    one.status, one.response_content_length = 200, 100
    one.response_fields = Fields([(b"Content-Type", b"text/html")])
    return one


def cost(policy: CompiledPolicy, phase: Phase, known: Facts) -> float:
    """Microseconds a decision."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(CALLS):
            evaluate(policy, phase, known)
        best = min(best, time.process_time() - start)
    return best / CALLS * 1e6


def row(name: str, figures: list[float]) -> None:
    """One line: the figures, then the largest policy held against the smallest."""
    print(f"{name:44}" + "".join(f"{figure:9.2f}" for figure in figures) + f"   x{figures[-1] / figures[0]:.2f}")


def domain_rules(count: int) -> list[dict[str, Any]]:
    """A third exact names, a third `.x`, a third `*.x`, allowed and denied in turn."""
    forms = ("host{}.example.com", ".zone{}.example.net", "*.sub{}.example.org")
    return [
        rule(
            number,
            ("ALLOW", "DENY")[number % 2],
            (
                "request:DestinationDomain",
                ("StringEquals", "StringEquals", "StringLike")[number % 3],
                [forms[number % 3].format(number)],
            ),
        )
        for number in range(count)
    ]


def bench_domains() -> None:
    """PreDNS by name."""
    policies = [compiled(Phase.PRE_DNS, domain_rules(count)) for count in (10, 1_000, 100_000)]
    print("domain rules                                      10     1000   100000")
    for name, host in (
        ("hit, exact name", "host6.example.com"),
        ("hit, .x", "a.zone7.example.net"),
        ("hit, *.x", "a.b.sub8.example.org"),
        ("miss", "www.elsewhere.example"),
        ("miss, six labels", "a.b.c.d.elsewhere.example"),
    ):
        row(name, [cost(policy, Phase.PRE_DNS, facts(host)) for policy in policies])


def bench_paths() -> None:
    """PreREQUEST by path patterns."""
    shapes = ("/api/v1/service{}/*", "*/secret{}/*", "*.ext{}", "/repos/*/issues{}/*")
    texts = [shapes[number % 4].format(number) for number in range(1000)]
    one_by_one = [
        [rule(number, "DENY", ("request:Http:Uri", "StringLike", [text])) for number, text in enumerate(chosen)]
        for chosen in (texts[1:2], texts)
    ]
    in_one = [[rule(0, "DENY", ("request:Http:Uri", "StringLike", chosen))] for chosen in (texts[1:2], texts)]
    print("\npath patterns                                      1     1000")
    for name, policies in (("a rule each", one_by_one), ("all in one rule", in_one)):
        ready = [compiled(Phase.PRE_REQUEST, rules, "ALLOW") for rules in policies]
        for what, path in (
            ("miss", LONG),
            ("hit", b"/files/secret1/x"),
            ("miss, escapes", b"/repos/octo/../%68ello-world/pulls"),
        ):
            row(f"{name}, {what}", [cost(policy, Phase.PRE_REQUEST, facts("h.example", path)) for policy in ready])
    letters = "abcdefghijklmnopqrstuvwxyz"
    pairs = [one + other for one in letters for other in letters]
    shapes_in_one = {
        "cut-open words": [f"*secret{number}x*" for number in range(1000)],
        "short pieces": [f"*{pairs[number % 676]}{number % 10}*" for number in range(1000)],
        "two-letter pieces": [f"*{pairs[number % 676]}*{pairs[number * 7 % 676]}*" for number in range(1000)],
        "heads and tails": [f"/a{number}*/b{number}" for number in range(1000)],
    }
    for name, patterns in shapes_in_one.items():
        ready = [
            compiled(Phase.PRE_REQUEST, [rule(0, "DENY", ("request:Http:Uri", "StringLike", chosen))], "ALLOW")
            for chosen in (patterns[:1], patterns)
        ]
        for what, path in (
            ("miss", LONG),
            ("near miss", b"/files/secret12/secrets/xsecret999/y"),
            ("miss, escapes", b"/repos/octo/../%68ello-world/pulls"),
        ):
            row(f"{name}, {what}", [cost(one, Phase.PRE_REQUEST, facts("h.example", path)) for one in ready])


def bench_networks() -> None:
    """PreREQUEST by address."""

    def networks(count: int) -> list[dict[str, Any]]:
        return [
            rule(
                number,
                "DENY",
                (
                    "request:DestinationIp",
                    "IpAddress",
                    [f"{20 + number % 100}.{number // 100 % 256}.{number % 256}.0/24"],
                ),
            )
            for number in range(count)
        ]

    policies = [compiled(Phase.PRE_REQUEST, networks(count), "ALLOW") for count in (10, 10_000)]
    print("\nnetworks                                          10    10000")
    row("miss", [cost(policy, Phase.PRE_REQUEST, facts("h.example")) for policy in policies])
    hit = facts("h.example")
    hit.destination_ip = ip_address("25.0.5.9")
    row("hit", [cost(policy, Phase.PRE_REQUEST, hit) for policy in policies])


def bench_usual() -> None:
    """A policy as people have it: a hundred rules of several kinds, all three phases."""
    before = domain_rules(80) + [
        rule(80 + number, "DENY", ("request:SourceIp", "IpAddress", [f"10.{number}.0.0/24"])) for number in range(20)
    ]
    request = [
        rule(
            number,
            "ALLOW",
            ("request:DestinationDomain", "StringEquals", [f".zone{number}.example.net"]),
            ("request:Http:Method", "StringEquals", ["GET", "HEAD"]),
            ("request:Http:Uri", "StringLike", [f"/p{number}/*"]),
        )
        for number in range(90)
    ] + [
        rule(90, "DENY", ("request:Http:Method", "StringEquals", ["POST"])),
        rule(91, "ALERT", ("request:Http:UserAgent", "StringLike", ["*curl*"])),
        rule(92, "DENY", ("request:DestinationPort", "NumericGreaterThan", ["8000"])),
    ]  # fmt: skip
    after = [
        rule(0, "DENY", ("response:Http:ContentType", "StringLike", ["application/octet-stream*"])),
        rule(1, "ALERT", ("response:Http:StatusCode", "NumericGreaterThanEquals", ["500"])),
    ]
    shown = facts("a.zone7.example.net", b"/p7/index.html", b"Mozilla/5.0")
    other = facts("www.elsewhere.example", b"/", b"Mozilla/5.0")
    print("\na hundred rules of several kinds         matches default")
    for name, phase, rules in (
        ("PreDNS", Phase.PRE_DNS, before),
        ("PreREQUEST", Phase.PRE_REQUEST, request),
        ("PostRESPONSE", Phase.POST_RESPONSE, after),
    ):
        policy = compiled(phase, rules)
        print(f"{name:40}{cost(policy, phase, shown):9.2f}{cost(policy, phase, other):9.2f}")
    policy = compiled(Phase.PRE_REQUEST, request)
    awaiting = facts("a.zone7.example.net")
    awaiting.await_http()
    print(f"{'PreREQUEST, HTTP not yet visible':40}{cost(policy, Phase.PRE_REQUEST, awaiting):9.2f}")
    empty = compiled(Phase.PRE_DNS, [])
    print(f"{'no rule at all':40}{cost(empty, Phase.PRE_DNS, other):9.2f}")


def bench_compiling() -> None:
    """100,000 rules from the parsed document on."""
    parsed = document(Phase.PRE_DNS, domain_rules(100_000))
    start = time.process_time()
    configuration = load_policy(parsed, "bench")
    loaded = time.process_time()
    # As the service does it (`transport.slices`): no collection meanwhile.
    gc.disable()
    longest, last, steps = 0.0, time.thread_time(), 0
    slices = compile_in_slices(configuration, 1, 0.0)
    while True:
        try:
            next(slices)
        except StopIteration:
            break
        now = time.thread_time()
        longest, last, steps = max(longest, now - last), now, steps + 1
    end = time.process_time()
    gc.enable()
    print(f"\n100,000 rules: load {loaded - start:.2f} s, compile {end - loaded:.2f} s in {steps} steps, "
          f"longest {longest * 1e3:.1f} ms (longest_slices.py has the other stages)")  # fmt: skip
    del configuration, slices
    tracemalloc.start()
    kept = compile_policy(load_policy(parsed, "bench"), 1, 0.0)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(
        f"memory: {held / 2**20:.0f} MiB held, {peak / 2**20:.0f} MiB at the peak, {len(kept.programs[0].rules)} rules"
    )


if __name__ == "__main__":
    bench_domains()
    bench_paths()
    bench_networks()
    bench_usual()
    bench_compiling()
