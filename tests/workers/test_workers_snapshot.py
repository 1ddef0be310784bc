"""A policy in many messages comes out equal at the other end, and nothing else comes out as a policy."""

from __future__ import annotations

import json
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.config.policy_lines import print_policy
from netfw.policy.compile import CompiledPolicy
from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule, RuleGroup
from netfw.transport.slices import run_to_the_end
from netfw.workers.messages import LIMIT_TO_WORKER, TO_WORKER, MessageError, MessageReader
from netfw.workers.snapshot import MESSAGE, SnapshotError, compile_snapshot, is_last, print_snapshot

TEXTS = st.text(min_size=1, max_size=8)
RULES = st.builds(
    Rule,
    name=TEXTS,
    action=st.sampled_from(Action),
    conditions=st.lists(st.builds(Condition, TEXTS, TEXTS, st.lists(TEXTS, max_size=3).map(tuple)), max_size=2).map(
        tuple
    ),
    description=st.none() | TEXTS,
    not_after=st.none() | st.floats(0, 1e10),
    owner=st.none() | TEXTS,
    ticket=st.none() | TEXTS,
)
GROUPS = st.builds(
    RuleGroup,
    name=TEXTS,
    rules=st.fixed_dictionaries({phase: st.lists(RULES, max_size=2).map(tuple) for phase in Phase}),
    description=st.none() | TEXTS,
)
POLICIES = st.builds(
    PolicyConfiguration,
    name=TEXTS,
    defaults=st.fixed_dictionaries({phase: st.sampled_from(Action) for phase in Phase}),
    groups=st.lists(GROUPS, max_size=2).map(tuple),
    description=st.none() | TEXTS,
    unattached=st.lists(GROUPS, max_size=1).map(tuple),
)


def travelled(policy: PolicyConfiguration) -> list[bytes]:
    """What the messages carry."""
    reader = MessageReader(TO_WORKER, LIMIT_TO_WORKER)
    printed = run_to_the_end(print_snapshot(policy, 5, 2, 3.5))
    parts = [message for data in printed for message in reader.feed(data)]
    assert {(part.serial, part.generation, part.at) for part in parts} == {(5, 2, 3.5)}
    return [part.payload for part in parts]


def compiled(payloads: list[bytes]) -> CompiledPolicy:
    return run_to_the_end(compile_snapshot(list(payloads), 2, 0.0))


def named(count: int, values: int = 1) -> PolicyConfiguration:
    """So many rules of so many names each."""
    rules = tuple(
        Rule(
            f"rule-{number}",
            Action.DENY,
            (
                Condition("request:SourcePort", "NumericEquals", ("1",)),
                Condition(
                    "request:DestinationDomain",
                    "StringEquals",
                    tuple(f"x{number}-{value}.example" for value in range(values)),
                ),
            ),
        )
        for number in range(count)
    )
    group = RuleGroup("g", {Phase.PRE_DNS: rules, Phase.PRE_REQUEST: rules[:1], Phase.POST_RESPONSE: ()})
    return PolicyConfiguration("p", dict.fromkeys(Phase, Action.DENY), (group,))


@pytest.mark.parametrize(("rules", "values"), [(0, 0), (1, 1), (3000, 1), (1, 2000)])
def test_large_policies_come_in_small_messages(rules: int, values: int) -> None:
    """However the values are spread over rules; the last message alone says that it is the last."""
    policy = named(rules, values)
    payloads = travelled(policy)
    assert [is_last(payload) for payload in payloads] == [False] * (len(payloads) - 1) + [True]
    assert max(map(len, payloads)) <= 3 * MESSAGE
    came = compiled(payloads)
    assert (came.configuration, came.generation) == (policy, 2)


@given(POLICIES)
def test_policies_come_back_equal(policy: PolicyConfiguration) -> None:
    """Whatever they say: names, values and dates are not interpreted on the way."""
    payloads = travelled(policy)
    lines: Generator[None, None, CompiledPolicy] = compile_snapshot(payloads, 1, 0.0)
    try:
        came = run_to_the_end(lines)
    except SnapshotError:
        raise
    except Exception:
        return  # no key or operator is one that can be compiled; what came was read
    assert came.configuration == policy


def test_a_policy_without_a_phase_is_none() -> None:
    """No default action is made up for it."""
    lines = [json.loads(line) for line in print_policy(named(1))]
    lines[0]["defaults"].pop("PreDNS")
    with pytest.raises(SnapshotError, match="phase"):
        compiled([b"".join(json.dumps(line).encode() + b"\n" for line in lines)])


@pytest.mark.parametrize(
    "data",
    [b"", b"null\n", b"[]\n", b"{\n", b"\xff\n", b"[" * 100_000, b"NaN\n", b'"end"\n']
    + [b'{"groups":[]}\n[9,"PreDNS",[]]\n', b'{"groups":[]}\n"end"\n'],
)
def test_other_bytes_are_no_policy(data: bytes) -> None:
    """And nothing but SnapshotError is raised."""
    with pytest.raises(SnapshotError):
        compiled([data])


def test_a_policy_that_does_not_end_is_none() -> None:
    """Half of it is not put in force."""
    payloads = travelled(named(3000))
    with pytest.raises(SnapshotError, match="end"):
        compiled(payloads[:-1])


def test_a_policy_that_workers_would_not_read_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused where it is printed."""
    monkeypatch.setattr("netfw.workers.snapshot.LIMIT_TO_WORKER", 500)
    with pytest.raises(MessageError, match="octets"):
        run_to_the_end(print_snapshot(named(3), 1, 1, 0.0))
