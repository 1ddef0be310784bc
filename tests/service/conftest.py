"""A private reactor with threads of its own, and a configuration in a directory."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from twisted.python.threadpool import ThreadPool

from netfw.config.model import Configuration
from netfw.config.preflight import preflight
from netfw.testing.proxy_process import merge, policy
from netfw.testing.reactor_runs import run_in_reactor


class WithThreads:
    """A reactor whose thread pool ends with the test; a pool that was stopped once cannot be started again."""

    def __init__(self, reactor: Any, pool: ThreadPool) -> None:
        self._reactor = reactor
        self._pool = pool

    def getThreadPool(self) -> ThreadPool:
        return self._pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@pytest.fixture
def run():
    """`run_in_reactor` with threads."""
    pools = []

    def run_with_threads(scenario, timeout: float = 20.0):
        pool = ThreadPool(1, 2)
        pools.append(pool)
        pool.start()

        async def wrapped(reactor):
            return await scenario(WithThreads(reactor, pool))

        return run_in_reactor(wrapped, timeout)

    yield run_with_threads
    for pool in pools:
        pool.stop()


@pytest.fixture
def configured(tmp_path):
    """Write proxy.yaml and policy.yaml, and read them back as the start does."""

    def configure(rules=None, **changes: Any) -> Configuration:
        document = {
            "proxy": {"name": "netfw-test"},
            "listeners": [{"name": "main", "type": "HTTP", "address": "127.0.0.1", "port": 0}],
            "policy": {"file": "policy.yaml"},
            "guard": {"allow": ["127.0.0.0/8"]},
            "log": {"path": "records.jsonl"},
            "workers": 0,
        }
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy() if rules is None else rules))
        (tmp_path / "proxy.yaml").write_text(yaml.safe_dump(merge(document, changes)))
        return preflight(tmp_path / "proxy.yaml", time.time()).configuration

    return configure
