"""The two fleets of docs/deployment.md, as they stand there: one store, real nodes, one of them killed meanwhile."""

from __future__ import annotations

import json
import random
import re
import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from click.testing import CliRunner

from netfw.cli.main import netfw
from netfw.store.database import Database
from netfw.store.repository import Transaction
from netfw.testing.dns_server import DnsServer
from netfw.testing.postgresql import PostgresServer, programs
from netfw.testing.proxy_headers import line
from netfw.testing.proxy_process import ProxyProcess, condition, merge, rule
from netfw.testing.stores import allows, wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()
BLOCKS = dict(re.findall(r"```yaml\n# ([a-z.-]+\.yaml)\n(.*?)```", PAGE, re.S))
KILLS = 2


def commands(*names: str) -> list[list[str]]:
    """Those of the page that speak of these configurations, in their order, without asking."""
    found = [shlex.split(text, comments=True) for text in re.findall(r"^netfw (.*)$", PAGE, re.M)]
    chosen = [words for words in found if words[-1] in names]
    return [words + (["--yes"] if words[0] == "apply" else []) for words in chosen]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """The database server of both."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    made = PostgresServer()
    yield made
    made.remove()


def node(directory: Path, document: dict[str, Any], url: str, resolver_port: int) -> ProxyProcess:
    """A node by this configuration, where addresses, ports and paths are the test's own."""
    (listener,) = document["listeners"]
    here: dict[str, Any] = {**listener, "address": "127.0.0.1", "port": 0, "name": "plain"}
    if "proxy_protocol" in listener:
        here["proxy_protocol"] = {"from": [*listener["proxy_protocol"]["from"], "127.0.0.0/8"]}
    policy = {key: value for key, value in document["policy"].items() if key != "password_file"}
    changed = merge(
        document,
        {
            "policy": {**policy, "store": url, "last_good": str(directory / "last-good")},
            "log": {"path": str(directory / "records.jsonl")},
            "admin": {"socket": str(directory / "admin.sock")},
            "dns": {"resolvers": [f"127.0.0.1:{resolver_port}"]},
            "workers": 0,
        },
    )
    changed["policy"].pop("password_file")
    return ProxyProcess(directory, {**changed, "listeners": [here]}, {})


def run(words: list[str], configurations: dict[str, Path], policies: Path, status: int = 0) -> str:
    """A command of the page."""
    place = {**{name: str(path) for name, path in configurations.items()}}
    place |= {name: str(policies / name) for name in BLOCKS if name.endswith("-policy.yaml")}
    result = CliRunner().invoke(netfw, [place.get(word, word) for word in words])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """The directory with the policy files of the page."""
    for name, text in BLOCKS.items():
        if name.endswith("-policy.yaml"):
            (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.timeout(300)
def test_each_site_has_its_own_configuration_and_the_shared_group_once(
    server: PostgresServer, tmp_path: Path, policies: Path, dns: DnsServer
) -> None:
    """What the page's commands make is what it says; a change of the shared group reaches both."""
    url = server.fresh_database(f"t{uuid4().hex[:12]}")
    berlin = yaml.safe_load(BLOCKS["berlin.yaml"])
    tokyo = yaml.safe_load(BLOCKS["berlin.yaml"].replace("berlin", "tokyo"))
    documents = {"berlin": berlin, "tokyo": tokyo}
    nodes = {name: node(tmp_path / name, document, url, dns.port) for name, document in documents.items()}
    places = {f"{name}.yaml": one.config_path for name, one in nodes.items()}
    for words in commands(*places):
        run(words, places, policies)
    with nodes["berlin"] as first, nodes["tokyo"] as second:
        for host, expected in (
            ("www.example.com", (True, True)),
            ("api.partner.example", (True, False)),
            ("api.partner.test", (False, True)),
            ("later.test", (False, False)),
        ):
            assert (allows(first, host), allows(second, host)) == expected
        database = Database.open(url)
        database.transact(lambda transaction: add_rules(transaction, "house", "later.test"))
        database.close()
        wait_until(lambda: allows(first, "later.test") and allows(second, "later.test"))
        assert first.status()["hostname"] == "proxy.berlin.example"
        assert second.status()["hostname"] == "proxy.tokyo.example"


def add_rules(transaction: Transaction, group: str, *hosts: str, source: str | None = None) -> int:
    """One more rule for each of these hosts, in one change."""
    found = transaction.groups.get(group)
    sources = [condition("request:SourceIp", "IpAddress", source)] if source else []
    added = [
        rule(f"r-{host.split('.')[0]}", "ALLOW", *sources, condition("request:DestinationDomain", "StringEquals", host))
        for host in hosts
    ]
    rules = {**found.rules, "PreDNS": (*found.rules["PreDNS"], *added)}
    transaction.groups.replace(replace(found, rules=rules), found.update_token)
    return transaction.bump_generation("test", f"allow {', '.join(hosts)}")


def told(proxy: ProxyProcess, source: str, host: str) -> int:
    """What a client at this address is told, through a load balancer."""
    with socket.create_connection(("127.0.0.1", proxy.port()), timeout=30) as sock:
        sock.sendall(
            line(source) + f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
        return int(sock.makefile("rb").readline().split()[1])


class Editor(threading.Thread):
    """Allows two hosts at once, again and again, and looks for a node that has one of the two: `halves`."""

    def __init__(self, database: Database, nodes: list[ProxyProcess]) -> None:
        super().__init__(daemon=True)
        self._database = database
        self.nodes = nodes
        self.number = 0
        self.halves: list[tuple[int, int]] = []
        self.unanswered = 0
        self.over = False

    def run(self) -> None:
        """Until it is over."""
        while not self.over:
            pair = (f"a{self.number}.test", f"b{self.number}.test")
            self._database.transact(lambda transaction, pair=pair: add_rules(transaction, "builders", *pair))
            self.number += 1
            for one in list(self.nodes):
                first, second = random.sample(pair, 2)
                try:
                    # The second is asked after the first: it cannot be older.
                    if told(one, "10.1.2.3", first) != 403 and told(one, "10.1.2.3", second) == 403:
                        self.halves.append((one.pid, self.number))
                except (OSError, IndexError, ValueError):
                    self.unanswered += one in self.nodes


@pytest.mark.timeout(400)
def test_a_node_of_three_is_killed_at_any_moment_of_a_change(
    server: PostgresServer, tmp_path: Path, policies: Path, dns: DnsServer
) -> None:
    """The others answer all the time and nobody serves a half; it starts whole, without the store too, and follows."""
    url = server.fresh_database(f"t{uuid4().hex[:12]}")
    document = yaml.safe_load(BLOCKS["egress.yaml"])
    nodes = [node(tmp_path / f"n{number}", document, url, dns.port) for number in range(3)]
    places = {"egress.yaml": nodes[0].config_path}
    apply, status = commands(*places)
    run(apply, places, policies)
    database = Database.open(url)

    def fleet() -> list[str]:
        result = CliRunner().invoke(netfw, ["status", "--fleet", "--json", "--config", str(nodes[0].config_path)])
        return sorted(row["verdict"].split(" by ")[0] for row in json.loads(result.output)["nodes"])

    with ExitStack() as running:
        for one in nodes:
            running.enter_context(one)
        wait_until(lambda: fleet() == ["in step"] * 3)
        assert run(status, places, policies).count("s ago") == 3
        assert [told(one, "10.1.2.3", "www.example.com") for one in nodes].count(403) == 0
        assert [told(one, "10.2.2.3", "www.example.com") for one in nodes].count(403) == 3
        editor = Editor(database, nodes[1:])
        editor.start()
        for _ in range(KILLS):
            before = editor.number
            wait_until(lambda before=before: editor.number > before)
            threading.Event().wait(random.uniform(0.0, 0.2))
            nodes[0].kill()
            after = editor.number
            wait_until(lambda after=after: editor.number > after + 1)
            assert "lags" in fleet()
            nodes[0].start()
            wait_until(lambda: told(nodes[0], "10.1.2.3", f"a{editor.number - 2}.test") != 403)
        editor.over = True
        editor.join()
        assert (editor.halves, editor.unanswered) == ([], 0)
        last = editor.number - 1
        for one in nodes:
            wait_until(lambda one=one: told(one, "10.1.2.3", f"b{last}.test") != 403)
            assert all(told(one, "10.1.2.3", f"{side}{number}.test") != 403 for side in "ab" for number in range(last))
        wait_until(lambda: fleet() == ["in step"] * 3)
        nodes[0].kill()
        server.kill()
        try:
            nodes[0].start()
            assert told(nodes[0], "10.1.2.3", f"a{last}.test") != 403
            assert told(nodes[0], "10.1.2.3", f"a{last + 1}.test") == 403
        finally:
            server.start()
        wait_until(lambda: fleet() == ["in step"] * 3)
    database.close()
