"""Revisions lead to the tables that the code uses; what is not known is left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from netfw.store.database import Database
from netfw.store.errors import StoreError, StoreVersionUnknown
from netfw.store.tables import metadata


def test_the_revisions_make_the_tables_of_the_code(database: Database) -> None:
    """Nothing is missing and nothing is more."""
    with database.engine.connect() as connection, connection.begin():
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_opening_again_changes_nothing(open_store: Callable[[], Database]) -> None:
    """What is of this version is left as it is."""
    open_store().transact(lambda t: t.bump_generation("test", "one"))
    assert open_store().read(lambda t: t.generation) == 1


def test_a_newer_version_is_refused(open_store: Callable[[], Database]) -> None:
    """With both revisions named, and nothing touched."""
    database = open_store()
    with database.engine.connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreVersionUnknown, match="revision 9999"):
        open_store()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:////nowhere/at/all/x", "/nowhere/at/all is no directory"),
        ("mysql://x/y", "not supported"),
        ("postgresql://x", "names no database"),
        ("what is this", "no address of a store"),
    ],
)
def test_a_wrong_address_is_explained(url: str, words: str) -> None:
    """With what to write instead."""
    with pytest.raises(StoreError, match=words):
        Database.open(url)


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    """It is not overwritten."""
    file = tmp_path / "x"
    file.write_bytes(b"this is no database, and has been here for long\n" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Database.open(f"sqlite:///{file}")
    assert file.read_bytes().startswith(b"this is")
    with pytest.raises(sqlite3.DatabaseError), sqlite3.connect(file) as connection:
        connection.execute("SELECT 1 FROM sqlite_master")
