"""What an operation on several resources changed: found out inside its transaction, from the generation that it made.

So each resource that it touched is judged by itself: whether the caller may change it, whether it is within the quotas,
and what was before and after. Whatever is refused undoes the whole. Not here: the operations (`own_operations`).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from netfw.config.model import Quotas
from netfw.control.operations.call import Call, Change
from netfw.control.operations.rules import check_group
from netfw.control.quotas import check_quota, policy_limits
from netfw.control.roles import check_right
from netfw.control.service_model import Operation, Resource
from netfw.policy.load import load_group
from netfw.store import tables
from netfw.store.documents import get_documents
from netfw.store.history import digests_at
from netfw.store.repository import Transaction

RESOURCES = {"group": Resource.RULE_GROUP, "configuration": Resource.CONFIGURATION, "proxy": Resource.PROXY}


def judge_changes(
    transaction: Transaction, former: int, operation: Operation, call: Call, *, bounded: bool = True
) -> tuple[Change, ...]:
    """What is different since generation `former`, the one before this transaction.

    `bounded`: False for a way back, which makes nothing that was not accepted before. Raises AccessDenied,
    LimitExceeded, and PolicyErrors for a rule that is too large.
    """
    number = transaction.generation
    changed = {
        (row.kind, row.name): row.digest
        for row in transaction.connection.execute(select(tables.changes).where(tables.changes.c.generation == number))
    }
    for kind, name in sorted(changed):
        check_right(call.caller, operation.name, True, RESOURCES[kind], name)
    before = {key: digest for key, digest in digests_at(transaction, former).items() if key in changed}
    digests = [digest for digest in (*before.values(), *changed.values()) if digest is not None]
    documents = get_documents(transaction.connection, digests)
    changes = []
    for (kind, name), digest in sorted(changed.items()):
        present = _collection(transaction, kind).find(name)
        old = before.get((kind, name))
        if bounded and present is not None:
            _check(transaction, kind, present, call.site.quotas, new=old is None)
        changes.append(
            Change(
                call.site.arn_of(kind, name) if present is None else present.arn,
                None if old is None else documents[old],
                None if digest is None else documents[digest],
            )
        )
    return tuple(changes)


def _collection(transaction: Transaction, kind: str) -> Any:
    return {"group": transaction.groups, "configuration": transaction.configurations, "proxy": transaction.proxies}[
        kind
    ]


def _check(transaction: Transaction, kind: str, present: Any, quotas: Quotas, *, new: bool) -> None:
    if kind == "group":
        if new:
            check_quota(transaction.groups.count(), quotas.rule_groups, "rule groups", "rule_groups")
        check_group(present, quotas)
        load_group(present.document(), f"rule group {present.name}", limits=policy_limits(quotas))
    elif kind == "configuration":
        if new:
            check_quota(transaction.configurations.count(), quotas.configurations, "configurations", "configurations")
        most = quotas.groups_per_configuration
        check_quota(len(present.groups), most, "rule groups of a configuration", "groups_per_configuration")
    elif new:
        check_quota(transaction.proxies.count(), quotas.proxies, "proxies", "proxies")
        following = len(transaction.proxies.using(present.configuration))
        what = f"proxies that follow {present.configuration}"
        check_quota(following, quotas.proxies_per_configuration, what, "proxies_per_configuration")
