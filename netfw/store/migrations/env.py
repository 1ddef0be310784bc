"""What Alembic runs to apply revisions: always on the connection of `schema.prepare`, inside its transaction."""

from __future__ import annotations

from alembic import context

from netfw.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
