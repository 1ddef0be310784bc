"""A tunnel whose ClientHello names another host than its CONNECT, where configuration has that name judged by itself.

In this room: PreDNS, resolving, the guard and what of PreREQUEST is certain, for the other name; the exchange is about
that name from then on. Nothing that was decided, resolved or dialled for the CONNECT counts for it. Not here: whether
it comes to that (`consistency`), and what the tunnel carries then (`tunnel_inside`).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from twisted.internet.defer import Deferred, maybeDeferred

from netfw.names.authority import Authority
from netfw.policy.facts import ABSENT, Unknown
from netfw.proxy import phases
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.exchange import Exchange
from netfw.proxy.first_facts import first_facts
from netfw.proxy.held_origin import HeldOrigin
from netfw.proxy.way_opening import BY_NAME
from netfw.transport.resolution import Resolution

Address = IPv4Address | IPv6Address


def judge_other_name(
    plane: DataPlane, exchange: Exchange, other: Authority, origin: HeldOrigin, *, intercepts: bool
) -> Deferred[tuple[Address | Unknown, ...]]:
    """A Deferred of the addresses judged for `other`, or `BY_NAME`; `origin` is told the way there.

    Fails as these steps of a CONNECT do; cancelling stops them.
    """
    exchange.authority = other
    exchange.resolution = exchange.route = None
    exchange.dest_ip = exchange.dest_port = exchange.origin_tls_version = exchange.origin_certificate = None
    facts = exchange.facts = first_facts(exchange, protocol="https")
    facts.await_http()
    facts.sni = exchange.sni or ABSENT
    facts.tls_intercepted = intercepts

    def judged(resolution: Resolution | None) -> tuple[Address | Unknown, ...]:
        if resolution is None:
            if not intercepts:
                facts.hide_http()
            phases.not_certainly_denied_by_name(exchange)
            return BY_NAME
        addresses = phases.judged_addresses(exchange, plane, resolution.addresses)
        if not intercepts:
            facts.hide_http()
        return phases.not_certainly_denied(exchange, addresses)

    def begin() -> Resolution | Deferred[Resolution] | None:
        phases.pre_dns(exchange)
        way = plane.ways.choose(other, exchange.caller) if plane.ways is not None else None
        origin.go_by(way)
        if way is not None and way.hides_address_of(other.host):
            phases.leave_name_to_parent(exchange, plane)
            return None
        return phases.resolve(exchange, plane)

    return maybeDeferred(begin).addCallback(judged)
