"""How exchanges leave this machine, as data: parent proxies, the routes to them, pools of source addresses.

PURE: no files, no Twisted. A part of `config.model`, which holds the sections that these belong to. Times are seconds,
paths absolute.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Union

Network = Union[IPv4Network, IPv6Network]
Address = Union[IPv4Address, IPv6Address]


class Balance(Enum):
    """Which of several parents is asked first: always the first that is up, or each in turn."""

    IN_ORDER = "in_order"
    ROUND_ROBIN = "round_robin"


class AskedBy(Enum):
    """What a parent is told of a destination: an address that was resolved and judged here, or its name alone."""

    ADDRESS = "address"
    NAME = "name"


class Choice(Enum):
    """Which address of a pool: the next one each time, or the same one for the same client."""

    SPREAD = "spread"
    STABLE = "stable"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which exchanges are meant. Each that is not empty must fit, by any of its members; all empty: every exchange.

    `domains` are domain forms (`x`, `.x`, `*.x`), `sources` networks of clients, the rest what is known of them.
    """

    domains: tuple[str, ...] = ()
    sources: tuple[Network, ...] = ()
    listeners: tuple[str, ...] = ()
    vpces: tuple[str, ...] = ()
    vpcs: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether every exchange is meant."""
        return self == Selector()


@dataclass(frozen=True, slots=True)
class ParentEntry:
    """A proxy above this one, at `host` (canonical) and `port`, spoken to over TLS where `tls` says so.

    `credentials`: a file with `name:password` in its first line. `trust`: PEM files of roots, None for the system's;
    `certificate` and `private_key` are shown to it, both or neither.
    """

    name: str
    host: str
    port: int
    tls: bool = False
    credentials: Path | None = None
    trust: tuple[Path, ...] | None = None
    certificate: Path | None = None
    private_key: Path | None = None


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """The way of the exchanges that `selector` fits: through one of these parents; none: straight to the origin."""

    selector: Selector
    proxies: tuple[str, ...]
    balance: Balance = Balance.IN_ORDER
    by: AskedBy = AskedBy.ADDRESS


@dataclass(frozen=True, slots=True)
class HealthSection:
    """When a parent counts as down, and when as up again.

    `interval`: between two checks of each parent, 0: it is not checked, and tried again `retry` after it failed last.
    `fall` failures in a row take it down, `rise` checks in a row bring it back. `probe`: a host and port that checks
    ask it for; None: the connection is enough.
    """

    interval: float = 10.0
    timeout: float = 5.0
    fall: int = 3
    rise: int = 2
    retry: float = 30.0
    probe: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class EgressPool:
    """Source addresses for the exchanges that `selector` fits."""

    name: str
    addresses: tuple[Address, ...]
    selector: Selector
    choice: Choice = Choice.SPREAD
