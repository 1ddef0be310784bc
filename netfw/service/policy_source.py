"""The policy in force, from whatever source: read, validated and compiled whole before it is swapped in.

Here: the swap that all sources share, and the source that is files. Not here: the one that is a store
(`store_policy_source`).

A policy that cannot be used changes nothing: the old one stays, and the result says what is wrong. New exchanges see
the new generation, those under way keep theirs. Where workers serve, a policy is in force when all of them have it:
`distribute` takes it there, and what they say against it counts as if it stood in the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from netfw.config.model import PolicySection
from netfw.interfaces import IPolicySource
from netfw.policy.compile import CompiledPolicy, compile_policy
from netfw.policy.letting_go import when_unused
from netfw.policy.model import PolicyConfiguration
from netfw.service.policy_reading import PolicyUnreadable, read_and_compile
from netfw.transport.slices import run_in_slices

_log = Logger()


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """How a reload ended. `generation` is the one in force afterwards; `problems` is empty when `ok`."""

    ok: bool
    generation: int
    problems: tuple[str, ...] = field(default=())
    settings: tuple[str, ...] = field(default=())
    waiting: tuple[str, ...] = field(default=())

    def with_settings(self, taken: tuple[str, ...], waiting: tuple[str, ...]) -> ReloadResult:
        """The same, with the settings that were taken over and those that wait for a restart."""
        return replace(self, settings=taken, waiting=waiting)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        members: dict[str, Any] = {"ok": self.ok, "generation": self.generation, "problems": list(self.problems)}
        if self.settings:
            members["settings_taken"] = list(self.settings)
        if self.waiting:
            members["settings_waiting_for_restart"] = list(self.waiting)
        return members


class _RefusedByWorkers(Exception):
    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@implementer(IPolicySource)
class PolicyInForce:
    """`first` is the policy that the start was checked with, `generation` its number.

    `distribute` returns a Deferred of the problems of those who shall decide by a policy, () when all have it.
    """

    def __init__(
        self,
        first: PolicyConfiguration,
        reactor: Any,
        now: Callable[[], float],
        distribute: Callable[[CompiledPolicy], Deferred[tuple[str, ...]]] | None = None,
        *,
        generation: int = 1,
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._distribute = distribute
        self.loaded_at = now()
        self.current: CompiledPolicy = compile_policy(first, generation, self.loaded_at)

    def summary(self, last: ReloadResult | None = None) -> str:
        """One line on the policy in force, and on why the last reload changed nothing."""
        line = f"serving by policy generation {self.current.generation}"
        if last is not None and not last.ok:
            more = f" (and {len(last.problems) - 1} more)" if len(last.problems) > 1 else ""
            line += f"; the new policy is refused: {' '.join(last.problems[:1])}{more}"
        return line

    def reload(self, section: PolicySection | None = None) -> Deferred[ReloadResult]:
        """See `IPolicySource`; from now on what `section` names, if that is given."""
        raise NotImplementedError

    def start(self) -> None:
        """The proxy begins to serve: follow the source, where it can be followed."""

    def stop(self) -> None:
        """The proxy ends."""

    def facts(self) -> dict[str, Any]:
        """What the status says of the source."""
        return {}

    def _put_in_force(self, read: Deferred[CompiledPolicy]) -> Deferred[ReloadResult]:
        """Hand out what was read, then swap; when anything goes wrong the old policy stays."""
        read.addCallback(self._hand_out)
        read.addCallbacks(self._swap, self._keep)
        result: Deferred[ReloadResult] = read  # type: ignore[assignment]  # the callbacks made it one
        return result

    def _hand_out(self, policy: CompiledPolicy) -> Any:
        """The policy itself, once those who decide by it have it; fails with `_RefusedByWorkers`."""
        if self._distribute is None:
            return policy

        def judge(problems: tuple[str, ...]) -> CompiledPolicy:
            if problems:
                raise _RefusedByWorkers(problems)
            return policy

        return self._distribute(policy).addCallback(judge)

    def _swap(self, policy: CompiledPolicy) -> ReloadResult:
        former, self.current = self.current, policy
        self.loaded_at = self._now()
        when_unused(former, lambda work: run_in_slices(self._reactor, work))
        _log.info("policy generation {generation} is in force", generation=policy.generation)
        return ReloadResult(True, policy.generation)

    def _keep(self, failure: Any) -> ReloadResult:
        if isinstance(failure.value, (_RefusedByWorkers, PolicyUnreadable)):
            problems = failure.value.problems
        else:
            _log.failure("reading the policy failed", failure=failure)
            problems = (f"the policy could not be read: {failure.value!r}",)
        generation = self.current.generation
        _log.error(
            "the new policy is refused, generation {generation} stays in force: {problems}",
            generation=generation,
            problems="; ".join(problems[:20]),
        )
        return ReloadResult(False, generation, problems)


class FilePolicySource(PolicyInForce):
    """Files are read again when somebody asks."""

    def __init__(
        self,
        section: PolicySection,
        first: PolicyConfiguration,
        reactor: Any,
        now: Callable[[], float],
        distribute: Callable[[CompiledPolicy], Deferred[tuple[str, ...]]] | None = None,
    ) -> None:
        super().__init__(first, reactor, now, distribute)
        self._section = section
        self._under_way: Deferred[ReloadResult] | None = None

    def reload(self, section: PolicySection | None = None) -> Deferred[ReloadResult]:
        """See `IPolicySource`; from now on what `section` names, if that is given. A reload that is asked for while one
        runs waits for a run of its own, so that no change is missed.
        """
        if section is not None:
            self._section = section
        if self._under_way is not None:
            again: Deferred[ReloadResult] = Deferred()
            self._under_way.addBoth(lambda result: (self.reload().chainDeferred(again), result)[1])
            return again
        read = read_and_compile(self._reactor, self._section, self.current.generation + 1, self._now())
        self._under_way = done = Deferred()
        ended = self._put_in_force(read)

        def finish(result: Any) -> None:
            self._under_way = None
            done.callback(result)

        ended.addBoth(finish)
        waiting: Deferred[ReloadResult] = Deferred()
        done.addBoth(lambda result: (waiting.callback(result), result)[1])
        return waiting
