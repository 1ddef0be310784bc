"""A reload: the configuration and the policy read again, checked whole, and both taken over or neither.

The same for one process and for a supervisor: what differs is how settings are taken over (`prepare`). What cannot
change in a running proxy stays as it is, and the result names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from netfw.config.changes import Changes, compare
from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.config.own_addresses import address_problems
from netfw.errors import NetfwError
from netfw.proxy.credentials import CredentialsRefused
from netfw.service.policy_source import PolicyInForce, ReloadResult
from netfw.x509.authority import AuthorityProblem

_log = Logger()

Commit = Callable[[], object]


class Reloading:
    """`prepare` builds what a configuration needs and gives the function that puts it in force, or a Deferred of that;
    what it raises or fails with refuses the configuration. That function may give a Deferred of when all is in force.
    `configuration` is the one in force, as the file had it.
    """

    def __init__(
        self, configuration: Configuration, policies: PolicyInForce, prepare: Callable[[Configuration], Any]
    ) -> None:
        self.configuration = configuration
        self._policies = policies
        self._prepare = prepare
        self._under_way: Deferred[None] | None = None

    def reload(self) -> Deferred[ReloadResult]:
        """See the module; one after the other. The Deferred never fails."""
        done: Deferred[ReloadResult] = Deferred()
        former, self._under_way = self._under_way, Deferred()
        ended = self._under_way

        def finish(result: ReloadResult) -> None:
            if self._under_way is ended:
                self._under_way = None
            ended.callback(None)
            done.callback(result)

        begin = former if former is not None else succeed(None)
        begin.addCallback(lambda _: self._once().addCallback(finish) and None)
        return done

    def _once(self) -> Deferred[ReloadResult]:
        try:
            # Without its files: keys that were read before privileges were dropped cannot be read again.
            changes = compare(self.configuration, load_config(self.configuration.path, with_files=False))
            # Those in force may have gone since: that is no reason to refuse other changes.
            if changes.in_force.egress != self.configuration.egress and (
                problems := address_problems(changes.in_force)
            ):
                raise ConfigErrors(problems)
        except ConfigErrors as errors:
            return self._refused([str(problem) for problem in errors.problems])

        def prepared(commit: Commit) -> Deferred[ReloadResult]:
            reloaded = self._policies.reload(changes.in_force.policy)
            return reloaded.addCallback(self._take, changes, commit)

        return maybeDeferred(self._prepare, changes.in_force).addCallbacks(prepared, self._not_prepared)

    def _not_prepared(self, failure: Failure) -> Deferred[ReloadResult]:
        problem = failure.value
        if isinstance(problem, (CredentialsRefused, AuthorityProblem)):
            return self._refused(list(problem.problems))
        if isinstance(problem, OSError) and problem.filename:
            return self._refused([f"{problem.filename} cannot be read: {problem.strerror}"])
        if not isinstance(problem, (NetfwError, OSError)):
            _log.failure("the new configuration cannot be used", failure=failure)
        return self._refused([f"{self.configuration.path}: {problem}"])

    def _refused(self, problems: list[str]) -> Deferred[ReloadResult]:
        generation = self._policies.current.generation
        _log.error(
            "the new configuration is refused, generation {generation} stays in force: {problems}",
            generation=generation, problems="; ".join(problems[:20]),
        )  # fmt: skip
        return succeed(ReloadResult(False, generation, tuple(problems)))

    def _take(self, result: ReloadResult, changes: Changes, commit: Commit) -> ReloadResult | Deferred[ReloadResult]:
        if not result.ok:
            return result
        committed = commit()
        self.configuration = changes.in_force
        if isinstance(committed, Deferred):
            return committed.addCallback(lambda _: self._taken(result, changes))
        return self._taken(result, changes)

    @staticmethod
    def _taken(result: ReloadResult, changes: Changes) -> ReloadResult:
        if changes.taken:
            _log.info("settings taken over: {settings}", settings=", ".join(changes.taken))
        if changes.waiting:
            _log.warn("settings that wait for a restart: {settings}", settings=", ".join(changes.waiting))
        return result.with_settings(changes.taken, changes.waiting)
