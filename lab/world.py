"""Networks of a lab: namespaces, the cables between them, and what runs and is asked in each.

In this room: `World`, which knows no topology. It has to be used inside namespaces of its own (`lab.run` sees to that):
whatever it makes is gone when they end, and the machine outside never sees it.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netfw.testing.small_internet import ADDRESS as SITES

RESOLVER = "93.184.216.53"
PATIENCE = 30.0
"""Seconds for something to come up, on a machine that is busy with other things."""
WAIT = "6"
"""Seconds that a client waits for an answer."""


class LabError(Exception):
    """Something of the lab is not as it has to be."""


@dataclass(frozen=True)
class Answer:
    """What a client got: `status` 0 means that nothing came back, and `said` is the client's own word on it."""

    status: int
    body: str
    said: str


class World:
    """Namespaces by name. Files are below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._cables = 0
        self._running: list[subprocess.Popen[bytes]] = []

    # -- networks

    def network(self, *names: str) -> None:
        """New namespaces, each with nothing but a loopback interface."""
        for name in names:
            _do("ip", "netns", "add", name)
            _do("ip", "-n", name, "link", "set", "lo", "up")

    def cable(self, one: str, address: str, other: str, other_address: str) -> None:
        """Connect two namespaces; addresses with their prefix (10.1.0.1/24)."""
        self._cables += 1
        ends = f"{other}{self._cables}"[:15], f"{one}{self._cables}x"[:15]
        _do("ip", "link", "add", ends[0], "netns", one, "type", "veth", "peer", "name", ends[1], "netns", other)
        for name, end, has in ((one, ends[0], address), (other, ends[1], other_address)):
            _do("ip", "-n", name, "address", "add", has, "dev", end)
            _do("ip", "-n", name, "link", "set", end, "up")

    def route(self, name: str, destination: str, via: str) -> None:
        """`destination` is a network, or `default`."""
        _do("ip", "-n", name, "route", "add", destination, "via", via)

    def forwards(self, name: str) -> None:
        """Have this one pass packets on."""
        self.run(name, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")

    def firewall(self, name: str, rules: str) -> None:
        """Load rules of nftables."""
        self.run(name, "nft", "-f", "-", given=rules)

    # -- what runs there

    def run(self, name: str, *command: str, given: str = "") -> str:
        """Run to its end; raises LabError where it fails."""
        return _do("ip", "netns", "exec", name, *command, given=given)

    def start(self, name: str, *command: str, log: str) -> subprocess.Popen[bytes]:
        """Run until `stop`, or until the lab ends."""
        with (self.directory / log).open("ab") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", name, *command],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=self.directory,
            )  # fmt: skip
        self._running.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """Kill it, as a machine that is switched off."""
        process.kill()
        process.wait()

    def close(self) -> None:
        """Stop everything."""
        for process in self._running:
            if process.poll() is None:
                self.stop(process)

    def internet(self, name: str) -> None:
        """Every name and every web site, in this namespace; the CA of the sites is `internet.pem`."""
        ca = self.directory / "internet.pem"
        self.start(
            name, sys.executable, "-m", "netfw.testing.small_internet", "--inside", "--resolver", RESOLVER,
            "--ca", str(ca), "--seen", str(self.directory / "seen"), "--", "sleep", "infinity", log="internet.log",
        )  # fmt: skip
        self.until("the internet", lambda: ca.exists() and bool(self.run(name, "ss", "-Htln", "sport = :443")))

    def proxy(
        self, name: str, label: str, address: str, rules: dict[str, Any], **settings: Any
    ) -> subprocess.Popen[bytes]:
        """netfw in this namespace, listening on port 3128 of `address`; `settings` are sections of its proxy.yaml."""
        home = self.directory / label
        home.mkdir()
        (home / "policy.json").write_text(json.dumps(rules))
        listener = {"name": "main", "address": address, "port": 3128, "clients": ["0.0.0.0/0"]}
        configuration = {
            "proxy": {"name": label},
            "listeners": [{**listener, **settings.pop("listener", {})}],
            "policy": {"file": "policy.json"},
            "dns": {"resolvers": [RESOLVER]},
            "upstream": {"trust": str(self.directory / "internet.pem")},
            "log": {"path": "records.jsonl"},
            "admin": {"socket": "admin.sock"},
            **settings,
        }
        (home / "proxy.yaml").write_text(json.dumps(configuration))
        process = self.start(
            name,
            sys.executable,
            "-m",
            "twisted",
            "netfwproxy",
            "--config",
            str(home / "proxy.yaml"),
            log=f"{label}.log",
        )
        self.until(label, lambda: _is_ready(home / "admin.sock"))
        return process

    def records(self, label: str) -> list[dict[str, Any]]:
        """What this proxy has recorded so far."""
        return [json.loads(line) for line in (self.directory / label / "records.jsonl").read_text().splitlines()]

    # -- asking

    def get(self, name: str, url: str, *, proxy: str | None = None, also: Sequence[str] = ()) -> Answer:
        """Ask with curl, by the proxy `HOST:PORT`, or straight: sites then at their address."""
        command = [
            "curl",
            "-s",
            "-S",
            "-m",
            WAIT,
            "--cacert",
            str(self.directory / "internet.pem"),
            "-w",
            "\\n%{http_code}",
        ]
        command += ["-x", f"http://{proxy}"] if proxy is not None else ["--noproxy", "*", *_known(url)]
        done = subprocess.run(
            ["ip", "netns", "exec", name, *command, *also, url], capture_output=True, text=True, check=False
        )
        body, _, status = done.stdout.rpartition("\n")
        return Answer(int(status or 0), body, done.stderr.strip())

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait for it; raises LabError when it takes too long."""
        end = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > end:
                logs = "\n".join(
                    f"{log.name}: {log.read_text()[-1500:]}" for log in sorted(self.directory.glob("*.log"))
                )
                raise LabError(f"{what} did not come up in {PATIENCE:.0f} seconds\n{logs}")
            time.sleep(0.05)


def _known(url: str) -> list[str]:
    host = url.partition("//")[2].partition("/")[0].partition(":")[0]
    return [part for port in (80, 443) for part in ("--resolve", f"{host}:{port}:{SITES}")]


def _is_ready(path: Path) -> bool:
    connection = http.client.HTTPConnection("localhost", timeout=2)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(2)
    try:
        connection.sock.connect(str(path))
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _do(*command: str, given: str = "") -> str:
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise LabError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout
