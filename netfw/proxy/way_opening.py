"""From judged addresses, or a name that a parent proxy looks up, to a connection by the exchange's way.

In this room: the parents of a way tried one after the other, each for the addresses that were judged, and what is said
when none leads on. Not here: choosing the way (`ways`), one parent (`parent_dialing`, `parent_tunnel`), TLS to the
origin (`upstream_opening`), which goes through the parent from end to end.

Nothing that fails here goes straight to the origin instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from netfw.errors import NetfwError, NoParentUp, ParentError
from netfw.http1.heads import RequestHead
from netfw.names.authority import Authority
from netfw.names.host import host_of_address
from netfw.policy.facts import NOT_YET, Unknown
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.exchange import Exchange
from netfw.proxy.parent_dialing import dial_from, dial_parent
from netfw.proxy.parent_tunnel import ask_for_tunnel, connect_head
from netfw.proxy.parents import Parent
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.proxy.upstream_opening import dialled_address, new_connection, secure_origin, start_plain
from netfw.proxy.way_connection import WayConnection
from netfw.proxy.ways import Way
from netfw.transport.socket_facts import carrier

Address = IPv4Address | IPv6Address
Candidates = list[Parent] | list[None]
BY_NAME: tuple[Unknown] = (NOT_YET,)
"""In place of addresses, where a parent looks the name up: what rules see of one that is not known."""
_UNREACHED = frozenset({500, 502, 503, 504})
"""What a parent answers when it does not reach the destination; another address, or another parent, may lead to it."""
_MOST_ADDRESSES = 3
"""That one parent is asked for: each may take it as long as a connection may."""


@dataclass(slots=True)
class Reached:
    """A transport that leads to the exchange's origin, or with `asks_parent` to a parent that is asked for it.

    Nobody reads it. `target` is the destination that it was made for, `address` the judged one that it leads to,
    NOT_YET where only the parent knows; `said` is what came through the tunnel already.
    """

    transport: Any
    way: Way
    address: Address | Unknown
    parent: Parent | None
    target: Authority
    route: dict[str, Any]
    asks_parent: bool = False
    said: bytes = b""

    def connection(self, plane: DataPlane, authority: Authority, *, tls: bool) -> WayConnection:
        """The object that speaks HTTP to the origin over it."""
        made = new_connection(plane, authority, self.address, tls=tls, kind=WayConnection)
        made.asks_parent = self.asks_parent
        return made.travels(self.way, self.parent, self.target, self.route)


def open_by_way(
    plane: DataPlane,
    exchange: Exchange,
    way: Way,
    target: Authority,
    addresses: Sequence[Address | Unknown],
    *,
    tls: bool,
    candidates: Candidates,
    asks_parent: bool,
    asked_in: RequestHead | None,
) -> Deferred[UpstreamConnection]:
    """A Deferred of a connection that may carry a request at once; see `dial_by_way`."""

    def reached(found: Reached) -> Any:
        assert exchange.authority is not None
        connection = found.connection(plane, exchange.authority, tls=tls)
        if not tls:
            return start_plain(plane, exchange, found.transport, connection)
        return secure_origin(plane, exchange, found.transport, connection)

    dialled = dial_by_way(
        plane, exchange, way, target, addresses, candidates=candidates, asks_parent=asks_parent, asked_in=asked_in
    )
    return dialled.addCallback(reached)


def dial_by_way(
    plane: DataPlane,
    exchange: Exchange,
    way: Way,
    target: Authority,
    addresses: Sequence[Address | Unknown],
    *,
    candidates: Candidates,
    asks_parent: bool = False,
    asked_in: RequestHead | None,
) -> Deferred[Reached]:
    """A Deferred of a way to `target`, the destination that was judged. `addresses`: those that were, or `BY_NAME`.

    `candidates`: what the way gave for this exchange. `asks_parent`: a parent itself will be asked for the resource, so
    no tunnel is. `asked_in`: the request that the client sent to this proxy; the Via of its CONNECT goes on to the
    parent. Fails with `ParentError`, `OriginError` or `Overloaded`. Cancelling closes whatever is there.
    """
    authority = exchange.authority
    assert authority is not None
    begun = plane.monotonic()
    try:
        leave = plane.destinations.enter(authority)
    except NetfwError:
        return fail(Failure())

    def reached(found: Reached) -> Reached:
        exchange.connect_seconds = plane.monotonic() - begun
        stream = carrier(found.transport)
        if stream.connected:
            stream.when_closed = leave
        else:
            leave()
        note_route(exchange, found.address, found.route)
        if way.pool is not None:
            way.pool.count(found.route["from"])
        return found

    def failed(failure: Failure) -> Failure:
        leave()
        exchange.connect_seconds = plane.monotonic() - begun
        if isinstance(failure.value, NetfwError):
            plane.recording.metrics.upstream_connect_error(failure.value.token)
        return failure

    if way.group is None:
        judged = [address for address in addresses if not isinstance(address, Unknown)]
        dialled = _straight(plane, target, way, judged)
    else:
        dialled = _Attempts(plane, exchange, way, target, addresses, candidates, asks_parent, asked_in).begin()
    return dialled.addCallbacks(reached, failed)


def note_route(exchange: Exchange, address: Address | Unknown, route: dict[str, Any] | None) -> None:
    """What the record says of the way, and of the address that it led to."""
    assert exchange.authority is not None
    tried = (exchange.route or {}).get("tried")
    exchange.route = {**route, "tried": tried} if route is not None and tried else route
    if not isinstance(address, Unknown):
        exchange.dest_ip = str(address)
    exchange.dest_port = exchange.authority.port


def _straight(plane: DataPlane, target: Authority, way: Way, addresses: list[Address]) -> Deferred[Reached]:
    def connected(stream: Any) -> Reached:
        return Reached(stream, way, dialled_address(stream), None, target, _route(stream, way, None))

    dialled = dial_from(plane, addresses, target.port, way.sources(), whose=str(target.host))
    return dialled.addCallback(connected)


def _route(transport: Any, way: Way, parent: Parent | None) -> dict[str, Any]:
    route: dict[str, Any] = {}
    if parent is not None:
        route = {"proxy": parent.name, "by": "name" if way.by_name else "address"}
    if way.pool is not None:
        route |= {"pool": way.pool.name, "from": str(carrier(transport).getHost().host)}
    return route


class _Attempts:
    """One parent after the other, for one address after the other."""

    def __init__(
        self,
        plane: DataPlane,
        exchange: Exchange,
        way: Way,
        target: Authority,
        addresses: Sequence[Address | Unknown],
        candidates: Candidates,
        asks_parent: bool,
        asked_in: RequestHead | None,
    ) -> None:
        assert way.group is not None
        self.plane = plane
        self.exchange = exchange
        self.way = way
        self.target = target
        self.asks_parent = asks_parent
        self.received = asked_in.fields.get_all(b"via") if asked_in is not None else []
        wanted = addresses[:1] if asks_parent else addresses[:_MOST_ADDRESSES]
        self.left = [(parent, address) for parent in candidates if parent is not None for address in wanted]
        self.tried: list[str] = []

    def begin(self) -> Deferred[Reached]:
        if not self.left:
            assert self.way.group is not None
            down = [f"{parent.name}: down, {parent.health.problem}" for parent in self.way.group.parents]
            self._note(down)
            return fail(Failure(NoParentUp("every parent proxy for this destination is down", detail="; ".join(down))))
        return self._next()

    def _next(self) -> Deferred[Reached]:
        parent, address = self.left.pop(0)
        dialled = dial_parent(self.plane, parent, self.way.sources())
        dialled.addCallback(self._ask, parent, address)
        return dialled.addErrback(self._failed, parent)

    def _ask(self, transport: Any, parent: Parent, address: Address | Unknown) -> Any:
        route = _route(transport, self.way, parent)
        found = Reached(transport, self.way, address, parent, self.target, route, self.asks_parent)
        if self.asks_parent:
            parent.reached()
            return found
        named = self.target
        if not isinstance(address, Unknown):
            named = Authority(host_of_address(address), named.port)
        target = named.to_bytes()
        timeouts = self.plane.configuration.timeouts

        def opened(said: bytes) -> Reached:
            parent.worked()
            found.said = said
            return found

        return ask_for_tunnel(
            transport,
            parent,
            target,
            connect_head(parent, target, self.plane.via, self.received),
            limits=self.plane.head_limits,
            deadlines=self.plane.deadlines,
            # It has to look up and to connect, as we would have to.
            timeout=timeouts.resolve + timeouts.connect,
        ).addCallback(opened)

    def _failed(self, failure: Failure, parent: Parent) -> Any:
        problem = failure.value
        if not isinstance(problem, ParentError):
            return failure
        self.tried.append(problem.detail)
        self._note(self.tried)
        if problem.answered not in (None, 407):
            parent.worked()  # it is there, and does as it is told to
            if problem.answered not in _UNREACHED:
                return failure
        else:
            if problem.blames_parent:
                parent.failed(problem.token, problem.detail)
            self.left = [(other, address) for other, address in self.left if other is not parent]
        if self.left:
            return self._next()
        if len(self.tried) > 1:
            problem.detail = "; ".join(self.tried)
        return failure

    def _note(self, tried: list[str]) -> None:
        self.exchange.route = {**(self.exchange.route or {}), "tried": tried}
