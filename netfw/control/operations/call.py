"""One call under way: who asks, what holds at this place, and what has been changed so far.

The operations change resources through `add`, `replace`, `retag` and `remove` only, so that every change has a record
with what was there before and after. Not here: who may call what (`roles`), and the generation (`performing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from netfw.config.listener_ports import PermittedListeners
from netfw.config.model import Quotas
from netfw.control.arns import Arns
from netfw.control.roles import Caller
from netfw.control.service_model import Resource as Kind
from netfw.store.resources import StoredConfiguration, StoredGroup, StoredListener, StoredProxy

Resource = TypeVar("Resource", StoredGroup, StoredConfiguration, StoredProxy)
Input = Mapping[str, Any]
Output = dict[str, Any]


_KINDS = {"group": Kind.RULE_GROUP, "configuration": Kind.CONFIGURATION, "proxy": Kind.PROXY}


def _as_stored(_transaction: Any, proxy: StoredProxy) -> StoredProxy:
    return proxy


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """What the proxy.yaml of a proxy's nodes says, as far as the API shows it or is bound by it.

    `listeners`: those that are open. `tls_mode`: whether there is a CA to intercept with, which is `ca_arn`.
    """

    hostname: str | None = None
    listeners: tuple[StoredListener, ...] = ()
    permitted: PermittedListeners = PermittedListeners(())
    tls_mode: str = "DISABLED"
    ca_arn: str | None = None


def _unknown(_transaction: Any, _name: str) -> ProxyFacts | None:
    return None


@dataclass(frozen=True, slots=True)
class Site:
    """What holds where the API is served.

    `facts(transaction, name)`: those of a proxy, None where no node of it is known yet. `observed(transaction, proxy)`
    is the proxy in the state that its processes report.
    """

    arns: Arns
    quotas: Quotas
    facts: Callable[[Any, str], ProxyFacts | None] = _unknown
    observed: Callable[[Any, StoredProxy], StoredProxy] = _as_stored

    def arn_of(self, kind: str, name: str) -> str:
        """The ARN of what is made, by the store's word for its kind."""
        return self.arns.of(_KINDS[kind], name)


@dataclass(frozen=True, slots=True)
class Change:
    """One resource before and after; None where there was none. `policy`: more than tags changed."""

    arn: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    policy: bool = True


@dataclass(slots=True)
class Call:
    """A call. It is made anew for each try of a transaction."""

    caller: Caller
    site: Site
    changes: list[Change] = field(default_factory=list)

    def add(self, collection: Any, resource: Resource) -> Resource:
        """Keep a new resource; return it with its token."""
        added: Resource = collection.add(resource)
        self.changes.append(Change(added.arn, None, _told(added)))
        return added

    def replace(self, collection: Any, before: Resource, after: Resource, token: str | None) -> Resource:
        """Keep a resource's new state; return it with its new token."""
        changed: Resource = collection.replace(after, token)
        old, new = _told(before), _told(changed)
        self.changes.append(Change(before.arn, old, new, policy=old != new))
        return changed

    def retag(self, collection: Any, before: Resource, tags: Mapping[str, str]) -> None:
        """Give a resource other tags."""
        collection.set_tags(before.name, tags)
        self.changes.append(Change(before.arn, {"Tags": dict(before.tags)}, {"Tags": dict(tags)}, policy=False))

    def remove(self, collection: Any, resource: Resource) -> None:
        """Forget a resource."""
        collection.remove(resource.name)
        self.changes.append(Change(resource.arn, _told(resource), None))


def _told(resource: StoredGroup | StoredConfiguration | StoredProxy) -> dict[str, Any]:
    return {**resource.document(), "Tags": dict(resource.tags)}
