"""The tables, one definition for SQLite and PostgreSQL.

What is said of a rule group, a configuration or a proxy is a document, kept once under its digest; the rows of today
and of history refer to it. So history costs what changed, and a proxy that follows asks only for what it does not have.
How a database comes to have these tables is said in `migrations`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# Names have a name so that a migration can speak of them on both engines.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Names are compared byte by byte on both engines, whatever the database's language.
NAME = String(128).with_variant(String(128, collation="C"), "postgresql")
TIME = Float(53)
DIGEST = String(64)

store = Table(
    "store",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("generation", BigInteger, nullable=False),
)
"""One row. Whoever writes locks it first, so that writers come one after another."""

documents = Table(
    "documents",
    metadata,
    Column("digest", DIGEST, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)


def _described(name: str, *columns: Column) -> Table:
    return Table(
        name,
        metadata,
        Column("name", NAME, primary_key=True),
        Column("arn", String(256), nullable=False),
        Column("digest", DIGEST, ForeignKey(documents.c.digest), nullable=False),
        Column("update_token", String(36), nullable=False),
        Column("tags", Text, nullable=False),
        Column("state", String(32), nullable=False),
        Column("created", TIME, nullable=False),
        Column("modified", TIME, nullable=False),
        *columns,
        UniqueConstraint("arn"),
    )


rule_groups = _described("rule_groups")
configurations = _described("configurations")
proxies = _described(
    "proxies",
    Column("configuration", NAME, ForeignKey(configurations.c.name), nullable=False, index=True),
    Column("modify_state", String(32)),
    Column("failure_code", String(128)),
    Column("failure_message", Text),
    Column("deleted", TIME),
)

attachments = Table(
    "attachments",
    metadata,
    Column("configuration", NAME, ForeignKey(configurations.c.name, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("rule_group", NAME, ForeignKey(rule_groups.c.name), nullable=False, index=True),
    UniqueConstraint("configuration", "rule_group"),
)

generations = Table(
    "generations",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", TIME, nullable=False),
    Column("editor", String(256), nullable=False),
    Column("summary", Text, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("generation", BigInteger, ForeignKey(generations.c.number, ondelete="CASCADE"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("digest", DIGEST, ForeignKey(documents.c.digest)),
    Index("ix_changes_kind_name", "kind", "name", "generation"),
)
"""What a generation changed; without a digest: removed."""

nodes = Table(
    "nodes",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("proxy", NAME, nullable=False, index=True),
    Column("host", String(256), nullable=False),
    Column("version", String(64), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("state", String(32), nullable=False),
    Column("problem", Text),
    Column("load", Text, nullable=False),
    Column("started", TIME, nullable=False),
    Column("contact", TIME, nullable=False),
)
"""The processes that follow, as they last reported."""
