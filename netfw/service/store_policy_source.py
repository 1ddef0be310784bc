"""The policy in force, followed from a store: what the follower reads is put in force as soon as it comes.

A policy is taken over and compiled in slices, one after the other; of several that came meanwhile only the newest is
compiled. While the store is away, or has a policy that cannot be used, the one in force stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from netfw.config.model import PolicySection
from netfw.policy.compile import CompiledPolicy, compile_in_slices
from netfw.policy.letting_go import let_go
from netfw.policy.model import RuleGroup
from netfw.policy.slices import Building
from netfw.service.first_policy import FirstPolicy
from netfw.service.following import FollowerProcess
from netfw.service.policy_source import PolicyInForce, ReloadResult
from netfw.store.fleet import REPORT_SECONDS, Node
from netfw.store.follower import Following
from netfw.store.resources import AskedOfProxy, asked_from_plain
from netfw.store.wire import ChangeLines
from netfw.transport.slices import run_in_slices

_log = Logger()
_Lines = tuple[dict[str, Any], list[bytes]]


class StorePolicySource(PolicyInForce):
    """`changed` is told of every policy that was put in force or refused without anybody asking; `health` says the
    state and the load that the node reports.
    """

    def __init__(
        self,
        following: Following,
        node: Node,
        first: FirstPolicy,
        reactor: Any,
        now: Callable[[], float],
        *,
        distribute: Callable[[CompiledPolicy], Deferred[tuple[str, ...]]] | None = None,
        changed: Callable[[ReloadResult], Any],
        health: Callable[[], tuple[str, dict[str, Any]]],
    ) -> None:
        super().__init__(first.policy, reactor, now, distribute, generation=first.generation)
        self._following = following
        self._changed = changed
        self._health = health
        self._groups: Mapping[str, RuleGroup] = first.groups
        self._waiting: list[Deferred[ReloadResult]] = []
        self._arriving: _Lines | None = None
        self._arrived: list[_Lines] = []
        self._busy = False
        self._same_as_next: tuple[int, AskedOfProxy] | None = None
        self._asked = first.asked
        self._unmet: tuple[str, ...] = ()
        self._carry_out: Callable[[AskedOfProxy], Deferred[tuple[str, ...]]] = lambda _asked: succeed(())
        self._site: Callable[[], dict[str, Any]] = dict
        self._away: str | None = None
        self._problems: tuple[str, ...] = ()
        self.seen = first.generation
        about = {"following": asdict(following), "node": asdict(node)}
        self._process = FollowerProcess(reactor, about, self._heard, self._begin)
        self._reports = LoopingCall(self._look_again)
        self._reports.clock = reactor

    def carry_out_by(
        self, carry_out: Callable[[AskedOfProxy], Deferred[tuple[str, ...]]], site: Callable[[], dict[str, Any]]
    ) -> None:
        """What the store asks of the proxy besides its policy is done by `carry_out`, which gives what could not be.
        `site` is told to the fleet: what this node's proxy.yaml says.
        """
        self._carry_out = carry_out
        self._site = site

    def start(self) -> None:
        """Follow, once the reactor runs."""
        self._meet(self._asked, None)
        self._reactor.callWhenRunning(self._process.start)
        self._reports.start(REPORT_SECONDS, now=False).addErrback(
            lambda failure: _log.failure("reporting to the store ended", failure=failure)
        )

    def stop(self) -> None:
        """Follow no more."""
        if self._reports.running:
            self._reports.stop()
        self._process.stop()

    def reload(self, section: PolicySection | None = None) -> Deferred[ReloadResult]:
        """See `IPolicySource`: look at the store now. Another store waits for a restart (`config.changes`)."""
        result: Deferred[ReloadResult] = Deferred()
        if not self._process.runs:
            result.callback(self._stays(("the process that follows the store does not run",)))
            return result
        self._waiting.append(result)
        self._process.tell({"do": "read"})
        return result

    def facts(self) -> dict[str, Any]:
        """What the status says of the source."""
        facts: dict[str, Any] = {"store": self._following.url, "generation_seen": self.seen}
        away = self._away if self._process.runs else "the process that follows the store does not run"
        if away is not None:
            facts["store_away"] = away
        if self._problems:
            facts["refused"] = list(self._problems)
        if self._unmet:
            facts["unmet"] = list(self._unmet)
        return facts

    def _begin(self) -> None:
        """A follower starts anew: it has sent nothing yet."""
        self._arriving = None

    def _heard(self, line: bytes) -> None:
        if self._arriving is not None:
            self._arriving[1].append(line)
            if line == b'"end"':
                self._arrived.append(self._arriving)
                self._arriving = None
                self._next()
            return
        message = json.loads(line)
        match message["is"]:
            case "policy":
                self._arriving = (message, [])
            case "same":
                self._same(message["generation"], asked_from_plain(message["asked"]))
            case "refused":
                self._refused(message["generation"], tuple(message["problems"]))
            case "away":
                self._away = message["problem"]
                _log.error("the store is away, the policy stays: {problem}", problem=self._away)
                self._answer(self._stays((f"the store is away: {self._away}",)))
            case "back":
                self._away = None
                _log.info("the store is back")
            case "pruned":
                _log.info(
                    "{generations} old generations are taken out of the store, {oldest} stands for those before it",
                    generations=message["generations"],
                    oldest=message["oldest"],
                )
            case "unkept":
                _log.error("the last good policy is not kept: {problem}", problem=message["problem"])

    def _next(self) -> None:
        if self._busy or not self._arrived:
            return
        self._busy = True
        head, lines = self._arrived.pop(0)
        generation, asked = head["generation"], asked_from_plain(head["asked"])
        taken = run_in_slices(self._reactor, self._take_over(head, lines))
        self._put_in_force(taken).addCallback(self._took, generation, asked)

    def _take_over(self, head: dict[str, Any], lines: list[bytes]) -> Building[CompiledPolicy]:
        reader = ChangeLines(head, self._groups)
        for line in lines:
            reader.take(line)
            yield
        known = set(reader.digests.values())
        former = [group for digest, group in self._groups.items() if digest not in known]
        # What comes next builds on these groups, whether this policy is taken or not.
        self._groups = reader.groups()
        policy, generation = reader.policy(self._groups), reader.generation
        del reader
        yield
        yield from let_go(former)  # of a policy that was overtaken nobody else has them
        if self._arrived:
            raise _Overtaken
        return (yield from compile_in_slices(policy, generation, self._now()))

    def _keep(self, failure: Any) -> ReloadResult:
        if failure.check(_Overtaken):
            return self._stays(())
        return super()._keep(failure)

    def _took(self, result: ReloadResult, generation: int, asked: AskedOfProxy) -> None:
        self._busy = False
        if result.ok:
            self.seen = generation
            self._problems = ()
            self._meet(asked, generation)
        elif result.problems:
            self._problems = result.problems
            self._process.tell({"do": "refused", "problem": "; ".join(result.problems)[:2000]})
        if result.ok or result.problems:
            self._settle(result)
        same, self._same_as_next = self._same_as_next, None
        if same is not None and result.ok and not self._arrived:
            self._same(*same)
        self._next()

    def _same(self, generation: int, asked: AskedOfProxy) -> None:
        if self._busy or self._arrived:
            # It is the same as what is on its way, and in force when that is.
            self._same_as_next = generation, asked
            return
        self.seen = generation
        self._meet(asked, generation)
        self._answer(ReloadResult(True, self.current.generation))

    def _meet(self, asked: AskedOfProxy, generation: int | None) -> None:
        """Have it carried out; then tell the store that this generation is in force, and what of it is not."""
        self._asked = asked

        def done(unmet: tuple[str, ...]) -> None:
            if unmet != self._unmet:
                self._unmet = unmet
                for problem in unmet:
                    _log.error("what the store asks of this proxy is not so: {problem}", problem=problem)
                if not unmet:
                    _log.info("everything that the store asks of this proxy is so again")
            if generation is not None:
                self._report()
                self._process.tell({"do": "in_force", "generation": generation, "problem": self._problem()})
            else:
                self._report()

        self._carry_out(asked).addCallback(done).addErrback(
            lambda failure: _log.failure("what the store asks of this proxy could not be carried out", failure=failure)
        )

    def _refused(self, generation: int, problems: tuple[str, ...]) -> None:
        self.seen = generation
        self._problems = problems
        _log.error(
            "generation {generation} of the store cannot be used, generation {stays} stays in force: {problems}",
            generation=generation,
            stays=self.current.generation,
            problems="; ".join(problems[:20]),
        )
        self._process.tell({"do": "refused", "problem": "; ".join(problems)[:2000]})
        result = self._stays(problems)
        self._settle(result)

    def _stays(self, problems: tuple[str, ...]) -> ReloadResult:
        return ReloadResult(False, self.current.generation, problems)

    def _settle(self, result: ReloadResult) -> None:
        """Tell whoever asked, and count it once."""
        if self._waiting:
            self._answer(result)
        else:
            self._changed(result)

    def _answer(self, result: ReloadResult) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(result)

    def _look_again(self) -> None:
        """What could not be done may be possible now: a port is free again."""
        if self._unmet:
            self._meet(self._asked, None)
        else:
            self._report()

    def _report(self) -> None:
        state, load = self._health()
        load = {**load, "site": self._site(), "unmet": bool(self._unmet)}
        self._process.tell({"do": "report", "state": state, "problem": self._problem(), "load": load})

    def _problem(self) -> str | None:
        return "; ".join(self._problems + self._unmet)[:2000] or None


class _Overtaken(Exception):
    """A newer policy has come meanwhile."""
