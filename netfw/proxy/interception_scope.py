"""Whose TLS is intercepted: the mode, and the destinations that are passed through although it is on."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from netfw.config.model import Network, TlsInterceptSection
from netfw.names.domain_form import DomainForm, parse_domain_form
from netfw.names.host import Host


class InterceptionScope:
    """Built once from `tls_intercept`."""

    def __init__(self, section: TlsInterceptSection) -> None:
        self._enabled = section.enabled
        self._bypass: list[tuple[DomainForm, Network | None]] = [
            (parse_domain_form(entry.domain), entry.source) for entry in section.bypass
        ]

    @property
    def enabled(self) -> bool:
        """Whether anything is intercepted."""
        return self._enabled

    def intercepts(self, host: Host, source: IPv4Address | IPv6Address) -> bool:
        """Whether a TLS tunnel of this client to this host is opened and read."""
        if not self._enabled:
            return False
        for form, network in self._bypass:
            if network is not None and (source.version != network.version or source not in network):
                continue
            if form.matches(host.text):
                return False
        return True
