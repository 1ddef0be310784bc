"""A forwarded exchange where parent proxies or pools of source addresses are configured: the way is chosen, and gone.

In this room: what differs from `forward`, which knows nothing of ways and costs nothing for them. A way is chosen for
every request anew, also inside a tunnel: after a reload the tunnel's may be one of the former configuration.

A plain http request that a parent looks the name up for is sent to it in absolute-form; every other goes through a
tunnel of the parent's: TLS to the origin from end to end, what switches protocols, what came in a tunnel, and what
leads to a judged address.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.internet.defer import Deferred

from netfw.http1.asking_parent import print_parent_request
from netfw.http1.events import ResponseHeadReceived
from netfw.names.authority import Authority
from netfw.policy.facts import NOT_YET, Unknown
from netfw.proxy import phases
from netfw.proxy.forward import Forwarding
from netfw.proxy.parent_tunnel import refusal
from netfw.proxy.steps import Steps
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.proxy.way_connection import WayConnection, leg
from netfw.proxy.way_opening import BY_NAME, Candidates, note_route, open_by_way
from netfw.proxy.ways import Way
from netfw.transport.resolution import Resolution

Address = IPv4Address | IPv6Address


class ForwardingByWay(Forwarding):
    """Serves one exchange; `_way` None: the usual one, and everything is as in `Forwarding`."""

    _way: Way | None = None
    _by_name = False
    _judged: Authority

    def start(self) -> None:
        """Run the phases and everything between them."""
        self._client.serve(self)
        self._steps = Steps(self, _STEPS, self._failed)
        self._steps.run()

    def _choose_way(self, _: object) -> None:
        ways, exchange = self._plane.ways, self._exchange
        # Where other names were let through, what was judged is what may be asked for.
        judged = self._tunnel.judged if self._tunnel is not None else exchange.authority
        assert ways is not None and judged is not None
        self._judged = judged
        self._way = way = ways.choose(judged, exchange.caller)
        self._by_name = way is not None and way.hides_address_of(judged.host)

    def _resolve(self, _: object) -> Any:
        if self._by_name:
            phases.leave_name_to_parent(self._exchange, self._plane)
            return ()
        tunnel = self._tunnel
        # What a tunnel that went by name has is not addresses.
        if tunnel is not None and NOT_YET not in tunnel.addresses:
            return tunnel.addresses
        found = phases.resolve(self._exchange, self._plane)
        return self._judge(found) if type(found) is Resolution else found.addCallback(self._judge)

    def _pre_request(self, addresses: Sequence[Address]) -> Sequence[Address]:
        if self._by_name:
            phases.pre_request_by_name(self._exchange)
            return ()
        return super()._pre_request(addresses)

    @property
    def _wanted(self) -> Sequence[Address | Unknown]:
        return BY_NAME if self._by_name else self._allowed

    def _open_upstream(self, allowed: Sequence[Address]) -> Any:
        if self._way is None:
            return super()._open_upstream(allowed)
        exchange, tunnel = self._exchange, self._tunnel
        waiting = tunnel.take_first(self._wanted, self._way) if tunnel is not None else None
        if waiting is None:
            candidates = self._way.candidates()
            # What switches protocols needs a tunnel of its own: a connection that waits may be one to a parent.
            if candidates and self._upgrade is None:
                assert exchange.authority is not None
                by = leg(self._way, candidates[0], self._judged)
                waiting = self._plane.pool.take(exchange.authority, self._tls, self._wanted, by)
            if waiting is None:
                return self._open_by(self._way, candidates)
        self._reused = waiting.exchanges > 0
        note_route(exchange, waiting.address, waiting.route)
        exchange.origin_tls_version = waiting.tls_version
        exchange.origin_certificate = waiting.certificate_facts
        return waiting

    def _open_anew(self) -> Any:
        way = self._way
        return super()._open_anew() if way is None else self._open_by(way, way.candidates())

    def _open_by(self, way: Way, candidates: Candidates) -> Deferred[UpstreamConnection]:
        tunnel = self._client.tunnel
        return open_by_way(
            self._plane,
            self._exchange,
            way,
            self._judged,
            self._wanted,
            tls=self._tls,
            candidates=candidates,
            # Inside a tunnel the Host field may be another name than the one that is asked for.
            asks_parent=self._by_name and tunnel is None and self._upgrade is None,
            asked_in=tunnel.exchange.head if tunnel is not None else self._request,
        )

    def _send_request(self, upstream: UpstreamConnection, head: bytes | None = None) -> None:
        if isinstance(upstream, WayConnection) and upstream.asks_parent:
            exchange = self._exchange
            assert exchange.authority is not None and upstream.parent is not None
            head = print_parent_request(
                self._request,
                self._target,
                authority=exchange.authority,
                via=self._plane.via,
                framing=self._framing,
                authorization=upstream.parent.authorization,
            )
        super()._send_request(upstream, head)

    def response_head(self, event: ResponseHeadReceived) -> None:
        """A parent that asks for other credentials asks this proxy, and not the client; any other answer is one."""
        upstream = self._upstream
        if isinstance(upstream, WayConnection) and upstream.asks_parent:
            assert upstream.parent is not None
            parent = upstream.parent
            if event.head.status == 407:
                error = refusal(parent, b"", 407)
                parent.failed(error.token, error.detail)
                self._failed(error)
                return
            parent.health.worked()
        super().response_head(event)


_STEPS = (
    ForwardingByWay._pre_dns,
    ForwardingByWay._choose_way,
    ForwardingByWay._resolve,
    ForwardingByWay._pre_request,
    ForwardingByWay._open_upstream,
    ForwardingByWay._send_request,
)
