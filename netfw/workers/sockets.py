"""What the supervisor opens for its workers: listening sockets, a set for each place, and listeners' certificates.

Every place has a socket of its own for each listener, on the same port (SO_REUSEPORT): the kernel spreads connections
over them evenly, where one shared socket gives most to whoever wakes first. They are bound before privileges are
dropped and stay open here, so that a queue outlives the worker that it belongs to; sockets that were given to the proxy
are dealt out in their stead. Certificates and keys are read at the same moment and handed on as sealed files in memory:
workers need no right to read them, and no message holds them. Not here: accepting (`transport.accepting`).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from twisted.logger import Logger

from netfw.config.credential_files import credential_files
from netfw.config.model import Configuration, ListenerSection
from netfw.transport.accepting import bind
from netfw.workers.child import FIRST_DESCRIPTOR
from netfw.workers.sealed_files import close_files, sealed_copies
from netfw.workers.shares import share_of_limits

_log = Logger()

BACKLOG = 1024


def listening_sockets(address: str, port: int, count: int) -> list[socket.socket]:
    """So many sockets that listen on one port, which the kernel chooses when it is 0. Raises OSError."""
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = _bound(address, port, shared=bool(sockets))
            sockets.append(sock)
            port = sock.getsockname()[1]
        return sockets
    except BaseException:
        close_all(sockets)
        raise


def _bound(address: str, port: int, *, shared: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bind(sock, address, port)
        else:
            # The first one is bound without: another proxy that has the port already is an error, not a partner.
            bind(sock, address, port)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        return sock
    except BaseException:
        sock.close()
        raise


def dealt_out(given: Sequence[socket.socket], count: int) -> list[socket.socket]:
    """Sockets that listen already, one for each place: where they are fewer, several places accept from the same one.

    More of them on the same port cannot be opened here: the kernel shares a port among sockets of one user, and these
    are their opener's.
    """
    return [given[place] if place < len(given) else given[place % len(given)].dup() for place in range(count)]


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Close them."""
    for sock in sockets:
        sock.close()


@dataclass(slots=True)
class _OpenPort:
    """One port of the listener at `position`: a socket for each place. `port` is the one that was asked for."""

    position: int
    port: int
    sockets: list[socket.socket]

    @property
    def bound(self) -> int:
        """The port that it is."""
        return int(self.sockets[0].getsockname()[1])


class Inheritance:
    """Everything that workers are given, and the configuration that tells them so. `ports`: of each listener, those to
    begin with; its own where nobody says.
    """

    def __init__(
        self,
        configuration: Configuration,
        given: Sequence[Sequence[socket.socket]] = (),
        ports: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self._configuration = configuration
        self._given = given
        self._first_ports = ports if ports is not None else [(section.port,) for section in configuration.listeners]
        self._is_open = False
        self._open: list[_OpenPort] = []
        self._files: dict[Path, int] = {}
        self._former: dict[Path, int] = {}

    def open(self) -> bool:
        """Bind, and copy certificates and keys, unless that has happened; whether it had not. Raises OSError for a port
        that no store chose; one that it did is left out, to be opened when it can be.
        """
        if self._is_open:
            return False
        self._is_open = True
        try:
            for position, section in enumerate(self._configuration.listeners):
                for port in self._first_ports[position]:
                    self._open_first(position, section, port)
            self._files = sealed_copies(credential_files(self._configuration))
        except BaseException:
            self.close()
            raise
        return True

    def _open_first(self, position: int, section: ListenerSection, port: int) -> None:
        given = self._given[position] if self._given else ()
        if given:
            self._open.append(_OpenPort(position, port, dealt_out(given, self._configuration.workers)))
            return
        try:
            self.open_port(position, port)
        except OSError as error:
            if not section.from_store:
                raise
            _log.error(
                "listener {name} cannot have port {port}: {problem}",
                name=section.name, port=port, problem=error.strerror or str(error),
            )  # fmt: skip

    def open_port(self, position: int, port: int) -> list[socket.socket]:
        """A socket for each place on another port of this listener. Raises OSError."""
        section = self._configuration.listeners[position]
        sockets = listening_sockets(str(section.address), port, self._configuration.workers)
        self._open.append(_OpenPort(position, port, sockets))
        return sockets

    def close_port(self, position: int, port: int) -> None:
        """Close them: what comes there is refused when the workers have closed theirs too."""
        opened = next(one for one in self._open if (one.position, one.port) == (position, port))
        self._open.remove(opened)
        close_all(opened.sockets)

    @property
    def opened(self) -> set[tuple[int, int]]:
        """Which listeners have which ports, as they were asked for."""
        return {(one.position, one.port) for one in self._open}

    def copies(self, configuration: Configuration) -> dict[Path, int]:
        """The files that this configuration names, as they are now, for `reconfigure` once they were found good.

        What was read before privileges were dropped, and cannot be read any more, stays as it was. Raises OSError.
        """
        return sealed_copies(credential_files(configuration), self._files)

    def reconfigure(self, configuration: Configuration, copies: dict[Path, int]) -> None:
        """Other settings and files for the workers there are and those to come; sockets stay."""
        self._configuration = configuration
        # What is on its way to a worker must stay open until it has left: long before the next but one.
        close_files(self._former)
        self._former, self._files = self._files, copies

    @property
    def configuration(self) -> Configuration:
        """A worker's own: its share of the limits."""
        configuration = self._configuration
        return replace(configuration, limits=share_of_limits(configuration.limits, configuration.workers))

    @property
    def ports(self) -> list[tuple[ListenerSection, int]]:
        """Each open port, and the settings of its listener."""
        return [(self._configuration.listeners[one.position], one.bound) for one in self._open]

    @property
    def places(self) -> tuple[tuple[int, int, int], ...]:
        """The open ports with the descriptors of a worker's sockets, as the worker has them."""
        return tuple((one.position, one.port, FIRST_DESCRIPTOR + number) for number, one in enumerate(self._open))

    @property
    def files(self) -> dict[str, int]:
        """The descriptors of copies, as the worker has them, by the path of the file."""
        first = FIRST_DESCRIPTOR + len(self._open)
        return {str(path): first + position for position, path in enumerate(self._files)}

    def descriptors(self, number: int) -> list[int]:
        """What worker `number` (from 1 on) is given, from `FIRST_DESCRIPTOR` on."""
        return [one.sockets[number - 1].fileno() for one in self._open] + list(self._files.values())

    def stop_listening(self) -> None:
        """New connections are refused when the workers have closed theirs too."""
        for one in self._open:
            close_all(one.sockets)

    def close(self) -> None:
        """Close everything."""
        self.stop_listening()
        for copies in (self._files, self._former):
            close_files(copies)
            copies.clear()
        self._open.clear()
