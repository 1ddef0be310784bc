"""What nodes tell of themselves, and what that says of their proxy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netfw.store.database import Database
from netfw.store.fleet import FORGET_SECONDS, SILENT_SECONDS, Node, leave, node_id, nodes_of, observed, report
from netfw.testing.stores import allowing, put

NOW = 1_800_000_000.0
NODE = Node("n1", "p", "host", "1.0", 1, "ready", None, {"connections": 3}, NOW, NOW)


@pytest.fixture
def seen(store_url: str) -> Any:
    """A store with proxy p, at a time that stands still; what its nodes say of it."""
    database = Database.open(store_url, now=lambda: NOW)
    put(database, allowing("x.test"), "p")

    def look(*nodes: Node, **changes: Any) -> tuple[str, str | None]:
        for node in database.read(nodes_of):
            database.transact_aside(leave, node.id)
        for node in nodes:
            database.transact_aside(report, node)

        def run(transaction: Any) -> tuple[str, str | None]:
            proxy = observed(transaction, replace(transaction.proxies.get("p"), **changes))
            return proxy.state, proxy.modify_state

        return database.read(run)

    look.database = database  # type: ignore[attr-defined]
    yield look
    database.close()


def test_a_proxy_is_what_its_nodes_are(seen: Any) -> None:
    """Attached when one serves; modifying while one lags; failed when one says why."""
    assert seen() == ("ATTACHING", None)
    assert seen(replace(NODE, state="starting")) == ("ATTACHING", None)
    assert seen(replace(NODE, state="starting", problem="no")) == ("ATTACH_FAILED", None)
    assert seen(NODE) == ("ATTACHED", "COMPLETED")
    assert seen(NODE, replace(NODE, id="n2", generation=0)) == ("ATTACHED", "MODIFYING")
    assert seen(NODE, replace(NODE, id="n2", problem="no")) == ("ATTACHED", "FAILED")
    assert seen(NODE, replace(NODE, id="n2", proxy="other", generation=0)) == ("ATTACHED", "COMPLETED")
    assert seen(replace(NODE, contact=NOW - SILENT_SECONDS - 1)) == ("ATTACHING", None)
    assert seen(NODE, deleted=NOW) == ("DETACHING", None)
    assert seen(deleted=NOW) == ("DETACHED", None)


def test_a_node_is_one_row_and_is_forgotten_at_last(seen: Any) -> None:
    """What it says again replaces what it said; a day of silence is enough."""
    seen(NODE, replace(NODE, generation=7, load={"tunnels": 1}))
    assert seen.database.read(nodes_of) == [replace(NODE, generation=7, load={"tunnels": 1})]
    seen(NODE, replace(NODE, id="n2", contact=NOW + FORGET_SECONDS + 1))
    assert [node.id for node in seen.database.read(nodes_of)] == ["n2"]
    assert node_id("h", "/a") == node_id("h", "/a") != node_id("h", "/b")
