"""Taking old history out, so that a store does not grow for ever.

What remains: the newest generations, and one before them that stands for all older ones: its changes are the whole
state, so that every generation that is still listed can be compared with and gone back to. The policy in force and its
generation are as before. Not here: how often, which is a timer's business (`netfw history --keep`).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, func, or_, select, update

from netfw.store import tables
from netfw.store.repository import Transaction


@dataclass(frozen=True, slots=True)
class Pruned:
    """`oldest`: the generation that now stands for all before it. Numbers of what was taken out."""

    oldest: int
    generations: int
    documents: int


def prune(transaction: Transaction, keep: int) -> Pruned:
    """Keep the newest `keep` generations, 1 at least, and the state before them."""
    connection, changes, generations = transaction.connection, tables.changes, tables.generations
    found = connection.execute(select(func.min(generations.c.number))).scalar_one()
    base = transaction.generation - keep
    if found is None or base <= found:
        return Pruned(found or 0, 0, 0)
    later = changes.alias("later")
    superseded = (
        select(later.c.generation)
        .where(
            later.c.kind == changes.c.kind,
            later.c.name == changes.c.name,
            later.c.generation > changes.c.generation,
            later.c.generation <= base,
        )
        .correlate(changes)
        .exists()
    )
    connection.execute(delete(changes).where(changes.c.generation < base, superseded))
    connection.execute(delete(changes).where(changes.c.generation <= base, changes.c.digest.is_(None)))
    connection.execute(update(changes).where(changes.c.generation < base).values(generation=base))
    taken_out = connection.execute(delete(generations).where(generations.c.number < base)).rowcount
    note = " (and all before it)"
    connection.execute(
        update(generations).where(generations.c.number == base).values(summary=generations.c.summary + note)
    )
    documents = tables.documents
    used = [
        select(table.c.digest).where(table.c.digest == documents.c.digest).correlate(documents).exists()
        for table in (changes, tables.rule_groups, tables.configurations, tables.proxies)
    ]
    forgotten = connection.execute(delete(documents).where(~or_(*used))).rowcount
    return Pruned(base, taken_out, forgotten)
