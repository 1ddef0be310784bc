"""Taking old history out leaves every generation that is still listed whole, on both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from netfw.store import tables
from netfw.store.database import Database
from netfw.store.documents import get_documents
from netfw.store.history import NoSuchGeneration, difference_between, digests_at, generations, roll_back
from netfw.store.pruning import Pruned, prune
from netfw.store.repository import Transaction
from tests.store.test_repository import RULE, changing, filled, group

LAST = 8


def fill(database: Database) -> None:
    """Eight generations: what `filled` makes; g1 changed each time; a group that comes at 3 and goes at 5."""
    database.transact(filled)
    for number in range(2, LAST + 1):

        def change(transaction: Transaction, number: int = number) -> None:
            found = transaction.groups.get("g1")
            transaction.groups.replace(replace(found, description=f"as of {number}"), found.update_token)
            if number == 3:
                transaction.groups.add(group("passing", RULE))
            if number == 5:
                transaction.groups.remove("passing")

        database.transact(changing(change))


def states(database: Database, numbers: range) -> dict[int, dict[tuple[str, str], object]]:
    """All documents of these generations."""

    def look(transaction: Transaction) -> dict[int, dict[tuple[str, str], object]]:
        found = {}
        for number in numbers:
            digests = digests_at(transaction, number)
            documents = get_documents(transaction.connection, digests.values())
            found[number] = {key: documents[digest] for key, digest in digests.items()}
        return found

    return database.read(look)


@pytest.mark.parametrize("keep", [1, 4, LAST - 1, LAST])
def test_what_is_kept_is_whole(database: Database, keep: int) -> None:
    """Each generation from the oldest kept on says what it said; older ones are refused; the policy is as it was."""
    fill(database)
    oldest = max(1, LAST - keep)
    before = states(database, range(oldest, LAST + 1))
    pruned = database.transact(prune, keep)
    assert (pruned.oldest, pruned.generations) == (oldest, oldest - 1)
    assert states(database, range(oldest, LAST + 1)) == before
    assert [one.number for one in database.read(generations)] == list(range(LAST, oldest - 1, -1))
    assert database.read(lambda transaction: transaction.generation) == LAST
    assert states(database, range(1)) == {0: {}}
    for gone in range(1, oldest):
        with pytest.raises(NoSuchGeneration, match=f"generation {gone} was taken out of the history; the oldest is"):
            database.read(digests_at, gone)
    assert database.transact(prune, keep) == Pruned(oldest, 0, 0)


def test_no_document_stays_that_nobody_refers_to(database: Database) -> None:
    """And one can still go back to the oldest, and go on from there."""
    fill(database)
    pruned = database.transact(prune, 1)
    # g1 as of 7 and of 8, and what else there is today.
    today = database.read(digests_at, LAST)
    assert pruned.documents > 0
    assert database.read(_documents) == len(set(today.values())) + 1
    (back,) = database.read(difference_between, LAST, LAST - 1)
    assert (back.kind, back.name, back.change) == ("group", "g1", "changed")
    assert database.transact(roll_back, LAST - 1, "test", lambda kind, name: f"arn:{kind}/{name}") == LAST + 1
    assert database.read(lambda transaction: transaction.groups.get("g1").description) == f"as of {LAST - 1}"


def test_an_empty_store_has_nothing_to_take_out(database: Database) -> None:
    """It has no generation but 0."""
    assert database.transact(prune, 1) == Pruned(0, 0, 0)


def _documents(transaction: Transaction) -> int:
    return int(transaction.connection.execute(select(func.count(tables.documents.c.digest))).scalar_one())
