"""The proxy is killed at any moment of a change by the API: what was acknowledged is there, and nothing by halves."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from netfw.store.database import Database
from netfw.testing.dns_server import DnsServer
from netfw.testing.postgresql import PostgresServer, programs
from netfw.testing.proxy_process import ProxyProcess, domain_rule
from netfw.testing.stores import allowing, allows, following, put, wait_until
from tests.integration.test_control_files import UnixConnection, call

NAME = "netfw-test"
KILLS = 2


@pytest.fixture(params=["sqlite, no workers", "postgresql, a worker"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The address of an empty store on each engine, and how many workers its proxy has."""
    if request.param.startswith("sqlite"):
        yield f"sqlite:///{tmp_path / 'policy.sqlite'}", 0
        return
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgresServer()
    yield server.fresh_database(f"t{uuid4().hex[:12]}"), 1
    server.remove()


class Editor:
    """Adds two rules in one call, again and again, until nobody answers; tells of a policy with one of the two."""

    def __init__(self, proxy: ProxyProcess, number: int) -> None:
        self.acknowledged = number
        self.halves: list[int] = []
        self._proxy = proxy
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        path = Path(self._proxy.config["admin"]["socket"])
        try:
            while True:
                number = self.acknowledged
                rules = [domain_rule(f"{side}{number}", "ALLOW", f"{side}{number}.test") for side in "ab"]
                given = {"ProxyRuleGroupName": "g", "Rules": {"PreDNS": rules}}
                status, answer = call(UnixConnection(path), "CreateProxyRules", given)
                if status != 200:
                    raise AssertionError(answer)
                self.acknowledged += 1
                first, second = random.sample("ab", 2)
                if allows(self._proxy, f"{first}{number}.test") and not allows(self._proxy, f"{second}{number}.test"):
                    self.halves.append(number)
        except (OSError, http.client.HTTPException):
            pass


@pytest.mark.timeout(300)
def test_what_was_acknowledged_is_there_after_the_proxy_was_killed(
    place: tuple[str, int], tmp_path: Path, dns: DnsServer
) -> None:
    """By SIGKILL, its supervisor where it has workers; the next process serves whole changes and takes new ones."""
    url, workers = place
    database = Database.open(url)
    put(database, allowing(), NAME)
    stored = 0
    with following(tmp_path / "p", url, resolver_port=dns.port, workers=workers, control={"rate": 0}) as proxy:
        for _ in range(KILLS):
            editor = Editor(proxy, stored)
            wait_until(lambda editor=editor, before=stored: editor.acknowledged > before)
            time.sleep(random.uniform(0.0, 0.2))
            proxy.kill()
            editor.thread.join()
            assert editor.halves == []
            rules = database.read(lambda transaction: transaction.groups.get("g").rules["PreDNS"])
            stored = len(rules) // 2
            assert {rule["ProxyRuleName"] for rule in rules} == {f"{s}{n}" for n in range(stored) for s in "ab"}
            assert editor.acknowledged <= stored <= editor.acknowledged + 1
            proxy.start()
            wait_until(lambda last=stored - 1: allows(proxy, f"a{last}.test"))
            assert allows(proxy, f"b{stored - 1}.test")
            assert not allows(proxy, f"a{stored}.test") and not allows(proxy, f"b{stored}.test")
    database.close()
