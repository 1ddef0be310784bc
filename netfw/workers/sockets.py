"""What the supervisor opens for its workers: listening sockets, a set for each place, and listeners' certificates.

Every place has a socket of its own for each listener, on the same port (SO_REUSEPORT): the kernel spreads connections
over them evenly, where one shared socket gives most to whoever wakes first. They are bound before privileges are
dropped and stay open here, so that a queue outlives the worker that it belongs to; sockets that were given to the proxy
are dealt out in their stead. Certificates and keys are read at the same moment and handed on as sealed files in memory:
workers need no right to read them, and no message holds them. Not here: accepting (`transport.accepting`).
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from netfw.config.model import Configuration
from netfw.workers.child import FIRST_DESCRIPTOR
from netfw.workers.shares import share_of_limits

BACKLOG = 1024
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


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
            sock.bind((address, port))
        else:
            # The first one is bound without: another proxy that has the port already is an error, not a partner.
            sock.bind((address, port))
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


def sealed_copy(path: Path) -> int:
    """A descriptor of a file in memory with this file's content, which nobody can change any more. Raises OSError."""
    content = path.read_bytes()
    descriptor = os.memfd_create(path.name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(f"{path} could not be copied")
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise


def path_of_descriptor(descriptor: int) -> Path:
    """Where the process that has it finds the file behind this descriptor."""
    return Path(f"/proc/self/fd/{descriptor}")


class Inheritance:
    """Everything that workers are given, and the configuration that tells them so."""

    def __init__(self, configuration: Configuration, given: Sequence[Sequence[socket.socket]] = ()) -> None:
        self._configuration = configuration
        self._given = given
        self._sockets: list[list[socket.socket]] = []
        self._files: list[int] = []

    def open(self) -> None:
        """Bind, and read listeners' certificates, unless that has happened. Raises OSError."""
        if self._sockets:
            return
        configuration = self._configuration
        listeners = []
        first_file = FIRST_DESCRIPTOR + len(configuration.listeners)
        try:
            for position, section in enumerate(configuration.listeners):
                given = self._given[position] if self._given else ()
                if given:
                    self._sockets.append(dealt_out(given, configuration.workers))
                else:
                    opened = listening_sockets(str(section.address), section.port, configuration.workers)
                    self._sockets.append(opened)
                if section.certificate is not None and section.private_key is not None:
                    places = []
                    for path in (section.certificate, section.private_key):
                        places.append(path_of_descriptor(first_file + len(self._files)))
                        self._files.append(sealed_copy(path))
                    section = replace(section, certificate=places[0], private_key=places[1])
                listeners.append(section)
        except BaseException:
            self.close()
            raise
        self._configuration = replace(
            configuration,
            listeners=tuple(listeners),
            limits=share_of_limits(configuration.limits, configuration.workers),
        )

    def reconfigure(self, configuration: Configuration) -> None:
        """Other settings for the workers there are and those to come; sockets and certificates stay."""
        inherited = [(section.certificate, section.private_key) for section in self._configuration.listeners]
        listeners = tuple(
            replace(section, certificate=certificate, private_key=key)
            for section, (certificate, key) in zip(configuration.listeners, inherited, strict=True)
        )
        self._configuration = replace(
            configuration, listeners=listeners, limits=share_of_limits(configuration.limits, configuration.workers)
        )

    @property
    def configuration(self) -> Configuration:
        """A worker's own: its share of the limits, certificates where its descriptors are."""
        return self._configuration

    @property
    def ports(self) -> list[int]:
        """Each listener's port."""
        return [sockets[0].getsockname()[1] for sockets in self._sockets]

    @property
    def places(self) -> tuple[int, ...]:
        """The descriptors of a worker's listening sockets, as the worker has them."""
        return tuple(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + len(self._sockets)))

    def descriptors(self, number: int) -> list[int]:
        """What worker `number` (from 1 on) is given, from `FIRST_DESCRIPTOR` on."""
        return [sockets[number - 1].fileno() for sockets in self._sockets] + self._files

    def stop_listening(self) -> None:
        """New connections are refused when the workers have closed theirs too."""
        for sockets in self._sockets:
            close_all(sockets)

    def close(self) -> None:
        """Close everything."""
        self.stop_listening()
        for descriptor in self._files:
            os.close(descriptor)
        self._files.clear()
        self._sockets.clear()
