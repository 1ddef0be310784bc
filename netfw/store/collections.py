"""The resources of one kind inside a transaction: find, list, add, replace by token, remove."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import uuid4

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.sql.schema import Table

from netfw.store import tables
from netfw.store.documents import get_document, put_document
from netfw.store.errors import NoSuchResource, ResourceExists, ResourceInUse, StaleToken
from netfw.store.resources import (
    ResourceName,
    StoredConfiguration,
    StoredGroup,
    StoredProxy,
    configuration_from_document,
    group_from_document,
    listeners_of,
)

if TYPE_CHECKING:
    from netfw.store.repository import Transaction

Resource = TypeVar("Resource", StoredGroup, StoredConfiguration, StoredProxy)


class Collection(Generic[Resource]):
    """The resources of one kind."""

    kind: str
    """In messages."""
    word: str
    """In history."""
    table: Table

    def __init__(self, transaction: Transaction) -> None:
        self._transaction: Transaction = transaction
        self._connection = transaction.connection

    def find(self, name: str) -> Resource | None:
        """The resource, or None."""
        row = self._connection.execute(select(self.table).where(self.table.c.name == name)).first()
        return None if row is None else self._from_row(row)

    def get(self, name: str) -> Resource:
        """The resource. Raises NoSuchResource."""
        found = self.find(name)
        if found is None:
            raise NoSuchResource(self.kind, name)
        return found

    def list(self, after: str | None = None, limit: int = 1_000_000) -> tuple[ResourceName, ...]:
        """At most `limit` names behind `after`, sorted."""
        query = select(self.table.c.name, self.table.c.arn).order_by(self.table.c.name).limit(limit)
        if after is not None:
            query = query.where(self.table.c.name > after)
        return tuple(ResourceName(row.name, row.arn) for row in self._connection.execute(query))

    def count(self) -> int:
        """How many there are."""
        return int(self._connection.execute(select(func.count()).select_from(self.table)).scalar_one())

    def digests(self) -> dict[str, str]:
        """The digest of each one's document, by name."""
        rows = self._connection.execute(select(self.table.c.name, self.table.c.digest).order_by(self.table.c.name))
        return {row.name: row.digest for row in rows}

    def arns(self, names: Sequence[str]) -> dict[str, str]:
        """The ARNs of these, by name; those that are not there are left out."""
        query = select(self.table.c.name, self.table.c.arn).where(self.table.c.name.in_(names))
        return {row.name: row.arn for row in self._connection.execute(query)}

    def name_of_arn(self, arn: str) -> str | None:
        """The name of the resource with this ARN, or None."""
        found = self._connection.execute(select(self.table.c.name).where(self.table.c.arn == arn)).scalar()
        return None if found is None else str(found)

    def add(self, resource: Resource) -> Resource:
        """Keep a new one; return it with its token and times. Raises ResourceExists."""
        if self.exists(resource.name):
            raise ResourceExists(self.kind, resource.name)
        now = self._transaction.now
        added = replace(resource, update_token=str(uuid4()), created=now, modified=now)
        digest = put_document(self._connection, added.document())
        self._connection.execute(insert(self.table).values(name=added.name, **self._values(added, digest)))
        self._link(added)
        self._transaction.note_change(self.word, added.name, digest)
        return added

    def replace(self, resource: Resource, expected_token: str | None) -> Resource:
        """Keep the new state of one that is there; return it with its new token.

        `expected_token` is what the caller read, None: whatever it is. Raises NoSuchResource, StaleToken.
        """
        chosen = self.table.c.name == resource.name
        former = self._connection.execute(
            select(self.table.c.update_token, self.table.c.digest, self.table.c.created).where(chosen)
        ).first()
        if former is None:
            raise NoSuchResource(self.kind, resource.name)
        if expected_token is not None and expected_token != former.update_token:
            raise StaleToken(self.kind, resource.name)
        changed = replace(resource, update_token=str(uuid4()), created=former.created, modified=self._transaction.now)
        digest = put_document(self._connection, changed.document())
        self._connection.execute(update(self.table).where(chosen).values(**self._values(changed, digest)))
        if digest != former.digest:
            self._link(changed)
            self._transaction.note_change(self.word, changed.name, digest)
        return changed

    def set_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """Other tags; they are no part of the policy, so the token stays. Raises NoSuchResource."""
        done = self._connection.execute(
            update(self.table).where(self.table.c.name == name).values(tags=json.dumps(dict(tags)))
        )
        if done.rowcount == 0:
            raise NoSuchResource(self.kind, name)

    def remove(self, name: str) -> None:
        """Forget it. Raises NoSuchResource, ResourceInUse."""
        if not self.exists(name):
            raise NoSuchResource(self.kind, name)
        users = self._users(name)
        if users:
            raise ResourceInUse(self.kind, name, users)
        self._connection.execute(delete(self.table).where(self.table.c.name == name))
        self._transaction.note_change(self.word, name, None)

    def exists(self, name: str) -> bool:
        """Whether there is one of this name."""
        return self._connection.execute(select(self.table.c.name).where(self.table.c.name == name)).first() is not None

    def _values(self, resource: Resource, digest: str) -> dict[str, Any]:
        return {
            "arn": resource.arn,
            "digest": digest,
            "update_token": resource.update_token,
            "tags": json.dumps(dict(resource.tags)),
            "state": resource.state,
            "created": resource.created,
            "modified": resource.modified,
        }

    def _common(self, row: Any) -> dict[str, Any]:
        return {
            "update_token": row.update_token,
            "tags": json.loads(row.tags),
            "state": row.state,
            "created": row.created,
            "modified": row.modified,
        }

    def _from_row(self, row: Any) -> Resource:
        raise NotImplementedError

    def _users(self, name: str) -> tuple[str, ...]:
        raise NotImplementedError

    def _link(self, resource: Resource) -> None:
        """Keep what the resource refers to where the database can see it."""


class Groups(Collection[StoredGroup]):
    """Rule groups."""

    kind = "rule group"
    word = "group"
    table = tables.rule_groups

    def _from_row(self, row: Any) -> StoredGroup:
        return replace(group_from_document(get_document(self._connection, row.digest), row.arn), **self._common(row))

    def _users(self, name: str) -> tuple[str, ...]:
        return self._transaction.configurations.using(name)


class Configurations(Collection[StoredConfiguration]):
    """Proxy configurations."""

    kind = "configuration"
    word = "configuration"
    table = tables.configurations

    def using(self, group: str) -> tuple[str, ...]:
        """The names of the configurations that a rule group is attached to."""
        attachments = tables.attachments
        query = select(attachments.c.configuration).where(attachments.c.rule_group == group)
        return tuple(self._connection.execute(query.order_by(attachments.c.configuration)).scalars())

    def _from_row(self, row: Any) -> StoredConfiguration:
        return replace(
            configuration_from_document(get_document(self._connection, row.digest), row.arn), **self._common(row)
        )

    def _users(self, name: str) -> tuple[str, ...]:
        return self._transaction.proxies.using(name)

    def _link(self, resource: StoredConfiguration) -> None:
        attachments = tables.attachments
        self._connection.execute(delete(attachments).where(attachments.c.configuration == resource.name))
        known = set(
            self._connection.execute(
                select(tables.rule_groups.c.name).where(tables.rule_groups.c.name.in_(resource.groups))
            ).scalars()
        )
        for group in resource.groups:
            if group not in known:
                raise NoSuchResource(Groups.kind, group)
        if resource.groups:
            self._connection.execute(
                insert(attachments),
                [
                    {"configuration": resource.name, "position": position, "rule_group": group}
                    for position, group in enumerate(resource.groups)
                ],
            )


class Proxies(Collection[StoredProxy]):
    """Proxies."""

    kind = "proxy"
    word = "proxy"
    table = tables.proxies

    def using(self, configuration: str) -> tuple[str, ...]:
        """The names of the proxies that follow a configuration."""
        query = select(self.table.c.name).where(self.table.c.configuration == configuration)
        return tuple(self._connection.execute(query.order_by(self.table.c.name)).scalars())

    def _values(self, resource: StoredProxy, digest: str) -> dict[str, Any]:
        if not self._transaction.configurations.exists(resource.configuration):
            raise NoSuchResource(Configurations.kind, resource.configuration)
        return {
            **super()._values(resource, digest),
            "configuration": resource.configuration,
            "modify_state": resource.modify_state,
            "failure_code": resource.failure_code,
            "failure_message": resource.failure_message,
            "deleted": resource.deleted,
        }

    def _from_row(self, row: Any) -> StoredProxy:
        document = get_document(self._connection, row.digest)
        return StoredProxy(
            name=row.name,
            arn=row.arn,
            configuration=row.configuration,
            nat_gateway=document["NatGatewayId"],
            listeners=listeners_of(document),
            tls_mode=document.get("TlsInterceptMode"),
            ca_arn=document.get("PcaArn"),
            modify_state=row.modify_state,
            failure_code=row.failure_code,
            failure_message=row.failure_message,
            deleted=row.deleted,
            **self._common(row),
        )

    def _users(self, name: str) -> tuple[str, ...]:
        return ()
