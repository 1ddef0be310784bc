"""What an opened CONNECT gives to the requests inside it: its authority, its PreDNS decision, the addresses judged for
it.

Inner requests to that authority inherit all three, so nothing is looked up twice and no inner request reaches an
address that was not judged. A tunnel that exists only to show a failure (`failure`) answers every inner request with
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from netfw.errors import ClientTlsFailure, NetfwError
from netfw.names.authority import Authority
from netfw.policy.facts import Unknown
from netfw.proxy import phases
from netfw.proxy.exchange import Exchange
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.telemetry.pins import CLIENT_TLS_ALERT
from netfw.tls.failures import TlsAlertReceived

Address = IPv4Address | IPv6Address


def _host_field(exchange: Exchange) -> str | None:
    """What the request's Host field says, as it stands."""
    values = exchange.head.fields.get_all(b"host") if exchange.head is not None else []
    return values[0].decode("latin-1") if values else None


class Tunnel:
    """`scheme` is what is spoken inside: `https` (intercepted) or `http` (plain). `first` is the connection that was
    made for the CONNECT itself, waiting for the first inner request. `connect` is what the CONNECT named, and `judged`
    what rules are asked for, where these are not the exchange's authority: see `consistency`.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        scheme: str,
        addresses: Sequence[Address | Unknown],
        connect: Authority | None = None,
        judged: Authority | None = None,
        when_unused: Callable[[Exchange], None],
    ) -> None:
        assert exchange.authority is not None
        self.exchange = exchange
        self.authority: Authority = exchange.authority
        self.connect = connect or exchange.authority
        self.judged = judged or exchange.authority
        self.inherited = tuple(exchange.decisions)
        self.scheme = scheme
        self.addresses = tuple(addresses)
        self.sni = exchange.sni
        self.failure: NetfwError | None = None
        self.first: UpstreamConnection | None = None
        self.inner_requests = 0
        self.when_ended_unused: Callable[[str | None, Tunnel], object] | None = None
        """Called with the client's alert, or None, when the connection inside ends and nothing was asked in it."""
        self._when_unused = when_unused

    def describe(self, exchange: Exchange) -> None:
        """Tell an inner exchange where it is."""
        outer = self.exchange
        self.inner_requests += 1
        exchange.parent_id = outer.id
        exchange.scheme = self.scheme
        exchange.authority = self.authority
        if outer.names is not None:
            exchange.names = {**outer.names, "host": _host_field(exchange)}
        exchange.intercepted = self.scheme == "https"
        exchange.sni = outer.sni
        exchange.client_tls_version = outer.client_tls_version
        exchange.client_alpn = outer.client_alpn
        exchange.resolution = outer.resolution
        if self.failure is not None:
            exchange.decisions.extend(outer.decisions)
            exchange.origin_tls_version = outer.origin_tls_version
            exchange.origin_certificate = outer.origin_certificate
            exchange.dest_ip, exchange.dest_port, exchange.route = outer.dest_ip, outer.dest_port, outer.route

    def inherit_pre_dns(self, exchange: Exchange) -> None:
        """PreDNS of an inner request: the CONNECT's decisions, or under a newer policy new ones (without a lookup)."""
        if exchange.policy is self.exchange.policy:
            exchange.decisions.extend(self.inherited)
        else:
            phases.pre_dns(exchange)

    def take_first(self, addresses: Sequence[Address | Unknown], way: Any = None) -> UpstreamConnection | None:
        """The connection made for the CONNECT, once, if this exchange may use its address, and leaves by its way."""
        first = self.first
        if first is None or not first.is_open or first.address not in addresses or first.way is not way:
            return None
        self.first = None
        return first

    def inner_connection_lost(self, reason: Failure) -> None:
        """The client's connection inside the tunnel ended."""
        if self.first is not None:
            self.first.close()
            self.first = None
        if self.inner_requests:
            return
        exchange = self.exchange
        alert = reason.value.alert if reason.check(TlsAlertReceived) else None
        if self.when_ended_unused is not None:
            self.when_ended_unused(alert, self)
        if alert is not None:
            exchange.error = ClientTlsFailure(f"the client refused our certificate: {alert}", detail=alert)
            exchange.close_reason = CLIENT_TLS_ALERT
        elif self.failure is not None:
            exchange.error = self.failure
        elif exchange.close_reason is None:
            exchange.close_reason = "client_closed" if reason.check(ConnectionDone) else "client_aborted"
        self._when_unused(exchange)
