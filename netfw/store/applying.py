"""Putting a policy document into the store, and getting one out: what `netfw apply` and `netfw export` do.

A document says what its groups and its configuration shall be; what it does not name stays. The proxy is made if there
is none of its name, and follows the document's configuration. The plan is what would change, and only that plan is
carried out: if somebody changed the same resources meanwhile, it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netfw.policy.model import PolicyConfiguration, RuleGroup
from netfw.policy.printing import configuration_document, group_document
from netfw.store.difference import Difference, differences
from netfw.store.documents import get_documents
from netfw.store.errors import NoSuchResource, PlanOutdated
from netfw.store.history import put_back
from netfw.store.repository import Transaction
from netfw.store.resources import StoredProxy, configuration_from_document, group_from_document

ArnOf = Callable[[str, str], str]
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be there, by kind and name, in documents' form. `proxy`: who shall follow the configuration."""

    documents: dict[_Key, dict[str, Any]]
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """`differences`: what would change. `seen`: the state of those resources that it was made from."""

    generation: int
    wanted: Wanted
    differences: tuple[Difference, ...]
    seen: dict[_Key, str | None]


def wanted_of(
    groups: Sequence[RuleGroup], configuration: PolicyConfiguration | None, proxy: str | None = None
) -> Wanted:
    """What a loaded policy asks for; with a configuration the proxy is to follow it."""
    documents: dict[_Key, dict[str, Any]] = {}
    for group in groups:
        documents["group", group.name] = group_from_document(group_document(group), "").document()
    if configuration is not None:
        document = configuration_document(configuration)
        documents["configuration", configuration.name] = configuration_from_document(document, "").document()
    return Wanted(documents, proxy if configuration is not None else None)


def make_plan(transaction: Transaction, wanted: Wanted) -> Plan:
    """What would change. Changes nothing."""
    present = _digests(transaction)
    keys = list(wanted.documents)
    documents = dict(wanted.documents)
    configuration = next((name for kind, name in keys if kind == "configuration"), None)
    if wanted.proxy is not None and configuration is not None and ("proxy", wanted.proxy) not in present:
        documents["proxy", wanted.proxy] = StoredProxy(wanted.proxy, "", configuration).document()
        keys.append(("proxy", wanted.proxy))
    seen = {key: present.get(key) for key in keys}
    found = get_documents(transaction.connection, [digest for digest in seen.values() if digest is not None])
    before = {key: found[digest] for key, digest in seen.items() if digest is not None}
    return Plan(transaction.generation, Wanted(documents, wanted.proxy), differences(before, documents), seen)


def carry_out(transaction: Transaction, plan: Plan, editor: str, arn_of: ArnOf) -> int | None:
    """Do what the plan says; return the new generation, None when there was nothing to do. Raises PlanOutdated."""
    if not plan.differences:
        return None
    present = _digests(transaction)
    outdated = [f"{kind} {name}" for (kind, name), digest in plan.seen.items() if present.get((kind, name)) != digest]
    if outdated:
        raise PlanOutdated(f"changed since the plan was made: {', '.join(outdated)}; make a new plan")
    changed = {(one.kind, one.name) for one in plan.differences}
    for kind in ("group", "configuration"):
        for (of, name), document in plan.wanted.documents.items():
            if of == kind and (kind, name) in changed:
                put_back(transaction, kind, name, document, arn_of)
    for of, name in changed:
        if of == "proxy":
            document = plan.wanted.documents[of, name]
            followed = document["ProxyConfigurationName"]
            transaction.proxies.add(StoredProxy(name, arn_of("proxy", name), followed))
    names = sorted(name for _, name in changed)
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return transaction.bump_generation(editor, f"apply: {shown}")


def exported(transaction: Transaction, configuration: str, *, all_groups: bool = False) -> dict[str, Any]:
    """The policy document of a configuration and of the groups that are attached to it, or of all. Raises
    NoSuchResource.
    """
    found = transaction.configurations.find(configuration)
    if found is None:
        raise NoSuchResource("configuration", configuration)
    names = list(found.groups)
    if all_groups:
        names += [one.name for one in transaction.groups.list() if one.name not in names]
    groups = [transaction.groups.get(name).document() for name in names]
    return {"ProxyConfiguration": found.document(), "ProxyRuleGroups": [{"Rules": {}, **group} for group in groups]}


def _digests(transaction: Transaction) -> dict[_Key, str]:
    present: dict[_Key, str] = {}
    for collection in (transaction.groups, transaction.configurations, transaction.proxies):
        present.update({(collection.word, name): digest for name, digest in collection.digests().items()})
    return present
