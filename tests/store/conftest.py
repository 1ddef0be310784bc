"""Both engines: SQLite in a file, and a real PostgreSQL server, one for the whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from netfw.store.database import Database
from netfw.testing.postgresql import PostgresServer, programs


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store, on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'policy.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.fresh_database(f"t{uuid4().hex[:12]}")


@pytest.fixture
def open_store(store_url: str) -> Iterator[Callable[[], Database]]:
    """Opens the same store as often as a test likes."""
    opened: list[Database] = []

    def again() -> Database:
        opened.append(Database.open(store_url))
        return opened[-1]

    yield again
    for database in opened:
        database.close()


@pytest.fixture
def database(open_store: Callable[[], Database]) -> Database:
    """An empty store, open."""
    return open_store()
