"""Groups, configurations, proxies, history and the fleet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NAME = sa.String(128).with_variant(sa.String(128, collation="C"), "postgresql")
_TIME = sa.Float(53)
_DIGEST = sa.String(64)


def upgrade() -> None:
    """To this revision."""
    store = op.create_table(
        "store",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_store"),
    )
    op.bulk_insert(store, [{"id": 1, "generation": 0}])
    op.create_table(
        "documents",
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_documents"),
    )
    _described("rule_groups")
    _described("configurations")
    _described(
        "proxies",
        sa.Column("configuration", _NAME, nullable=False),
        sa.Column("modify_state", sa.String(32)),
        sa.Column("failure_code", sa.String(128)),
        sa.Column("failure_message", sa.Text),
        sa.Column("deleted", _TIME),
        sa.ForeignKeyConstraint(["configuration"], ["configurations.name"], name="fk_proxies_configuration"),
    )
    op.create_index("ix_proxies_configuration", "proxies", ["configuration"])
    op.create_table(
        "attachments",
        sa.Column("configuration", _NAME, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("rule_group", _NAME, nullable=False),
        sa.PrimaryKeyConstraint("configuration", "position", name="pk_attachments"),
        sa.UniqueConstraint("configuration", "rule_group", name="uq_attachments_configuration_rule_group"),
        sa.ForeignKeyConstraint(
            ["configuration"], ["configurations.name"], name="fk_attachments_configuration", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["rule_group"], ["rule_groups.name"], name="fk_attachments_rule_group"),
    )
    op.create_index("ix_attachments_rule_group", "attachments", ["rule_group"])
    op.create_table(
        "generations",
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("editor", sa.String(256), nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_generations"),
    )
    op.create_table(
        "changes",
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("digest", _DIGEST),
        sa.PrimaryKeyConstraint("generation", "kind", "name", name="pk_changes"),
        sa.ForeignKeyConstraint(
            ["generation"], ["generations.number"], name="fk_changes_generation", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["digest"], ["documents.digest"], name="fk_changes_digest"),
    )
    op.create_index("ix_changes_kind_name", "changes", ["kind", "name", "generation"])
    op.create_table(
        "nodes",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("proxy", _NAME, nullable=False),
        sa.Column("host", sa.String(256), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("problem", sa.Text),
        sa.Column("load", sa.Text, nullable=False),
        sa.Column("started", _TIME, nullable=False),
        sa.Column("contact", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_nodes"),
    )
    op.create_index("ix_nodes_proxy", "nodes", ["proxy"])


def _described(name: str, *more: sa.schema.SchemaItem) -> None:
    columns = [item for item in more if isinstance(item, sa.Column)]
    constraints = [item for item in more if not isinstance(item, sa.Column)]
    op.create_table(
        name,
        sa.Column("name", _NAME, nullable=False),
        sa.Column("arn", sa.String(256), nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("update_token", sa.String(36), nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("modified", _TIME, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("name", name=f"pk_{name}"),
        sa.UniqueConstraint("arn", name=f"uq_{name}_arn"),
        sa.ForeignKeyConstraint(["digest"], ["documents.digest"], name=f"fk_{name}_digest"),
        *constraints,
    )
