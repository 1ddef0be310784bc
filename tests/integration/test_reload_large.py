"""Reloading a large policy under traffic: `netfw reload` swaps 20,000 rules in, and no client notices.

Not here: what a small reload changes (`test_phases`), reloads with worker processes (`test_workers`), how long a
request waits meanwhile (benchmarks/policy/reload_stall.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import Document, ProxyProcess, domain_rule, policy
from netfw.testing.wire_client import RoutedClient

RULES = 20_000


def large_policy(name: str, last: Document) -> Document:
    """RULES rules on names of their own, then `last`."""
    rules = [domain_rule(f"{name}-{number}", "DENY", f"{name}-{number}.example.net") for number in range(RULES)]
    return policy(groups={name: {"PreDNS": [*rules, last]}})


class Traffic:
    """Requests without a pause, in threads, until the block ends; `failures` is what went wrong, `counts` how many."""

    def __init__(self, *loops: Callable[[], None]) -> None:
        self.failures: list[str] = []
        self.counts = [0] * len(loops)
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number, loop), daemon=True) for number, loop in enumerate(loops)
        ]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _run(self, number: int, request: Callable[[], None]) -> None:
        while not self._over.is_set():
            try:
                request()
            except Exception as error:  # whatever it is, the test shall say so
                self.failures.append(repr(error))
                return
            self.counts[number] += 1
            # A breath, so that the clients do not take the whole machine from the server.
            self._over.wait(0.005)


@pytest.fixture(scope="module")
def policy_file(session_dir: Path) -> Path:
    """The policy's file, with nothing in it but defaults."""
    path = session_dir / "large.json"
    path.write_text(json.dumps(policy()))
    return path


@pytest.fixture(scope="module")
def proxy(proxy_maker: Any, policy_file: Path, dns: DnsServer) -> Iterator[ProxyProcess]:
    """A server that intercepts, and lets a connection be used for as many requests as come."""
    dns.answers.zone["*.example.net"] = {"A": ["127.0.0.1"]}
    many = {"requests_per_connection": 1_000_000}
    with proxy_maker("large", intercept=True, policy={"file": str(policy_file)}, limits=many) as server:
        yield server


def reload(proxy: ProxyProcess) -> subprocess.CompletedProcess[str]:
    """Run `netfw reload`."""
    return subprocess.run(
        [sys.executable, "-m", "netfw.cli.main", "reload", "--config", str(proxy.config_path)],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def reload_metric(proxy: ProxyProcess) -> float:
    """The value of netfw_config_last_reload_successful."""
    lines = proxy.admin("/metrics")[1].decode().splitlines()
    (line,) = [line for line in lines if line.startswith("netfw_config_last_reload_successful ")]
    return float(line.split()[1])


def reason(proxy: ProxyProcess, origin: HttpOrigin, host: str) -> str:
    """The reason that this host is answered with; "OK" when no rule names it."""
    with RoutedClient(proxy.port(), "absolute", host, origin.port) as client:
        return client.fetch("/echo").reason


@pytest.fixture
def traffic(
    proxy: ProxyProcess, origin: HttpOrigin, tls_origin: HttpOrigin, certificates: Any
) -> Iterator[Callable[[], Traffic]]:
    """`traffic()`: a kept connection, a kept intercepted one, and a new connection for each request."""
    ca = certificates.intercept[0]
    with (
        RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as kept,
        RoutedClient(proxy.port(), "tls", "origin.test", tls_origin.port, trust=ca) as kept_tls,
    ):

        def fetch(client: RoutedClient) -> None:
            response = client.fetch("/bytes/1000")
            assert (response.status, len(response.body)) == (200, 1000), response.head

        def fetch_anew() -> None:
            with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
                fetch(client)

        yield lambda: Traffic(lambda: fetch(kept), lambda: fetch(kept_tls), fetch_anew)


def test_a_large_policy_comes_and_goes_under_traffic(
    proxy: ProxyProcess, policy_file: Path, origin: HttpOrigin, traffic: Callable[[], Traffic]
) -> None:
    """Each reload ends with status 0 and a new generation whose last rule counts; no request fails meanwhile."""
    generation = proxy.status()["generation"]
    with traffic() as requests:
        for name in ("first", "second"):
            policy_file.write_text(json.dumps(large_policy(name, domain_rule("end", "DENY", f"{name}-end.test"))))
            before = list(requests.counts)
            done = reload(proxy)
            assert done.returncode == 0, done.stdout + done.stderr
            assert done.stdout.startswith("reloaded"), done.stdout
            assert proxy.status()["generation"] == generation + 1
            generation += 1
            assert reload_metric(proxy) == 1
            assert f"{name}/{name}-0 " in reason(proxy, origin, f"{name}-0.example.net")
            assert f"{name}/end " in reason(proxy, origin, f"{name}-end.test")
            assert requests.failures == []
            # All of them were served while the reload ran.
            assert all(now > then for now, then in zip(requests.counts, before, strict=True)), requests.counts
        assert reason(proxy, origin, "first-0.example.net") == "OK"
    assert requests.failures == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: text.replace('"Action": "DENY"', '"Action": "REFUSE"', 1), "Action is one of ALLOW, DENY, ALERT"),
        (lambda text: text[:-2], "large.json"),
        (lambda text: text.replace("half-7.example.net", "half-7.example.net/path", 1), "half-7.example.net/path"),
    ],
    ids=["unknown-action", "cut-off", "no-name"],
)
def test_a_broken_policy_changes_nothing(
    spoil: Callable[[str], str],
    said: str,
    proxy: ProxyProcess,
    policy_file: Path,
    origin: HttpOrigin,
    traffic: Callable[[], Traffic],
) -> None:
    """Exit status 1 and the problem in words; the old generation stays in force, and the metric says so."""
    policy_file.write_text(json.dumps(policy(groups={"kept": {"PreDNS": [domain_rule("old", "DENY", "old.test")]}})))
    assert reload(proxy).returncode == 0
    generation = proxy.status()["generation"]
    sound = json.dumps(large_policy("half", domain_rule("new", "DENY", "new.test")))
    policy_file.write_text(spoil(sound))
    assert policy_file.read_text() != sound
    with traffic() as requests:
        done = reload(proxy)
    assert done.returncode == 1
    printed = " ".join(done.stdout.split())
    assert "the old rules stay in force" in printed
    assert said in printed
    assert requests.failures == []
    assert proxy.status()["generation"] == generation
    assert reload_metric(proxy) == 0
    assert "kept/old " in reason(proxy, origin, "old.test")
    assert reason(proxy, origin, "half-0.example.net") == "OK"
