"""The policy as it was: each generation's own groups, defaults and order, and nothing from later."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netfw.policy.model import Action, Phase
from netfw.store.database import Database
from netfw.store.errors import NoSuchGeneration
from netfw.store.former import policy_at
from netfw.store.reading import read_policy_of
from netfw.store.repository import Transaction
from netfw.store.resources import StoredConfiguration, StoredGroup, StoredProxy
from netfw.testing.proxy_process import domain_rule
from netfw.testing.stores import arn_of

DEFAULTS = {"PreDNS": "DENY", "PreREQUEST": "ALLOW", "PostRESPONSE": "ALLOW"}


def _first(transaction: Transaction) -> int:
    rules = {"PreDNS": (domain_rule("old", "ALLOW", "old.test"),), "PreREQUEST": (), "PostRESPONSE": ()}
    transaction.groups.add(StoredGroup("g", arn_of("group", "g"), rules))
    transaction.configurations.add(StoredConfiguration("c", arn_of("configuration", "c"), DEFAULTS, ("g",)))
    transaction.proxies.add(StoredProxy("p", arn_of("proxy", "p"), "c"))
    return transaction.bump_generation("test", "first")


def _second(transaction: Transaction) -> int:
    group = transaction.groups.get("g")
    rules = {**group.rules, "PreDNS": (domain_rule("new", "DENY", "new.test"),)}
    transaction.groups.replace(replace(group, rules=rules), None)
    configuration = transaction.configurations.get("c")
    transaction.configurations.replace(replace(configuration, defaults={**DEFAULTS, "PreDNS": "ALLOW"}), None)
    return transaction.bump_generation("test", "second")


def test_each_generation_is_what_it_was(database: Database) -> None:
    """The former and the present; a proxy that was not there let nothing pass."""
    first = database.transact(_first)
    second = database.transact(_second)
    old, new = policy_at(database, "p", first), policy_at(database, "p", second)
    assert [rule.name for _, rule in old.rules(Phase.PRE_DNS)] == ["old"]
    assert old.defaults[Phase.PRE_DNS] is Action.DENY
    assert [rule.name for _, rule in new.rules(Phase.PRE_DNS)] == ["new"]
    assert new == read_policy_of(database, "p")
    assert policy_at(database, "stranger", second).defaults[Phase.PRE_DNS] is Action.DENY
    with pytest.raises(NoSuchGeneration):
        policy_at(database, "p", second + 1)
