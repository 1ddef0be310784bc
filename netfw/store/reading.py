"""The policy of one proxy out of the store: `StoredPolicies` reads it, and loads only what it has not loaded before.

A group is known by the digest of its document; one that was checked and is unchanged is neither fetched nor checked
again. What is loaded goes through the same loader as a policy file.
Not here: following changes (`follower`), and the policy file (`config.policy_files`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from netfw.policy.load import load_configuration, load_group
from netfw.policy.model import Action, Phase, PolicyConfiguration, RuleGroup
from netfw.store import tables
from netfw.store.database import Database
from netfw.store.documents import get_document, get_documents
from netfw.store.repository import Transaction
from netfw.store.resources import AskedOfProxy, asked_from_document

NO_POLICY = "none"
"""The configuration's name while the store has none for this proxy."""


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """A policy of the store. `digests`: of its groups' documents, by name; `asked`: what else is asked of the proxy."""

    generation: int
    policy: PolicyConfiguration
    digests: dict[str, str]
    asked: AskedOfProxy = AskedOfProxy()

    def groups(self) -> dict[str, RuleGroup]:
        """The groups by digest."""
        return {self.digests[group.name]: group for group in self.policy.groups}


@dataclass(frozen=True, slots=True)
class _Fetched:
    generation: int
    digests: dict[str, str] = field(default_factory=dict)
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    configuration: dict[str, Any] | None = None
    asked: AskedOfProxy = AskedOfProxy()


def nothing_allowed() -> PolicyConfiguration:
    """What a proxy that the store does not know decides by: nothing passes."""
    return PolicyConfiguration(NO_POLICY, dict.fromkeys(Phase, Action.DENY), ())


class StoredPolicies:
    """Reads the policy of the proxy with this name."""

    def __init__(self, proxy: str) -> None:
        self._proxy = proxy
        self._loaded: dict[str, RuleGroup] = {}

    def read(self, database: Database) -> ReadPolicy:
        """The policy as it is now, all of one moment. Raises PolicyErrors, StoreError."""
        found = database.read(_fetch, self._proxy, frozenset(self._loaded))
        if found.configuration is None:
            return ReadPolicy(found.generation, nothing_allowed(), {})
        groups: dict[str, RuleGroup] = {}
        loaded: dict[str, RuleGroup] = {}
        for name, digest in found.digests.items():
            group = self._loaded.get(digest)
            if group is None:
                group = load_group(found.documents[digest], f"rule group {name}")
            loaded[digest] = groups[name] = group
        source = f"configuration {found.configuration.get('ProxyConfigurationName')}"
        policy = load_configuration(found.configuration, groups, source)
        self._loaded = loaded
        return ReadPolicy(found.generation, policy, found.digests, found.asked)


def _fetch(transaction: Transaction, proxy: str, known: Collection[str]) -> _Fetched:
    connection = transaction.connection
    generation = transaction.generation
    configurations, proxies = tables.configurations, tables.proxies
    attachments, groups = tables.attachments, tables.rule_groups
    followed = connection.execute(
        select(configurations.c.name, configurations.c.digest, proxies.c.digest.label("proxy"))
        .select_from(proxies.join(configurations, proxies.c.configuration == configurations.c.name))
        .where(proxies.c.name == proxy)
    ).first()
    if followed is None:
        return _Fetched(generation)
    attached = connection.execute(
        select(groups.c.name, groups.c.digest)
        .select_from(attachments.join(groups, attachments.c.rule_group == groups.c.name))
        .where(attachments.c.configuration == followed.name)
        .order_by(attachments.c.position)
    )
    digests = {row.name: row.digest for row in attached}
    documents = get_documents(connection, [digest for digest in digests.values() if digest not in known])
    asked = asked_from_document(get_document(connection, followed.proxy))
    return _Fetched(generation, digests, documents, get_document(connection, followed.digest), asked)


def read_policy_of(database: Database, proxy: str) -> PolicyConfiguration:
    """The policy that a proxy of this name follows now. Raises PolicyErrors, StoreError."""
    return StoredPolicies(proxy).read(database).policy
