"""Hearing of a new generation: PostgreSQL tells who listens, SQLite is looked at often. Blocks nowhere but in `open`.

A notification may be lost with its connection, so whoever follows also looks now and then: `pause` says how long it may
wait for one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from netfw.store.database import Database
from netfw.store.repository import CHANNEL

SQLITE_PAUSE = 0.1
"""Looking costs a fifth of a millisecond."""

POSTGRESQL_PAUSE = 5.0
"""Only for what went past the notifications."""


class Notifications:
    """`descriptor` becomes readable when something comes; None: nothing ever does, look after each `pause`."""

    def __init__(self, database: Database) -> None:
        self.descriptor: int | None = None
        self.pause = SQLITE_PAUSE
        self._connection: Any = None
        self._listening: Any = None
        if database.engine.dialect.name == "postgresql":
            self._listen(database)

    def _listen(self, database: Database) -> None:
        self.pause = POSTGRESQL_PAUSE
        self._connection = database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._connection.execute(text(f"LISTEN {CHANNEL}"))
        self._listening = self._connection.connection.dbapi_connection
        self.descriptor = self._listening.fileno()

    def take(self) -> bool:
        """Whether something came. Raises what the driver raises when the connection is lost."""
        if self._listening is None:
            return False
        self._listening.poll()
        came = bool(self._listening.notifies)
        self._listening.notifies.clear()
        return came

    def close(self) -> None:
        """Stop listening."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
            self._listening = None
            self.descriptor = None
