"""The proxy as one Twisted service in one process: what is bound when, what a signal does, and how it ends.

Start: sockets are bound (before privileges are dropped), then everything that runs. SIGHUP: records are reopened,
configuration and policy are read again. Stop (SIGTERM): no new connections, idle ones closed, those under way may
finish for `timeouts.drain` seconds, then they are aborted. A second SIGTERM aborts them at once. With worker processes
it is `supervisor_service` that runs instead.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed

from netfw.admin.status import ProcessStatus, State
from netfw.config.model import Configuration
from netfw.proxy.data_plane import DataPlane
from netfw.service.data_path import BoundListener, DataPath, log_listener
from netfw.service.policy_source import PolicyInForce, ReloadResult
from netfw.service.reloading import Commit, Reloading
from netfw.service.reopening import reopen_files
from netfw.service.signals import Signals
from netfw.service.systemd import Notifier
from netfw.transport.accepting import ListeningSocket, adopt, listen


class ProxyService(MultiService):
    """Runs the data path; the admin surface is a child service.

    `take_over` reads what a configuration names and gives the function that puts it in force. `given`: for each
    listener the sockets that listen already.
    """

    def __init__(
        self,
        *,
        configuration: Configuration,
        path: DataPath,
        take_over: Callable[[Configuration], Deferred[Commit]],
        policies: PolicyInForce,
        status: ProcessStatus,
        notifier: Notifier,
        given: Sequence[Sequence[socket.socket]] = (),
    ) -> None:
        super().__init__()
        self._notifier = notifier
        self._given = given
        self.path = path
        self._policies = policies
        self._status = status
        self._signals = Signals(path.plane.reactor)
        self._reloading = Reloading(configuration, policies, take_over)

    @property
    def plane(self) -> DataPlane:
        """What the data path works with."""
        return self.path.plane

    @property
    def listeners(self) -> list[BoundListener]:
        """The listeners, with their sockets once they are bound."""
        return self.path.listeners

    def privilegedStartService(self) -> None:
        """Bind while privileges are there."""
        self.path.bind(self._listen)
        super().privilegedStartService()

    def opened(self) -> set[tuple[int, int]]:
        """See `Doors`."""
        return {(bound.position, bound.port) for bound in self.path.listeners}

    def open_port(self, position: int, port: int) -> None:
        """See `Doors`."""
        self.path.open_port(position, port, self._listen)

    def close_port(self, position: int, port: int) -> None:
        """See `Doors`."""
        self.path.close_port(position, port)

    def settled(self) -> Deferred[None]:
        """See `Doors`."""
        return succeed(None)

    def _listen(self, bound: BoundListener) -> ListeningSocket:
        section, descriptors = bound.section, self.plane.descriptors
        given = self._given[bound.position] if self._given else ()
        if given:
            opened = adopt(descriptors, bound.factory, given[0])
        else:
            opened = listen(descriptors, bound.factory, str(section.address), bound.port)
        log_listener(section, opened.port)
        return opened

    def startService(self) -> None:
        """Begin to serve."""
        self.path.bind(self._listen)
        self.path.start()
        super().startService()
        self._signals.take(signal.SIGHUP, self.reload)
        self._policies.start()
        self._status.state = State.READY
        self.path.settle()
        # When the reactor runs: until then a service beside this one may still fail to start.
        self.plane.reactor.callWhenRunning(self._notifier.ready, self._policies.summary())
        self._notifier.keep_alive(self.plane.deadlines)

    def reload(self) -> Deferred[dict[str, Any]]:
        """Reopen the records, and read configuration and policy again; a Deferred of the result as a dict."""
        self.path.reopen()
        reopen_files(self)
        self._notifier.reloading()
        return self._reloading.reload().addCallback(self.reloaded)

    def reloaded(self, result: ReloadResult) -> dict[str, Any]:
        """A policy was put in force, or refused: count it, and show it."""
        self.plane.recording.metrics.reload(result.ok, self.plane.now())
        report = result.as_dict()
        self._status.reloaded(report)
        self._notifier.ready(self._policies.summary(result))
        return report

    def stopService(self) -> Deferred[None]:
        """Drain, then end."""
        self._status.state = State.DRAINING
        self._notifier.stopping(self.plane.configuration.timeouts.drain)
        self._policies.stop()
        self._signals.take(signal.SIGTERM, lambda: self.path.hurry(0.0))
        self._signals.take(signal.SIGINT, lambda: self.path.hurry(0.0))
        drained = self.path.drain(self.plane.configuration.timeouts.drain)
        drained.addCallback(lambda _: self._end())
        return drained

    def _end(self) -> Any:
        ended = super().stopService()
        self._signals.give_back()
        self._notifier.close()
        self.path.end()
        return ended
