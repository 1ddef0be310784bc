"""What serves, whatever process it is in: the listeners, the records, and how they begin and end.

In this room: the life of a `DataPlane`. Not here: signals and the admin surface (`proxy_service`), and the process of a
worker (`worker_process`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from netfw.config.model import ListenerSection, ListenerType
from netfw.config.users_file import Users
from netfw.proxy.authentication import Gate
from netfw.proxy.credentials import Credentials
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.listener import ProxyFactory
from netfw.proxy.live import Leaving
from netfw.proxy.pace import Pace
from netfw.proxy.parent_checks import ParentChecks
from netfw.proxy.ways import Ways
from netfw.service import replaceable
from netfw.service.connection_rows import connection_rows
from netfw.telemetry.last_deliveries import LastDeliveries
from netfw.telemetry.metrics_merge import export
from netfw.telemetry.record_outputs import RecordOutputs
from netfw.transport.accepting import ListeningSocket

_log = Logger()
_DRAIN_LOOK = 0.1


@dataclass(slots=True)
class BoundListener:
    """A port of a listener of the configuration, which is at `position` there, and its socket once it is bound."""

    position: int
    port: int
    factory: ProxyFactory
    socket: ListeningSocket | None = None

    @property
    def section(self) -> ListenerSection:
        """The listener's settings now."""
        return self.factory.listener


OpenSocket = Callable[[BoundListener], ListeningSocket]


class DataPath:
    """Bind, start, drain, end: each once, in this order. Ports come and go in between, where a store says which.

    `ports`: of each listener, those that it begins with.
    """

    def __init__(
        self,
        *,
        plane: DataPlane,
        factories: Sequence[ProxyFactory],
        ports: Sequence[Sequence[int]],
        records: RecordOutputs,
        credentials: Credentials,
    ) -> None:
        self.plane = plane
        self.factories = tuple(factories)
        self.listeners = [
            BoundListener(position, port, factory.twin())
            for position, (factory, chosen) in enumerate(zip(factories, ports, strict=True))
            for port in chosen
        ]
        self.records = records
        self.credentials = credentials
        self._pace = Pace(plane)
        self._checks: ParentChecks | None = None
        self._bound = False
        self._ends_at = 0.0
        self._last = LastDeliveries(lambda: records.logs.values(), plane.reactor)

    def bind(self, open_socket: OpenSocket) -> None:
        """Open every listener's socket, unless that has happened. Raises OSError for a port that no store chose; one
        that it did is left out, to be opened when it can be.
        """
        if self._bound:
            return
        self._bound = True
        for bound in list(self.listeners):
            try:
                self._open(bound, open_socket)
            except OSError as error:
                if not bound.section.from_store:
                    raise
                self.listeners.remove(bound)
                _log.error(
                    "listener {name} cannot have port {port}: {problem}",
                    name=bound.section.name, port=bound.port, problem=error.strerror or str(error),
                )  # fmt: skip

    def open_port(self, position: int, port: int, open_socket: OpenSocket) -> None:
        """Have this listener accept on another port too, now or when the others are bound. Raises OSError."""
        bound = BoundListener(position, port, self.factories[position].twin())
        if self._bound:
            self._open(bound, open_socket)
        self.listeners.append(bound)

    def close_port(self, position: int, port: int) -> None:
        """Accept nothing more there. What came in may finish, for as long as at a stop."""
        bound = next((one for one in self.listeners if (one.position, one.port) == (position, port)), None)
        if bound is None:
            return
        self.listeners.remove(bound)
        opened, address = bound.socket, bound.section.address
        if opened is None:
            return
        opened.accept_waiting()
        opened.stop()
        self.plane.guard.remove_own(address, opened.port)
        self.plane.own_pages.remove_own(str(address), opened.port)
        leaving = Leaving(self.plane.live, bound.factory)
        self._let_go(leaving, self.plane.monotonic() + self.plane.configuration.timeouts.drain, port)

    def _let_go(self, leaving: Leaving, ends_at: float, port: int) -> None:
        leaving.close_idle()
        if not len(leaving):
            return
        if self.plane.monotonic() < ends_at:
            self.plane.deadlines.start(_DRAIN_LOOK, self._let_go, leaving, ends_at, port)
            return
        _log.warn("port {port} was closed: {open} connections are cut", port=port, open=len(leaving))
        leaving.abort_all(f"port {port} was closed")

    def _open(self, bound: BoundListener, open_socket: OpenSocket) -> None:
        bound.socket = open_socket(bound)
        self.know_own(bound.section, bound.socket.port)

    def know_own(self, section: ListenerSection, port: int) -> None:
        """This address and port are the proxy itself: never a destination."""
        self.plane.guard.add_own(section.address, port)
        self.plane.own_pages.add_own(str(section.address), port, tls=section.type is ListenerType.HTTPS)

    @property
    def ports(self) -> list[tuple[ListenerSection, int | None]]:
        """Each listener's settings and port, None while it is not bound."""
        return [(bound.section, bound.socket.port if bound.socket is not None else None) for bound in self.listeners]

    def every_factory(self) -> Iterator[tuple[int, ProxyFactory]]:
        """What builds connections, for ports that are open and for those to come, with the listener's position."""
        yield from enumerate(self.factories)
        for bound in self.listeners:
            yield bound.position, bound.factory

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

        changed = {
            factory.listener.name for factory in self.factories if has_changed(f"listener {factory.listener.name}")
        }
        gates: dict[int, Gate | None] = {}
        for position, factory in self.every_factory():
            if factory.listener.name not in changed:
                continue
            factory.context = credentials.listeners[position]
            if position not in gates:
                gates[position] = self._gate(factory, credentials.users[position])
            if factory.gate is not gates[position]:
                factory.gate = gates[position]
                plane.live.set_gate(factory, factory.gate)
        for name in sorted(changed):
            _log.info("listener {name} has other certificates or users", name=name)
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

    def _gate(self, factory: ProxyFactory, users: Users | None) -> Gate | None:
        """The listener's own with these users, another one, or none."""
        if factory.gate is None or users is None:
            return replaceable.gate(factory.listener, users, self.plane.reactor)
        factory.gate.call_it(factory.listener.realm)
        factory.gate.passwords.renew(users)
        return factory.gate

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
        """Accept nothing more; fires when nothing is under way, or when so many seconds are over, and records that wait
        for a server have been tried once more.

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
        leaving = Leaving(plane.live)
        leaving.close_idle()
        if not len(leaving):
            return self._last.make()
        _log.info("draining: {open} connections are under way", open=len(leaving))
        self._ends_at = plane.monotonic() + seconds
        finished: Deferred[None] = Deferred()
        plane.deadlines.start(_DRAIN_LOOK, self._look, leaving, finished)
        return finished.addCallback(lambda _: self._last.make())

    def hurry(self, seconds: float) -> None:
        """While it drains: no more than so many seconds from now on; 0 cuts what is under way."""
        self._ends_at = min(self._ends_at, self.plane.monotonic() + seconds)
        if seconds <= 0:
            Leaving(self.plane.live).abort_all()
            self._last.cut()

    def _look(self, leaving: Leaving, finished: Deferred[None]) -> None:
        plane = self.plane
        leaving.close_idle()
        if not len(leaving):
            finished.callback(None)
        elif plane.monotonic() >= self._ends_at:
            _log.warn("the time to drain is over: {open} connections are cut", open=len(leaving))
            leaving.abort_all()
            plane.deadlines.start(_DRAIN_LOOK, finished.callback, None)
        else:
            plane.deadlines.start(_DRAIN_LOOK, self._look, leaving, finished)

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


def listener_rows(ports: Iterable[tuple[ListenerSection, int | None]]) -> list[dict[str, Any]]:
    """The listeners as the status shows them."""
    return [
        {"name": section.name, "type": section.type.value, "address": str(section.address), "port": port}
        for section, port in ports
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
