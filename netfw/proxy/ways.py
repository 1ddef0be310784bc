"""Which way an exchange leaves this machine: through which parent proxies, and from which source address.

In this room: `Way`, and choosing one by what is known before a name is resolved. Not here: going it (`way_opening`),
and how parents do (`parent_health`).

A way is compared by identity, and there is one object for each combination that connections must not be shared across:
the route, the pool, and with a stable choice the address. Together with the parent it is a part of the pool's key
(`upstream_pool`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from itertools import cycle
from typing import Any

from netfw.config.model import EgressSection, UpstreamSection
from netfw.config.way_model import AskedBy, Balance, Choice, EgressPool, RouteEntry
from netfw.names.authority import Authority
from netfw.names.host import Host
from netfw.proxy.exchange import Caller
from netfw.proxy.parents import Counts, Parent, ParentSecrets
from netfw.proxy.selection import Selection

Address = IPv4Address | IPv6Address
Sources = Mapping[int, str]
"""The address to leave from, by the version of IP."""


class SourcePool:
    """A pool of source addresses; `spread` gives the next ones, `stable` those of a client."""

    def __init__(self, entry: EgressPool, departures: Counts) -> None:
        self._departures = departures
        self.name = entry.name
        self.choice = entry.choice
        self._selection = Selection(entry.selector)
        self._own = {
            version: [str(address) for address in entry.addresses if address.version == version] for version in (4, 6)
        }
        self._turns = {version: cycle(own) for version, own in self._own.items() if own}

    @property
    def fits(self) -> Callable[..., bool]:
        """Whether an exchange leaves from here: see `Selection.fits`."""
        return self._selection.fits

    def count(self, address: str) -> None:
        """A connection left from this address."""
        key = (self.name, address)
        self._departures[key] = self._departures.get(key, 0) + 1

    def spread(self) -> Sources:
        """The next address of each family."""
        return {version: next(turns) for version, turns in self._turns.items()}

    def stable(self, client: Address) -> Sources:
        """The same for the same client, in every process and after every start, as long as the pool stays as it is."""
        place = zlib.crc32(client.packed)
        return {version: own[place % len(own)] for version, own in self._own.items() if own}


class ParentGroup:
    """The parents of one route, in their order."""

    def __init__(self, parents: Sequence[Parent], balance: Balance) -> None:
        self.parents = tuple(parents)
        self._rotates = balance is Balance.ROUND_ROBIN and len(self.parents) > 1
        self._first = 0

    def candidates(self) -> list[Parent]:
        """Those that may be tried now, in the order in which to try them."""
        parents = self.parents
        if self._rotates:
            first = self._first
            self._first = (first + 1) % len(parents)
            parents = (*parents[first:], *parents[:first])
        return [parent for parent in parents if parent.health.may_try()]


@dataclass(eq=False, slots=True)
class Way:
    """`group` None: straight to the origin. `by_name`: parents are told names. `pool` None: the default addresses.

    `in_force` ends with a reload that changes anything of it: connections of it then carry nothing more.
    """

    group: ParentGroup | None
    by_name: bool
    pool: SourcePool | None
    stable: Sources | None = None
    in_force: bool = field(default=True)

    def sources(self) -> Sources | None:
        """What a connection that is made now leaves from; None: the system's or `egress.source_addresses`' choice."""
        if self.pool is None or self.stable is not None:
            return self.stable
        return self.pool.spread()

    def candidates(self) -> list[Parent] | list[None]:
        """Who may be asked now, in the order in which to ask; one None where the way is straight.

        Once for an exchange: asking takes a turn.
        """
        return [None] if self.group is None else self.group.candidates()

    def hides_address_of(self, host: Host) -> bool:
        """Whether the parent looks this host up, so that its address is never known here."""
        return self.by_name and self.group is not None and not host.is_address


class Ways:
    """Every way there is, made of the configuration and its files."""

    def __init__(
        self,
        upstream: UpstreamSection,
        egress: EgressSection,
        secrets: Mapping[str, ParentSecrets],
        *,
        seconds: Callable[[], float],
        results: Counts,
        departures: Counts,
        former: Ways | None = None,
    ) -> None:
        self.upstream = upstream
        self.egress = egress
        self.secrets = secrets
        self._seconds = seconds
        self.parents = {
            entry.name: Parent(entry, secrets[entry.name], upstream.health, seconds=seconds, results=results)
            for entry in upstream.proxies
        }
        if former is not None:
            self._take_health_of(former)
        self._routes = [(Selection(route.selector), self._group(route), route.by) for route in upstream.routes]
        self._pools = [SourcePool(entry, departures) for entry in egress.pools]
        self._made: dict[tuple[int, int, tuple[tuple[int, str], ...]], Way] = {}

    def _group(self, route: RouteEntry) -> ParentGroup | None:
        if not route.proxies:
            return None
        return ParentGroup([self.parents[name] for name in route.proxies], route.balance)

    def _take_health_of(self, former: Ways) -> None:
        """A reload is no reason to believe in a parent that is down."""
        if former.upstream.health != self.upstream.health:
            return
        for name, parent in self.parents.items():
            known = former.parents.get(name)
            if known is not None and known.entry == parent.entry:
                parent.health = known.health

    def choose(self, authority: Authority, caller: Caller) -> Way | None:
        """The way of this client's exchange with this destination; None: straight, from the default addresses."""
        route = next((at for at, (fits, _, _) in enumerate(self._routes) if fits.fits(authority, caller)), -1)
        pool = next((at for at, pool in enumerate(self._pools) if pool.fits(authority, caller)), -1)
        group, by = (None, AskedBy.ADDRESS) if route < 0 else self._routes[route][1:]
        if group is None and pool < 0:
            return None
        return self._way(route, group, by, pool, caller)

    def _way(self, route: int, group: ParentGroup | None, by: AskedBy, pool_at: int, caller: Caller) -> Way:
        pool = self._pools[pool_at] if pool_at >= 0 else None
        stable = pool.stable(caller.address) if pool is not None and pool.choice is Choice.STABLE else None
        key = (route if group is not None else -1, pool_at, tuple(stable.items()) if stable is not None else ())
        way = self._made.get(key)
        if way is None:
            way = self._made[key] = Way(group, by is AskedBy.NAME, pool, stable)
        return way

    def retire(self) -> None:
        """Another set is in force from now on."""
        for way in self._made.values():
            way.in_force = False
        self._made.clear()

    def rows(self) -> list[dict[str, Any]]:
        """The parents as the status shows them."""
        now = self._seconds()
        return [parent.row(now) for parent in self.parents.values()]

    def up(self) -> dict[str, float]:
        """1 for each parent that is up, 0 for one that is not, by name."""
        return {name: float(parent.health.is_up) for name, parent in self.parents.items()}

    def __iter__(self) -> Iterator[Parent]:
        return iter(self.parents.values())
