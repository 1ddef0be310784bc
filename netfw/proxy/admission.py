"""Who may come in, and how many: the client networks of a listener, and the caps on connections and tunnels.

A connection from outside `clients` is closed without a byte: netfw is never an open proxy by accident. One over a cap
gets 503 with Retry-After where its first bytes are HTTP; the reasons are a closed set of words, counted in the
metrics. How often somebody may come is counted in `rates`.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from zope.interface import classImplements

from netfw.config.model import LimitsSection, ListenerSection
from netfw.interfaces import IAdmission
from netfw.names.address import unwrap
from netfw.proxy.rates import Rates

NOT_A_CLIENT: Final = "not_a_client"
TOO_MANY: Final = "too_many_connections"
TOO_MANY_FROM_CLIENT: Final = "too_many_connections_from_client"
TOO_FAST: Final = "connection_rate"
TOO_MANY_TUNNELS: Final = "too_many_tunnels"
DRAINING: Final = "draining"
PROXY_HEADER: Final = "proxy_header"


class Admission:
    """Counts what is open. `draining` refuses everybody new; `rates` are those of new connections, None: no limit."""

    def __init__(self, limits: LimitsSection, rates: Rates | None = None) -> None:
        self.limits = limits
        self.rates = rates
        # Each look-up hashes an address, which is Python code: what is counted stands in an object.
        self._by_client: dict[IPv4Address | IPv6Address, _OfClient] = {}
        self._known: dict[tuple[str, IPv4Address | IPv6Address], bool] = {}
        self.open = 0
        self.tunnels = 0
        self.draining = False
        self.refused: Counter[str] = Counter()
        self.opened: Counter[str] = Counter()
        """Connections that were admitted, by listener; `closed`: those of them that have ended."""
        self.closed: Counter[str] = Counter()

    def admit_connection(self, listener: ListenerSection, peer: IPv4Address | IPv6Address) -> str | None:
        """Return None and count the connection, or the reason why it is refused."""
        of_client = self._by_client.get(peer)
        reason = self._reason(listener, peer, 0 if of_client is None else of_client.open)
        if reason is not None:
            self.refused[reason] += 1
            return reason
        self.open += 1
        self.opened[listener.name] += 1
        if of_client is None:
            self._by_client[peer] = of_client = _OfClient()
        of_client.open += 1
        return None

    def _reason(self, listener: ListenerSection, peer: IPv4Address | IPv6Address, of_client: int) -> str | None:
        if not self.is_client(listener, peer):
            return NOT_A_CLIENT
        reason = self._no_room()
        if reason is not None:
            return reason
        if of_client >= self.limits.connections_per_client:
            return TOO_MANY_FROM_CLIENT
        if self.rates is not None and self.rates.of(peer).take():
            return TOO_FAST
        return None

    def _no_room(self) -> str | None:
        if self.draining:
            return DRAINING
        if self.open >= self.limits.connections:
            return TOO_MANY
        return None

    def admit_sender(self) -> str | None:
        """Count a connection whose PROXY header is awaited, of nobody yet; or the reason why it is refused."""
        reason = self._no_room()
        if reason is not None:
            self.refused[reason] += 1
            return reason
        self.open += 1
        return None

    def sender_done(self, refused: str | None = None) -> None:
        """It is counted no more: `admit_connection` is asked for the client, or it ended, `refused` or by itself."""
        self.open -= 1
        if refused is not None:
            self.refused[refused] += 1

    def admit_tunnel(self) -> str | None:
        """Return None and count a CONNECT, until `tunnel_closed`; or the reason why it is refused."""
        if self.tunnels >= self.limits.tunnels:
            self.refused[TOO_MANY_TUNNELS] += 1
            return TOO_MANY_TUNNELS
        self.tunnels += 1
        return None

    def tunnel_closed(self) -> None:
        """An admitted one ended."""
        self.tunnels -= 1

    def is_client(self, listener: ListenerSection, peer: IPv4Address | IPv6Address) -> bool:
        """Whether this address is one of the listener's `clients`."""
        key = (listener.name, peer)
        known = self._known.get(key)
        if known is None:
            real = unwrap(peer) if peer.version == 6 and peer.ipv4_mapped else peer
            known = any(real.version == network.version and real in network for network in listener.clients)
            if len(self._known) > 4096:
                self._known.clear()
            self._known[key] = known
        return known

    def open_by_listener(self) -> dict[str, int]:
        """Admitted connections that are open, by listener."""
        return {name: count - self.closed[name] for name, count in self.opened.items()}

    def forget_clients(self) -> None:
        """The listeners' `clients` may be others now."""
        self._known.clear()

    def connection_closed(self, listener_name: str, peer: IPv4Address | IPv6Address) -> None:
        """An admitted connection ended."""
        self.open -= 1
        self.closed[listener_name] += 1
        of_client = self._by_client[peer]
        of_client.open -= 1
        if not of_client.open:
            del self._by_client[peer]


class _OfClient:
    """How many connections of one address are open."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open = 0


# Not by a decorator: compiled, a decorated class would be an ordinary one.
classImplements(Admission, IAdmission)
