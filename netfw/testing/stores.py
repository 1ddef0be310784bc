"""A store that is written to by hand, and proxies that follow it: what the tests of both engines share."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netfw.policy.load import load_policy
from netfw.store.applying import carry_out, make_plan, wanted_of
from netfw.store.database import Database
from netfw.store.repository import Transaction
from netfw.testing.proxy_process import Document, ProxyProcess, configuration, domain_rule, merge, policy

PATIENCE = 60.0


def wait_until(holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Until it holds; what it said."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)
    return result


def arn_of(kind: str, name: str) -> str:
    """Any that is unique."""
    return f"arn:aws:network-firewall:local:000000000000:{kind}/{name}"


def allowing(*hosts: str, extra: int = 0) -> Document:
    """A policy that lets these hosts through and nothing else; `extra` rules besides."""
    rules = [domain_rule("wanted", "ALLOW", *hosts)] if hosts else []
    rules += [domain_rule(f"r{number}", "ALLOW", f"h{number}.example") for number in range(extra)]
    return policy(pre_dns="DENY", groups={"g": {"PreDNS": rules}})


def put(database: Database, document: Document, proxy: str) -> int | None:
    """Make it the policy that the proxy follows; the new generation."""
    loaded = load_policy(document, "test")
    wanted = wanted_of((*loaded.groups, *loaded.unattached), loaded, proxy)

    def run(transaction: Transaction) -> int | None:
        return carry_out(transaction, make_plan(transaction, wanted), "test", arn_of)

    return database.transact(run)


def following(
    directory: Path, url: str, *, resolver_port: int, name: str = "netfw-test", **changes: Any
) -> ProxyProcess:
    """A proxy, not yet started, that follows the store."""
    directory.mkdir(parents=True, exist_ok=True)
    document = merge(
        configuration(directory, resolver_port=resolver_port),
        {"proxy": {"name": name}, "guard": {"allow": ["127.0.0.0/8"]}, **changes},
    )
    document["policy"] = {"store": url, "last_good": str(directory / "last-good")}
    return ProxyProcess(directory, document, {})


def status_of(proxy: ProxyProcess, host: str) -> int:
    """What a client that asks for this host is told."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port(), timeout=30)
    try:
        connection.request("GET", f"http://{host}/")
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def allows(proxy: ProxyProcess, host: str) -> bool:
    """Whether the policy lets the host through; that it cannot be reached is another matter."""
    return status_of(proxy, host) != 403
