"""From judged addresses to a connection that may carry an exchange: dial, and for https the verified TLS handshake.

Only addresses are dialled, and only those that were judged for this exchange (security rule 8). TLS towards the origin
is complete and the certificate has proved the authority's name before a byte of a request is written (rule 13).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from netfw.errors import NetfwError, OriginCertificateInvalid
from netfw.names.authority import Authority
from netfw.policy.facts import Unknown
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.exchange import Exchange
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.tls.failures import OriginVerdict
from netfw.transport.relay import hand_over
from netfw.transport.socket_facts import ip_of

Address = IPv4Address | IPv6Address


def dialled_address(stream: Any) -> Address:
    """The address at the other end of a dialled stream."""
    return ip_of(stream.getPeer().host)


def dial_origin(
    plane: DataPlane,
    exchange: Exchange,
    addresses: Sequence[Address],
    use: Callable[[Any], Any],
) -> Any:
    """What `use` makes of a connected stream that nobody reads yet, or a Deferred of it. Cancelling that aborts every
    attempt. Raises or fails with `Overloaded` where as many are open to this destination as may be.
    """
    assert exchange.authority is not None
    leave = plane.destinations.enter(exchange.authority)
    dialling = _Dialling(plane, exchange, leave)
    try:
        dialled = plane.dialer.dial(addresses, exchange.authority.port)
    except BaseException as problem:
        dialling.failed(problem)
        raise
    if type(dialled) is Deferred:
        return dialled.addCallbacks(dialling.connected, dialling.broken, callbackArgs=(use,))
    return dialling.connected(dialled, use)


class _Dialling:
    """Counts and times one dial."""

    __slots__ = ("_begun", "_exchange", "_leave", "_plane")

    def __init__(self, plane: DataPlane, exchange: Exchange, leave: Callable[[], None]) -> None:
        self._plane = plane
        self._exchange = exchange
        self._leave = leave
        self._begun: float = plane.monotonic()

    def connected(self, stream: Any, use: Callable[[Any], Any]) -> Any:
        exchange = self._exchange
        stream.when_closed = self._leave
        exchange.connect_seconds = self._plane.monotonic() - self._begun
        peer = stream.getPeer()
        exchange.dest_ip = _without_zone(peer.host)
        exchange.dest_port = peer.port
        return use(stream)

    def failed(self, problem: BaseException | None) -> None:
        self._leave()
        self._exchange.connect_seconds = self._plane.monotonic() - self._begun
        if isinstance(problem, NetfwError):
            self._plane.recording.metrics.upstream_connect_error(problem.token)

    def broken(self, failure: Failure) -> Failure:
        self.failed(failure.value)
        return failure


def _without_zone(host: str) -> str:
    return host.partition("%")[0] if "%" in host else host


_Kind = TypeVar("_Kind", bound=UpstreamConnection)


def new_connection(
    plane: DataPlane,
    authority: Authority,
    address: Address | Unknown,
    *,
    tls: bool,
    kind: type[_Kind] = UpstreamConnection,  # type: ignore[assignment]  # the default of a type variable
) -> _Kind:
    """A connection object for a transport that is about to be started with it."""
    timeouts = plane.configuration.timeouts
    return kind(
        authority=authority,
        address=address,
        tls=tls,
        limits=plane.head_limits,
        deadlines=plane.deadlines,
        response_timeout=timeouts.response,
        idle_timeout=timeouts.idle,
        abort_timeout=timeouts.abort,
        count_bytes=plane.recording.metrics.origin_bytes,
    )


def start_plain(
    plane: DataPlane, exchange: Exchange, stream: Any, connection: UpstreamConnection | None = None
) -> UpstreamConnection:
    """Speak plain HTTP on a dialled stream; `connection`: where it is another one than a direct one's."""
    if connection is None:
        assert exchange.authority is not None
        connection = new_connection(plane, exchange.authority, dialled_address(stream), tls=False)
    hand_over(stream, connection)
    stream.resumeProducing()
    return connection


def secure_origin(
    plane: DataPlane, exchange: Exchange, stream: Any, prepared: UpstreamConnection | None = None
) -> Deferred[UpstreamConnection]:
    """A Deferred of a connection whose TLS proved the exchange's authority; `prepared`: where it is another one than a
    direct one's.

    Fails with `errors.OriginCertificateInvalid` or another `OriginError`; the stream is closed then. Cancelling it
    aborts.
    """
    assert exchange.authority is not None
    authority = exchange.authority
    timeouts = plane.configuration.timeouts
    begun = plane.monotonic()
    verified_by = plane.pool.verified_by

    def secured(tls: Any) -> UpstreamConnection:
        exchange.tls_seconds = plane.monotonic() - begun
        connection = prepared or new_connection(plane, authority, dialled_address(tls), tls=True)
        connection.verified_by = verified_by
        connection.tls_version = exchange.origin_tls_version = tls.connection.get_protocol_version_name()
        verdict: OriginVerdict = tls.connection.get_app_data()
        connection.certificate_facts = exchange.origin_certificate = verdict.facts
        connection.certificate_validity = verdict.validity
        tls.start(connection)
        return connection

    def failed(failure: Failure) -> Failure:
        exchange.tls_seconds = plane.monotonic() - begun
        if isinstance(failure.value, OriginCertificateInvalid):
            exchange.origin_certificate = failure.value.facts
        if isinstance(failure.value, NetfwError):
            plane.recording.metrics.tls_failure("origin", failure.value.token)
        return failure

    return plane.upstream_tls.secure(
        stream,
        authority.host,
        authority.port,
        deadlines=plane.deadlines,
        handshake_timeout=timeouts.handshake,
        abort_timeout=timeouts.abort,
    ).addCallbacks(secured, failed)


def open_origin(
    plane: DataPlane, exchange: Exchange, addresses: Sequence[Address], *, tls: bool
) -> UpstreamConnection | Deferred[UpstreamConnection]:
    """Dial and, for `tls`, secure: a connection that may carry a request at once, or a Deferred of it."""
    opened: UpstreamConnection | Deferred[UpstreamConnection]
    opened = dial_origin(plane, exchange, addresses, partial(secure_origin if tls else start_plain, plane, exchange))
    return opened
