"""Every generation there was: who made it and when, what it changed, and the way back to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select

from netfw.store import tables
from netfw.store.difference import Difference, differences
from netfw.store.documents import get_documents
from netfw.store.errors import GenerationPassed, NoSuchGeneration
from netfw.store.repository import Transaction
from netfw.store.resources import configuration_from_document, group_from_document

Digests = dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Generation:
    """`changed`: the resources that it changed, kind and name."""

    number: int
    at: float
    editor: str
    summary: str
    changed: tuple[tuple[str, str], ...] = ()


def generations(transaction: Transaction, limit: int = 50, before: int | None = None) -> list[Generation]:
    """The newest first, those below `before`."""
    query = select(tables.generations).order_by(tables.generations.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(tables.generations.c.number < before)
    rows = transaction.connection.execute(query).all()
    numbers = [row.number for row in rows]
    changes = tables.changes
    found: dict[int, list[tuple[str, str]]] = {number: [] for number in numbers}
    chosen = select(changes.c.generation, changes.c.kind, changes.c.name).where(changes.c.generation.in_(numbers))
    for row in transaction.connection.execute(chosen.order_by(changes.c.kind, changes.c.name)):
        found[row.generation].append((row.kind, row.name))
    return [Generation(row.number, row.at, row.editor, row.summary, tuple(found[row.number])) for row in rows]


def digests_at(transaction: Transaction, number: int) -> Digests:
    """What was there at a generation, by kind and name. Raises NoSuchGeneration."""
    if not 0 <= number <= transaction.generation:
        raise NoSuchGeneration(f"there is no generation {number}; the newest is {transaction.generation}")
    oldest = transaction.connection.execute(select(func.min(tables.generations.c.number))).scalar_one()
    # Nothing was there at 0, which is known of every store.
    if 0 < number < (oldest or 0):
        raise NoSuchGeneration(f"generation {number} was taken out of the history; the oldest is {oldest}")
    changes = tables.changes
    newest = (
        select(changes.c.kind, changes.c.name, func.max(changes.c.generation).label("generation"))
        .where(changes.c.generation <= number)
        .group_by(changes.c.kind, changes.c.name)
        .subquery()
    )
    joined = changes.join(
        newest,
        (changes.c.kind == newest.c.kind)
        & (changes.c.name == newest.c.name)
        & (changes.c.generation == newest.c.generation),
    )
    rows = transaction.connection.execute(
        select(changes.c.kind, changes.c.name, changes.c.digest)
        .select_from(joined)
        .where(changes.c.digest.is_not(None))
    )
    return {(row.kind, row.name): row.digest for row in rows}


def difference_between(transaction: Transaction, old: int, new: int) -> tuple[Difference, ...]:
    """What generation `new` has differently from `old`. Raises NoSuchGeneration."""
    before, after = digests_at(transaction, old), digests_at(transaction, new)
    differing = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    return differences(
        _documents(transaction, {key: digest for key, digest in before.items() if key in differing}),
        _documents(transaction, {key: digest for key, digest in after.items() if key in differing}),
    )


def roll_back(
    transaction: Transaction, number: int, editor: str, arn_of: Callable[[str, str], str], seen: int | None = None
) -> int | None:
    """Make groups and configurations what they were at a generation, as a new generation; None: they are.

    Proxies stay as they are; so a configuration that one follows and that was not there then is an error. `arn_of`
    gives the ARN of a kind and a name, for what is made anew. `seen`: the generation that the caller compared with; if
    there is another one meanwhile, nothing is done. Raises NoSuchGeneration, ResourceInUse, GenerationPassed.
    """
    if seen is not None and seen != transaction.generation:
        raise GenerationPassed(f"generation {transaction.generation} came meanwhile: look at the difference again")
    then, now = digests_at(transaction, number), digests_at(transaction, transaction.generation)
    wanted = _documents(
        transaction,
        {key: digest for key, digest in then.items() if key[0] != "proxy" and now.get(key) != digest},
    )
    doomed = [key for key in now if key[0] != "proxy" and key not in then]
    if not wanted and not doomed:
        return None
    for (kind, name), document in sorted(wanted.items(), key=lambda item: item[0][0] != "group"):
        put_back(transaction, kind, name, document, arn_of)
    for kind, name in sorted(doomed):
        (transaction.configurations if kind == "configuration" else transaction.groups).remove(name)
    return transaction.bump_generation(editor, f"back to generation {number}")


def put_back(
    transaction: Transaction, kind: str, name: str, document: Mapping[str, Any], arn_of: Callable[[str, str], str]
) -> None:
    """Make a group or a configuration what the document says, whether there is one of this name or not."""
    collection: Any
    resource: Any
    if kind == "group":
        collection, resource = transaction.groups, group_from_document(document, "")
    else:
        collection, resource = transaction.configurations, configuration_from_document(document, "")
    present = collection.find(name)
    if present is None:
        collection.add(replace(resource, arn=arn_of(kind, name)))
    else:
        kept = {"arn": present.arn, "tags": present.tags, "state": present.state}
        collection.replace(replace(resource, **kept), None)


def _documents(transaction: Transaction, digests: Digests) -> dict[tuple[str, str], dict[str, Any]]:
    found = get_documents(transaction.connection, digests.values())
    return {key: found[digest] for key, digest in digests.items()}
