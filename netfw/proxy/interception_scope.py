"""Whose TLS is intercepted: the mode, and the destinations that are passed through although it is on."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from netfw.config.model import TlsInterceptSection
from netfw.names.authority import Authority
from netfw.proxy.destination_list import DestinationList


class InForce:
    """Whether interception is on: false while somebody has turned it off in the running proxy."""

    def __init__(self, on: bool = True) -> None:
        self.on = on


class InterceptionScope:
    """Built from `tls_intercept`, once for each time that it is read; `in_force` outlives that."""

    def __init__(self, section: TlsInterceptSection, in_force: InForce | None = None) -> None:
        self._enabled = section.enabled
        self.in_force = in_force or InForce()
        self._bypass = DestinationList(section.bypass)
        self._only = DestinationList(section.only or (), everything=section.only is None)

    def under(self, section: TlsInterceptSection) -> InterceptionScope:
        """Other settings, the same switch."""
        return InterceptionScope(section, self.in_force)

    @property
    def enabled(self) -> bool:
        """Whether anything is intercepted."""
        return self._enabled

    def intercepts(self, destination: Authority, source: IPv4Address | IPv6Address) -> bool:
        """Whether a TLS tunnel of this client to this destination is opened and read."""
        return (
            self._enabled
            and self.in_force.on
            and self._only.has(destination, source)
            and not self._bypass.has(destination, source)
        )
