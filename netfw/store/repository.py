"""What can be done inside one transaction: `Transaction`, with a collection each of groups, configurations, proxies.

In this room: compare-and-set by token, what refers to what, and that no change of the policy goes without a generation.
Not here: what a rule may say (`policy.load`), who may change what (the control API), history (`history`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert, select, text, update
from sqlalchemy.engine import Connection

from netfw.store import tables
from netfw.store.collections import Configurations, Groups, Proxies
from netfw.store.errors import UnfinishedChange
from netfw.store.resources import StoredConfiguration, StoredGroup, StoredProxy

CHANNEL = "netfw_generation"
"""Where PostgreSQL tells who listens that there is a new generation."""


class Transaction:
    """`now` is the time of the whole transaction. `has_history`: what was there before can be asked for."""

    has_history = True

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self._changed: dict[tuple[str, str], str | None] = {}
        self.groups = Groups(self)
        self.configurations = Configurations(self)
        self.proxies = Proxies(self)

    @property
    def generation(self) -> int:
        """The policy's generation; 0 is that of an empty store."""
        return int(self.connection.execute(select(tables.store.c.generation)).scalar_one())

    def find_by_arn(self, arn: str) -> StoredGroup | StoredConfiguration | StoredProxy | None:
        """The resource of this name, of whatever kind."""
        for collection in (self.groups, self.configurations, self.proxies):
            name = collection.name_of_arn(arn)
            if name is not None:
                found: Any = collection.get(name)
                return found
        return None

    def note_change(self, kind: str, name: str, digest: str | None) -> None:
        """A collection says what it changed; None: removed."""
        self._changed[kind, name] = digest

    def bump_generation(self, editor: str, summary: str) -> int:
        """Give what was changed in this transaction a generation; once, after the last change."""
        number = self.generation + 1
        self.connection.execute(update(tables.store).values(generation=number))
        self.connection.execute(
            insert(tables.generations).values(number=number, at=self.now, editor=editor[:256], summary=summary)
        )
        if self._changed:
            self.connection.execute(
                insert(tables.changes),
                [
                    {"generation": number, "kind": kind, "name": name, "digest": digest}
                    for (kind, name), digest in sorted(self._changed.items())
                ],
            )
        if self.connection.dialect.name == "postgresql":
            # Sent when the transaction is committed, and not otherwise.
            self.connection.execute(
                text("SELECT pg_notify(:channel, :number)"), {"channel": CHANNEL, "number": str(number)}
            )
        self._changed = {}
        return number

    def finish(self) -> None:
        """To be called before the commit. Raises UnfinishedChange."""
        if self._changed:
            names = ", ".join(f"{kind} {name}" for kind, name in sorted(self._changed))
            raise UnfinishedChange(f"changed without a generation: {names}; nothing was stored")
