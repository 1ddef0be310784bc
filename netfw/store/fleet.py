"""The nodes of the fleet: each tells how it is, and whoever asks sees who lags.

A node is a process that follows the store; several may serve one proxy. What it tells is about itself only and decides
nothing, so it has no generation and waits for no writer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import delete, insert, select, update

from netfw.store import tables
from netfw.store.repository import Transaction
from netfw.store.resources import StoredProxy

REPORT_SECONDS = 5.0
"""How often a node that has nothing new to say reports."""

SILENT_SECONDS = 4 * REPORT_SECONDS
"""A node that was not heard of for so long counts as gone."""

FORGET_SECONDS = 86_400.0
"""When nobody asks for it any more."""


@dataclass(frozen=True, slots=True)
class Node:
    """As it last reported. `state`: starting, ready, draining; `problem`: why it does not follow, or what cannot be.

    `load` also has what the node's proxy.yaml says (`site`), and whether the problem is something `unmet`.
    """

    id: str
    proxy: str
    host: str
    version: str
    generation: int
    state: str
    problem: str | None
    load: Mapping[str, Any]
    started: float
    contact: float

    def is_silent(self, now: float) -> bool:
        """Whether it has not been heard of for too long."""
        return now - self.contact > SILENT_SECONDS


def node_id(host: str, last_good: str) -> str:
    """Who a node is: the same as before it was started anew, another than any other's."""
    return str(uuid5(NAMESPACE_URL, f"netfw:{host}:{last_good}"))


def report(transaction: Transaction, node: Node) -> None:
    """Keep what a node says of itself; forget those that have been silent for a day."""
    values = {
        "proxy": node.proxy,
        "host": node.host,
        "version": node.version,
        "generation": node.generation,
        "state": node.state,
        "problem": node.problem,
        "load": json.dumps(dict(node.load)),
        "started": node.started,
        "contact": node.contact,
    }
    connection, nodes = transaction.connection, tables.nodes
    if connection.execute(update(nodes).where(nodes.c.id == node.id).values(**values)).rowcount == 0:
        connection.execute(insert(nodes).values(id=node.id, **values))
    connection.execute(delete(nodes).where(nodes.c.contact < node.contact - FORGET_SECONDS))


def leave(transaction: Transaction, identity: str) -> None:
    """A node has ended in order."""
    transaction.connection.execute(delete(tables.nodes).where(tables.nodes.c.id == identity))


def nodes_of(transaction: Transaction, proxy: str | None = None) -> list[Node]:
    """The nodes of one proxy or of all, in the order of their names."""
    query = select(tables.nodes).order_by(tables.nodes.c.proxy, tables.nodes.c.host, tables.nodes.c.id)
    if proxy is not None:
        query = query.where(tables.nodes.c.proxy == proxy)
    return [
        Node(
            row.id,
            row.proxy,
            row.host,
            row.version,
            row.generation,
            row.state,
            row.problem,
            json.loads(row.load),
            row.started,
            row.contact,
        )
        for row in transaction.connection.execute(query)
    ]


def observed(transaction: Transaction, proxy: StoredProxy) -> StoredProxy:
    """The proxy in the state that its nodes are in, not the one that somebody wrote down.

    ATTACHED: a node serves. ATTACHING: none does yet; ATTACH_FAILED: and those that are there say why. With a
    serving node the change under way is MODIFYING while one lags behind the store, FAILED when one refused it or could
    not do all of it.
    """
    nodes = [node for node in nodes_of(transaction, proxy.name) if not node.is_silent(transaction.now)]
    failed = next((node for node in nodes if node.problem is not None), None)
    failure: dict[str, Any] = {"failure_code": None, "failure_message": None}
    if failed is not None:
        code = "NODE_CANNOT" if failed.load.get("unmet") else "NODE_REFUSED"
        failure = {"failure_code": code, "failure_message": f"{failed.host}: {failed.problem}"}
    if proxy.deleted is not None:
        return replace(proxy, state="DETACHING" if nodes else "DETACHED", modify_state=None, **failure)
    if not any(node.state == "ready" for node in nodes):
        return replace(
            proxy, state="ATTACH_FAILED" if failed is not None else "ATTACHING", modify_state=None, **failure
        )
    if failed is not None:
        modify_state = "FAILED"
    elif min(node.generation for node in nodes) < transaction.generation:
        modify_state = "MODIFYING"
    else:
        modify_state = "COMPLETED"
    return replace(proxy, state="ATTACHED", modify_state=modify_state, **failure)
