"""Which ports and resolved addresses may be dialled at all, before any rule is asked (security rules 6 and 8).

The proxy stands inside the network that it guards: without this, anybody who may use it reaches its loopback, the
cloud's metadata service and every internal address. `guard.allow` opens single networks; `guard.private: allow` opens
private and shared address space, and never the rest; `guard.allow_ports` opens single ports of `guarded_ports`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from netfw.config.model import GuardSection
from netfw.names.address import AddressKind, classify, unwrap
from netfw.proxy.guarded_ports import CLOSED_PORTS

Address = IPv4Address | IPv6Address

_PRIVATE = frozenset({AddressKind.PRIVATE, AddressKind.SHARED})


class DestinationGuard:
    """Judges one address at a time; answers are remembered for a bounded number of addresses."""

    _REMEMBERED = 4096

    def __init__(self, section: GuardSection, own_addresses: Iterable[tuple[Address, int]] = ()) -> None:
        self._allowed = section.allow
        self._allow_private = section.allow_private
        self._closed_ports = {port: name for port, name in CLOSED_PORTS.items() if port not in section.allow_ports}
        self._own: set[tuple[Address, int]] = set()
        self._own_ports: set[int] = set()
        # By identity: a name that is asked for again and again has the same tuple of addresses each time, and hashing
        # addresses costs more than the look-up. The entry holds its tuple, so that no other can take its identity.
        self._all_open: dict[tuple[int, int], tuple[Address, ...]] = {}
        for own, port in own_addresses:
            self.add_own(own, port)
        self._verdicts: dict[Address, str | None] = {}

    @property
    def own(self) -> frozenset[tuple[Address, int]]:
        """The proxy's own addresses and ports."""
        return frozenset(self._own)

    def add_own(self, address: Address, port: int) -> None:
        """Keep this listening address of the proxy itself closed; nothing opens it."""
        self._own.add((address, port))
        self._own_ports.add(port)
        self._all_open.clear()

    def remove_own(self, address: Address, port: int) -> None:
        """The proxy listens there no more: what this address is says whether it may be dialled."""
        self._own.discard((address, port))
        self._own_ports = {own_port for _, own_port in self._own}
        self._all_open.clear()

    def prohibits_port(self, port: int) -> str | None:
        """Why this port must not be dialled on any address, with the setting that would open it; None when it may be.

        Nothing need be resolved for it.
        """
        name = self._closed_ports.get(port)
        return None if name is None else f"port {port} ({name}) is kept closed; `guard.allow_ports` would open it"

    def open_ones(self, addresses: tuple[Address, ...], port: int) -> tuple[tuple[Address, ...], str | None]:
        """The addresses that may be dialled on this port; the second is why one may not, None where all may."""
        key = (id(addresses), port)
        if key in self._all_open:
            return addresses, None
        open_ones = []
        why = None if addresses else "the name has no address"
        for address in addresses:
            prohibited = self.prohibits(address, port)
            if prohibited is None:
                open_ones.append(address)
            else:
                why = prohibited
        if why is not None:
            return tuple(open_ones), why
        if port not in self._own_ports:  # otherwise it depends on the addresses that this machine has just now
            if len(self._all_open) >= self._REMEMBERED:
                self._all_open.clear()
            self._all_open[key] = addresses
        return addresses, None

    def prohibits(self, address: Address, port: int) -> str | None:
        """Why this address must not be dialled, with the setting that would open it; None when it may be."""
        if port in self._closed_ports:
            return self.prohibits_port(port)
        if self.is_own(address, port):
            return f"{address} port {port} is this proxy itself"
        try:
            return self._verdicts[address]
        except KeyError:
            verdict = self._judge(address)
        if len(self._verdicts) >= self._REMEMBERED:
            self._verdicts.clear()
        self._verdicts[address] = verdict
        return verdict

    def is_own(self, address: Address, port: int) -> bool:
        """Whether this proxy itself listens there."""
        return port in self._own_ports and self._reaches_own(address, port)

    def _reaches_own(self, address: Address, port: int) -> bool:
        real = unwrap(address)
        if real.is_unspecified:
            return True  # the kernel takes it for this machine itself
        for own, own_port in self._own:
            # A listener on 127.0.0.1 is not reached by 127.0.0.2, but one on 0.0.0.0 or :: is by every local address.
            if own_port == port and (own == real or (own.is_unspecified and _is_local(real))):
                return True
        return False

    def _judge(self, address: Address) -> str | None:
        kind = classify(address)
        if kind is AddressKind.GLOBAL:
            return None
        if any(address.version == network.version and address in network for network in self._allowed):
            return None
        real = unwrap(address)
        if real != address and any(real.version == network.version and real in network for network in self._allowed):
            return None
        name = kind.name.lower().replace("_", "-")
        if kind in _PRIVATE:
            if self._allow_private:
                return None
            return f"{address} is a {name} address; `guard.private` or `guard.allow` would open it"
        return f"{address} is a {name} address; `guard.allow` would open it"


def _is_local(address: Address) -> bool:
    """Whether this machine has the address, as of now: only then can a socket be bound to it. Nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
