"""Ports as the store says: opened and closed while the proxy serves, within what proxy.yaml permits.

Here: which are to open and to close, in which order, and what is told when one cannot be had. Not here: what is
permitted (`config.listener_ports`), sockets (`Doors`: `proxy_service`, `supervisor_service`), and who says so
(`store_policy_source`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from netfw.config.listener_ports import Listener, chosen_ports, homeless
from netfw.config.model import ListenerSection

_log = Logger()


class Doors(Protocol):
    """Who has the sockets. A listener is named by its place in the configuration, a port as it was asked for."""

    def opened(self) -> set[tuple[int, int]]:
        """Which listeners have which ports."""

    def open_port(self, position: int, port: int) -> None:
        """Accept there too. Raises OSError."""

    def close_port(self, position: int, port: int) -> None:
        """Accept nothing more there; who came in may finish."""

    def settled(self) -> Deferred[None]:
        """Fires when what was asked for is done everywhere."""


class StoreListeners:
    """Makes the ports of these listeners what is asked for; one change after the other."""

    def __init__(self, sections: Sequence[ListenerSection], doors: Doors) -> None:
        self._sections = sections
        self._doors = doors
        self._one_at_a_time = DeferredLock()

    def carry_out(self, asked: Sequence[Listener] | None) -> Deferred[tuple[str, ...]]:
        """A Deferred of why it is not as asked, () when it is. None: each listener on its own port.

        New ports come first. While one cannot be had, none is closed: who was told to go elsewhere must be able to.
        """
        return self._one_at_a_time.run(self._carry_out, asked)

    def _carry_out(self, asked: Sequence[Listener] | None) -> Deferred[tuple[str, ...]]:
        problems = [
            f"{port} {kind} is not permitted by this node's proxy.yaml (listeners, from_store)"
            for port, kind in homeless(self._sections, asked or ())
        ]
        wanted = {
            (position, port) for position, ports in enumerate(chosen_ports(self._sections, asked)) for port in ports
        }
        opened = self._doors.opened()
        for position, port in sorted(wanted - opened):
            problems += self._open(position, port)
        superfluous = sorted(opened - wanted)
        if problems and superfluous:
            names = dict.fromkeys(self._named(*one) for one in superfluous)
            problems.append(f"{', '.join(names)} {'stays' if len(names) == 1 else 'stay'} open until then")
        for position, port in superfluous if not problems else ():
            self._doors.close_port(position, port)
            _log.info("listener {name} has port {port} no more", name=self._sections[position].name, port=port)
        return self._doors.settled().addCallback(lambda _: tuple(dict.fromkeys(problems)))

    def _open(self, position: int, port: int) -> list[str]:
        try:
            self._doors.open_port(position, port)
        except OSError as error:
            return [f"{self._named(position, port)} cannot be opened: {error.strerror or error}"]
        return []

    def _named(self, position: int, port: int) -> str:
        return f"{port} {self._sections[position].type.value}"
