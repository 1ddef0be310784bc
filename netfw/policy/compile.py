"""A PolicyConfiguration to a CompiledPolicy: immutable, one generation, safe to share between exchanges.

Each rule is reached by one of its conditions, the one whose values the fewest other rules have: that condition goes
into an index of its key, the others become checks. Rules without such a condition are tried in order. Positions keep
the order of evaluation, so what an index finds is merged into exactly the order of the document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from math import inf

from netfw.policy.access import SAMPLE, IndexName, best_access, new_index
from netfw.policy.checks import Check, build_check, parse_condition
from netfw.policy.decision import DEFAULT_RULE, Decision, Match, RuleRef
from netfw.policy.indexes import Index, set_late
from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule

_FEW_RULES = 4
"""An index of fewer rules than this costs more than trying them."""

_SLICE = 400
"""Rules or values between two yields: a few milliseconds of work."""

Slices = Generator[None, None, None]


@dataclass(slots=True)
class CompiledRule:
    """A rule ready to be tried. `decision` is what it gives when no alert came before; None for an ALERT rule.

    `checks` leaves out the condition that the rule is indexed by.
    """

    ref: RuleRef
    action: Action
    checks: tuple[Check, ...]
    not_after: float
    match: Match
    decision: Decision | None


@dataclass(frozen=True, slots=True)
class Program:
    """One phase: its rules by position, the indexes over them, the rules that are always tried, the default."""

    phase: Phase
    rules: tuple[CompiledRule, ...]
    indexes: tuple[Index, ...]
    residual: tuple[int, ...]
    default: Decision


class CompiledPolicy:
    """What `evaluate` needs. `generation` is the snapshot's number."""

    __slots__ = ("_needs", "configuration", "generation", "programs")

    def __init__(
        self,
        configuration: PolicyConfiguration,
        generation: int,
        programs: tuple[Program, ...],
        needs: dict[Phase, frozenset[str]],
    ) -> None:
        self.configuration = configuration
        self.generation = generation
        self.programs = programs
        self._needs = needs

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
    programs: list[Program] = []
    needs: dict[Phase, frozenset[str]] = {}
    for phase in Phase:
        live = [
            (group.name, rule)
            for group, rule in configuration.rules(phase)
            if rule.not_after is None or rule.not_after > now
        ]
        yield
        compiler = _PhaseCompiler(phase, live)
        yield from compiler.run()
        programs.append(compiler.program(configuration.defaults[phase]))
        needs[phase] = frozenset(condition.key for _, rule in live for condition in rule.conditions)
        yield
    return CompiledPolicy(configuration, generation, tuple(programs), needs)


class _PhaseCompiler:
    """The rules of one phase to a Program."""

    def __init__(self, phase: Phase, live: list[tuple[str, Rule]]) -> None:
        self._phase = phase
        self._live = live
        self._rules: list[CompiledRule] = []
        self._residual: list[int] = []
        self._indexes: dict[IndexName, Index] = {}
        self._checks: dict[tuple[Condition, bool], Check] = {}

    def run(self) -> Slices:
        """Choose how each rule is found, build its checks, fill the indexes."""
        access: list[tuple[Condition, IndexName] | None] = []
        yield from self._choose(access)
        rules_of = Counter(found[1] for found in access if found is not None)
        members: dict[IndexName, list[int]] = {}
        for position, ((group, rule), found) in enumerate(zip(self._live, access, strict=True)):
            if found is None or rules_of[found[1]] < _FEW_RULES:
                self._residual.append(position)
                self._rules.append(self._compiled(group, rule, None))
            else:
                condition, name = found
                self._rules.append(self._compiled(group, rule, condition))
                members.setdefault(name, []).append(position)
                yield from self._fill(condition, name, position)
            if position % _SLICE == 0:
                yield
        for name, index in self._indexes.items():
            yield from index.finish()
            allowing = [position for position in members[name] if self._rules[position].action is Action.ALLOW]
            set_late(index, self._late(members[name]), allowing)
            yield

    def _fill(self, condition: Condition, name: IndexName, position: int) -> Slices:
        key, operator, values = parse_condition(condition)
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = new_index(key, name)
        for number, value in enumerate(values, 1):
            index.add(operator, value, position)
            if number % _SLICE == 0:
                yield

    def _choose(self, access: list[tuple[Condition, IndexName] | None]) -> Slices:
        """For each rule the condition that it is found by, or None."""
        sharing: Counter[tuple[str, str]] = Counter()
        work = 0
        for _, rule in self._live:
            for condition in rule.conditions:
                sharing.update((condition.key, value) for value in condition.values[:SAMPLE])
                work += 1
                if work % _SLICE == 0:
                    yield
        for _, rule in self._live:
            access.append(best_access(rule, sharing))
            work += 1
            if work % _SLICE == 0:
                yield

    def _compiled(self, group: str, rule: Rule, access: Condition | None) -> CompiledRule:
        ref = RuleRef(group, rule.name, self._phase)
        match = Match(ref, rule.action)
        decision = None
        if rule.action is not Action.ALERT:
            decision = Decision(self._phase, rule.action, ref, (match,), rule.description)
        checks = tuple([self._check(item, rule.action) for item in rule.conditions if item is not access])
        return CompiledRule(
            ref, rule.action, checks, inf if rule.not_after is None else rule.not_after, match, decision
        )

    def _check(self, condition: Condition, action: Action) -> Check:
        """Rules often repeat a condition, a method or a port: one function serves them all."""
        if len(condition.values) > SAMPLE:
            return build_check(condition, action)
        name = (condition, action is Action.ALLOW)
        check = self._checks.get(name)
        if check is None:
            check = self._checks[name] = build_check(condition, action)
        return check

    def _late(self, positions: list[int]) -> list[int]:
        """The rules of an index that matter while its fact is not yet known.

        Alerts never do; and once a rule waits for certain, no later rule of the same action can add anything.
        """
        late: list[int] = []
        settled: set[Action] = set()
        for position in positions:
            rule = self._rules[position]
            if rule.decision is None or rule.action in settled:
                continue
            late.append(position)
            if not rule.checks and rule.not_after == inf:
                settled.add(rule.action)
        return late

    def program(self, default: Action) -> Program:
        """What `run` has made."""
        return Program(
            self._phase,
            tuple(self._rules),
            tuple(self._indexes.values()),
            tuple(self._residual),
            default_decision(self._phase, default),
        )


def default_decision(phase: Phase, action: Action) -> Decision:
    """What a phase gives when no rule decides."""
    ref = RuleRef("", DEFAULT_RULE, phase)
    if action is Action.ALERT:
        return Decision(phase, Action.ALLOW, ref, (Match(ref, Action.ALERT), Match(ref, Action.ALLOW)), None)
    return Decision(phase, action, ref, (Match(ref, action),), None)
