"""A large store: how long a describe takes, and how soon a change of one rule is decided by in three proxies.

    python benchmarks/store.py [--postgresql] [--groups 500] [--rules 1000] [--attached 10] [--changes 21]

Real proxies, a real PostgreSQL server of its own, everything on this machine. Each proxy is asked without a pause while
rules change; a request without an answer counts as dropped.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from netfw.store.database import Database
from netfw.store.repository import Transaction
from netfw.store.resources import StoredConfiguration, StoredGroup, StoredProxy
from netfw.testing.postgresql import PostgresServer
from netfw.testing.proxy_process import ProxyProcess, domain_rule
from netfw.testing.stores import arn_of, following

DEFAULTS = {"PreDNS": "DENY", "PreREQUEST": "ALLOW", "PostRESPONSE": "ALLOW"}


def group(name: str, rules: int) -> StoredGroup:
    """One with so many rules."""
    made = tuple(domain_rule(f"r{number}", "ALLOW", f"h{number}.{name}.example") for number in range(rules))
    return StoredGroup(name, arn_of("group", name), {"PreDNS": made, "PreREQUEST": (), "PostRESPONSE": ()})


def fill(database: Database, arguments: argparse.Namespace) -> None:
    """Groups, fifty in a transaction; a configuration with some of them, and three proxies that follow it."""
    names = [f"g{number}" for number in range(arguments.groups)]

    def add(transaction: Transaction, some: list[str]) -> None:
        for name in some:
            transaction.groups.add(group(name, arguments.rules))
        transaction.bump_generation("benchmark", "groups")

    for start in range(0, len(names), 50):
        database.transact(add, names[start : start + 50])

    def follow(transaction: Transaction) -> None:
        attached = tuple(names[: arguments.attached])
        transaction.configurations.add(StoredConfiguration("c", arn_of("configuration", "c"), DEFAULTS, attached))
        for number in range(3):
            transaction.proxies.add(StoredProxy(f"p{number}", arn_of("proxy", f"p{number}"), "c"))
        transaction.bump_generation("benchmark", "proxies")

    database.transact(follow)


def change(transaction: Transaction, number: int) -> None:
    """One rule of one group is another one: what it says is in the denial."""
    found = transaction.groups.get("g0")
    marked = {**domain_rule("r0", "DENY", "asked.test"), "Description": f"change {number}."}
    rules = {**found.rules, "PreDNS": (marked, *found.rules["PreDNS"][1:])}
    transaction.groups.replace(replace(found, rules=rules), found.update_token)
    transaction.bump_generation("benchmark", f"change {number}")


class Watcher(threading.Thread):
    """Asks one proxy all the time; knows when it first heard of each change."""

    def __init__(self, proxy: ProxyProcess) -> None:
        super().__init__(daemon=True)
        self._port = proxy.port()
        self.heard: dict[str, float] = {}
        self.answered = 0
        self.dropped = 0
        self.over = False

    def run(self) -> None:
        """Until it is over."""
        while not self.over:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request("GET", "http://asked.test/")
                body = connection.getresponse().read().decode()
                self.answered += 1
            except (OSError, http.client.HTTPException):
                self.dropped += 1
                continue
            finally:
                connection.close()
            for word in body.replace("\n", " ").split("change ")[1:]:
                self.heard.setdefault(word.split(".")[0], time.perf_counter())
            time.sleep(0.03)


def described(proxy: ProxyProcess, name: str) -> float:
    """Milliseconds that the API of a proxy takes for a group, over its socket, the answer read whole."""
    began = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(proxy.config["admin"]["socket"])
        body = json.dumps({"ProxyRuleGroupName": name}).encode()
        head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.0\r\nConnection: close\r\n"
        head += f"X-Amz-Target: NetworkFirewall_20201112.DescribeProxyRuleGroup\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
    return (time.perf_counter() - began) * 1000


def cpu_seconds(proxy: ProxyProcess) -> float:
    """What the proxy and the process that follows the store for it have used so far."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if proxy.pid in (pid, int(rest[1])):
            total += int(rest[11]) + int(rest[12])
    return total / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--postgresql", action="store_true")
    for name, default in (("groups", 500), ("rules", 1000), ("attached", 10), ("changes", 21)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="bench-store-"))
    server = PostgresServer() if arguments.postgresql else None
    url = server.url if server is not None else f"sqlite:///{directory / 'policy.sqlite'}"
    database = Database.open(url)
    began = time.perf_counter()
    fill(database, arguments)
    print(f"{url.split(':')[0]}: {arguments.groups} groups of {arguments.rules} rules stored in", end=" ")
    print(f"{time.perf_counter() - began:.1f} s")
    describe = []
    for number in range(0, arguments.groups, max(1, arguments.groups // 50)):
        began = time.perf_counter()
        database.read(lambda transaction, name: transaction.groups.get(name), f"g{number}")
        describe.append((time.perf_counter() - began) * 1000)
    print(f"describe: median {statistics.median(describe):.1f} ms, most {max(describe):.1f} ms")
    proxies = [
        following(directory / f"p{n}", url, resolver_port=1, name=f"p{n}", control={"rate": 0}) for n in range(3)
    ]
    for proxy in proxies:
        proxy.start()
    over_the_api = [described(proxies[0], f"g{number}") for number in range(min(arguments.groups, 50))]
    print(f"DescribeProxyRuleGroup: median {statistics.median(over_the_api):.1f} ms, most {max(over_the_api):.1f} ms")
    watchers = [Watcher(proxy) for proxy in proxies]
    for watcher in watchers:
        watcher.start()
    time.sleep(5)
    delays, costs = [], []
    for number in range(arguments.changes):
        used = sum(map(cpu_seconds, proxies))
        database.transact(change, number)
        stored = time.perf_counter()
        until = stored + 30
        while time.perf_counter() < until and not all(str(number) in watcher.heard for watcher in watchers):
            time.sleep(0.005)
        delays.append(max(watcher.heard.get(str(number), until) for watcher in watchers) - stored)
        time.sleep(0.3)
        costs.append((sum(map(cpu_seconds, proxies)) - used) / len(proxies))
    for watcher in watchers:
        watcher.over = True
        watcher.join()
    answered, dropped = sum(w.answered for w in watchers), sum(w.dropped for w in watchers)
    print(f"decided by in all three after: median {statistics.median(delays):.3f} s, most {max(delays):.3f} s")
    each = answered // arguments.changes // len(proxies)
    print(f"CPU of a change in a proxy, with {each} requests: median {statistics.median(costs):.2f} s")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"requests meanwhile: {answered} answered, {dropped} dropped")
    for proxy in proxies:
        proxy.stop()
    database.close()
    shutil.rmtree(directory)
    if server is not None:
        server.remove()


if __name__ == "__main__":
    main()
