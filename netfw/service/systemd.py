"""What systemd hears from the proxy: ready, reloading, stopping, alive, and a line for `systemctl status`.

In this room: the notifications of sd_notify(3), datagrams to the socket that NOTIFY_SOCKET names, and the watchdog's
clock. Whoever else starts the proxy with that variable hears the same. Not here: sockets that systemd opened
(`given_sockets`), and when something is told (the services).
"""

from __future__ import annotations

import socket
import time
from collections.abc import MutableMapping
from typing import Any

from twisted.logger import Logger

from netfw.telemetry.log import printable
from netfw.transport.deadlines import Deadlines

_log = Logger()
_MARGIN = 15.0
"""Seconds for the end itself, after everything has drained."""


class Notifier:
    """Without NOTIFY_SOCKET it is silent. The variables are taken out of the environment: children must not use them.

    A manager that does not take a datagram at once misses it: the proxy waits for nobody.
    """

    def __init__(self, environment: MutableMapping[str, str], pid: int) -> None:
        self._address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", "") or str(pid)
        self.watchdog = 0.0
        """Seconds within which a sign of life is expected; 0: nobody waits for one."""
        if self._address and microseconds.isascii() and microseconds.isdigit() and watched == str(pid):
            self.watchdog = int(microseconds) / 1e6
        self._socket: socket.socket | None = None
        self._ended = False

    @property
    def is_heard(self) -> bool:
        """Whether somebody asked to be told."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The proxy serves, at first or again after a reload."""
        self._tell("READY=1", f"STATUS={printable(status)}")

    def status(self, status: str) -> None:
        """Only the line that `systemctl status` shows."""
        self._tell(f"STATUS={printable(status)}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reading the policy again")

    def stopping(self, seconds: float) -> None:
        """The end begins, and may take so many seconds: as long as `timeouts.drain` says, whatever the unit says."""
        allowed = int((seconds + _MARGIN) * 1e6)
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={allowed}", "STATUS=finishing what is under way")

    def keep_alive(self, deadlines: Deadlines) -> None:
        """From now on give a sign of life in time: from the reactor, so that one that hangs is found out."""
        if self.watchdog:
            self._alive(deadlines)

    def _alive(self, deadlines: Deadlines) -> None:
        if not self._ended:
            self._tell("WATCHDOG=1")
            deadlines.start(self.watchdog / 3, self._alive, deadlines)

    def close(self) -> None:
        """Say nothing more."""
        self._ended = True
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._address = ""

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            name: Any = self._address
            if name.startswith("@"):
                name = "\0" + name[1:]  # the abstract namespace
            self._socket.sendto("\n".join(lines).encode(), name)
        except OSError as error:
            _log.warn("{address} was not told {what}: {error}", address=self._address, what=lines[0], error=str(error))
