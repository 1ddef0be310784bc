"""The DNS servers and the order they are asked in. PURE: the clock is an argument.

In this room: `Server`, `ServerOrder`, `NoAnswer`. Not here: asking them (`dns_query`), which of them the system names
(`resolv_conf`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

SET_BACK = 30.0
"""Seconds that a silent server is asked after the others. Without this a dead first server delays every new name by a
whole time-out; the C library does delay them, systemd-resolved and Unbound do not."""


@dataclass(frozen=True, slots=True)
class Server:
    """A recursive resolver. The address may carry an IPv6 zone."""

    address: IPv4Address | IPv6Address
    port: int = 53

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


class NoAnswer(Exception):
    """This server gave no answer that counts. `timed_out`: it was silent, and may be asked again."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


class ServerOrder:
    """The servers in the configured order, but for those that were silent lately: they come last. None is left out."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = tuple(servers)
        self._silent: dict[Server, float] = {}

    def current(self, now: float) -> tuple[Server, ...]:
        """All servers, in the order for a lookup that begins now."""
        if not self._silent:
            return self._servers
        self._silent = {server: since for server, since in self._silent.items() if 0 <= now - since < SET_BACK}
        return tuple(sorted(self._servers, key=self._silent.__contains__))

    def was_silent(self, server: Server, now: float) -> None:
        """This server did not answer in time."""
        self._silent[server] = now
