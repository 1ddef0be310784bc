"""The policy of a proxy as it was at a former generation: for `netfw why`, which tells of what was decided then."""

from __future__ import annotations

from typing import Any

from netfw.policy.load import load_configuration, load_group
from netfw.policy.model import PolicyConfiguration
from netfw.store.database import Database
from netfw.store.documents import get_documents
from netfw.store.errors import StoreError
from netfw.store.history import digests_at
from netfw.store.reading import nothing_allowed
from netfw.store.repository import Transaction
from netfw.store.resources import configuration_from_document

_Document = dict[str, Any]


def policy_at(database: Database, proxy: str, generation: int) -> PolicyConfiguration:
    """The policy that a proxy of this name followed then. Raises PolicyErrors, StoreError; NoSuchGeneration is one."""
    fetched = database.read(_fetch, proxy, generation)
    if fetched is None:
        return nothing_allowed()
    configuration, documents = fetched
    groups = {name: load_group(document, f"rule group {name}") for name, document in documents.items()}
    return load_configuration(configuration, groups, f"generation {generation}")


def _fetch(transaction: Transaction, proxy: str, generation: int) -> tuple[_Document, dict[str, _Document]] | None:
    digests = digests_at(transaction, generation)
    connection = transaction.connection
    found = digests.get(("proxy", proxy))
    if found is None:
        return None
    name = get_documents(connection, [found])[found].get("ProxyConfigurationName")
    chosen = digests.get(("configuration", str(name)))
    if chosen is None:
        return None
    configuration = get_documents(connection, [chosen])[chosen]
    groups = {one: digests.get(("group", one)) for one in configuration_from_document(configuration, "").groups}
    missing = [one for one, digest in groups.items() if digest is None]
    if missing:
        raise StoreError(f"generation {generation} lacks the rule group {missing[0]}")
    documents = get_documents(connection, [digest for digest in groups.values() if digest is not None])
    return configuration, {one: documents[digest] for one, digest in groups.items() if digest is not None}
