"""Bringing a database to this version's tables: a copy of what is there first, then Alembic's revisions.

A database of a version that is not known here, a newer one's, is refused and left alone.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection, Engine

from netfw.store.errors import StoreVersionUnknown

MIGRATIONS = Path(__file__).with_name("migrations")

# Any number that nobody else takes: one process migrates at a time.
_MIGRATION_LOCK = 0x6E65746677


def prepare(engine: Engine, now: float) -> None:
    """Make the tables, or bring them to this version. Raises StoreVersionUnknown."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    with engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        current = MigrationContext.configure(connection).get_current_revision()
        if current == head:
            return
        if current is not None:
            known = {revision.revision for revision in script.walk_revisions()}
            if current not in known:
                raise StoreVersionUnknown(
                    f"the store has the tables of revision {current}, which this version does not know (its own is"
                    f" {head}): a newer netfw made them; use that one, or a copy from before"
                )
            _back_up(connection, current, now)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _back_up(connection: Connection, revision: str, now: float) -> None:
    """Copy everything: a file beside SQLite's, a schema beside PostgreSQL's tables."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    if connection.dialect.name == "sqlite":
        database = connection.engine.url.database
        assert database is not None
        target = Path(f"{database}.{revision}-{stamp}")
        # By a connection of its own: it sees what is committed, which is all while this transaction has only begun.
        with sqlite3.connect(database) as source, sqlite3.connect(target) as copy:
            source.backup(copy)
        source.close()
        copy.close()
        return
    quote: Any = connection.dialect.identifier_preparer.quote
    schema = quote(f"netfw_{revision}_{stamp}")
    connection.execute(text(f"CREATE SCHEMA {schema}"))
    for table in inspect(connection).get_table_names():
        connection.execute(text(f"CREATE TABLE {schema}.{quote(table)} AS TABLE {quote(table)}"))
