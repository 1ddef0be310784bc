"""Answers of the DNS kept for as long as they allow. PURE: the clock is an argument.

In this room: `DnsCache`, `Absence`. Not here: what is asked and when (`resolver`), the hosts file.

RFC 2181, section 8 (TTL), RFC 2308, sections 5 and 7 (negative answers; server failures are not kept).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from netfw.transport.resolution import Resolution

MAX_TTL = 86_400
"""No answer is kept for longer than a day; Unbound's cache-max-ttl is the same."""

MAX_NEGATIVE_TTL = 300
"""A name that was missing is asked for again after five minutes at most (RFC 2308, section 5 allows three hours)."""

DEFAULT_NEGATIVE_TTL = 5
"""For a negative answer without SOA. RFC 2308 says not to keep it; that would pass every retry of a client on."""


@dataclass(frozen=True, slots=True)
class Absence:
    """A negative answer: `exists` False for NXDOMAIN, True for a name without an address. Who said so."""

    exists: bool
    resolver: str


@dataclass(slots=True)
class _Kept:
    value: Resolution | Absence
    since: float
    until: float
    shown: Resolution | None = None


class DnsCache:
    """At most `capacity` names; the one that was not used for longest goes first, in constant time."""

    def __init__(self, capacity: int) -> None:
        if capacity < 0:
            raise ValueError(f"the capacity of a cache cannot be {capacity}")
        self._capacity = capacity
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: str, now: float) -> Resolution | Absence | None:
        """What is known of a canonical name, with the seconds that are left as its `ttl` and "cache" as its source."""
        kept = self._kept.get(name)
        if kept is None:
            return None
        # A clock that went back makes an entry's age unknown: asked again rather than kept for ever.
        if not kept.since <= now < kept.until:
            del self._kept[name]
            return None
        self._kept.move_to_end(name)
        if isinstance(kept.value, Absence):
            return kept.value
        ttl = int(kept.until - now)
        shown = kept.shown
        if shown is None or shown.ttl != ttl:
            # The same object for a second: what others derive from it they find by its identity.
            shown = kept.shown = replace(kept.value, ttl=ttl, source="cache")
        return shown

    def true_until(self, name: str, now: float, latest: float) -> float:
        """Until when `get` gives the same object as it does now, `latest` at most."""
        kept = self._kept.get(name)
        if kept is None or kept.shown is None:
            return latest
        return min(latest, kept.until - kept.shown.ttl)

    def put(self, name: str, value: Resolution | Absence, ttl: float | None, now: float) -> None:
        """Keep an answer for `ttl` seconds within the limits above; None: a negative answer that did not say.

        With a TTL of 0 it is used once, by whoever asked, and not kept.
        """
        if isinstance(value, Absence):
            limit, wanted = MAX_NEGATIVE_TTL, DEFAULT_NEGATIVE_TTL if ttl is None else ttl
        else:
            limit, wanted = MAX_TTL, ttl or 0
        seconds = min(max(wanted, 0), limit)
        self._kept.pop(name, None)
        if seconds == 0 or self._capacity == 0:
            return
        self._kept[name] = _Kept(value, now, now + seconds)
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
