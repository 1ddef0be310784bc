"""The contract of a transaction, the same on both engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from netfw.store.database import Database
from netfw.store.errors import NoSuchResource, ResourceExists, ResourceInUse, StaleToken, UnfinishedChange
from netfw.store.repository import Transaction
from netfw.store.resources import ResourceName, StoredConfiguration, StoredGroup, StoredListener, StoredProxy

RULE = {
    "ProxyRuleName": "a",
    "Action": "ALLOW",
    "Conditions": [
        {
            "ConditionKey": "request:DestinationDomain",
            "ConditionOperator": "StringEquals",
            "ConditionValues": ["example.com"],
        }
    ],
}
DEFAULTS = {"PreDNS": "DENY", "PreREQUEST": "DENY", "PostRESPONSE": "ALLOW"}


def group(name: str, *rules: dict[str, Any]) -> StoredGroup:
    """A group with these PreDNS rules."""
    return StoredGroup(
        name, f"arn:aws:x:proxy-rule-group/{name}", {"PreDNS": rules, "PreREQUEST": (), "PostRESPONSE": ()}
    )


def configuration(name: str, *groups: str) -> StoredConfiguration:
    """A configuration with these groups."""
    return StoredConfiguration(name, f"arn:aws:x:proxy-configuration/{name}", DEFAULTS, groups)


def proxy(name: str, of: str) -> StoredProxy:
    """A proxy that follows a configuration."""
    return StoredProxy(name, f"arn:aws:x:proxy/{name}", of, "nat-1", (StoredListener(3128, "HTTP"),))


def changing(function: Callable[[Transaction], Any]) -> Callable[[Transaction], Any]:
    """The function with a generation of its own."""

    def run(transaction: Transaction) -> Any:
        result = function(transaction)
        transaction.bump_generation("test", "a change")
        return result

    return run


def filled(transaction: Transaction) -> None:
    """Two groups, a configuration with one of them, a proxy."""
    transaction.groups.add(group("g1", RULE))
    transaction.groups.add(group("g2"))
    transaction.configurations.add(configuration("c", "g1"))
    transaction.proxies.add(proxy("p", "c"))
    transaction.bump_generation("test", "filled")


def test_what_was_added_is_there(database: Database) -> None:
    """With a token, with times, and in every member as it was given."""
    added = database.transact(changing(lambda t: t.groups.add(replace(group("g", RULE), tags={"k": "v"}))))
    found = database.read(lambda t: t.groups.get("g"))
    assert found == added
    assert (found.rules["PreDNS"], found.tags, found.update_token != "") == ((RULE,), {"k": "v"}, True)
    assert found.created == found.modified > 0


def test_every_kind_comes_back_as_it_was_given(database: Database) -> None:
    """Attachments keep their order, proxies their listeners."""
    database.transact(filled)
    database.transact(changing(lambda t: t.configurations.add(configuration("d", "g2", "g1"))))
    assert database.read(lambda t: t.configurations.get("d").groups) == ("g2", "g1")
    found = database.read(lambda t: t.proxies.get("p"))
    assert replace(found, update_token="", created=0.0, modified=0.0) == proxy("p", "c")


def test_a_name_is_taken_once(database: Database) -> None:
    """Of each kind."""
    database.transact(filled)
    for add in (
        lambda t: t.groups.add(group("g1")),
        lambda t: t.configurations.add(configuration("c")),
        lambda t: t.proxies.add(proxy("p", "c")),
    ):
        with pytest.raises(ResourceExists):
            database.transact(changing(add))


def test_a_stale_token_changes_nothing(database: Database) -> None:
    """And the right one is used up by the change."""
    database.transact(filled)
    first = database.read(lambda t: t.groups.get("g1"))
    second = database.transact(changing(lambda t: t.groups.replace(group("g1"), first.update_token)))
    assert second.update_token != first.update_token
    with pytest.raises(StaleToken):
        database.transact(changing(lambda t: t.groups.replace(group("g1", RULE), first.update_token)))
    assert database.read(lambda t: t.groups.get("g1")) == second
    assert second.created == first.created


def test_what_is_not_there_is_said_so(database: Database) -> None:
    """By get, replace, remove and by a reference to it; find gives None."""
    database.transact(filled)
    assert database.read(lambda t: t.groups.find("no")) is None
    for wrong in (
        lambda t: t.groups.get("no"),
        lambda t: t.groups.replace(group("no"), None),
        lambda t: t.groups.remove("no"),
        lambda t: t.groups.set_tags("no", {}),
        lambda t: t.configurations.add(configuration("d", "no")),
        lambda t: t.proxies.add(proxy("q", "no")),
    ):
        with pytest.raises(NoSuchResource, match="'no'"):
            database.transact(changing(wrong))


def test_what_is_in_use_stays(database: Database) -> None:
    """A group by its configuration, that by its proxy; from the top they can go."""
    database.transact(filled)
    with pytest.raises(ResourceInUse, match="in use by c"):
        database.transact(changing(lambda t: t.groups.remove("g1")))
    with pytest.raises(ResourceInUse, match="in use by p"):
        database.transact(changing(lambda t: t.configurations.remove("c")))

    def all_of_it(transaction: Transaction) -> None:
        transaction.proxies.remove("p")
        transaction.configurations.remove("c")
        transaction.groups.remove("g1")

    database.transact(changing(all_of_it))
    counts = database.read(lambda t: (t.groups.count(), t.configurations.count(), t.proxies.count()))
    assert counts == (1, 0, 0)


def test_a_list_is_read_page_by_page(database: Database) -> None:
    """In the order of the names' bytes, on both engines."""
    names = ["a", "B", "a-b", "a1", "Z", "z-"]

    def add(transaction: Transaction) -> None:
        for name in names:
            transaction.groups.add(group(name))

    database.transact(changing(add))

    def page(transaction: Transaction, after: str | None) -> tuple[ResourceName, ...]:
        return transaction.groups.list(after, 2)

    listed: list[str] = []
    while found := database.read(page, listed[-1] if listed else None):
        listed += [one.name for one in found]
    assert listed == sorted(names)


def test_a_resource_is_found_by_its_arn(database: Database) -> None:
    """Whatever kind it is of."""
    database.transact(filled)
    arns = ["arn:aws:x:proxy-rule-group/g1", "arn:aws:x:proxy-configuration/c", "arn:aws:x:proxy/p", "arn:aws:none"]
    found = database.read(lambda t: [t.find_by_arn(arn) for arn in arns])
    assert [type(one).__name__ for one in found] == ["StoredGroup", "StoredConfiguration", "StoredProxy", "NoneType"]


def test_a_change_without_a_generation_is_undone(database: Database) -> None:
    """Whoever follows would not hear of it."""
    with pytest.raises(UnfinishedChange, match="group g"):
        database.transact(lambda t: t.groups.add(group("g")))
    assert database.read(lambda t: (t.generation, t.groups.count())) == (0, 0)


def test_states_and_tags_need_no_generation(database: Database) -> None:
    """They decide nothing."""
    database.transact(filled)
    database.transact(lambda t: t.proxies.replace(replace(t.proxies.get("p"), state="ATTACHED"), None))
    database.transact(lambda t: t.groups.set_tags("g1", {"team": "a"}))
    found = database.read(lambda t: (t.generation, t.proxies.get("p").state, t.groups.get("g1").tags))
    assert found == (1, "ATTACHED", {"team": "a"})


def test_an_error_undoes_everything(database: Database) -> None:
    """The generation as well."""

    def fail(transaction: Transaction) -> None:
        filled(transaction)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.transact(fail)
    assert database.read(lambda t: (t.generation, t.groups.count(), t.configurations.count())) == (0, 0, 0)


def test_another_process_sees_what_was_stored(open_store: Callable[[], Database]) -> None:
    """Two that have the store open."""
    one, other = open_store(), open_store()
    one.transact(filled)
    assert other.read(lambda t: t.generation) == 1
    other.transact(changing(lambda t: t.groups.add(group("g3"))))
    assert one.read(lambda t: (t.generation, t.groups.get("g3").name)) == (2, "g3")
