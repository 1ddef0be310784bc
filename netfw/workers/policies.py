"""The policy of a worker: snapshots of the supervisor, compiled before they are acknowledged, swapped when told.

All of it happens in slices of a few milliseconds between which connections are served: the snapshot comes in many
messages, is compiled a few rules at a time, and so is what it replaces freed. Not here: reading policy files (the
supervisor's business), and what the messages carry (`snapshot`).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from netfw.interfaces import IPolicySource
from netfw.policy.compile import CompiledPolicy
from netfw.policy.letting_go import when_unused
from netfw.transport.slices import PAUSE, run_in_slices
from netfw.workers.messages import Snapshot
from netfw.workers.snapshot import compile_snapshot, is_last

_log = Logger()


@implementer(IPolicySource)
class SnapshotPolicies:
    """`current` is None until the first swap: a worker accepts no connection before it has a policy."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._serial = 0
        self._payloads: list[bytes] = []
        self._work: Deferred[Any] | None = None
        self._prepared: CompiledPolicy | None = None
        self.current: CompiledPolicy | None = None

    def take(self, part: Snapshot) -> Deferred[tuple[str, ...] | None] | None:
        """Keep what came; with the first part of another snapshot nothing of a former one counts any more. With the
        last one, a Deferred of what is wrong with the policy, () when nothing is, once it is compiled; of None when a
        later snapshot came meanwhile.
        """
        if part.serial != self._serial:
            self.forget(self._serial)
            self._serial = part.serial
        self._payloads.append(part.payload)
        if not is_last(part.payload):
            return None
        payloads, self._payloads = self._payloads, []
        # While nobody is served there is nobody to make room for but the supervisor's questions.
        pause = PAUSE if self.current is not None else 0.0
        work = run_in_slices(self._reactor, compile_snapshot(payloads, part.generation, part.at), pause)
        self._work = work
        return work.addCallbacks(self._compiled, self._not_compiled)

    def _compiled(self, policy: CompiledPolicy) -> tuple[str, ...]:
        self._work = None
        self._prepared = policy
        return ()

    def _not_compiled(self, failure: Any) -> tuple[str, ...] | None:
        if failure.check(CancelledError):
            return None
        self._work = None
        _log.failure("a policy snapshot cannot be used", failure=failure)
        return (f"{type(failure.value).__name__}: {failure.value}",)

    def swap(self, serial: int) -> bool:
        """Put the prepared snapshot in force. False when that is not the one that is prepared."""
        if serial != self._serial or self._prepared is None:
            return False
        former, self.current, self._prepared = self.current, self._prepared, None
        self._free(former)
        return True

    def forget(self, serial: int) -> None:
        """Free this snapshot, however much of it is here: it is not taken."""
        if serial != self._serial:
            return
        self._serial = 0
        self._payloads = []
        prepared, self._prepared = self._prepared, None
        self._free(prepared)
        work, self._work = self._work, None
        if work is not None:
            work.cancel()

    def _free(self, policy: CompiledPolicy | None) -> None:
        if policy is not None:
            when_unused(policy, lambda work: run_in_slices(self._reactor, work))

    def reload(self) -> Deferred[Any]:
        """See `IPolicySource`: here it is the supervisor that reloads."""
        return fail(NotImplementedError("the supervisor reloads"))
