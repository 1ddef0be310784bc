"""Debian's Squid as a subprocess: a real proxy of another make, above or below ours. For tests.

On loopback, without a cache, in the foreground. Names come from a hosts file, since it asks resolvers on port 53 only.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

START_SECONDS = 60.0
_WHERE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def squid_program() -> str | None:
    """Where it is, None where it is not."""
    return shutil.which("squid", path=_WHERE)


def free_port() -> int:
    """A port that nobody listens on just now, for a program that cannot choose one itself."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Squid:
    """`parent_port`: it sends everything to a proxy there. `hosts`: names of 127.0.0.1. `settings`: more lines."""

    def __init__(
        self,
        directory: Path,
        *,
        hosts: tuple[str, ...],
        port: int | None = None,
        parent_port: int | None = None,
        settings: tuple[str, ...] = (),
    ) -> None:
        self.port = port or free_port()
        self.directory = directory
        directory.mkdir(parents=True)
        (directory / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in hosts))
        lines = [
            f"http_port 127.0.0.1:{self.port}",
            f"visible_hostname {directory.name}",
            f"unique_hostname {directory.name}",
            f"hosts_file {directory}/hosts",
            "pid_filename none",
            f"cache_log {directory}/cache.log",
            f"access_log stdio:{directory}/access.log",
            f"coredump_dir {directory}",
            "cache_store_log none",
            "cache deny all",
            "shutdown_lifetime 0 seconds",
            "pinger_enable off",
            "netdb_filename none",
            *settings,
            "http_access allow all",
        ]
        if parent_port is not None:
            lines += [
                f"cache_peer 127.0.0.1 parent {parent_port} 0 no-query no-digest no-netdb-exchange default",
                "never_direct allow all",
            ]
        self.config = directory / "squid.conf"
        self.config.write_text("\n".join([*lines, ""]))
        # As root it becomes another user, who has to reach its files.
        directory.chmod(0o777)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Squid:
        """Start it and wait until it listens; RuntimeError with its log when it ends or takes too long."""
        program = squid_program()
        assert program is not None, "squid is not installed"
        with open(self.directory / "output", "ab") as output:
            self.process = subprocess.Popen(
                [program, "-N", "-f", str(self.config)],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"squid does not listen:\n{self.output}")
            time.sleep(0.05)

    @property
    def output(self) -> str:
        """What it said so far."""
        found = [self.directory / "output", self.directory / "cache.log"]
        return "".join(path.read_text(errors="replace")[-4000:] for path in found if path.exists())

    def accesses(self) -> str:
        """Its log of requests."""
        path = self.directory / "access.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it at once: connections to it are reset."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(how)
            self.process.wait(START_SECONDS)

    def __enter__(self) -> Squid:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
