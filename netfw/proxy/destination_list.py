"""Destinations as configuration lists them: domain forms, ports, and the clients that an entry is for."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from netfw.config.model import DestinationEntry, Network
from netfw.names.authority import Authority
from netfw.names.domain_form import DomainForm, parse_domain_form


class DestinationList:
    """Built once from a list of the configuration. `everything`: it has every destination for every client."""

    def __init__(self, entries: Iterable[DestinationEntry], *, everything: bool = False) -> None:
        self._everything = everything
        self._entries: list[tuple[DomainForm, int | None, Network | None]] = [
            (parse_domain_form(entry.domain), entry.port, entry.source) for entry in entries
        ]

    def has(self, destination: Authority, source: IPv4Address | IPv6Address) -> bool:
        """Whether an entry is for this destination and this client."""
        if self._everything:
            return True
        for form, port, network in self._entries:
            if port is not None and port != destination.port:
                continue
            if network is not None and (source.version != network.version or source not in network):
                continue
            if form.matches(destination.host.text):
                return True
        return False
