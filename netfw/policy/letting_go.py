"""Freeing a policy that is out of force, a little at a time: 100,000 rules at once would be a stall.

Exchanges that began under a policy keep it, and nothing of it may change for them. So it is taken apart when the last
of them has let it go, by whoever is told then.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from netfw.policy.compile import CompiledPolicy, Program
from netfw.policy.long_tuple import parts_of
from netfw.policy.model import RuleGroup
from netfw.policy.slices import STEP, Slices, emptied


def when_unused(policy: CompiledPolicy, free: Callable[[Slices], Any]) -> None:
    """Have `free` run what takes the policy apart, as soon as nobody has the policy any more.

    Whoever has its configuration alone, or rules of it, keeps those whole.
    """
    parts: list[Any] = [policy.configuration, *policy.programs]
    weakref.finalize(policy, _hand_over, parts, free).atexit = False


def _hand_over(parts: list[Any], free: Callable[[Slices], Any]) -> None:
    free(take_apart(parts))


def take_apart(parts: list[Any]) -> Slices:
    """Free a configuration and programs, of which the list must have the only references. Empties the list."""
    held: list[Any] = []
    while parts:
        part = parts.pop()
        if isinstance(part, Program):
            for index in part.indexes:
                yield from index.dismantle()
                yield from emptied(index.late)
            for leftover in part.leftovers:
                yield from leftover
            yield from emptied(part.rules, part.residual)
        else:
            yield from _hold_rules((*part.groups, *part.unattached), held)
        part = index = leftover = None  # type: ignore[assignment]
        yield
    while held:
        held.pop()
        yield


def let_go(groups: list[RuleGroup]) -> Slices:
    """Free groups that belong to no policy any more; of those that do this only loosens a hold. Empties the list."""
    held: list[Any] = []
    yield from _hold_rules(groups, held)
    groups.clear()
    while held:
        held.pop()
        yield


def _hold_rules(groups: Sequence[RuleGroup], held: list[Any]) -> Slices:
    """Rules and values part by part, so that nothing large goes with what it belongs to: that goes before its parts."""
    for group in groups:
        for rules in group.rules.values():
            for some in parts_of(rules):
                for rule in some:
                    for condition in rule.conditions:
                        if len(condition.values) > STEP:
                            held += parts_of(condition.values)
                held.append(some)
                yield
