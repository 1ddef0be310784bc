"""The proxy's own resolver: names to addresses without a thread, with one lookup for all who ask the same.

In this room: `DnsResolver`, which asks in this order: nobody (literals, localhost), the hosts file, the cache, the DNS.
Not here: a lookup (`dns_lookup`), a query (`dns_query`), whether an address may be dialled (the guard, after this).

Never `getaddrinfo`: its threads queue behind one another and cannot be cancelled, so that a few dead names stop all
others. No search domains either: a proxy is given whole names, and `intranet` must not become `intranet.example.com`
behind the policy's back.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw.errors import DnsFailure, NameNotFound, NetfwError
from netfw.interfaces import IResolver
from netfw.names.host import Host
from netfw.transport.deadlines import Deadlines
from netfw.transport.dns_cache import Absence, DnsCache
from netfw.transport.dns_heard import DnsHeard, Heard
from netfw.transport.dns_lookup import Found, lookup, settings_of
from netfw.transport.dns_servers import Server
from netfw.transport.hosts_file import CHECK_INTERVAL, HostsFile
from netfw.transport.resolution import (
    FAMILIES,
    Address,
    Resolution,
    interleave,
    is_localhost,
    literal_resolution,
    loopback_resolution,
)

_log = Logger()

MAX_LOOKUPS: Final = 1000
"""Lookups under way. Each holds up to two sockets, so the limit of open files has to be above twice this."""


class _Flight:
    """A lookup and those who wait for it."""

    __slots__ = ("lookup", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[Deferred[Resolution], None] = {}
        self.lookup: Deferred[Any] | None = None


class DnsResolver:
    """Resolve names.

    Args:
        reactor: the worker's; sockets and the clock come from it.
        deadlines: the worker's.
        servers: recursive resolvers, asked in this order; `Server` or (address, port).
        hosts: the hosts file, or None. What it says wins over the DNS.
        timeout: seconds for one message to one server.
        resolve_timeout: seconds for a lookup as a whole.
        cache: the answers kept.
        families: the families asked for; the first one comes first in the result.
        max_lookups: lookups under way; beyond it a new name fails at once, and is not queued.
        heard: told each answer of the DNS; of those that were kept, at most one a second for each name.
    """

    def __init__(
        self,
        reactor: Any,
        deadlines: Deadlines,
        *,
        servers: Sequence[Server | tuple[Address, int]],
        hosts: HostsFile | None,
        timeout: float,
        resolve_timeout: float,
        cache: DnsCache,
        families: Sequence[str] = FAMILIES,
        max_lookups: int = MAX_LOOKUPS,
        heard: Heard | None = None,
    ) -> None:
        self._reactor: Any = reactor
        self._deadlines = deadlines
        self._settings = settings_of(servers, timeout, resolve_timeout, families, heard)
        self._hosts = hosts
        self._cache = cache
        self._max_lookups = max_lookups
        self._flights: dict[str, _Flight] = {}
        # By name: what the hosts file said, and the resolution made of it. Made once, since a busy name is asked for
        # thousands of times a second.
        self._from_hosts: dict[str, tuple[tuple[Address, ...], Resolution]] = {}
        # By name: what was said, from when until when it is said again without looking.
        self._said: dict[str, tuple[Resolution, float, float]] = {}

    @property
    def lookups(self) -> int:
        """How many lookups are under way."""
        return len(self._flights)

    def resolve(self, host: Host) -> Deferred[Resolution]:
        """See `IResolver.resolve`. Has fired already unless the DNS must be asked."""
        try:
            known = self.known(host)
        except NetfwError as error:
            return fail(error)
        if known is not None:
            return succeed(known)
        flight = self._flights.get(host.text)
        if flight is not None:
            return self._join(host, flight)
        if len(self._flights) >= self._max_lookups:
            limit = f"{self._max_lookups} lookups are under way already"
            return fail(DnsFailure(f"{host} cannot be resolved now: {limit}"))
        self._flights[host.text] = flight = _Flight()
        waiting = self._join(host, flight)
        started = lookup(self._reactor, self._deadlines, self._settings, host)
        flight.lookup = started
        started.addCallbacks(self._found, self._failed, callbackArgs=(host, flight), errbackArgs=(host, flight))
        return waiting

    def known(self, host: Host) -> Resolution | None:
        """What can be said without asking the DNS; raises NameNotFound for a name that is known to be missing."""
        now = self._reactor.seconds()
        said = self._said.get(host.text)
        if said is not None and said[1] <= now < said[2]:
            return said[0]
        found = self._find(host, now)
        if found is not None:
            if len(self._said) >= MAX_LOOKUPS:
                self._said.clear()
            # For a second at most, as often as the hosts file is looked at, and never while a shown TTL is not true.
            self._said[host.text] = (found, now, self._cache.true_until(host.text, now, now + CHECK_INTERVAL))
        return found

    def _find(self, host: Host, now: float) -> Resolution | None:
        if host.is_address:
            return literal_resolution(host)
        families = self._settings.families
        if is_localhost(host):
            return loopback_resolution(host, families)
        if self._hosts is not None:
            listed = self._hosts.addresses(host, now)
            if listed:
                resolution = self._of_hosts(host, listed)
                if resolution.addresses:
                    return resolution
        cached = self._cache.get(host.text, now)
        if cached is not None and self._settings.heard is not None:
            self._settings.heard(_kept(host, cached))
        if isinstance(cached, Absence):
            raise _not_found(host, cached)
        return cached

    def _of_hosts(self, host: Host, listed: tuple[Address, ...]) -> Resolution:
        made = self._from_hosts.get(host.text)
        if made is not None and made[0] is listed:
            return made[1]
        assert self._hosts is not None
        addresses = interleave(listed, self._settings.families)
        resolution = Resolution(host, addresses, (), 0, str(self._hosts.path), "hosts")
        if len(self._from_hosts) >= MAX_LOOKUPS:
            self._from_hosts.clear()
        self._from_hosts[host.text] = (listed, resolution)
        return resolution

    def _join(self, host: Host, flight: _Flight) -> Deferred[Resolution]:
        def withdraw(waiting: Deferred[Resolution]) -> None:
            flight.waiting.pop(waiting, None)
            if not flight.waiting and self._flights.get(host.text) is flight:
                del self._flights[host.text]
                if flight.lookup is not None:
                    flight.lookup.cancel()

        waiting: Deferred[Resolution] = Deferred(withdraw)
        flight.waiting[waiting] = None
        return waiting

    def _found(self, found: Found, host: Host, flight: _Flight) -> None:
        self._cache.put(host.text, found.value, found.keep, self._reactor.seconds())
        if isinstance(found.value, Absence):
            self._land(host, flight, _not_found(host, found.value))
        else:
            self._land(host, flight, found.value)

    def _failed(self, failure: Failure, host: Host, flight: _Flight) -> None:
        # Cancelled by the last who waited: there is nobody left to tell.
        error = failure.value
        if isinstance(error, NetfwError):
            self._land(host, flight, error)
        elif not isinstance(error, CancelledError):
            _log.failure("A lookup of {host} failed in itself", failure, host=host.text)
            self._land(host, flight, DnsFailure(f"{host} cannot be resolved: the resolver failed"))

    def _land(self, host: Host, flight: _Flight, outcome: Resolution | NetfwError) -> None:
        # Out of the table first: whoever is called back may ask for the same name again.
        del self._flights[host.text]
        while flight.waiting:
            waiting = next(iter(flight.waiting))
            del flight.waiting[waiting]
            if isinstance(outcome, Resolution):
                waiting.callback(outcome)
            else:
                # A copy each: raising it in one caller writes a traceback into it that is not the others' business.
                waiting.errback(copy(outcome))


# Not by a decorator: compiled, a decorated class would be an ordinary one.
classImplements(DnsResolver, IResolver)


def _kept(host: Host, cached: Resolution | Absence) -> DnsHeard:
    if isinstance(cached, Absence):
        code = "NOERROR" if cached.exists else "NXDOMAIN"
        return DnsHeard(host.text, "A AAAA", cached.resolver, 0.0, code, cached=True)
    kinds = {4: "A", 6: "AAAA"}
    found = " ".join(sorted({kinds[address.version] for address in cached.addresses}))
    return DnsHeard(
        host.text, found, cached.resolver, 0.0, "NOERROR", cached.addresses, cached.chain, cached.ttl, cached=True
    )


def _not_found(host: Host, absence: Absence) -> NameNotFound:
    what = "has no address" if absence.exists else "does not exist"
    return NameNotFound(f"{host} {what} ({absence.resolver})")
