"""Taking old history out leaves every generation that is still listed whole, on both engines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from netfw.store import tables
from netfw.store.database import Database
from netfw.store.documents import get_documents
from netfw.store.errors import NoSuchGeneration
from netfw.store.fleet import Node
from netfw.store.follower import PRUNING_SECONDS, Follower, Following
from netfw.store.history import difference_between, digests_at, generations, roll_back
from netfw.store.pruning import Pruned, is_due, prune
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


def fill_a_second_apart(database: Database) -> Database:
    """The same, made a second apart; the store as it is when the newest is."""
    fill(database)

    def age(transaction: Transaction) -> None:
        for number in range(1, LAST + 1):
            row = update(tables.generations).where(tables.generations.c.number == number)
            transaction.connection.execute(row.values(at=1000.0 + number))

    database.transact(age)
    return Database(database.engine, lambda: 1000.0 + LAST)


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


@pytest.mark.parametrize(
    ("keep", "age", "oldest"), [(None, 3.5, 4), (None, 0.5, 7), (6, 3.5, 4), (2, 3.5, 6), (6, None, 2)]
)
def test_what_is_beyond_either_bound_goes(database: Database, keep: int | None, age: float | None, oldest: int) -> None:
    """The newest that is too old, or one too many, stands for all before it; a bound that is not given is none."""
    database = fill_a_second_apart(database)
    assert database.read(is_due, keep, age)
    pruned = database.transact(prune, keep, age)
    assert (pruned.oldest, pruned.generations, pruned.more) == (oldest, oldest - 1, False)
    assert not database.read(is_due, keep, age)
    assert database.read(generations, 1)[0].number == LAST


def test_it_comes_in_steps_and_ends_as_at_once(database: Database) -> None:
    """What is kept is whole after each step."""
    fill(database)
    before = states(database, range(LAST - 1, LAST + 1))
    steps = []
    while (step := database.transact(prune, 1, None, 3)).generations:
        steps.append((step.oldest, step.generations, step.more))
        assert states(database, range(LAST - 1, LAST + 1)) == before
    assert steps == [(4, 3, True), (7, 3, False)]
    assert database.read(_documents) == len(set(database.read(digests_at, LAST).values())) + 1


def test_who_follows_takes_old_history_out(store_url: str, database: Database, tmp_path: Path) -> None:
    """Soon after it began and then once an hour, and says so; the policy goes on as it was."""
    fill(database)
    said: list[dict[str, object]] = []
    time = [0.0]
    node = Node("n", "p", "host", "1", 0, "ready", None, {}, 0.0, 0.0)
    following = Following(store_url, None, "p", str(tmp_path / "last-good"), keep=2)
    follower = Follower(following, node, lambda line: said.append(json.loads(line)), lambda: time[0], lambda: 9e9)

    def pruned_at(moment: float) -> list[dict[str, object]]:
        said.clear()
        time[0] = moment
        follower.step()
        return [one for one in said if isinstance(one, dict) and one["is"] == "pruned"]

    try:
        assert pruned_at(0.0) == []
        assert pruned_at(6.0) == [{"is": "pruned", "generations": LAST - 3, "oldest": LAST - 2}]
        assert follower.pause() <= PRUNING_SECONDS
        database.transact(changing(lambda transaction: transaction.groups.remove("g2")))
        assert pruned_at(60.0) == []
        assert pruned_at(PRUNING_SECONDS + 7.0) == [{"is": "pruned", "generations": 1, "oldest": LAST - 1}]
    finally:
        follower.close()
    assert [one.number for one in database.read(generations)] == [LAST + 1, LAST, LAST - 1]


def test_an_empty_store_has_nothing_to_take_out(database: Database) -> None:
    """It has no generation but 0."""
    assert database.transact(prune, 1) == Pruned(0, 0, 0)


def _documents(transaction: Transaction) -> int:
    return int(transaction.connection.execute(select(func.count(tables.documents.c.digest))).scalar_one())
