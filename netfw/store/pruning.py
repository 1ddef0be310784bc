"""Taking old history out, so that a store does not grow for ever.

What remains: the newest generations, and one before them that stands for all older ones: its changes are the whole
state, so that every generation that is still listed can be compared with and gone back to. The policy in force and its
generation are as before. A store whose configuration bounds its history is pruned by whoever follows it (`follower`),
a bounded number of generations at a time, since editors wait meanwhile; `netfw history --keep` does it at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, except_, func, select, update

from netfw.store import tables
from netfw.store.repository import Transaction


@dataclass(frozen=True, slots=True)
class Pruned:
    """`oldest`: the generation that now stands for all before it. Numbers of what was taken out. `more`: there is
    more to take out.
    """

    oldest: int
    generations: int
    documents: int
    more: bool = False


def is_due(transaction: Transaction, keep: int | None, age: float | None) -> bool:
    """Whether there is anything to take out. Only reads."""
    oldest = _oldest(transaction)
    return oldest is not None and _base(transaction, keep, age) > oldest


def prune(transaction: Transaction, keep: int | None, age: float | None = None, most: int | None = None) -> Pruned:
    """Keep the newest `keep` generations (1 at least), those of the last `age` seconds, and the state before them.

    None: any number, any age. Takes out `most` at a time.
    """
    connection, changes, generations = transaction.connection, tables.changes, tables.generations
    found = _oldest(transaction)
    wanted = _base(transaction, keep, age)
    if found is None or wanted <= found:
        return Pruned(found or 0, 0, 0)
    base = wanted if most is None else min(wanted, found + most)
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
    # A set taken from a set: both engines do it in one pass, where a look for each document would be one each.
    users = (tables.rule_groups, tables.configurations, tables.proxies)
    unused = except_(
        select(documents.c.digest),
        select(changes.c.digest).where(changes.c.digest.is_not(None)),
        *(select(table.c.digest) for table in users),
    )
    forgotten = connection.execute(delete(documents).where(documents.c.digest.in_(unused))).rowcount
    return Pruned(base, taken_out, forgotten, base < wanted)


def _oldest(transaction: Transaction) -> int | None:
    found = transaction.connection.execute(select(func.min(tables.generations.c.number))).scalar_one()
    return None if found is None else int(found)


def _base(transaction: Transaction, keep: int | None, age: float | None) -> int:
    """The generation that is to stand for all before it; 0: none need go."""
    base = 0 if keep is None else transaction.generation - keep
    if age is not None:
        generations = tables.generations
        old = select(func.max(generations.c.number)).where(generations.c.at < transaction.now - age)
        base = max(base, transaction.connection.execute(old).scalar_one() or 0)
    return base
