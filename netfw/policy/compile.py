"""A PolicyConfiguration to a CompiledPolicy: immutable, one generation, safe to share between exchanges."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import inf

from netfw.policy.checks import Check, build_check
from netfw.policy.decision import DEFAULT_RULE, Decision, Match, RuleRef
from netfw.policy.model import Action, Phase, PolicyConfiguration


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready to be tried. `decision` is what it gives when no alert came before; None for an ALERT rule."""

    ref: RuleRef
    action: Action
    checks: tuple[Check, ...]
    not_after: float
    match: Match
    decision: Decision | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Program:
    """One phase: its rules in order and its default action."""

    phase: Phase
    rules: tuple[CompiledRule, ...]
    default: Decision


class CompiledPolicy:
    """What `evaluate` needs. `generation` is the snapshot's number."""

    __slots__ = ("_needs", "configuration", "generation", "programs")

    def __init__(self, configuration: PolicyConfiguration, generation: int, programs: tuple[Program, ...]) -> None:
        self.configuration = configuration
        self.generation = generation
        self.programs = programs
        self._needs = {
            phase: frozenset(condition.key for _, rule in configuration.rules(phase) for condition in rule.conditions)
            for phase in Phase
        }

    def needs(self, phase: Phase) -> frozenset[str]:
        """The condition keys that the rules of a phase use."""
        return self._needs[phase]


def compile_policy(configuration: PolicyConfiguration, generation: int, now: float) -> CompiledPolicy:
    """Compile; rules that have expired at `now` are left out."""
    slices = compile_in_slices(configuration, generation, now)
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            compiled: CompiledPolicy = stop.value
            return compiled


def compile_in_slices(
    configuration: PolicyConfiguration, generation: int, now: float
) -> Generator[None, None, CompiledPolicy]:
    """As `compile_policy`, yielding every few milliseconds of work; the policy is the generator's return value."""
    programs = []
    for phase in Phase:
        rules = []
        for group, rule in configuration.rules(phase):
            if rule.not_after is not None and rule.not_after <= now:
                continue
            ref = RuleRef(group.name, rule.name, phase)
            match = Match(ref, rule.action)
            decision = None
            if rule.action is not Action.ALERT:
                decision = Decision(phase, rule.action, ref, (match,), rule.description)
            checks = tuple(build_check(condition, rule.action) for condition in rule.conditions)
            not_after = inf if rule.not_after is None else rule.not_after
            rules.append(CompiledRule(ref, rule.action, checks, not_after, match, decision, rule.description))
            if len(rules) % 64 == 0:
                yield
        programs.append(Program(phase, tuple(rules), _default(phase, configuration.defaults[phase])))
    return CompiledPolicy(configuration, generation, tuple(programs))


def _default(phase: Phase, action: Action) -> Decision:
    ref = RuleRef("", DEFAULT_RULE, phase)
    if action is Action.ALERT:
        return Decision(phase, Action.ALLOW, ref, (Match(ref, Action.ALERT), Match(ref, Action.ALLOW)), None)
    return Decision(phase, action, ref, (Match(ref, action),), None)
