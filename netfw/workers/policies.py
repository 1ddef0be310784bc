"""The policy of a worker: snapshots of the supervisor, compiled before they are acknowledged, swapped when told.

Not here: reading policy files (the supervisor's business), and what the snapshot's bytes say (`snapshot`).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from netfw.interfaces import IPolicySource
from netfw.policy.compile import CompiledPolicy, compile_policy
from netfw.workers.messages import Snapshot
from netfw.workers.snapshot import policy_from_bytes

_log = Logger()


def _compile(snapshot: Snapshot) -> CompiledPolicy:
    return compile_policy(policy_from_bytes(snapshot.payload), snapshot.generation, snapshot.at)


@implementer(IPolicySource)
class SnapshotPolicies:
    """`current` is None until the first swap: a worker accepts no connection before it has a policy."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._serial = 0
        self._prepared: CompiledPolicy | None = None
        self.current: CompiledPolicy | None = None

    def prepare(self, snapshot: Snapshot) -> Deferred[tuple[str, ...] | None]:
        """Compile in a thread. A Deferred of what is wrong with it, () when nothing is; None when a later snapshot came
        meanwhile and this one does not count any more.
        """
        self._serial = snapshot.serial
        self._prepared = None
        compiled = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), _compile, snapshot)
        serial = snapshot.serial
        return compiled.addCallbacks(
            lambda policy: self._compiled(policy, serial), lambda failure: self._not_compiled(failure, serial)
        )

    def _compiled(self, policy: CompiledPolicy, serial: int) -> tuple[str, ...] | None:
        if serial != self._serial:
            return None
        self._prepared = policy
        return ()

    def _not_compiled(self, failure: Any, serial: int) -> tuple[str, ...] | None:
        _log.failure("a policy snapshot cannot be used", failure=failure)
        return (f"{type(failure.value).__name__}: {failure.value}",) if serial == self._serial else None

    def swap(self, serial: int) -> bool:
        """Put the prepared snapshot in force. False when that is not the one that is prepared."""
        if serial != self._serial or self._prepared is None:
            return False
        self.current, self._prepared = self._prepared, None
        return True

    def forget(self, serial: int) -> None:
        """Free the prepared snapshot: it was not taken."""
        if serial == self._serial:
            self._serial = 0
            self._prepared = None

    def reload(self) -> Deferred[Any]:
        """See `IPolicySource`: here it is the supervisor that reloads."""
        return fail(NotImplementedError("the supervisor reloads"))
