"""The real server as a subprocess: `twistd netfwproxy` with a configuration of its own in a directory of its own.

Here: starting, waiting until it is ready, reading its records, log and /proc entries, stopping it with checks. What it
is configured with is data that `configuration` and `policy` make; tests change them before they start it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

START_SECONDS = 100.0
STOP_SECONDS = 60.0
RECORD_SECONDS = 10.0
WORKERS = int(os.environ.get("NETFW_TEST_WORKERS", "0"))
"""Of every test proxy that does not say how many it wants: `NETFW_TEST_WORKERS=2` tests with worker processes."""
_TROUBLE = re.compile(r"Unhandled|Traceback \(most recent call last\)|Unexpected error|was never retrieved")

RUN_TWISTD = "from twisted.scripts.twistd import run; run()"
Document = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def condition(key: str, operator: str, *values: str) -> Document:
    """One condition of a rule."""
    return {"ConditionKey": key, "ConditionOperator": operator, "ConditionValues": list(values)}


def rule(name: str, action: str, *conditions: Document) -> Document:
    """One rule."""
    return {"ProxyRuleName": name, "Action": action, "Conditions": list(conditions)}


def domain_rule(name: str, action: str, *domains: str) -> Document:
    """A rule on the destination's name."""
    return rule(name, action, condition("request:DestinationDomain", "StringEquals", *domains))


def policy(
    *,
    pre_dns: str = "ALLOW",
    pre_request: str = "ALLOW",
    post_response: str = "ALLOW",
    groups: dict[str, dict[str, list[Document]]] | None = None,
) -> Document:
    """A policy file: the three default actions and the rule groups in their order ({group: {phase: [rules]}})."""
    groups = groups or {}
    return {
        "ProxyConfiguration": {
            "ProxyConfigurationName": "test",
            "DefaultRulePhaseActions": {"PreDNS": pre_dns, "PreREQUEST": pre_request, "PostRESPONSE": post_response},
            "RuleGroups": list(groups),
        },
        "ProxyRuleGroups": [{"ProxyRuleGroupName": name, "Rules": rules} for name, rules in groups.items()],
    }


def configuration(
    directory: Path,
    *,
    resolver_port: int | None = None,
    intercept: tuple[Path, Path] | None = None,
    listener_tls: tuple[Path, Path] | None = None,
    trust: Path | None = None,
) -> Document:
    """The configuration file of a test proxy: loopback only, ports chosen by the kernel, loopback destinations allowed.

    `intercept` is the interception CA as (certificate, key), `listener_tls` the HTTPS listener's.
    """
    listeners: list[Document] = [
        {"name": "plain", "type": "HTTP", "address": "127.0.0.1", "port": 0, "clients": ["127.0.0.0/8"]}
    ]
    if listener_tls is not None:
        listeners.append({
            "name": "tls", "type": "HTTPS", "address": "127.0.0.1", "port": 0, "clients": ["127.0.0.0/8"],
            "certificate": str(listener_tls[0]), "private_key": str(listener_tls[1]),
        })  # fmt: skip
    document: Document = {
        "proxy": {"name": "netfw-test"},
        "listeners": listeners,
        "tls_intercept": {"mode": "DISABLED"},
        "policy": {"file": str(directory / "policy.yaml")},
        "guard": {"allow": ["127.0.0.0/8"]},
        "log": {"path": str(directory / "records.jsonl")},
        "admin": {"socket": str(directory / "admin.sock")},
        "workers": WORKERS,
    }
    if resolver_port is not None:
        document["dns"] = {"resolvers": [f"127.0.0.1:{resolver_port}"]}
    if intercept is not None:
        ca = {"certificate": str(intercept[0]), "private_key": str(intercept[1])}
        document["tls_intercept"] = {"mode": "ENABLED", "ca": ca}
    if trust is not None:
        document["upstream"] = {"trust": str(trust)}
    return document


def merge(document: Document, changes: Document) -> Document:
    """`document` with `changes` laid over it, section by section."""
    merged = dict(document)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ProxyProcess:
    """One running server. Start it with `start()`, end it with `stop()`, or use it as a context manager.

    `environment`: variables that it has besides.
    """

    def __init__(self, directory: Path, config: Document, rules: Document, *, python: str = sys.executable) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.config = config
        self.python = python
        self.environment: dict[str, str] = {}
        self.config_path = directory / "proxy.yaml"
        self.policy_path = directory / "policy.yaml"
        self.records_path = Path(config["log"]["path"])
        self.log_path = directory / "twistd.log"
        self.config_path.write_text(yaml.safe_dump(config, sort_keys=False))
        self.write_policy(rules)
        self.process: subprocess.Popen[bytes] | None = None
        self._trouble_from = 0

    @property
    def command(self) -> list[str]:
        """As one would type it."""
        return ["twistd", "-n", "--pidfile=", "netfwproxy", "--config", str(self.config_path)]

    def write_policy(self, rules: Document) -> None:
        """Replace the policy file; a running server takes it on SIGHUP."""
        self.policy_path.write_text(yaml.safe_dump(rules, sort_keys=False))

    def start(self) -> ProxyProcess:
        """Start it and wait until it is ready; RuntimeError with its log when it ends or is not ready in time."""
        self.launch([self.python, "-c", RUN_TWISTD, *self.command[1:]])
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}:\n{self.log}")
            try:
                self._status = self.status()
                if self._status["state"] == "ready":
                    return self
                error: Exception = RuntimeError(f"it is {self._status['state']}")
            except (OSError, http.client.HTTPException, ValueError) as problem:
                error = problem
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server was not ready in time ({error}):\n{self.log}")
            time.sleep(0.02)

    def launch(self, command: list[str], more: Mapping[str, str] | None = None, pass_fds: Iterable[int] = ()) -> None:
        """Run this, with its output in the log, and wait for nothing."""
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
        environment |= {**self.environment, **(more or {})}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.directory, env=environment, pass_fds=tuple(pass_fds),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def __enter__(self) -> ProxyProcess:
        return self.start()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.stop()
        else:
            self.kill()

    # asking

    def admin(self, path: str, method: str = "GET", timeout: float = 30.0) -> tuple[int, bytes]:
        """Ask the admin socket."""
        connection = _UnixConnection(Path(self.config["admin"]["socket"]), timeout)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def status(self) -> Document:
        """GET /status; ValueError unless it is 200 and JSON."""
        code, body = self.admin("/status")
        if code != 200:
            raise ValueError(f"/status answers {code}")
        status: Document = json.loads(body)
        return status

    def port(self, listener: str = "plain") -> int:
        """The bound port of a listener."""
        for entry in self._status["listeners"]:
            if entry["name"] == listener:
                return int(entry["port"])
        raise KeyError(listener)

    def wait_until(self, holds: Callable[[], bool], timeout: float = RECORD_SECONDS) -> None:
        """Until `holds()`; AssertionError with the status when it takes too long."""
        deadline = time.monotonic() + timeout
        while not holds():
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """What it printed so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def new_trouble(self) -> str:
        """Its log from the first unhandled error since the last call on; "" when there is none."""
        log = self.log
        found = _TROUBLE.search(log, self._trouble_from)
        self._trouble_from = len(log)
        if found is None:
            return ""
        return log[log.rfind("\n", 0, found.start()) + 1 :][:6000]

    def rss(self) -> int:
        """Resident memory in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise ValueError("no VmRSS")

    def open_files(self, worker: int | None = None) -> list[str]:
        """What its descriptors point to, or those of the worker with this process id."""
        found = []
        for entry in Path(f"/proc/{worker or self.pid}/fd").iterdir():
            try:
                found.append(os.readlink(entry))
            except OSError:
                continue
        return found

    def open_sockets(self) -> int:
        """How many of its descriptors are sockets."""
        return sum(link.startswith("socket:") for link in self.open_files())

    # records

    def write_records(self, timeout: float = RECORD_SECONDS) -> None:
        """Wait until no record that was made waits to be written; at once where nobody runs."""
        deadline = time.monotonic() + timeout
        while self.process is not None and self.process.poll() is None and time.monotonic() < deadline:
            try:
                _, body = self.admin("/metrics")
            except (OSError, http.client.HTTPException):
                return
            lengths = [line for line in body.decode().splitlines() if line.startswith("netfw_log_queue_length{")]
            if not any(float(line.rpartition(" ")[2]) for line in lengths):
                return
            time.sleep(0.02)

    def records(self) -> list[Document]:
        """Every record of what has happened so far: those that the proxy still collects are waited for."""
        self.write_records()
        return self._written()

    def _written(self) -> list[Document]:
        if not self.records_path.exists():
            return []
        lines = self.records_path.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def wait_for_records(
        self, wanted: Callable[[Document], bool], count: int = 1, *, since: int = 0, timeout: float = RECORD_SECONDS
    ) -> list[Document]:
        """The records that `wanted` accepts, once there are `count`; AssertionError when it takes too long.

        `since` leaves out the first so many: `len(records())` of an earlier moment.
        """
        deadline = time.monotonic() + timeout
        while True:
            records = self._written()[since:]
            found = [record for record in records if wanted(record)]
            if len(found) >= count:
                return found
            if time.monotonic() > deadline or (self.process is not None and self.process.poll() is not None):
                last = _few(records)
                raise AssertionError(f"{len(found)} of {count} records came; the last: {last}\n{self.log[-4000:]}")
            time.sleep(0.02)

    def wait_for_record(
        self, wanted: Callable[[Document], bool], *, since: int = 0, timeout: float = RECORD_SECONDS
    ) -> Document:
        """The one record that `wanted` accepts; AssertionError when there are several."""
        found = self.wait_for_records(wanted, 1, since=since, timeout=timeout)
        assert len(found) == 1, found
        return found[0]

    # ending

    def reload(self) -> None:
        """SIGHUP: read the policy again."""
        os.kill(self.pid, signal.SIGHUP)

    def stop(self) -> None:
        """SIGTERM; AssertionError when it does not end cleanly or its log shows a new unhandled error."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the server did not stop in time:\n{self.log[-4000:]}") from None
        # twistd ends itself by the signal that ended its reactor, so that whoever started it sees why.
        status = self.process.returncode
        assert status in (0, -signal.SIGTERM), f"exit status {status}:\n{self.log[-4000:]}"
        trouble = self.new_trouble()
        assert not trouble, f"its log says:\n{trouble}"

    def kill(self) -> None:
        """SIGKILL, without checks."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)


def _few(records: Iterable[Document], limit: int = 20) -> str:
    return "\n".join(json.dumps(record) for record in list(records)[-limit:])
