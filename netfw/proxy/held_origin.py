"""The origin's side of a CONNECT between its dial and its use: a dialled stream, or a connection from the pool.

What is inside the tunnel decides what becomes of it; until then it is held here, so that every way out lets go of it
once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.internet.defer import Deferred

from netfw.errors import OriginClosed, OriginProtocolError
from netfw.policy.facts import Unknown
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.exchange import Exchange
from netfw.proxy.opaque_origin import OriginListener
from netfw.proxy.upstream_connection import UpstreamConnection
from netfw.proxy.upstream_opening import dial_origin, dialled_address, secure_origin, start_plain
from netfw.proxy.way_connection import leg
from netfw.proxy.way_opening import Candidates, Reached, dial_by_way
from netfw.proxy.ways import Way
from netfw.transport.relay import hand_over
from netfw.x509.reading import Validity

Address = IPv4Address | IPv6Address


class HeldOrigin:
    """At most one of a dialled stream and a pooled connection. `way`: how it leaves, None for the usual one."""

    def __init__(self, plane: DataPlane, exchange: Exchange) -> None:
        self.way: Way | None = None
        self._reached: Reached | None = None
        self._candidates: Candidates | None = None
        self._plane = plane
        self._exchange = exchange
        self._stream: Any = None
        self._pooled: UpstreamConnection | None = None
        self._listener: OriginListener | None = None
        self.certificate_validity: Validity | None = None
        """Of the certificate that the origin has proved itself by; None where it has not, or not for this exchange."""

    def go_by(self, way: Way | None) -> None:
        """Leave by this way from now on; whoever dials for another authority chooses anew."""
        self.way, self._candidates = way, None

    def take_pooled(self, addresses: Sequence[Address | Unknown]) -> bool:
        """Whether the pool had a verified TLS connection for this exchange."""
        exchange = self._exchange
        assert exchange.authority is not None
        by = None
        if self.way is not None:
            self._candidates = candidates = self.way.candidates()
            if not candidates:
                return False
            by = leg(self.way, candidates[0], exchange.authority)
        pooled = self._plane.pool.take(exchange.authority, True, addresses, by)
        if pooled is None:
            return False
        validity = pooled.certificate_validity
        if validity is not None and self._plane.upstream_tls.has_ended(validity):
            pooled.close()  # it ended meanwhile: a handshake of now says so
            return False
        self._pooled = pooled
        self.certificate_validity = validity
        exchange.dest_ip = pooled.address_text
        exchange.dest_port = exchange.authority.port
        exchange.route = pooled.route
        exchange.origin_tls_version = pooled.tls_version
        exchange.origin_certificate = pooled.certificate_facts
        return True

    def dial(self, addresses: Sequence[Address | Unknown]) -> Any:
        """Connect, by the way: None, or a Deferred of it; cancelling aborts."""
        if self.way is not None:
            assert self._exchange.authority is not None
            candidates, self._candidates = self._candidates, None
            dialled = dial_by_way(
                self._plane,
                self._exchange,
                self.way,
                self._exchange.authority,
                addresses,
                candidates=self.way.candidates() if candidates is None else candidates,
                asked_in=self._exchange.head,
            )
            return dialled.addCallback(self._hold_reached)
        judged = [address for address in addresses if not isinstance(address, Unknown)]
        return dial_origin(self._plane, self._exchange, judged, self._hold)

    def _hold(self, stream: Any) -> None:
        self._stream = stream

    def _hold_reached(self, reached: Reached) -> None:
        self._stream, self._reached = reached.transport, reached

    @property
    def address(self) -> Address | Unknown:
        """The address that what is held leads to; NOT_YET where only a parent proxy knows."""
        if self._pooled is not None:
            return self._pooled.address
        return dialled_address(self._stream) if self._reached is None else self._reached.address

    @property
    def stream(self) -> Any:
        """The dialled stream; still held."""
        return self._stream

    def release_stream(self) -> Any:
        """Give the dialled stream away. Raises `OriginClosed` where it was listened to and has ended."""
        stream, self._stream = self._stream, None
        if stream is not None and self._listener is not None and not stream.connected:
            raise OriginClosed("the origin closed the connection before anything was asked")
        return stream

    def listen(self, spoke: Callable[[], object], left: Callable[[], object]) -> None:
        """Call `spoke` when the origin speaks before anybody asks, `left` when it goes; until `stop_listening`."""
        if self._stream is not None:
            self._listener = OriginListener(spoke, left)
            hand_over(self._stream, self._listener)
            if self._reached is not None and self._reached.said:
                said, self._reached.said = self._reached.said, b""
                self._listener.dataReceived(said)
            elif self._reached is not None:
                self._stream.resumeProducing()

    def stop_listening(self) -> None:
        """The client has spoken."""
        if self._listener is not None:
            self._listener.stop()

    def take_said(self) -> bytes:
        """What the origin has said by itself, once."""
        said = b""
        if self._reached is not None:
            said, self._reached.said = self._reached.said, b""
        return said + self._listener.take() if self._listener is not None else said

    def for_plain(self) -> UpstreamConnection | None:
        """Give a plain HTTP connection; None where the first inner request has to dial."""
        self.return_pooled()
        self._refuse_words()
        stream = self.release_stream()
        if stream is None:
            return None
        return start_plain(self._plane, self._exchange, stream, self._prepared(tls=False))

    def for_tls(self) -> UpstreamConnection | Deferred[UpstreamConnection] | None:
        """Give a verified TLS connection; None where the first inner request has to dial."""
        pooled, self._pooled = self._pooled, None
        if pooled is not None:
            return pooled if pooled.is_open else None
        self._refuse_words()
        stream = self.release_stream()
        if stream is None:
            return None
        return secure_origin(self._plane, self._exchange, stream, self._prepared(tls=True)).addCallback(self._proved)

    def _prepared(self, *, tls: bool) -> UpstreamConnection | None:
        """The connection object where the way is not the usual one."""
        if self._reached is None:
            return None
        assert self._exchange.authority is not None
        return self._reached.connection(self._plane, self._exchange.authority, tls=tls)

    def _proved(self, connection: UpstreamConnection) -> UpstreamConnection:
        self.certificate_validity = connection.certificate_validity
        return connection

    def _refuse_words(self) -> None:
        if self.take_said():
            self.let_go()
            raise OriginProtocolError("the origin spoke before it was asked")

    def let_go(self) -> None:
        """Nobody will use it."""
        self.return_pooled()
        self.stop_listening()
        stream, self._stream = self._stream, None
        self._listener = self._reached = None
        if stream is not None:
            stream.abortConnection()

    def return_pooled(self) -> None:
        """It is not for this exchange after all."""
        pooled, self._pooled = self._pooled, None
        self.certificate_validity = None
        if pooled is not None:
            self._plane.pool.put(pooled)
