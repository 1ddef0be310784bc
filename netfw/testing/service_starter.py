"""A small systemd for tests: hands listening sockets to proxies as systemd does, and hears what they notify.

In this room: as much of systemd as sd_listen_fds(3) and sd_notify(3) describe. Real processes; several may have the
same sockets at once, as when one takes over from another. Not here: the proxy's own command line (`proxy_process`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netfw.testing.proxy_process import RUN_TWISTD, START_SECONDS, Document, ProxyProcess, merge

# LISTEN_PID is the number that the process itself has: only it can know, after the fork and before the exec.
_AS_SYSTEMD = """
import os, sys
count = int(sys.argv[1])
given = [int(number) for number in sys.argv[2:2 + count]]
high = [os.dup(number) for number in given]
high = [os.dup2(number, 200 + place) for place, number in enumerate(high)]
for place, number in enumerate(high):
    os.dup2(number, 3 + place)
os.closerange(3 + count, 300)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(count)
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""


class ServiceStarter:
    """Open sockets with `listen` and `listen_unix`, then `start` services; `close` ends those that still run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: list[str] = []
        self.sockets: list[socket.socket] = []
        self.services: list[Service] = []

    def listen(self, name: str, address: str = "127.0.0.1", port: int = 0, *, reuse_port: bool = False) -> int:
        """A TCP socket that stays open here; its port."""
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address, port))
        return int(self._keep(name, sock).getsockname()[1])

    def listen_unix(self, name: str, path: Path) -> None:
        """A Unix socket that stays open here."""
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        self._keep(name, sock)

    def _keep(self, name: str, sock: socket.socket) -> socket.socket:
        sock.listen(4096)
        self.names.append(name)
        self.sockets.append(sock)
        return sock

    def start(self, name: str, config: Document, rules: Document, *, watchdog: float = 0.0) -> Service:
        """Start a proxy with all sockets, and wait until it says that it is ready."""
        directory = self.directory / name
        config = merge(config, {"policy": {"file": str(directory / "policy.yaml")}})
        service = Service(directory, config, rules, self, watchdog)
        self.services.append(service)
        service.start()
        return service

    def close(self) -> None:
        """End what still runs, and close the sockets."""
        for service in self.services:
            service.kill()
            service.notifications.close()
        for sock in self.sockets:
            sock.close()

    def __enter__(self) -> ServiceStarter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Service(ProxyProcess):
    """One proxy with a manager's sockets. `heard` is every notification so far."""

    def __init__(
        self, directory: Path, config: Document, rules: Document, manager: ServiceStarter, watchdog: float
    ) -> None:
        super().__init__(directory, config, rules)
        self._manager = manager
        self._watchdog = watchdog
        self.heard: list[dict[str, str]] = []
        self.notifications = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notifications.bind(str(directory / "notify"))

    def start(self) -> Service:
        """As `ProxyProcess.start`, ready when it says so."""
        more = {"NOTIFY_SOCKET": str(self.directory / "notify"), "LISTEN_FDNAMES": ":".join(self._manager.names)}
        if self._watchdog:
            more["WATCHDOG_USEC"] = str(int(self._watchdog * 1e6))
        numbers = [sock.fileno() for sock in self._manager.sockets]
        shim = [self.python, "-c", _AS_SYSTEMD, str(len(numbers)), *map(str, numbers)]
        self.launch([*shim, self.python, "-c", RUN_TWISTD, *self.command[1:]], more, numbers)
        self.wait_to_hear("READY", START_SECONDS)
        self._status = self.status()
        return self

    def wait_to_hear(self, variable: str, seconds: float, *, since: int = 0) -> dict[str, str]:
        """The first notification with this variable after the first `since`; RuntimeError when it does not come."""
        deadline = time.monotonic() + seconds
        while True:
            for message in self.heard[since:]:
                if variable in message:
                    return message
            if time.monotonic() > deadline or (self.process is not None and self.process.poll() is not None):
                raise RuntimeError(f"no {variable} after {self.heard}:\n{self.log[-4000:]}")
            self._hear(0.1)

    def _hear(self, seconds: float) -> None:
        self.notifications.settimeout(seconds)
        try:
            data = self.notifications.recv(4096)
        except TimeoutError:
            return
        pairs: Sequence[Any] = [line.partition("=")[::2] for line in data.decode().split("\n")]
        self.heard.append(dict(pairs))

    def drain(self) -> None:
        """SIGTERM, without waiting."""
        assert self.process is not None
        self.process.terminate()

    @property
    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self.process is not None and self.process.poll() is None


def listening_port_is_open(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a connection is taken into the queue."""
    try:
        socket.create_connection((address, port), 5).close()
    except OSError:
        return False
    return True
