"""Proxies that follow a store, real ones: they decide by what was stored, and go on when the store does not."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner

from netfw.cli.main import netfw
from netfw.store.database import Database
from netfw.store.fleet import nodes_of, observed
from netfw.testing.dns_server import DnsServer
from netfw.testing.postgresql import PostgresServer, programs
from netfw.testing.stores import allowing, allows, following, put, wait_until

NAME = "netfw-test"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store, on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'policy.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.fresh_database(f"t{uuid4().hex[:12]}")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """The store, for the test's own hands."""
    opened = Database.open(url)
    yield opened
    opened.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_change_is_decided_by_without_a_reload(
    url: str, database: Database, tmp_path: Path, dns: DnsServer, workers: int
) -> None:
    """An empty store lets nothing through; what is stored then is in force soon, in workers too."""
    with following(tmp_path / "p", url, resolver_port=dns.port, workers=workers) as proxy:
        assert not allows(proxy, "missing.test")
        put(database, allowing("missing.test"), NAME)
        wait_until(lambda: allows(proxy, "missing.test"))
        generation = put(database, allowing("other.test"), NAME)
        wait_until(lambda: not allows(proxy, "missing.test"))
        status = proxy.status()
        assert (status["generation"], status["policy_source"]["generation_seen"]) == (generation, generation)
        nodes = wait_until(lambda: [n for n in database.read(nodes_of) if n.generation == generation])
        assert [(node.proxy, node.state, node.problem) for node in nodes] == [(NAME, "ready", None)]
    wait_until(lambda: database.read(nodes_of) == [])


def test_a_node_starts_and_serves_without_the_store(
    url: str, database: Database, postgres: PostgresServer, tmp_path: Path, dns: DnsServer
) -> None:
    """By the policy that it had last; when the store is back it follows again."""
    put(database, allowing("missing.test"), NAME)
    with following(tmp_path / "p", url, resolver_port=dns.port) as proxy:
        assert allows(proxy, "missing.test")
        wait_until((tmp_path / "p" / "last-good").exists)
    database.close()
    file = tmp_path / "policy.sqlite"
    if "sqlite" in url:
        file.rename(tmp_path / "away")
        file.mkdir()
    else:
        postgres.kill()
    try:
        with following(tmp_path / "p", url, resolver_port=dns.port) as proxy:
            assert allows(proxy, "missing.test")
            assert not allows(proxy, "other.test")
            wait_until(lambda: "store_away" in proxy.status()["policy_source"])
            assert b"\nnetfw_store_reachable 0.0\n" in proxy.admin("/metrics")[1]
            assert proxy.admin("/readyz")[0] == 200
            if "sqlite" in url:
                file.rmdir()
                (tmp_path / "away").rename(file)
            else:
                postgres.start()
            again = Database.open(url)
            put(again, allowing("other.test"), NAME)
            again.close()
            wait_until(lambda: allows(proxy, "other.test"))
            assert "store_away" not in proxy.status()["policy_source"]
            assert b"\nnetfw_store_reachable 1.0\n" in proxy.admin("/metrics")[1]
    finally:
        postgres.stop()
        postgres.start()


def test_a_node_that_never_had_a_policy_does_not_start_without_the_store(
    tmp_path: Path, postgres: PostgresServer, dns: DnsServer
) -> None:
    """It says what it could not reach."""
    proxy = following(tmp_path / "p", postgres.url_of("there-is-none"), resolver_port=dns.port)
    with pytest.raises(RuntimeError, match="policy.store"):
        proxy.start()


def test_a_policy_that_cannot_be_used_changes_nothing(
    url: str, database: Database, tmp_path: Path, dns: DnsServer
) -> None:
    """Somebody wrote to the tables past every check: the old policy stays, and the fleet hears why."""
    put(database, allowing("missing.test"), NAME)
    with following(tmp_path / "p", url, resolver_port=dns.port) as proxy:

        def spoil(transaction: object) -> None:
            group = transaction.groups.get("g")  # type: ignore[attr-defined]
            rule = {**group.rules["PreDNS"][0], "Action": "MAYBE"}
            rules = {**group.rules, "PreDNS": (rule,)}
            transaction.groups.replace(type(group)(group.name, group.arn, rules), None)  # type: ignore[attr-defined]
            transaction.bump_generation("test", "spoilt")  # type: ignore[attr-defined]

        database.transact(spoil)
        wait_until(lambda: "refused" in proxy.status()["policy_source"])
        assert "Action is one of" in proxy.status()["policy_source"]["refused"][0]
        assert allows(proxy, "missing.test")
        node = wait_until(lambda: [n for n in database.read(nodes_of) if n.problem is not None])[0]
        assert "Action is one of" in node.problem
        put(database, allowing("other.test"), NAME)
        wait_until(lambda: allows(proxy, "other.test"))
        assert "refused" not in proxy.status()["policy_source"]


def test_the_fleet_shows_who_lags(url: str, database: Database, tmp_path: Path, dns: DnsServer) -> None:
    """A node that is held up is behind the store; when it goes on it is in step again, and gone when it has ended."""

    def fleet(status: int) -> dict[str, tuple[str, str]]:
        arguments = ["status", "--fleet", "--json", "--config", str(tmp_path / "n1" / "proxy.yaml")]
        result = CliRunner().invoke(netfw, arguments)
        rows = json.loads(result.output)["nodes"] if result.exit_code == status else []
        return {row["proxy"]: (row["state"], row["verdict"]) for row in rows}

    for name in ("n1", "n2"):
        put(database, allowing("missing.test"), name)
    with (
        following(tmp_path / "n1", url, resolver_port=dns.port, name="n1") as one,
        following(tmp_path / "n2", url, resolver_port=dns.port, name="n2") as other,
    ):
        in_step = {"n1": ("ready", "in step"), "n2": ("ready", "in step")}
        wait_until(lambda: fleet(0) == in_step)
        os.kill(other.pid, signal.SIGSTOP)
        try:
            put(database, allowing("other.test"), "n1")
            wait_until(lambda: allows(one, "other.test"))
            wait_until(lambda: fleet(1) == {"n1": ("ready", "in step"), "n2": ("ready", "lags by 1")})
        finally:
            os.kill(other.pid, signal.SIGCONT)
        wait_until(lambda: fleet(0) == in_step)
        assert allows(other, "other.test")
        proxies = database.read(lambda t: [observed(t, t.proxies.get(name)) for name in ("n1", "n2")])
        assert [(proxy.state, proxy.modify_state) for proxy in proxies] == [("ATTACHED", "COMPLETED")] * 2
    wait_until(lambda: fleet(0) == {} and database.read(nodes_of) == [])
    proxy = database.read(lambda t: observed(t, t.proxies.get("n1")))
    assert (proxy.state, proxy.modify_state) == ("ATTACHING", None)
