"""A PolicyConfiguration to a CompiledPolicy: immutable, one generation, safe to share between exchanges.

Each rule is reached by one of its conditions, the one whose values the fewest other rules have: that condition goes
into an index of its key, the others become checks. Rules without such a condition are tried in order. Positions keep
the order of evaluation, so what an index finds is merged into exactly the order of the document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from math import inf
from typing import Any

from netfw.policy.access import SAMPLE, Access, IndexName, best_access, new_index, possible_accesses
from netfw.policy.checks import Check, build_check, condition_parts
from netfw.policy.decision import DEFAULT_RULE, Decision, Match, RuleRef
from netfw.policy.indexes import Index, set_late
from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule
from netfw.policy.operators import Operator
from netfw.policy.values import trusted_value

_FEW_VALUES = 4
"""An index of fewer values than this costs more than trying the rules."""

_SLICE = 100
"""Rules or values between two yields: less than a millisecond of work."""

Slices = Generator[None, None, None]
_NONE: list[Access] = []


class CompiledRule:
    """A rule ready to be tried.

    `checks` leaves out the condition that the rule is indexed by. `decision` is what the rule gives when no alert came
    before it; it is made when it is first asked for, since most rules of a large policy never match.
    """

    __slots__ = ("_decision", "_group", "_phase", "_rule", "action", "alerts", "checks", "not_after")

    def __init__(self, phase: Phase, group: str, rule: Rule, checks: tuple[Check, ...]) -> None:
        self._phase = phase
        self._group = group
        self._rule = rule
        self._decision: Decision | None = None
        self.action = rule.action
        self.alerts = rule.action is Action.ALERT
        self.checks = checks
        self.not_after = inf if rule.not_after is None else rule.not_after

    @property
    def match(self) -> Match:
        """The rule and its action."""
        return Match(RuleRef(self._group, self._rule.name, self._phase), self.action)

    @property
    def decision(self) -> Decision:
        """What an ALLOW or DENY rule gives."""
        if self._decision is None:
            match = self.match
            self._decision = Decision(self._phase, self.action, match.rule, (match,), self._rule.description)
        return self._decision


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
    """As `compile_policy`, yielding every millisecond of work; the policy is the generator's return value.

    Python's garbage collector may add to a slice: for a very large policy the caller may hold it off meanwhile.
    """
    programs: list[Program] = []
    needs: dict[Phase, frozenset[str]] = {}
    for phase in Phase:
        compiler = _PhaseCompiler(phase)
        keys: set[str] = set()
        for number, (group, rule) in enumerate(configuration.rules(phase)):
            if rule.not_after is None or rule.not_after > now:
                compiler.take(group.name, rule)
                keys.update([condition.key for condition in rule.conditions])
            if number % _SLICE == 0:
                yield
        yield from compiler.run()
        programs.append(compiler.program(configuration.defaults[phase]))
        needs[phase] = frozenset(keys)
    return CompiledPolicy(configuration, generation, tuple(programs), needs)


class _PhaseCompiler:
    """The rules of one phase to a Program."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase
        self._groups: list[str] = []
        self._live: list[Rule] = []
        self._possible: list[list[Access]] = []
        self._choices = False
        self._rules: list[CompiledRule] = []
        self._residual: list[int] = []
        self._indexes: dict[IndexName, Index] = {}
        self._members: dict[IndexName, list[int]] = {}
        self._checks: dict[tuple[Condition, bool], Check] = {}

    def take(self, group: str, rule: Rule) -> None:
        """The next rule in the order of evaluation."""
        self._groups.append(group)
        self._live.append(rule)
        possible = possible_accesses(rule)
        self._possible.append(possible)
        self._choices = self._choices or len(possible) > 1

    def run(self) -> Slices:
        """Choose how each rule is found, build its checks, fill the indexes."""
        accesses: list[Access | None] = []
        yield from self._choose(accesses)
        weight: Counter[IndexName] = Counter()
        for position, access in enumerate(accesses):
            if access is not None:
                weight[access[1]] += len(access[0].values)
            if position % _SLICE == 0:
                yield
        for position, (rule, access) in enumerate(zip(self._live, accesses, strict=True)):
            if access is None or weight[access[1]] < _FEW_VALUES:
                self._residual.append(position)
                self._rules.append(self._compiled(position, rule, None))
            else:
                self._rules.append(self._compiled(position, rule, access[0]))
                yield from self._fill(access, position)
            accesses[position] = None  # what was only needed for this is freed as it goes, not all at the end
            if position % _SLICE == 0:
                yield
        for name, index in self._indexes.items():
            yield from index.finish()
            members = self._members[name]
            late: list[int] = []
            yield from self._late(members, late)
            allowing: list[int] = []
            if index.two_readings:
                yield from self._allowing(members, allowing)
            yield
            set_late(index, late, allowing)
            yield
        while self._checks:
            for _ in range(min(_SLICE, len(self._checks))):
                self._checks.popitem()
            yield

    def _fill(self, access: Access, position: int) -> Iterable[None]:
        """Enter one rule; the result is empty unless it has many values."""
        condition, name = access
        key, operator, values = condition_parts(condition)
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = new_index(key, name)
        self._members.setdefault(name, []).append(position)
        if len(values) > _SLICE:
            return self._fill_many(index, operator, condition, position)
        for text in values:
            index.add(operator, trusted_value(key, operator, text), position)
        return ()

    def _fill_many(self, index: Index, operator: Operator, condition: Condition, position: int) -> Slices:
        key, _, texts = condition_parts(condition)
        for number, text in enumerate(texts):
            index.add(operator, trusted_value(key, operator, text), position)
            if number % _SLICE == 0:
                yield

    def _choose(self, accesses: list[Access | None]) -> Slices:
        """For each rule the condition that it is found by, or None."""
        sharing: Counter[tuple[IndexName, str]] = Counter()
        if self._choices:
            for position, choice in enumerate(self._possible):
                for condition, name in choice:
                    for value in condition.values[:SAMPLE]:
                        sharing[name, value] += 1
                if position % _SLICE == 0:
                    yield
        for position, choice in enumerate(self._possible):
            accesses.append(best_access(choice, sharing))
            self._possible[position] = _NONE
            if position % _SLICE == 0:
                yield

    def _compiled(self, position: int, rule: Rule, access: Condition | None) -> CompiledRule:
        checks = tuple([self._check(item, rule.action) for item in rule.conditions if item is not access])
        return CompiledRule(self._phase, self._groups[position], rule, checks)

    def _check(self, condition: Condition, action: Action) -> Check:
        """Rules often repeat a condition, a method or a port: one function serves them all."""
        if len(condition.values) > SAMPLE:
            return build_check(condition, action)
        name = (condition, action is Action.ALLOW)
        check = self._checks.get(name)
        if check is None:
            check = self._checks[name] = build_check(condition, action)
        return check

    def _late(self, members: list[int], late: list[int]) -> Slices:
        """The rules of an index that matter while its fact is not yet known.

        Alerts never do; and once a rule waits for certain, no later rule of the same action can add anything.
        """
        settled: set[Action] = set()
        for number, position in enumerate(members):
            rule = self._rules[position]
            if not rule.alerts and rule.action not in settled:
                late.append(position)
                if not rule.checks and rule.not_after == inf:
                    settled.add(rule.action)
            if number % _SLICE == 0:
                yield

    def _allowing(self, members: list[int], allowing: list[int]) -> Slices:
        for number, position in enumerate(members):
            if self._rules[position].action is Action.ALLOW:
                allowing.append(position)
            if number % _SLICE == 0:
                yield

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


def let_go(policy: CompiledPolicy | None) -> Slices:
    """Free a policy that is out of force a few rules at a time: 100,000 at once would be a stall."""
    assert policy is not None
    held: list[Any] = []
    for group in (*policy.configuration.groups, *policy.configuration.unattached):
        for rules in group.rules.values():
            held += rules
            yield
    for program in policy.programs:
        held += program.rules
        yield
        for index in program.indexes:
            yield from index.parts(held)
    policy = group = rules = program = index = None  # type: ignore[assignment]  # these names keep all of it to the end
    while held:
        yield
        del held[-200:]
