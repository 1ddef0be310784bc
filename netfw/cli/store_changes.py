"""A change of the store by command, held to the quotas that the control API holds its callers to.

In this room: finding out, inside the transaction, what a function of the store changed, and refusing what is too much.
Not here: the functions (`netfw.store`), and the record of it (`cli.audit`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from netfw.config.model import Quotas
from netfw.control.operations.call import Change
from netfw.control.operations.rules import check_group
from netfw.control.quotas import check_quota, policy_limits
from netfw.policy.load import load_group
from netfw.store import tables
from netfw.store.applying import ArnOf
from netfw.store.documents import get_documents
from netfw.store.history import digests_at
from netfw.store.repository import Transaction


@dataclass(frozen=True, slots=True)
class Done:
    """`result`: what the function returned. `generation`: None when nothing is changed."""

    result: Any
    changes: tuple[Change, ...] = ()
    generation: int | None = None


def change_within(
    transaction: Transaction,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    quotas: Quotas | None,
    arn_of: ArnOf,
) -> Done:
    """Run it; tell what it changed. Raises what the function does, LimitExceeded, and PolicyErrors for a rule that is
    too large. `quotas`: None for a way back, which makes nothing that was not accepted before.
    """
    former = transaction.generation
    result = function(transaction, *arguments)
    number = transaction.generation
    if number == former:
        return Done(result)
    changed = {
        (row.kind, row.name): row.digest
        for row in transaction.connection.execute(select(tables.changes).where(tables.changes.c.generation == number))
    }
    before = {key: digest for key, digest in digests_at(transaction, former).items() if key in changed}
    digests = [digest for digest in (*before.values(), *changed.values()) if digest is not None]
    documents = get_documents(transaction.connection, digests)
    changes = []
    for (kind, name), digest in sorted(changed.items()):
        present = _collection(transaction, kind).find(name)
        old = before.get((kind, name))
        if quotas is not None and present is not None:
            _check(transaction, kind, present, quotas, new=old is None)
        changes.append(
            Change(
                arn_of(kind, name) if present is None else present.arn,
                None if old is None else documents[old],
                None if digest is None else documents[digest],
            )
        )
    return Done(result, tuple(changes), number)


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
