"""From judged addresses to a connection that may carry an exchange: dial, and for https the verified TLS handshake.

Only addresses are dialled, and only those that were judged for this exchange (security rule 8). TLS towards the origin
is complete and the certificate has proved the authority's name before a byte of a request is written (rule 13).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
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
    use: Callable[[Any], Any] = lambda stream: stream,
) -> Deferred[Any]:
    """A Deferred of what `use` makes of a connected stream that nobody reads yet. Cancelling it aborts every attempt.
    Fails with `Overloaded` where as many are open to this destination as may be.
    """
    assert exchange.authority is not None
    port = exchange.authority.port
    begun = plane.monotonic()
    try:
        leave = plane.destinations.enter(exchange.authority)
    except NetfwError:
        return fail(Failure())

    def connected(stream: Any) -> Any:
        stream.when_closed = leave
        exchange.durations["connect"] = plane.monotonic() - begun
        exchange.dest_ip = stream.getPeer().host.partition("%")[0]
        exchange.dest_port = port
        return use(stream)

    def failed(failure: Any) -> Any:
        leave()
        exchange.durations["connect"] = plane.monotonic() - begun
        if isinstance(failure.value, NetfwError):
            plane.recording.metrics.upstream_connect_error(failure.value.token)
        return failure

    return plane.dialer.dial(addresses, port).addCallbacks(connected, failed)


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
        exchange.durations["tls"] = plane.monotonic() - begun
        connection = prepared or new_connection(plane, authority, dialled_address(tls), tls=True)
        connection.verified_by = verified_by
        connection.tls_version = exchange.origin_tls_version = tls.connection.get_protocol_version_name()
        verdict: OriginVerdict = tls.connection.get_app_data()
        connection.certificate_facts = exchange.origin_certificate = verdict.facts
        connection.certificate_validity = verdict.validity
        tls.start(connection)
        return connection

    def failed(failure: Failure) -> Failure:
        exchange.durations["tls"] = plane.monotonic() - begun
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
) -> Deferred[UpstreamConnection]:
    """Dial and, for `tls`, secure: a Deferred of a connection that may carry a request at once."""
    use = secure_origin if tls else start_plain
    return dial_origin(plane, exchange, addresses, lambda stream: use(plane, exchange, stream))
