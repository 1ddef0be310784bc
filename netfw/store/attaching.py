"""Which groups a configuration has, and in which order: attach, detach, put in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netfw.store.errors import NoSuchResource, StoreError
from netfw.store.repository import Transaction
from netfw.store.resources import StoredConfiguration


class WrongOrder(StoreError):
    """What was asked for is no order of the groups that are attached."""


def attach(transaction: Transaction, configuration: str, group: str, position: int | None, editor: str) -> int:
    """Attach a group, at the end unless a position is given. Returns the generation."""
    found = transaction.configurations.get(configuration)
    if not transaction.groups.exists(group):
        raise NoSuchResource(transaction.groups.kind, group)
    if group in found.groups:
        raise WrongOrder(f"group {group} is attached to {configuration} already; use priorities to move it")
    place = len(found.groups) if position is None else position
    if place > len(found.groups):
        raise WrongOrder(f"position {place} is past the end: {configuration} has {len(found.groups)} groups")
    groups = (*found.groups[:place], group, *found.groups[place:])
    return _store(transaction, found, groups, editor, f"attach {group} to {configuration} at {place}")


def detach(transaction: Transaction, configuration: str, group: str, editor: str) -> int:
    """Detach a group. Returns the generation."""
    found = transaction.configurations.get(configuration)
    if group not in found.groups:
        raise WrongOrder(f"group {group} is not currently attached to {configuration}")
    groups = tuple(one for one in found.groups if one != group)
    return _store(transaction, found, groups, editor, f"detach {group} from {configuration}")


def put_in_order(transaction: Transaction, configuration: str, first: Sequence[str], editor: str) -> int | None:
    """Put these groups first, in this order; the others follow as they are. Returns the generation, None: as it was."""
    found = transaction.configurations.get(configuration)
    strange = [group for group in first if group not in found.groups]
    if strange:
        raise WrongOrder(f"not currently attached to {configuration}: {', '.join(strange)}")
    if len(set(first)) < len(first):
        raise WrongOrder("a group is named twice")
    groups = (*first, *(group for group in found.groups if group not in first))
    if groups == found.groups:
        return None
    return _store(transaction, found, groups, editor, f"order of {configuration}: {', '.join(groups)}")


def followed_configuration(transaction: Transaction, proxy: str) -> str:
    """The name of the configuration that a proxy follows. Raises NoSuchResource."""
    return transaction.proxies.get(proxy).configuration


def _store(
    transaction: Transaction, found: StoredConfiguration, groups: tuple[str, ...], editor: str, summary: str
) -> int:
    transaction.configurations.replace(replace(found, groups=groups), found.update_token)
    return transaction.bump_generation(editor, summary)
