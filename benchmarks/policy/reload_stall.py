"""How long a request waits while a large policy is reloaded. Run by hand:

    python benchmarks/policy/reload_stall.py [--rules 100000] [--rounds 3] [--workers 0]

Starts the real server (one process, or a supervisor and so many workers) with an origin of its own, sends requests one
after the other over a kept connection, over a kept intercepted one and each over a connection of its own, all three at
the same time, and reloads meanwhile. Prints for each the median and the longest time of a request, how many failed, and
the resident memory of all its processes afterwards: at rest, while the policy grows from nothing to all rules, while it
is replaced by one of the same size, and while it shrinks again. Clients, origin and server share the machine, so that
the longest time at rest is what the others have to be compared with.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.pki import TestAuthority
from netfw.testing.proxy_process import ProxyProcess, configuration, domain_rule, merge, policy
from netfw.testing.wire_client import RoutedClient

PAUSE = 0.005
PAGE = os.sysconf("SC_PAGE_SIZE")
REST = 3.0
PER_FILE = 20_000
MANY = 1_000_000
RELOAD_TIME = 300.0
WAYS = ("kept", "intercepted", "new")


def write_policy(directory: Path, name: str, count: int) -> None:
    """A policy of so many rules, each on a name of its own, in files of PER_FILE: a file may have 16 MiB."""
    for old in directory.glob("*.json"):
        old.unlink()
    groups = {}
    for first in range(0, count, PER_FILE):
        numbers = range(first, min(first + PER_FILE, count))
        rules = [domain_rule(f"{name}-{number}", "DENY", f"{name}-{number}.example.net") for number in numbers]
        groups[f"{name}-{first}"] = {"PreDNS": rules}
    document = policy(groups=groups)
    for number, group in enumerate(document.pop("ProxyRuleGroups")):
        (directory / f"group-{number}.json").write_text(json.dumps({"ProxyRuleGroups": [group]}))
    (directory / "configuration.json").write_text(json.dumps(document))


@dataclass
class Watch:
    """One client: the times of its requests in seconds, how many failed, and the last failure."""

    fetch: Callable[[], None]
    times: list[float] = field(default_factory=list)
    failed: int = 0
    problem: str = ""

    def run(self, over: threading.Event) -> None:
        """Request after request, with a pause between them, until it is over."""
        while not over.wait(PAUSE):
            began = time.perf_counter()
            try:
                self.fetch()
            except (OSError, AssertionError) as error:
                self.failed += 1
                self.problem = repr(error)
            self.times.append(time.perf_counter() - began)


@contextmanager
def watched(clients: dict[str, Callable[[], None]]) -> Iterator[dict[str, Watch]]:
    """All clients at work."""
    over = threading.Event()
    watches = {name: Watch(fetch) for name, fetch in clients.items()}
    threads = [threading.Thread(target=watch.run, args=(over,)) for watch in watches.values()]
    for thread in threads:
        thread.start()
    try:
        yield watches
    finally:
        over.set()
        for thread in threads:
            thread.join()


def reload(proxy: ProxyProcess) -> float:
    """Seconds until the next generation is in force; SIGHUP, because it waits as long as it takes."""
    generation, began = proxy.status()["generation"], time.perf_counter()
    proxy.reload()
    while proxy.status()["generation"] == generation:
        if time.perf_counter() - began > RELOAD_TIME or "is refused" in proxy.log:
            raise SystemExit(f"no reload in {time.perf_counter() - began:.0f} s:\n{proxy.log[-2000:]}")
        time.sleep(0.05)
    return time.perf_counter() - began


@contextmanager
def world(directory: Path, workers: int) -> Iterator[tuple[ProxyProcess, Path, dict[str, Callable[[], None]]]]:
    """The server, its policy's directory and the three clients."""
    origins, interception = TestAuthority(common_name="Origins"), TestAuthority(common_name="Interception")
    files: dict[str, Path] = {}
    certificate, key = origins.issue("origin.test")
    contents = {
        "origins.pem": origins.certificate_pem, "ca.pem": interception.certificate_pem,
        "ca.key": interception.key_pem, "origin.pem": certificate, "origin.key": key,
    }  # fmt: skip
    for name, content in contents.items():
        files[name] = directory / name
        files[name].write_bytes(content)
        files[name].chmod(0o600)
    rules = directory / "rules"
    rules.mkdir()
    write_policy(rules, "none", 0)
    with ExitStack() as stack:
        dns = stack.enter_context(DnsServer({"origin.test": {"A": ["127.0.0.1"]}}))
        plain = stack.enter_context(HttpOrigin())
        tls = stack.enter_context(HttpOrigin(tls=(files["origin.pem"], files["origin.key"])))
        document = configuration(
            directory, resolver_port=dns.port, intercept=(files["ca.pem"], files["ca.key"]), trust=files["origins.pem"]
        )
        document["policy"] = {"directory": str(rules)}
        # A kept connection stays for all rounds.
        document = merge(document, {"limits": {"requests_per_connection": MANY}, "timeouts": {"drain": "1s"}})
        document["workers"] = workers
        proxy = stack.enter_context(ProxyProcess(directory, document, policy()))

        def client(way: str, port: int) -> RoutedClient:
            return RoutedClient(proxy.port(), way, "origin.test", port, trust=files["ca.pem"], timeout=60.0)

        def fetch(one: RoutedClient) -> None:
            response = one.fetch("/bytes/1000")
            assert (response.status, len(response.body)) == (200, 1000), response.head

        def fetch_anew() -> None:
            with client("absolute", plain.port) as one:
                fetch(one)

        kept = stack.enter_context(client("absolute", plain.port))
        kept_tls = stack.enter_context(client("tls", tls.port))
        clients = (lambda: fetch(kept), lambda: fetch(kept_tls), fetch_anew)
        yield proxy, rules, dict(zip(WAYS, clients, strict=True))


def memory(proxy: ProxyProcess) -> int:
    """Resident bytes of the server's processes."""
    workers = [Path(f"/proc/{row['pid']}/statm") for row in proxy.status().get("workers", [])]
    return proxy.rss() + sum(int(statm.read_text().split()[1]) * PAGE for statm in workers)


def row(what: str, seconds: float, watches: dict[str, Watch], memory: int) -> str:
    """One line of the table."""
    cells = "  ".join(
        f"{median(watch.times) * 1e3:7.1f} {max(watch.times) * 1e3:7.1f}" if watch.times else f"{'-':>7} {'-':>7}"
        for watch in watches.values()
    )
    requests, failed = sum(len(watch.times) for watch in watches.values()), sum(w.failed for w in watches.values())
    for way, watch in watches.items():
        if watch.failed:
            print(f"{way}: {watch.failed} failed, the last by {watch.problem}", file=sys.stderr)
    return f"{what:<12} {seconds:8.1f}  {cells}  {requests:8} {failed:6} {memory / 1e6:6.0f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How long a request waits while a large policy is reloaded.")
    parser.add_argument("--rules", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{arguments.rules:,} rules, {arguments.workers} workers; milliseconds a request takes: median and longest")
    print(f"{'':12} {'':8}  " + "  ".join(f"{way:>15}" for way in WAYS))
    print(
        f"{'':12} {'seconds':>8}  "
        + "  ".join(["median longest"] * len(WAYS))
        + f"  {'requests':>8} {'failed':>6} {'MB':>6}"
    )
    steps = [("grows", "first", arguments.rules), ("is replaced", "second", arguments.rules), ("shrinks", "none", 0)]
    with (
        tempfile.TemporaryDirectory() as directory,
        world(Path(directory), arguments.workers) as (proxy, rules, clients),
    ):
        for _ in range(arguments.rounds):
            with watched(clients) as watches:
                time.sleep(REST)
            print(row("at rest", REST, watches, memory(proxy)), flush=True)
            for what, name, count in steps:
                write_policy(rules, name, count)
                with watched(clients) as watches:
                    seconds = reload(proxy)
                print(row(what, seconds, watches, memory(proxy)), flush=True)


if __name__ == "__main__":
    main()
