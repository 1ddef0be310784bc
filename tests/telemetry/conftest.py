"""An exchange as records and metrics see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_address
from types import SimpleNamespace
from typing import Any

import pytest

from netfw.names.authority import Authority
from netfw.names.host import Host
from netfw.policy.decision import Decision, Match, RuleRef
from netfw.policy.model import Action, Phase
from netfw.transport.resolution import Resolution


def named_host(text: str, is_address: bool = False) -> Host:
    """A host of any text, also of such as no parser lets through."""
    return Host(text, IPv4Address("192.0.2.1") if is_address else None)


def resolved(
    addresses: tuple[Any, ...],
    chain: tuple[str, ...] = (),
    ttl: int = 60,
    resolver: str = "192.0.2.53",
    source: str = "dns",
) -> Resolution:
    """A resolution."""
    return Resolution(Host("httpbin.org"), addresses, chain, ttl, resolver, source)


@dataclass(slots=True)
class Recorded:
    """A finished GET, allowed in all three phases, unless the test says otherwise."""

    id: str = "7F3KQ-92XAB"
    kind: str = "exchange"
    started: float = 1768021005.25
    finished: float = 1768021005.375
    proxy_name: str = "test-proxy"
    listener_name: str = "main"
    client_ip: str = "10.0.142.68"
    client_port: int = 40123
    source_vpc: str | None = None
    source_vpce: str | None = None
    source_account: str | None = None
    client_identity: str | None = None
    parent_id: str | None = None
    generation: int | None = 3
    scheme: str | None = "http"
    authority: Any = Authority(Host("httpbin.org"), 80)
    method: bytes | None = b"GET"
    path: bytes | None = b"/status/200"
    query: bytes | None = None
    http_version: str | None = "1.1"
    user_agent: bytes | None = b"curl/7.88.1"
    traceparent: bytes | None = None
    decisions: list[Decision] = field(default_factory=list)
    resolution: Any = resolved((ip_address("192.0.2.7"),))
    dest_ip: str | None = "192.0.2.7"
    dest_port: int | None = 80
    status: int | None = 200
    origin_status: int | None = 200
    request_size: int = 0
    response_size: int = 1024
    bytes_in: int = 120
    bytes_out: int = 1300
    durations: dict[str, float] = field(
        default_factory=lambda: {"dns": 0.001, "connect": 0.002, "first_byte": 0.05, "total": 0.125}
    )
    sni: str | None = None
    client_tls_version: str | None = None
    client_alpn: str | None = None
    origin_tls_version: str | None = None
    origin_certificate: dict[str, str] | None = None
    intercepted: bool = False
    names: dict[str, str | None] | None = None
    route: dict[str, Any] | None = None
    error: Any = None
    close_reason: str | None = None

    @property
    def caller(self) -> SimpleNamespace:
        """Who is at the other end."""
        return SimpleNamespace(
            address_text=self.client_ip,
            port=self.client_port,
            listener_name=self.listener_name,
            source_vpc=self.source_vpc,
            source_vpce=self.source_vpce,
            source_account=self.source_account,
            identity=self.client_identity,
            printed=None,
        )


DEFAULTS = {phase: RuleRef("", "default", phase) for phase in Phase}


def decide(phase: Phase, action: Action, *, rule: RuleRef | None = None, alerts: tuple[RuleRef, ...] = ()) -> Decision:
    """A decision by the phase's default, or by `rule`."""
    by = rule or DEFAULTS[phase]
    matches = (*(Match(alert, Action.ALERT) for alert in alerts), Match(by, action))
    return Decision(phase=phase, action=action, rule=by, matches=matches, reason=None)


class Make:
    """Builds exchanges, decisions and what they are made of."""

    exchange = Recorded
    host = staticmethod(named_host)
    authority = Authority
    resolution = staticmethod(resolved)
    decide = staticmethod(decide)

    @staticmethod
    def allowed(**members: Any) -> Recorded:
        return Recorded(decisions=[decide(phase, Action.ALLOW) for phase in Phase], **members)


@pytest.fixture(scope="session")
def make() -> type[Make]:
    return Make
