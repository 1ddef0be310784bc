"""Many editors at once, and databases and nodes that are killed: nothing is lost, and nothing is half there."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from netfw.store.database import Database
from netfw.store.errors import StaleToken, StoreError, StoreUnavailable
from netfw.store.fleet import Node, nodes_of
from netfw.store.history import generations
from netfw.store.last_good import read_last_good
from netfw.store.repository import Transaction
from netfw.store.resources import StoredGroup
from netfw.testing.postgresql import PostgresServer
from netfw.testing.proxy_process import domain_rule
from netfw.testing.stores import allowing, put

EDITORS = 50
PATIENCE = 90.0


def group_with(*names: str) -> StoredGroup:
    """A group whose rules have these names."""
    rules = tuple(domain_rule(name, "ALLOW", f"{name}.test") for name in names)
    return StoredGroup("g", "arn:aws:g", {"PreDNS": rules, "PreREQUEST": (), "PostRESPONSE": ()})


def add_group(transaction: Transaction) -> None:
    """The group that all edit."""
    transaction.groups.add(group_with())
    transaction.bump_generation("test", "begin")


def append(transaction: Transaction, name: str, token: str | None) -> None:
    """One more rule, by who read the group before."""
    found = transaction.groups.get("g")
    rules = {**found.rules, "PreDNS": (*found.rules["PreDNS"], domain_rule(name, "ALLOW", f"{name}.test"))}
    transaction.groups.replace(replace(found, rules=rules), token)
    transaction.bump_generation(name, f"append {name}")


def names_of(database: Database) -> list[str]:
    """The names of the group's rules, in order."""
    group = database.read(lambda transaction: transaction.groups.get("g"))
    return [rule["ProxyRuleName"] for rule in group.rules["PreDNS"]]


def test_no_update_of_fifty_editors_is_lost(open_store: Callable[[], Database]) -> None:
    """Each has a connection of its own, reads, and writes with the token that it read, until that works."""
    database = open_store()
    database.transact(add_group)
    errors: list[BaseException] = []
    stale: list[str] = []
    begin = threading.Barrier(EDITORS)
    opened = [open_store() for _ in range(EDITORS)]

    def edit(number: int) -> None:
        mine = opened[number]
        try:
            begin.wait(PATIENCE)
            while True:
                token = mine.read(lambda transaction: transaction.groups.get("g").update_token)
                try:
                    mine.transact(append, f"e{number}", token)
                    return
                except StaleToken:
                    stale.append(f"e{number}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=edit, args=(number,), daemon=True) for number in range(EDITORS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []
    assert sorted(names_of(database)) == sorted(f"e{number}" for number in range(EDITORS))
    history = database.read(generations, 1000)
    assert [one.number for one in history] == list(range(EDITORS + 1, 0, -1))
    assert [one.editor for one in reversed(history)][1:] == names_of(database)


def test_what_was_acknowledged_is_there_after_the_server_was_killed(postgres: PostgresServer) -> None:
    """Whenever that happened: every change that was reported as stored, in order, and at most one that was not."""
    url = postgres.fresh_database(f"k{uuid4().hex[:12]}")
    database = Database.open(url)
    database.transact(add_group)
    acknowledged: list[str] = []
    tried: list[str] = []
    over = threading.Event()

    def edit() -> None:
        while not over.is_set():
            name = f"n{len(tried)}"
            tried.append(name)
            try:
                database.transact(append, name, None)
                acknowledged.append(name)
            except StoreError:
                return

    for _ in range(3):
        over.clear()
        editor = threading.Thread(target=edit, daemon=True)
        editor.start()
        time.sleep(random.uniform(0.2, 0.8))
        postgres.kill()
        over.set()
        editor.join(PATIENCE)
        postgres.start()
        present = names_of(database)
        assert [name for name in present if name in set(acknowledged)] == acknowledged
        assert set(present) - set(acknowledged) <= set(tried)
        assert database.read(lambda transaction: transaction.generation) == len(present) + 1
        acknowledged = present
    assert len(acknowledged) > 3
    database.close()


WRITER = """
import sys
from netfw.store.database import Database
from test_concurrency import append
database = Database.open(sys.argv[1])
number = int(sys.argv[2])
while True:
    database.transact(append, f"n{number}", None)
    print(f"n{number}", flush=True)
    number += 1
"""


def test_what_was_acknowledged_is_there_after_the_writer_was_killed(store_url: str) -> None:
    """By SIGKILL, in the middle of whatever it did: the next opens the store and finds whole changes."""
    database = Database.open(store_url)
    database.transact(add_group)
    acknowledged: list[str] = []
    environment = {"PYTHONPATH": ":".join([str(Path(__file__).parents[2]), str(Path(__file__).parent)]), "PATH": ""}
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, store_url, str(len(acknowledged) + 1000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            acknowledged.append(process.stdout.readline().strip())
            time.sleep(random.uniform(0.0, 0.3))
            process.kill()
            acknowledged += process.stdout.read().split()
        present = names_of(database)
        assert present[: len(acknowledged)] == acknowledged
        assert len(present) <= len(acknowledged) + 1
        assert database.read(lambda transaction: transaction.generation) == len(present) + 1
        acknowledged = present
    database.close()


def test_a_store_that_stays_away_is_said_so(postgres: PostgresServer) -> None:
    """After some tries, as an error of the store."""
    url = postgres.fresh_database(f"a{uuid4().hex[:12]}")
    database = Database.open(url)
    postgres.kill()
    try:
        try:
            database.read(lambda transaction: transaction.generation)
        except StoreUnavailable:
            pass
        else:
            raise AssertionError("nobody was there")
    finally:
        postgres.start()
    assert database.read(lambda transaction: transaction.generation) == 0
    database.close()


def test_a_follower_that_is_killed_leaves_a_whole_policy(store_url: str, tmp_path: Path) -> None:
    """Whenever that happens: what is on the disk is one generation's policy, never parts of two."""
    database = Database.open(store_url)
    file = tmp_path / "last-good"
    following = {"url": store_url, "password_file": None, "proxy": "p", "last_good": str(file)}
    node = Node("n", "p", "h", "1", 0, "ready", None, {}, 0.0, 0.0)
    members = {name: getattr(node, name) for name in Node.__slots__}
    root = str(Path(__file__).parents[2])
    number = 0
    for _ in range(4):
        put(database, allowing(f"a{number}.test", f"b{number}.test", extra=300), "p")
        with subprocess.Popen(
            [sys.executable, "-m", "netfw.store.follower_process"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": root, "PATH": ""},
        ) as process:  # fmt: skip
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(json.dumps({"following": following, "node": members}).encode() + b"\n")
            process.stdin.flush()
            until = random.randint(1, 4)
            for line in process.stdout:
                message = json.loads(line)
                if isinstance(message, dict) and message["is"] in ("policy", "same"):
                    told = {"do": "in_force", "generation": message["generation"], "problem": None}
                    process.stdin.write(json.dumps(told).encode() + b"\n")
                    process.stdin.flush()
                    until -= 1
                    if until == 0:
                        break
                    number += 1
                    put(database, allowing(f"a{number}.test", f"b{number}.test", extra=300), "p")
            time.sleep(random.uniform(0.0, 0.03))
            process.kill()
        found = read_last_good(file, "p")
        if found is not None:
            first = next(iter(found.policy.groups[0].rules.values()))[0]
            names = [value[1:] for value in first.conditions[0].values]
            assert len(set(names)) == 1
            assert len(found.policy.groups[0].rules[next(iter(found.policy.groups[0].rules))]) == 301
        number += 1
    assert file.exists()
    assert [node.proxy for node in database.read(nodes_of)] == ["p"]
    database.close()
