"""Sockets that listen already when the proxy starts: from systemd, or from whoever hands them over as systemd does.

In this room: taking them (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES) and finding whose each is. They
outlive the proxy: while it is replaced, connections wait in them instead of being refused. Not here: accepting
(`transport.accepting`, `admin.adopted_port`).

A socket belongs to the listener whose address and port it has; a listener with port 0 takes the socket that is named
after it. One that fits nothing is an error: connections to it would wait for ever.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from netfw.config.model import Address, Configuration, ListenerSection

FIRST_GIVEN = 3
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


class GivenSocketsError(Exception):
    """The sockets that were handed over do not fit the configuration. `str()` says which and what to do."""


@dataclass(frozen=True, slots=True)
class GivenSocket:
    """One of them; `name` is FileDescriptorName in the socket unit, by default the unit's own name."""

    name: str
    sock: socket.socket

    @property
    def place(self) -> str:
        """Where it listens, for messages."""
        name = self.sock.getsockname()
        if self.sock.family == socket.AF_UNIX:
            return os.fsdecode(name)
        return f"[{name[0]}]:{name[1]}" if self.sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"

    @property
    def address(self) -> tuple[IPv4Address | IPv6Address, int] | None:
        """Address and port; None for a Unix socket."""
        if self.sock.family == socket.AF_UNIX:
            return None
        host, port = self.sock.getsockname()[:2]
        return ip_address(host.partition("%")[0]), port


@dataclass(slots=True)
class GivenSockets:
    """Whose each is: for each listener those that it has, the admin surface's two, the manhole's."""

    listeners: list[list[socket.socket]]
    admin_socket: socket.socket | None = None
    admin_port: socket.socket | None = None
    manhole: socket.socket | None = None
    unused: list[GivenSocket] = field(default_factory=list)


def take_given_sockets(environment: MutableMapping[str, str], pid: int) -> list[GivenSocket]:
    """The sockets that were meant for this process; the variables are taken out of the environment.

    Raises GivenSocketsError for descriptors that are no listening stream sockets.
    """
    meant_for, count, names = (environment.pop(variable, "") for variable in _VARIABLES)
    if meant_for != str(pid) or not count.isdigit():
        return []
    named = names.split(":") if names else []
    given = []
    for position in range(int(count)):
        descriptor = FIRST_GIVEN + position
        given.append(GivenSocket(named[position] if position < len(named) else "", _listening(descriptor)))
    return given


def _listening(descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise GivenSocketsError(f"descriptor {descriptor} was announced as a socket, but {error.strerror}") from None
    is_stream = sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    if not is_stream or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise GivenSocketsError(
            f"descriptor {descriptor} is not a listening TCP or Unix stream socket; "
            "write ListenStream= and Accept=no in the socket unit"
        )
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock


def assign_given_sockets(given: Sequence[GivenSocket], configuration: Configuration) -> GivenSockets:
    """Find whose each socket is. Raises GivenSocketsError for what does not fit."""
    assigned = GivenSockets([[] for _ in configuration.listeners])
    for one in given:
        position = _listener_of(one, configuration.listeners)
        if position is not None:
            assigned.listeners[position].append(one.sock)
        elif _is_admin_socket(one, configuration) and assigned.admin_socket is None:
            assigned.admin_socket = one.sock
        elif _is_admin_port(one, configuration) and assigned.admin_port is None:
            assigned.admin_port = one.sock
        elif _is_manhole(one, configuration) and assigned.manhole is None:
            assigned.manhole = one.sock
        else:
            assigned.unused.append(one)
    _check(assigned, configuration)
    return assigned


def _listener_of(one: GivenSocket, listeners: Sequence[ListenerSection]) -> int | None:
    address = one.address
    if address is None:
        return None
    for position, section in enumerate(listeners):
        if (section.address, section.port) == address:
            return position
    for position, section in enumerate(listeners):
        if section.port == 0 and section.name == one.name and section.address == address[0]:
            return position
    return None


def _is_admin_socket(one: GivenSocket, configuration: Configuration) -> bool:
    path = configuration.admin.socket
    return path is not None and one.address is None and os.fsdecode(one.sock.getsockname()) == str(path)


def _is_admin_port(one: GivenSocket, configuration: Configuration) -> bool:
    admin = configuration.admin
    wanted: tuple[Address | None, int | None] = (admin.address, admin.port)
    return one.address is not None and one.address == wanted


def _is_manhole(one: GivenSocket, configuration: Configuration) -> bool:
    manhole = configuration.manhole
    if manhole is None:
        return False
    if manhole.socket is not None:
        return one.address is None and os.fsdecode(one.sock.getsockname()) == str(manhole.socket)
    return one.address is not None and one.address == (manhole.address, manhole.port)


def _check(assigned: GivenSockets, configuration: Configuration) -> None:
    problems = [
        f"the socket on {one.place} (named {one.name!r}) is no listener's in {configuration.path}; give a listener "
        "this address and port, or take it out of the socket unit"
        for one in assigned.unused
    ]
    most = max(configuration.workers, 1)
    for section, sockets in zip(configuration.listeners, assigned.listeners, strict=True):
        if sockets and section.from_store:
            problems.append(
                f"listener {section.name} has from_store, so the proxy opens and closes its ports itself; take it out "
                "of the socket unit, or from_store out of the configuration"
            )
        if len(sockets) > most:
            problems.append(
                f"listener {section.name} was given {len(sockets)} sockets, and there are {most} processes to accept "
                "from them; name its address that often at most in the socket unit"
            )
        for sock in sockets:
            if sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
                problems.append(
                    f"the socket of listener {section.name} takes IPv4 too, and would show IPv4 clients by a second "
                    "spelling of their addresses; write BindIPv6Only=ipv6-only in the socket unit"
                )
    if problems:
        raise GivenSocketsError("; ".join(problems))
