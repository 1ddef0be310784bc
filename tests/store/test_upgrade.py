"""A newer version brings older tables to its own, after a copy of what was there."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from netfw.store import schema
from netfw.store.database import Database
from netfw.testing.stores import allowing, put

NEXT = '''"""One column more."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("nodes") as batch:
        batch.add_column(sa.Column("more", sa.Text))
{wrong}'''


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """From now on this is a version with one revision more, which ends with `wrong`."""

    def become(wrong: str = "") -> None:
        directory = tmp_path / f"migrations{len(wrong)}"
        shutil.copytree(schema.MIGRATIONS, directory)
        known = sorted((directory / "versions").glob("r*.py"))
        (directory / "versions" / "r9999_next.py").write_text(
            NEXT.replace('"0002"', '"9999"').replace('"0001"', f'"{known[-1].name[1:5]}"').format(wrong=wrong)
        )
        monkeypatch.setattr(schema, "MIGRATIONS", directory)

    return become


def test_what_was_there_is_copied_and_kept(
    open_store: Callable[[], Database], store_url: str, tmp_path: Path, next_version: Callable[[str], None]
) -> None:
    """A file beside SQLite's, a schema beside PostgreSQL's tables; the policy is the same afterwards."""
    put(open_store(), allowing("x.test"), "p")
    next_version("")
    newer = open_store()
    assert newer.read(lambda transaction: (transaction.generation, transaction.groups.count())) == (1, 1)
    with newer.engine.connect() as connection:
        columns = {column["name"] for column in inspect(connection).get_columns("nodes")}
        assert "more" in columns
        if "sqlite" in store_url:
            (copy,) = tmp_path.glob("policy.sqlite.0*Z")
            with sqlite3.connect(copy) as old:
                assert old.execute("SELECT name FROM rule_groups").fetchall() == [("g",)]
            old.close()
        else:
            (name,) = [one for one in inspect(connection).get_schema_names() if one.startswith("netfw_0")]
            assert connection.execute(text(f'SELECT name FROM "{name}".rule_groups')).scalars().all() == ["g"]


def test_an_upgrade_that_fails_changes_nothing(
    open_store: Callable[[], Database], next_version: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables are as they were, and the version before goes on with them."""
    before = schema.MIGRATIONS
    put(open_store(), allowing("x.test"), "p")
    next_version("    raise RuntimeError('half way')\n")
    with pytest.raises(RuntimeError, match="half way"):
        open_store()
    monkeypatch.setattr(schema, "MIGRATIONS", before)
    again = open_store()
    assert again.read(lambda transaction: transaction.groups.count()) == 1
    with again.engine.connect() as connection:
        assert "more" not in {column["name"] for column in inspect(connection).get_columns("nodes")}
