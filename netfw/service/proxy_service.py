"""The proxy as one Twisted service: what is bound when, what a signal does, and how it ends.

Start: sockets are bound (before privileges are dropped), then everything that runs. SIGHUP: records are reopened and
the policy is read again. Stop (SIGTERM): no new connections, idle ones closed, those under way may finish for
`timeouts.drain` seconds, then they are aborted. A second SIGTERM aborts them at once.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from netfw.admin.status import ProcessStatus, State
from netfw.config.model import ListenerSection
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.listener import ProxyFactory
from netfw.service.policy_source import FilePolicySource, ReloadResult
from netfw.telemetry.record_log import RecordLog
from netfw.transport.accepting import ListeningSocket, listen

_log = Logger()
_DRAIN_LOOK = 0.1


@dataclass(slots=True)
class BoundListener:
    """A listener of the configuration, and its socket once it is bound."""

    section: ListenerSection
    factory: ProxyFactory
    socket: ListeningSocket | None = None


class ProxyService(MultiService):
    """Runs the data path; the admin surface is a child service."""

    def __init__(
        self,
        *,
        plane: DataPlane,
        listeners: Sequence[tuple[ListenerSection, ProxyFactory]],
        policies: FilePolicySource,
        records: RecordLog,
        status: ProcessStatus,
    ) -> None:
        super().__init__()
        self.plane = plane
        self.listeners = [BoundListener(section, factory) for section, factory in listeners]
        self._policies = policies
        self._records = records
        self._status = status
        self._former: dict[int, Any] = {}
        self._bound = False

    def privilegedStartService(self) -> None:
        """Bind while privileges are there."""
        self._bind()
        super().privilegedStartService()

    def _bind(self) -> None:
        if self._bound:
            return
        self._bound = True
        for bound in self.listeners:
            section = bound.section
            bound.socket = listen(self.plane.reactor, bound.factory, str(section.address), section.port)
            self.plane.guard.add_own(section.address, bound.socket.port)
            self.plane.own_pages.add_own(str(section.address), bound.socket.port)
            _log.info(
                "listener {name} ({kind}) on {address} port {port}",
                name=section.name,
                kind=section.type.value,
                address=str(section.address),
                port=bound.socket.port,
            )

    def startService(self) -> None:
        """Begin to serve."""
        self._bind()
        self._records.start()
        super().startService()
        self._take_signal(signal.SIGHUP, self._hang_up)
        self._status.state = State.READY
        # What is alive now stays: a full collection over it on a busy proxy is a stall for nothing.
        gc.collect()
        gc.freeze()

    def _take_signal(self, number: int, react: Callable[[], object]) -> None:
        reactor = self.plane.reactor

        def caught(_number: int, _frame: Any) -> None:
            reactor.callFromThread(react)

        try:
            self._former.setdefault(number, signal.signal(number, caught))
        except ValueError:
            pass  # not the main thread: a test runs the service; signals are for the process

    def _hang_up(self) -> None:
        self.reload()

    def reload(self) -> Deferred[dict[str, Any]]:
        """Reopen the records and read the policy again; a Deferred of the result as a dict."""
        self._records.reopen()
        return self._policies.reload().addCallback(self._reloaded)

    def _reloaded(self, result: ReloadResult) -> dict[str, Any]:
        self.plane.recording.metrics.reload(result.ok, self.plane.now())
        report = result.as_dict()
        self._status.reloaded(report)
        return report

    def stopService(self) -> Deferred[None]:
        """Drain, then end."""
        self._status.state = State.DRAINING
        plane = self.plane
        plane.admission.draining = True
        for bound in self.listeners:
            if bound.socket is not None:
                bound.socket.stop()
        self._take_signal(signal.SIGTERM, plane.live.abort_all)
        self._take_signal(signal.SIGINT, plane.live.abort_all)
        plane.live.close_idle()
        drained = self._drained()
        drained.addCallback(lambda _: self._end())
        return drained

    def _drained(self) -> Deferred[None]:
        """Fires when nothing is under way, or when the time for it is over."""
        plane = self.plane
        if not len(plane.live):
            return succeed(None)
        _log.info("draining: {open} connections are under way", open=len(plane.live))
        finished: Deferred[None] = Deferred()
        ends_at = plane.monotonic() + plane.configuration.timeouts.drain

        def look() -> None:
            plane.live.close_idle()
            if not len(plane.live):
                finished.callback(None)
            elif plane.monotonic() >= ends_at:
                _log.warn("the time to drain is over: {open} connections are cut", open=len(plane.live))
                plane.live.abort_all()
                plane.deadlines.start(_DRAIN_LOOK, finished.callback, None)
            else:
                plane.deadlines.start(_DRAIN_LOOK, look)

        look()
        return finished

    def _end(self) -> Any:
        plane = self.plane
        plane.pool.close()
        ended = super().stopService()
        for number, former in self._former.items():
            signal.signal(number, former)
        self._former.clear()
        self._records.close()
        plane.deadlines.stop()
        return ended
