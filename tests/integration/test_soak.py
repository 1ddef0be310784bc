"""Many idle tunnels, many slow clients, and ordinary requests beside them: no error, no growth, no delay.

The normal suite runs a small size; `make soak` (`-m soak`) the full one, and prints what it measured.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from netfw.testing.proxy_process import ProxyProcess, policy

MIB = 1 << 20
ROOMY = {"connections_per_client": 20_000, "connections_per_destination": 0, "requests_per_connection": 1_000_000_000}


class Load:
    """`netfw.testing.load` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.origin_port: int = self._answer()["origin_port"]

    def __call__(self, do: str, **how: Any) -> dict[str, Any]:
        """Give one command, and wait for what came of it."""
        self.begin(do, **how)
        return self.end()

    def begin(self, do: str, **how: Any) -> None:
        """Give one command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **how}) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """What came of it."""
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the load ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def load_on(proxy: ProxyProcess) -> Iterator[Load]:
    """Load on this proxy, ended afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "netfw.testing.load", str(proxy.port())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield Load(process)
    finally:
        process.kill()
        process.communicate()


def report(request: pytest.FixtureRequest, **figures: Any) -> None:
    """Print it, whatever pytest captures."""
    with request.getfixturevalue("capsys").disabled():
        print(f"\n{request.node.name}: {json.dumps(figures)}")  # noqa: T201 - what the test is run for


def cpu_seconds(proxy: ProxyProcess) -> float:
    """What the process has used."""
    with open(f"/proc/{proxy.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


TUNNELS = [
    pytest.param(300, 100, 4, id="300-tunnels"),
    pytest.param(9_000, 1_000, 300, id="9000-tunnels", marks=[pytest.mark.soak, pytest.mark.timeout(900)]),
]


@pytest.mark.parametrize(("count", "rate", "seconds"), TUNNELS)
def test_idle_tunnels_beside_requests(
    count: int, rate: int, seconds: int, make_proxy: Any, request: pytest.FixtureRequest
) -> None:
    """Every tunnel still carries what it is given at the end, every request is answered, and memory does not grow."""
    needed = 2 * count + 1000
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < needed:
        pytest.skip(f"{needed} descriptors are needed; raise `ulimit -n`")
    proxy = make_proxy(policy(), limits=ROOMY)
    with load_on(proxy) as load:
        assert load("tunnels", count=count) == {"open": count, "errors": []}
        proxy.wait_until(lambda: proxy.status()["tunnels"] == count)
        # The first part warms up: what it leaves behind is kept for the next.
        first = load("requests", rate=rate, seconds=seconds / 5)
        before, used = proxy.rss(), cpu_seconds(proxy)
        main = load("requests", rate=rate, seconds=seconds * 4 / 5)
        after, used = proxy.rss(), cpu_seconds(proxy) - used
        assert load("echo") == {"alive": count}
        report(
            request, rss_mib=round(after / MIB, 1), growth=f"{(after - before) / before:+.2%}",
            cpu_us_a_request=round(1e6 * used / main["answered"]), warm_up=first, main=main,
        )  # fmt: skip
        for part in (first, main):
            assert part["errors"] == []
            assert part["answered"] == part["asked"]
        assert after - before <= max(0.02 * before, MIB)
        if rate == 1000:
            assert main["asked"] >= 0.99 * rate * seconds * 4 / 5
    records = proxy.wait_for_records(lambda record: record["kind"] == "tunnel", count, timeout=60)
    assert len(records) == count


SLOW = {
    "headers": ["-H", "-i", "10", "-x", "24"],
    "body": ["-B", "-i", "10", "-s", "8192", "-x", "10"],
    "range": ["-R", "-a", "5", "-b", "3000"],
    "read": ["-X", "-n", "1", "-w", "128", "-y", "512", "-z", "8", "-k", "1"],
}
SLOW_SIZES = [
    pytest.param(100, 20, 3, id="100"),
    pytest.param(2_000, 200, 60, id="2000", marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
]


@pytest.mark.parametrize(("count", "rate", "seconds"), SLOW_SIZES)
@pytest.mark.parametrize("mode", SLOW)
def test_slow_clients_beside_requests(
    mode: str, count: int, rate: int, seconds: int, make_proxy: Any, program: Any, request: pytest.FixtureRequest
) -> None:
    """slowhttptest, in each of its modes, from an address of its own: nobody else waits for it."""
    slowhttptest = program("slowhttptest")
    # By default the proxy has cut them all after half a minute, and the attack is over: here they may stay.
    proxy = make_proxy(policy(), limits=ROOMY, timeouts={"head": "5m", "body": "5m"})
    with load_on(proxy) as load, load_on(proxy) as attacked:
        alone = load("requests", rate=rate, seconds=seconds / 3, source="127.0.0.2")
        path = "/big" if mode == "read" else "/"
        attack = subprocess.Popen(
            [
                slowhttptest, *SLOW[mode], "-c", str(count), "-r", str(count // 4), "-l", str(seconds + 60), "-p", "5",
                "-u", f"http://origin.test:{attacked.origin_port}{path}", "-d", f"127.0.0.1:{proxy.port()}",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            most = 0
            until = time.monotonic() + (count / 50 if mode == "range" else 60)
            while most < count and time.monotonic() < until:
                most = max(most, proxy.status()["connections"])
                time.sleep(0.1)
            used = cpu_seconds(proxy)
            main = load("requests", rate=rate, seconds=seconds, source="127.0.0.2")
            used = cpu_seconds(proxy) - used
            most = max(most, proxy.status()["connections"])
            still = attack.poll() is None
        finally:
            attack.kill()
            attack.wait()
        report(
            request, slow_connections=most, rss_mib=round(proxy.rss() / MIB, 1), cpu_s=round(used, 2),
            alone=alone, main=main,
        )  # fmt: skip
        assert main["errors"] == []
        assert main["answered"] == main["asked"]
        if mode != "range":
            # Ranges are answered at once: there is nothing slow about them, so few are open at a time.
            assert most >= 0.9 * count
            assert still
        if count == 2_000:
            # On a machine that is busy with other things everything waits: twice what it takes without them, then.
            assert main["p99_ms"] < max(100, 2 * alone["p99_ms"])
    proxy.wait_until(lambda: proxy.status()["connections"] == 0, 60)
    if shutil.which("ss"):
        assert proxy.open_sockets() < 50
