"""What the store keeps, as plain values: rule groups, configurations, proxies.

Rules, default actions and names have the policy document's own form, the one that `policy.load` reads, so that a policy
from a file and one from the store go through one loader. Times are seconds since the epoch. PURE.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

PHASES = ("PreDNS", "PreREQUEST", "PostRESPONSE")

RuleDocument = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceName:
    """What a list shows."""

    name: str
    arn: str


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """A rule group. `rules` has every phase, each in order of position; no rule has an InsertPosition."""

    name: str
    arn: str
    rules: Mapping[str, tuple[RuleDocument, ...]]
    description: str | None = None
    update_token: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    state: str = "ACTIVE"
    created: float = 0.0
    modified: float = 0.0

    def document(self) -> dict[str, Any]:
        """The group as it stands in a policy document, members without a value left out."""
        rules = {phase: list(self.rules[phase]) for phase in PHASES if self.rules[phase]}
        return _without_nothing(
            {"ProxyRuleGroupName": self.name, "Description": self.description, "Rules": rules or None}
        )


@dataclass(frozen=True, slots=True)
class StoredConfiguration:
    """A proxy configuration. `defaults` has every phase; `groups` are names in order of priority."""

    name: str
    arn: str
    defaults: Mapping[str, str]
    groups: tuple[str, ...] = ()
    description: str | None = None
    update_token: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    state: str = "ACTIVE"
    created: float = 0.0
    modified: float = 0.0

    def document(self) -> dict[str, Any]:
        """The configuration as it stands in a policy document."""
        return _without_nothing(
            {
                "ProxyConfigurationName": self.name,
                "Description": self.description,
                "DefaultRulePhaseActions": {phase: self.defaults[phase] for phase in PHASES},
                "RuleGroups": list(self.groups),
            }
        )


@dataclass(frozen=True, slots=True)
class StoredListener:
    """`type` is HTTP or HTTPS."""

    port: int
    type: str


@dataclass(frozen=True, slots=True)
class AskedOfProxy:
    """What somebody asked of a proxy besides its policy; None: it is as its nodes' proxy.yaml says. `listeners` are
    those besides the fixed ones of that file.
    """

    listeners: tuple[StoredListener, ...] | None = None
    intercepts: bool | None = None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        listeners = None if self.listeners is None else [[one.port, one.type] for one in self.listeners]
        return {"listeners": listeners, "intercepts": self.intercepts}

    @property
    def ports(self) -> list[tuple[int, str]] | None:
        """As `config.listener_ports` speaks of listeners."""
        return None if self.listeners is None else [(one.port, one.type) for one in self.listeners]


def asked_from_plain(plain: Mapping[str, Any]) -> AskedOfProxy:
    """What `AskedOfProxy.plain` printed."""
    listeners = plain["listeners"]
    asked = None if listeners is None else tuple(StoredListener(*one) for one in listeners)
    return AskedOfProxy(asked, plain["intercepts"])


@dataclass(frozen=True, slots=True)
class StoredProxy:
    """A proxy: who of the fleet has its `name` follows its `configuration`.

    `tls_mode` is ENABLED or DISABLED; it and `listeners` are None where proxy.yaml says. `deleted` is when it was asked
    to go, None while it is to stay.
    """

    name: str
    arn: str
    configuration: str
    nat_gateway: str = ""
    listeners: tuple[StoredListener, ...] | None = None
    tls_mode: str | None = None
    ca_arn: str | None = None
    state: str = "ATTACHING"
    modify_state: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    update_token: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    modified: float = 0.0
    deleted: float | None = None

    def document(self) -> dict[str, Any]:
        """What of it is a decision of somebody, not a state that it is in: what history keeps."""
        return _without_nothing(
            {
                "ProxyName": self.name,
                "ProxyConfigurationName": self.configuration,
                "NatGatewayId": self.nat_gateway,
                "ListenerProperties": None
                if self.listeners is None
                else [{"Port": one.port, "Type": one.type} for one in self.listeners],
                "TlsInterceptMode": self.tls_mode,
                "PcaArn": self.ca_arn,
            }
        )


def asked_from_document(document: Mapping[str, Any]) -> AskedOfProxy:
    """What the document that `StoredProxy.document` printed asks for."""
    mode = document.get("TlsInterceptMode")
    return AskedOfProxy(listeners_of(document), None if mode is None else mode == "ENABLED")


def listeners_of(document: Mapping[str, Any]) -> tuple[StoredListener, ...] | None:
    """The listeners that a proxy's document asks for."""
    listed = document.get("ListenerProperties")
    return None if listed is None else tuple(StoredListener(one["Port"], one["Type"]) for one in listed)


def group_from_document(document: Mapping[str, Any], arn: str) -> StoredGroup:
    """The group of a document that `StoredGroup.document` printed."""
    rules = document.get("Rules", {})
    return StoredGroup(
        name=document["ProxyRuleGroupName"],
        arn=arn,
        rules={phase: tuple(rules.get(phase, ())) for phase in PHASES},
        description=document.get("Description"),
    )


def configuration_from_document(document: Mapping[str, Any], arn: str) -> StoredConfiguration:
    """The configuration of a document that `StoredConfiguration.document` printed."""
    return StoredConfiguration(
        name=document["ProxyConfigurationName"],
        arn=arn,
        defaults=dict(document["DefaultRulePhaseActions"]),
        groups=tuple(document["RuleGroups"]),
        description=document.get("Description"),
    )


def rules_by_phase(rules: Mapping[str, Iterable[RuleDocument]]) -> dict[str, tuple[RuleDocument, ...]]:
    """The rules with every phase there."""
    return {phase: tuple(rules.get(phase, ())) for phase in PHASES}


def canonical(document: Mapping[str, Any]) -> bytes:
    """The one spelling of a document, by which two are the same: ASCII JSON with sorted members."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _without_nothing(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
