"""What serves, whatever process it is in: the listeners, the records, and how they begin and end.

In this room: the life of a `DataPlane`. Not here: signals and the admin surface (`proxy_service`), and the process of a
worker (`worker_process`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from netfw.config.model import ListenerSection, ListenerType
from netfw.proxy.credentials import Credentials
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.listener import ProxyFactory
from netfw.proxy.pace import Pace
from netfw.proxy.parent_checks import ParentChecks
from netfw.proxy.ways import Ways
from netfw.service.connection_rows import connection_rows
from netfw.telemetry.metrics_merge import export
from netfw.telemetry.record_outputs import RecordOutputs
from netfw.transport.accepting import ListeningSocket

_log = Logger()
_DRAIN_LOOK = 0.1


@dataclass(slots=True)
class BoundListener:
    """A listener of the configuration, and its socket once it is bound."""

    section: ListenerSection
    factory: ProxyFactory
    socket: ListeningSocket | None = None


OpenSocket = Callable[[int, BoundListener], ListeningSocket]


class DataPath:
    """Bind, start, drain, end: each once, in this order."""

    def __init__(
        self,
        *,
        plane: DataPlane,
        listeners: Sequence[tuple[ListenerSection, ProxyFactory]],
        records: RecordOutputs,
        credentials: Credentials,
    ) -> None:
        self.plane = plane
        self.listeners = [BoundListener(section, factory) for section, factory in listeners]
        self.records = records
        self.credentials = credentials
        self._pace = Pace(plane)
        self._checks: ParentChecks | None = None
        self._bound = False
        self._ends_at = 0.0

    def bind(self, open_socket: OpenSocket) -> None:
        """Open every listener's socket, unless that has happened."""
        if self._bound:
            return
        self._bound = True
        for position, bound in enumerate(self.listeners):
            bound.socket = open_socket(position, bound)
            self.know_own(bound.section, bound.socket.port)

    def know_own(self, section: ListenerSection, port: int) -> None:
        """This address and port are the proxy itself: never a destination."""
        self.plane.guard.add_own(section.address, port)
        self.plane.own_pages.add_own(str(section.address), port, tls=section.type is ListenerType.HTTPS)

    def start(self) -> None:
        """Begin to write records, and to look for peers that are too slow. Raises OSError."""
        self.records.start()
        self._pace.start()
        self._look_after_parents()

    def _look_after_parents(self) -> None:
        if self._checks is not None:
            self._checks.stop()
            self._checks = None
        if self.plane.ways is not None:
            self._checks = ParentChecks(self.plane, self.plane.ways)
            self._checks.start()

    def settle(self) -> None:
        """What is alive now stays: a full collection over it on a busy proxy is a stall for nothing."""
        gc.collect()
        gc.freeze()
        # Nearly all that an exchange makes is freed by its count of references; collecting often finds nothing, and
        # took a tenth of the time of a request.
        gc.set_threshold(50_000, 20, 50)

    def renew(self, credentials: Credentials) -> None:
        """Go over to these. What is open keeps what it began with; nothing that has changed is used again."""
        former, self.credentials = self.credentials, credentials
        plane = self.plane

        def has_changed(part: str) -> bool:
            return former.marks.get(part) != credentials.marks.get(part)

        for bound, context, users in zip(self.listeners, credentials.listeners, credentials.users, strict=True):
            if not has_changed(f"listener {bound.section.name}"):
                continue
            bound.factory.context = context
            if bound.factory.gate is not None and users is not None:
                bound.factory.gate.passwords.renew(users)
            _log.info("listener {name} has other certificates or users", name=bound.section.name)
        if has_changed("upstream"):
            plane.upstream_tls.renew(credentials.profiles)
            plane.pool.renew_verified()
            _log.info("origins are verified by other roots, lists, pins or client certificates")
        if has_changed("records"):
            self.records.renew(credentials.records)
            _log.info("records are hidden and sent with other keys or certificates")
        if has_changed("ca") and plane.interception is not None:
            plane.interception.forget_all()
            _log.info("leaves are signed by another CA")

    def go_other_ways(self, former: Ways | None) -> None:
        """Other parents, routes or pools are in force: nothing that left by the former carries anything more."""
        if former is not None:
            former.retire()
            self.plane.pool.drop_ways()
        self._look_after_parents()
        _log.info("exchanges leave by other routes, parent proxies or pools")

    def reopen(self) -> None:
        """Open the record file again."""
        self.records.reopen()

    def intercept(self, on: bool) -> None:
        """Open TLS as configured, or leave it alone, in tunnels that begin from now on."""
        self.plane.scope.in_force.on = on

    def drain(self, seconds: float) -> Deferred[None]:
        """Accept nothing more; fires when nothing is under way, or when so many seconds are over.

        Whoever the kernel has let in already is served, and a kept connection has `_DRAIN_LOOK` seconds for a request
        that is on its way: closing it at once would lose that.
        """
        plane = self.plane
        for bound in self.listeners:
            if bound.socket is not None:
                bound.socket.accept_waiting()
        plane.admission.draining = True
        for bound in self.listeners:
            if bound.socket is not None:
                bound.socket.stop()
        plane.live.close_idle()
        if not len(plane.live):
            return succeed(None)
        _log.info("draining: {open} connections are under way", open=len(plane.live))
        self._ends_at = plane.monotonic() + seconds
        finished: Deferred[None] = Deferred()
        self._look(finished)
        return finished

    def hurry(self, seconds: float) -> None:
        """While it drains: no more than so many seconds from now on; 0 cuts what is under way."""
        self._ends_at = min(self._ends_at, self.plane.monotonic() + seconds)
        if seconds <= 0:
            self.plane.live.abort_all()

    def _look(self, finished: Deferred[None]) -> None:
        plane = self.plane
        plane.live.close_idle()
        if not len(plane.live):
            finished.callback(None)
        elif plane.monotonic() >= self._ends_at:
            _log.warn("the time to drain is over: {open} connections are cut", open=len(plane.live))
            plane.live.abort_all()
            plane.deadlines.start(_DRAIN_LOOK, finished.callback, None)
        else:
            plane.deadlines.start(_DRAIN_LOOK, self._look, finished)

    def end(self) -> None:
        """Close what is kept, and write what waits."""
        self._pace.stop()
        if self._checks is not None:
            self._checks.stop()
        self.plane.pool.close()
        self.plane.refusals.close()
        self.records.close()
        self.plane.deadlines.stop()

    def connections(self, most: int) -> list[dict[str, Any]]:
        """Who is connected, as rows; up to so many."""
        return connection_rows(self.plane.live, self.plane.now(), most)

    def figures(self) -> dict[str, Any]:
        """How it is right now, as numbers; a worker's answer to its supervisor."""
        plane, records = self.plane, self.records
        return {
            "connections": plane.admission.open,
            "tunnels": len(plane.live.relays),
            "upstream_idle": len(plane.pool),
            "refused": dict(plane.admission.refused),
            "records": {"written": records.written, "dropped": records.dropped, "errors": records.errors},
            "families": export(plane.recording.metrics),
            "pins": plane.leaf_refusals.pins.rows(),
        }


def listener_rows(sections: Sequence[ListenerSection], ports: Sequence[int | None]) -> list[dict[str, Any]]:
    """The listeners as the status shows them."""
    return [
        {"name": section.name, "type": section.type.value, "address": str(section.address), "port": port}
        for section, port in zip(sections, ports, strict=True)
    ]


def log_listener(section: ListenerSection, port: int) -> None:
    """Say where it listens."""
    _log.info(
        "listener {name} ({kind}) on {address} port {port}",
        name=section.name,
        kind=section.type.value,
        address=str(ip_address(section.address)),
        port=port,
    )
