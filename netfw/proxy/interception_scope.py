"""Whose TLS is intercepted: the mode, and the destinations that are passed through although it is on."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from netfw.config.model import TlsInterceptSection
from netfw.names.authority import Authority
from netfw.proxy.destination_list import DestinationList


class InterceptionScope:
    """Built once from `tls_intercept`."""

    def __init__(self, section: TlsInterceptSection) -> None:
        self._enabled = section.enabled
        self._bypass = DestinationList(section.bypass)
        self._only = DestinationList(section.only or (), everything=section.only is None)

    @property
    def enabled(self) -> bool:
        """Whether anything is intercepted."""
        return self._enabled

    def intercepts(self, destination: Authority, source: IPv4Address | IPv6Address) -> bool:
        """Whether a TLS tunnel of this client to this destination is opened and read."""
        return self._enabled and self._only.has(destination, source) and not self._bypass.has(destination, source)
