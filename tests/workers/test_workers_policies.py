"""A worker's policy: compiled in slices between which the reactor turns, and only the newest snapshot counts."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock

from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule, RuleGroup
from netfw.testing.deferreds import result_of
from netfw.transport.slices import run_to_the_end
from netfw.workers.messages import LIMIT_TO_WORKER, TO_WORKER, MessageReader, Snapshot
from netfw.workers.policies import SnapshotPolicies
from netfw.workers.snapshot import print_snapshot


def policy(count: int) -> PolicyConfiguration:
    rules = tuple(
        Rule(f"r{n}", Action.DENY, (Condition("request:DestinationDomain", "StringEquals", (f"x{n}.example",)),))
        for n in range(count)
    )
    group = RuleGroup("g", {Phase.PRE_DNS: rules, Phase.PRE_REQUEST: (), Phase.POST_RESPONSE: ()})
    return PolicyConfiguration("p", dict.fromkeys(Phase, Action.DENY), (group,))


class Worker:
    """Its policies, and what it hears."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.policies = SnapshotPolicies(self.clock)

    def hear(self, serial: int, count: int = 3, *, upto: int | None = None) -> Any:
        """A policy of this serial; the Deferred that its last message gives."""
        reader = MessageReader(TO_WORKER, LIMIT_TO_WORKER)
        printed = run_to_the_end(print_snapshot(policy(count), serial, serial * 10, 0.0))
        answer = None
        for message in [message for data in printed for message in reader.feed(data)][:upto]:
            answer = self.policies.take(message)
        return answer

    def ready(self, serial: int) -> Any:
        """What it answers to a small policy, however slow the machine is."""
        answer = self.hear(serial)
        self.turn_until(answer)
        return result_of(answer)

    def turn_until(self, deferred: Any) -> int:
        """How many turns of the reactor it takes."""
        turns = 0
        while not deferred.called:
            self.clock.advance(0.003)
            turns += 1
        return turns

    @property
    def generation(self) -> int | None:
        return None if self.policies.current is None else self.policies.current.generation


@pytest.fixture
def worker() -> Iterator[Worker]:
    yield Worker()
    assert gc.isenabled()
    gc.unfreeze()


def test_a_policy_is_in_force_when_it_is_told_to_be(worker: Worker) -> None:
    """Not before, and only the one that is prepared."""
    assert worker.ready(1) == ()
    assert worker.generation is None
    assert not worker.policies.swap(2)
    assert worker.policies.swap(1)
    assert worker.generation == 10
    assert not worker.policies.swap(1)


def test_a_large_one_is_compiled_between_turns(worker: Worker) -> None:
    """Many of them, and the one in force stays until the swap; what it replaces is freed in slices too."""
    worker.hear(1, 20_000)
    worker.turn_until(first := worker.hear(1, 20_000))
    assert result_of(first) == ()
    assert worker.policies.swap(1)
    second = worker.hear(2, 20_000)
    assert worker.turn_until(second) > 5
    assert worker.generation == 10
    assert worker.policies.swap(2)
    assert worker.generation == 20
    while worker.clock.getDelayedCalls():
        worker.clock.advance(0.003)


def test_a_newer_one_ends_the_older_ones_work(worker: Worker) -> None:
    """Whose answer is that there is none."""
    older = worker.hear(1, 20_000)
    assert not older.called
    newer = worker.hear(2)
    worker.turn_until(newer)
    assert result_of(older) is None
    assert result_of(newer) == ()
    assert not worker.policies.swap(1)
    assert worker.policies.swap(2)


def test_half_of_an_older_one_is_forgotten(worker: Worker) -> None:
    """Its lines are no part of the newer one."""
    assert worker.hear(1, 3000, upto=1) is None
    assert worker.ready(2) == ()
    assert worker.policies.swap(2)
    assert worker.policies.current.configuration == policy(3)


@pytest.mark.parametrize("count", [3, 20_000])
def test_what_is_forgotten_is_gone(worker: Worker, count: int) -> None:
    """Prepared or on its way; what is in force stays."""
    worker.ready(1)
    worker.policies.swap(1)
    worker.hear(2, count)
    worker.policies.forget(1)
    worker.policies.forget(2)
    assert not worker.policies.swap(2)
    assert worker.generation == 10
    while worker.clock.getDelayedCalls():
        worker.clock.advance(0.003)


def test_a_policy_that_cannot_be_compiled_is_refused(worker: Worker) -> None:
    """With a reason."""
    answer = worker.policies.take(Snapshot(1, 1, 0.0, b'[]\n"end"\n'))
    worker.turn_until(answer)
    (problem,) = result_of(answer)
    assert "not a policy" in problem
    assert not worker.policies.swap(1)
