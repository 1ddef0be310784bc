"""A worker, as it sees itself: what the supervisor tells it, and what it answers.

In this room: the order of its life (start, policy, serve, drain, end). Not here: what serves (`DataPath`, handed in by
`service`), the process and its descriptors (`service.worker_process`), policies and leaves (`policies`,
`remote_issuer`).

When the channel ends, the supervisor has: nobody can change the policy or replace this process any more, so it drains
and ends too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from netfw.transport.deadlines import Deadlines
from netfw.workers import messages
from netfw.workers.policies import SnapshotPolicies
from netfw.workers.remote_issuer import RemoteIssuer

_log = Logger()
_GOODBYE = 5.0
"""Seconds for the last words to leave."""


class DataPath(Protocol):
    """What serves. `service` makes one from the `Start` message."""

    def begin(self) -> None:
        """Open the records, and accept connections."""

    def reopen(self) -> None:
        """Open the record file again."""

    def reconfigure(self, configuration: Any, files: Mapping[str, int]) -> Deferred[None]:
        """Go on with these settings, in plain form, and these files by their descriptors, which are to be closed then.
        The Deferred fails with what is wrong with them.
        """

    def open_port(self, position: int, port: int, descriptor: int) -> None:
        """Have this listener accept from this socket too, now or when it begins."""

    def close_port(self, position: int, port: int) -> None:
        """Accept nothing more there, and let go of who came in."""

    def intercept(self, on: bool) -> None:
        """From now on TLS is opened as configured, or left alone."""

    def drain(self, seconds: float) -> Deferred[None]:
        """Accept nothing more; fires when nothing is under way, or after so many seconds. Asked once."""

    def hurry(self, seconds: float) -> None:
        """While it drains: from now on no more than so many seconds."""

    def end(self) -> object:
        """Write what waits, close what is kept."""

    def connections(self, most: int) -> list[dict[str, Any]]:
        """Rows for people."""

    def figures(self) -> dict[str, Any]:
        """The members of `StatusReply` but its serial."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What `service` builds for a worker. `issuer` is None where nothing is intercepted."""

    path: DataPath
    policies: SnapshotPolicies
    issuer: RemoteIssuer | None
    deadlines: Deadlines
    drain_seconds: float


class Worker:
    """`send` takes messages to the supervisor, `close` ends the channel when they have left, `stop` ends the process.

    `build` makes the parts from the `Start` message; what it raises ends the process. `take_files` gives the
    descriptors that came with a message.
    """

    def __init__(
        self,
        *,
        build: Callable[[messages.Start], Parts],
        send: Callable[[messages.FromWorker], object],
        close: Callable[[], object],
        stop: Callable[[int], object],
        take_files: Callable[[int], list[int]],
    ) -> None:
        self._build = build
        self._send = send
        self._close = close
        self._stop = stop
        self._take_files = take_files
        self._parts: Parts | None = None
        self._begun = False
        self._draining = False
        self._alone = False
        self._steps: dict[type[Any], Callable[[Any], object]] = {
            messages.Start: self._start,
            messages.Snapshot: self._prepare,
            messages.Swap: self._swap,
            messages.Forget: self._forget,
            messages.LeafIssued: self._leaf_issued,
            messages.LeafRefused: self._leaf_refused,
            messages.Status: self._status,
            messages.Connections: self._connections,
            messages.Drain: lambda message: self.drain(message.seconds),
            messages.Reopen: self._reopen,
            messages.Reconfigure: self._reconfigure,
            messages.Listen: self._listen,
            messages.StopListening: self._stop_listening,
            messages.Intercept: self._intercept,
            messages.Ping: lambda message: self._send(messages.Pong(message.serial)),
        }

    def received(self, message: messages.ToWorker) -> None:
        """The supervisor said something."""
        self._steps[type(message)](message)

    def lost(self, reason: str) -> None:
        """The channel has ended: the last words have left, or the supervisor is gone."""
        self._alone = True
        parts = self._parts
        if parts is None:
            self._stop(0)
            return
        if parts.issuer is not None:
            parts.issuer.close()
        if not self._draining:
            _log.error("the supervisor is gone: {reason}", reason=reason)
            self.drain(parts.drain_seconds)

    def asked_to_end(self) -> None:
        """A signal, not the supervisor, wants this process to end. The second one means at once."""
        parts = self._parts
        again = self._draining
        if not again:
            self._send(messages.Leaving())
        self.drain(0.0 if again or parts is None else parts.drain_seconds)

    def drain(self, seconds: float) -> None:
        """End when nothing is under way any more, or after so many seconds."""
        again, self._draining = self._draining, True
        parts = self._parts
        if parts is None or not self._begun:
            if not again:
                self._leave()
            return
        if again:
            parts.path.hurry(seconds)
        else:
            parts.path.drain(seconds).addCallback(lambda _: self._leave()).addErrback(self._failed)

    def _leave(self) -> None:
        """The end: last words, then out."""
        parts = self._parts
        if parts is None:
            self._stop(0)
            return
        self._parts = None
        if self._begun:
            parts.path.end()
        if self._alone:
            self._stop(0)
            return
        self._send(messages.StatusReply(serial=0, **parts.path.figures()))
        # Deadlines that were started for the data path have ended with it: this one is started afterwards.
        parts.deadlines.start(_GOODBYE, self._stop, 0)
        self._close()

    def _failed(self, failure: Any) -> None:
        _log.failure("draining failed", failure=failure)
        self._stop(1)

    def _start(self, message: messages.Start) -> None:
        try:
            self._parts = self._build(message)
        except Exception:
            _log.failure("the worker cannot start")
            self._stop(1)

    def _prepare(self, message: messages.Snapshot) -> None:
        if self._parts is None:
            return

        def answer(problems: tuple[str, ...] | None) -> None:
            if problems:
                self._send(messages.SnapshotRefused(message.serial, problems))
            elif problems is not None:
                self._send(messages.SnapshotAccepted(message.serial))

        compiled = self._parts.policies.take(message)
        if compiled is not None:
            compiled.addCallback(answer).addErrback(self._failed)

    def _swap(self, message: messages.Swap) -> None:
        parts = self._parts
        if parts is None:
            return
        if not parts.policies.swap(message.serial):
            _log.error("the supervisor wants a policy that is not here")
            self._stop(1)
            return
        if not self._begun and not self._draining:
            try:
                parts.path.begin()
            except Exception:
                _log.failure("the worker cannot serve")
                self._stop(1)
                return
            self._begun = True
        self._send(messages.Swapped(message.serial))

    def _forget(self, message: messages.Forget) -> None:
        if self._parts is not None:
            self._parts.policies.forget(message.serial)

    def _leaf_issued(self, message: messages.LeafIssued) -> None:
        if self._parts is not None and self._parts.issuer is not None:
            self._parts.issuer.issued(message)

    def _leaf_refused(self, message: messages.LeafRefused) -> None:
        if self._parts is not None and self._parts.issuer is not None:
            self._parts.issuer.refused(message)

    def _status(self, message: messages.Status) -> None:
        if self._parts is not None:
            self._send(messages.StatusReply(serial=message.serial, **self._parts.path.figures()))

    def _reconfigure(self, message: messages.Reconfigure) -> None:
        descriptors = self._take_files(len(message.files))
        if self._parts is None or len(descriptors) != len(message.files):
            for descriptor in descriptors:
                os.close(descriptor)
            if self._parts is not None:
                # It would go on with a certificate that is no more: its replacement is given the new ones.
                _log.error("the files of a reload did not come")
                self._stop(1)
            return
        files = dict(zip(message.files, descriptors, strict=True))
        done = self._parts.path.reconfigure(message.configuration, files).addErrback(self._keeps_settings)
        done.addCallback(lambda _: self._send(messages.Reconfigured(message.serial)))

    def _keeps_settings(self, failure: Any) -> None:
        _log.failure("the worker cannot use the new settings and keeps the old ones", failure=failure)

    def _listen(self, message: messages.Listen) -> None:
        descriptors = self._take_files(1)
        if self._parts is not None and descriptors:
            self._parts.path.open_port(message.position, message.port, descriptors[0])
            return
        for descriptor in descriptors:
            os.close(descriptor)
        if self._parts is not None:
            _log.error("the socket of port {port} did not come", port=message.port)
            self._stop(1)

    def _stop_listening(self, message: messages.StopListening) -> None:
        if self._parts is not None:
            self._parts.path.close_port(message.position, message.port)

    def _intercept(self, message: messages.Intercept) -> None:
        if self._parts is not None:
            self._parts.path.intercept(message.on)

    def _connections(self, message: messages.Connections) -> None:
        if self._parts is not None:
            rows = self._parts.path.connections(message.most)
            self._send(messages.ConnectionsReply(serial=message.serial, rows=rows))

    def _reopen(self, _message: messages.Reopen) -> None:
        if self._parts is not None and self._begun:
            self._parts.path.reopen()
