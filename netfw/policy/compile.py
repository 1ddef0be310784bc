"""A PolicyConfiguration to a CompiledPolicy: immutable, one generation, safe to share between exchanges.

Each rule is reached by one of its conditions, the one whose values the fewest other rules have: that condition goes
into an index of its key, the others become checks. Rules without such a condition are tried in order. Positions keep
the order of evaluation, so what an index finds is merged into exactly the order of the document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from netfw.policy.access import SAMPLE, Access, IndexName, best_access, new_index, possible_accesses
from netfw.policy.checks import Check, build_check, build_in_slices, condition_parts
from netfw.policy.decision import DEFAULT_RULE, Decision, Match, RuleRef
from netfw.policy.indexes import Index
from netfw.policy.large_table import LargeTable, count
from netfw.policy.model import Action, Condition, Phase, PolicyConfiguration, Rule
from netfw.policy.operators import Operator
from netfw.policy.slices import STEP, Building, Slices, emptied, finished, portions, portions_of_texts, work_for
from netfw.policy.values import trusted_value

_FEW_VALUES = 4
"""An index of fewer values than this costs more than trying the rules."""


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
    """One phase: its rules by position, the indexes over them, the rules that are always tried, the default.

    `rules` and `residual` are the very lists that were filled: to make tuples of them would take too long a step.
    """

    phase: Phase
    rules: Sequence[CompiledRule]
    indexes: tuple[Index, ...]
    residual: Sequence[int]
    default: Decision
    leftovers: tuple[Slices, ...] = ()
    """What takes apart the large tables of checks, for whoever frees the program."""


class CompiledPolicy:
    """What `evaluate` needs. `generation` is the snapshot's number."""

    __slots__ = ("__weakref__", "_needs", "configuration", "generation", "programs")

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
    return finished(compile_in_slices(configuration, generation, now))


def compile_in_slices(configuration: PolicyConfiguration, generation: int, now: float) -> Building[CompiledPolicy]:
    """As `compile_policy`, yielding after a millisecond or two of work; the policy is the generator's return value.

    Python's garbage collector may add to a slice: for a very large policy the caller may hold it off meanwhile.
    """
    programs: list[Program] = []
    needs: dict[Phase, frozenset[str]] = {}
    for phase in Phase:
        compiler = _PhaseCompiler(phase)
        keys: set[str] = set()
        for portion in portions(configuration.rules(phase)):
            for group, rule in portion:
                if rule.not_after is None or rule.not_after > now:
                    compiler.take(group.name, rule)
                    keys.update([condition.key for condition in rule.conditions])
            yield
        yield from compiler.run()
        programs.append(compiler.program(configuration.defaults[phase]))
        yield
        yield from compiler.clear()
        needs[phase] = frozenset(keys)
    return CompiledPolicy(configuration, generation, tuple(programs), needs)


class _PhaseCompiler:
    """The rules of one phase to a Program."""

    def __init__(self, phase: Phase) -> None:
        self._phase = phase
        self._groups: list[str] = []
        self._live: list[Rule] = []
        self._possible: list[list[Access]] = []
        self._accesses: list[Access | None] = []
        self._leftovers: list[Slices] = []
        self._choices = False
        self._rules: list[CompiledRule] = []
        self._residual: list[int] = []
        self._indexes: dict[IndexName, Index] = {}
        self._members: dict[IndexName, list[int]] = {}
        self._checks: LargeTable[tuple[Condition, bool], Check] = LargeTable()

    def take(self, group: str, rule: Rule) -> None:
        """The next rule in the order of evaluation."""
        self._groups.append(group)
        self._live.append(rule)
        possible = possible_accesses(rule)
        self._possible.append(possible)
        self._choices = self._choices or len(possible) > 1

    def run(self) -> Slices:
        """Choose how each rule is found, build its checks, fill the indexes."""
        yield from self._choose()
        weight: Counter[IndexName] = Counter()
        for portion in portions(self._accesses):
            for access in portion:
                if access is not None:
                    weight[access[1]] += len(access[0].values)
            yield
        done = 0
        for position, (rule, access) in enumerate(zip(self._live, self._accesses, strict=True)):
            work = _work_for(rule)
            if access is None or weight[access[1]] < _FEW_VALUES:
                self._residual.append(position)
                yield from self._compile(position, rule, None, work)
            else:
                yield from self._compile(position, rule, access[0], work)
                yield from self._fill(access, position)
            done += 1 + work
            if done >= STEP:
                done = 0
                for index in self._indexes.values():
                    yield from index.room()
                yield from self._checks.room()
                yield
        allowing = bytearray(len(self._rules))
        for number, rules in enumerate(portions(self._rules)):
            start = number * STEP
            allowing[start : start + len(rules)] = bytes([rule.action is Action.ALLOW for rule in rules])
            yield
        for name, index in self._indexes.items():
            yield from index.finish()
            index.allowing = allowing
            yield from self._late(self._members[name], index.late)

    def clear(self) -> Slices:
        """Free by and by what was only needed for this."""
        yield from self._checks.emptied()
        yield from emptied(self._groups, self._live, self._possible, self._accesses, *self._members.values())

    def _fill(self, access: Access, position: int) -> Iterable[Any]:
        """Enter one rule; the result is empty unless it has many values."""
        condition, name = access
        key, operator, values = condition_parts(condition)
        index = self._indexes.get(name)
        if index is None:
            index = self._indexes[name] = new_index(key, name)
        self._members.setdefault(name, []).append(position)
        if len(values) > STEP:
            return self._fill_many(index, operator, condition, position)
        for text in values:
            index.add(operator, trusted_value(key, operator, text), position)
        return ()

    def _fill_many(self, index: Index, operator: Operator, condition: Condition, position: int) -> Slices:
        key, _, texts = condition_parts(condition)
        for portion in portions_of_texts(texts):
            for text in portion:
                index.add(operator, trusted_value(key, operator, text), position)
            yield from index.room()
            yield

    def _choose(self) -> Slices:
        """For each rule the condition that it is found by, or None."""
        sharing: LargeTable[tuple[IndexName, str], int] = LargeTable()
        if self._choices:
            for portion in portions(self._possible):
                for choice in portion:
                    for condition, name in choice:
                        for value in condition.values[:SAMPLE]:
                            count(sharing, (name, value))
                yield from sharing.room()
                yield
        for portion in portions(self._possible):
            self._accesses += [best_access(choice, sharing) for choice in portion]
            yield
        yield from sharing.emptied()

    def _compile(self, position: int, rule: Rule, access: Condition | None, work: int) -> Iterable[Any]:
        """Make one rule; the result is empty unless it has many values."""
        if work > STEP:
            return self._compile_large(position, rule, access)
        checks = tuple([self._check(item, rule.action) for item in rule.conditions if item is not access])
        self._rules.append(CompiledRule(self._phase, self._groups[position], rule, checks))
        return ()

    def _compile_large(self, position: int, rule: Rule, access: Condition | None) -> Slices:
        checks = []
        for item in rule.conditions:
            if item is not access:
                checks.append((yield from build_in_slices(item, rule.action, self._leftovers)))
        self._rules.append(CompiledRule(self._phase, self._groups[position], rule, tuple(checks)))

    def _check(self, condition: Condition, action: Action) -> Check:
        """Rules often repeat a condition, a method or a port: one function serves them all."""
        if len(condition.values) > SAMPLE:
            return build_check(condition, action)
        name = (condition, action is Action.ALLOW)
        checks = self._checks.of(name)
        check = checks.get(name)
        if check is None:
            check = checks[name] = build_check(condition, action)
        return check

    def _late(self, members: list[int], late: list[int]) -> Slices:
        """The rules of an index that matter while its fact is not yet known.

        Alerts never do; and once a rule waits for certain, no later rule of the same action can add anything.
        """
        settled: set[Action] = set()
        for portion in portions(members):
            for position in portion:
                rule = self._rules[position]
                if not rule.alerts and rule.action not in settled:
                    late.append(position)
                    if not rule.checks and rule.not_after == inf:
                        settled.add(rule.action)
            yield

    def program(self, default: Action) -> Program:
        """What `run` has made."""
        return Program(
            self._phase,
            self._rules,
            tuple(self._indexes.values()),
            self._residual,
            default_decision(self._phase, default),
            tuple(self._leftovers),
        )


def _work_for(rule: Rule) -> int:
    """How much there is to do for a rule: as many as it has values, long ones more than once; above STEP it is many."""
    work = 0
    for condition in rule.conditions:
        if len(condition.values) > STEP:
            return len(condition.values)
        for text in condition.values:
            work += work_for(text)
    return work


def default_decision(phase: Phase, action: Action) -> Decision:
    """What a phase gives when no rule decides."""
    ref = RuleRef("", DEFAULT_RULE, phase)
    if action is Action.ALERT:
        return Decision(phase, Action.ALLOW, ref, (Match(ref, Action.ALERT), Match(ref, Action.ALLOW)), None)
    return Decision(phase, action, ref, (Match(ref, action),), None)
