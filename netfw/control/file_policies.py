"""The policy files, shown as if they were a store: reads are answered, changes are refused.

The one configuration, its groups and one proxy: the process itself. Tokens are made of the generation and the name, so
that they change when a reload has changed something.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred
from zope.interface import implementer

from netfw.control.operations.call import Site
from netfw.control.refusals import UnsupportedOperation
from netfw.control.service_model import Resource
from netfw.control.translation import stored_rule
from netfw.interfaces import IStore
from netfw.policy.model import Phase, PolicyConfiguration, RuleGroup
from netfw.store.errors import NoSuchResource
from netfw.store.resources import ResourceName, StoredConfiguration, StoredGroup, StoredProxy

_TOKENS = uuid.UUID("5bd14d2c-5a5e-4c0e-9a68-0f1b8f3d2a10")
Shown = TypeVar("Shown")


class _Collection(Generic[Shown]):
    """Resources of one kind, made when somebody looks."""

    def __init__(self, kind: str, arns: Mapping[str, str], make: Callable[[str], Shown]) -> None:
        self._kind = kind
        self._arns = arns
        self._make = make

    def find(self, name: str) -> Shown | None:
        """The resource, or None."""
        return self._make(name) if name in self._arns else None

    def get(self, name: str) -> Shown:
        """The resource. Raises NoSuchResource."""
        if name not in self._arns:
            raise NoSuchResource(self._kind, name)
        return self._make(name)

    def arns(self, names: Sequence[str]) -> dict[str, str]:
        """The ARNs of these, by name."""
        return {name: self._arns[name] for name in names}

    def list(self, after: str | None = None, limit: int = 1_000_000) -> Sequence[ResourceName]:
        """At most `limit` names behind `after`, sorted."""
        names = sorted(name for name in self._arns if after is None or name > after)
        return tuple(ResourceName(name, self._arns[name]) for name in names[:limit])


class FileTransaction:
    """What a reading function sees of the policy in force."""

    has_history = False

    def __init__(self, policy: PolicyConfiguration, generation: int, loaded_at: float, proxy: str, site: Site) -> None:
        self.generation = generation
        self.now = loaded_at
        self._policy = policy
        self._site = site
        self._groups = {group.name: group for group in (*policy.groups, *policy.unattached)}
        self.groups = _Collection("rule group", self._arns(Resource.RULE_GROUP, self._groups), self._group)
        self.configurations = _Collection(
            "configuration", self._arns(Resource.CONFIGURATION, [policy.name]), self._configuration
        )
        self.proxies = _Collection("proxy", self._arns(Resource.PROXY, [proxy]), self._proxy)

    def _arns(self, resource: Resource, names: Any) -> dict[str, str]:
        return {name: self._site.arns.of(resource, name) for name in names}

    def _known(self, resource: Resource, name: str) -> dict[str, Any]:
        arn = self._site.arns.of(resource, name)
        token = str(uuid.uuid5(_TOKENS, f"{self.generation} {arn}"))
        return {"name": name, "arn": arn, "update_token": token, "created": self.now, "modified": self.now}

    def _group(self, name: str) -> StoredGroup:
        group: RuleGroup = self._groups[name]
        rules = {phase.value: tuple(stored_rule(rule) for rule in group.rules[phase]) for phase in Phase}
        return StoredGroup(rules=rules, description=group.description, **self._known(Resource.RULE_GROUP, name))

    def _configuration(self, name: str) -> StoredConfiguration:
        return StoredConfiguration(
            defaults={phase.value: action.value for phase, action in self._policy.defaults.items()},
            groups=tuple(group.name for group in self._policy.groups),
            description=self._policy.description,
            **self._known(Resource.CONFIGURATION, name),
        )

    def _proxy(self, name: str) -> StoredProxy:
        return StoredProxy(
            configuration=self._policy.name,
            state="ATTACHED",
            **self._known(Resource.PROXY, name),
        )


@implementer(IStore)
class FilePolicies:
    """The policy in force as a store that only reads.

    `policies` is an `IPolicySource` that also knows when it loaded (`loaded_at`); `place` names its files.
    """

    def __init__(self, policies: Any, proxy: str, place: str, site: Callable[[], Site]) -> None:
        self._policies = policies
        self._proxy = proxy
        self._place = place
        self._site = site

    def transact(self, _function: Callable[..., Any], *_arguments: Any) -> Deferred[Any]:
        """See `IStore`. Always refused."""
        return fail(
            UnsupportedOperation(
                f"the policy here is files: change {self._place} and run `netfw reload`, or keep the policy in a store "
                f"(policy.store)"
            )
        )

    def read(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """See `IStore`."""
        return maybeDeferred(self._read, function, arguments)

    def _read(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        current = self._policies.current
        transaction = FileTransaction(
            current.configuration, current.generation, self._policies.loaded_at, self._proxy, self._site()
        )
        return function(transaction, *arguments)
