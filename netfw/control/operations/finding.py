"""The resource that a request means: by name, by ARN, or by both."""

from __future__ import annotations

from typing import Any

from netfw.control.arns import named
from netfw.control.operations.call import Input
from netfw.control.refusals import ResourceNotFound
from netfw.control.service_model import Resource
from netfw.control.shapes import shown

_MEMBERS = {
    Resource.PROXY: "Proxy",
    Resource.CONFIGURATION: "ProxyConfiguration",
    Resource.RULE_GROUP: "ProxyRuleGroup",
}


def collection_of(transaction: Any, kind: Resource) -> Any:
    """The resources of a kind."""
    return {
        Resource.PROXY: transaction.proxies,
        Resource.CONFIGURATION: transaction.configurations,
        Resource.RULE_GROUP: transaction.groups,
    }[kind]


def name_meant(given: Input, kind: Resource) -> str:
    """The name that a request means, whether there is such a resource or not. Raises `InvalidRequest`."""
    members = _MEMBERS[kind]
    return named(kind, given.get(f"{members}Name"), given.get(f"{members}Arn"), members)


def find(transaction: Any, given: Input, kind: Resource) -> Any:
    """The resource. Raises `InvalidRequest`, `ResourceNotFound`, NoSuchResource."""
    return find_by(transaction, kind, name_meant(given, kind), given.get(f"{_MEMBERS[kind]}Arn"))


def find_by(transaction: Any, kind: Resource, name: str, arn: str | None) -> Any:
    """The resource of this name, which must have this ARN where one is given."""
    found = collection_of(transaction, kind).get(name)
    if arn is not None and arn != found.arn:
        raise ResourceNotFound(f"{shown(arn)} is of another partition, region or account than {found.arn}")
    return found
