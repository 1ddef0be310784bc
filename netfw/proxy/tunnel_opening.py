"""The first bytes inside a tunnel, before anything of them goes anywhere: TLS, plain HTTP, or neither.

They are held until they are understood (security rules 11 and 12): a whole ClientHello, however it is split, or the
start of an HTTP request. What is neither is refused unless configuration lets this tunnel carry anything, and so is a
client that says nothing in time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from netfw.errors import ClientGone, NetfwError, OriginClosed, RequestTimeout, TunnelRefused
from netfw.http1.first_line import may_be_http
from netfw.tls.client_hello import ClientHello, ClientHelloError, ClientHelloReader
from netfw.transport.deadlines import Deadline

if TYPE_CHECKING:
    from netfw.proxy.held_origin import HeldOrigin

_TLS_HANDSHAKE = 0x16
_TLS_MAJOR = 3
# What may begin a method: the reader judges the rest and answers it.
_METHOD_START = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]")


_READ_AHEAD = 64 * 1024


class Opening(NamedTuple):
    """What a tunnel begins with. `hello` None: plain HTTP, or what is neither (`is_opaque`). `take()` gives every byte
    read so far, once, and lets the transport read on for whoever comes next.
    """

    hello: ClientHello | None
    take: Callable[[], bytes]
    is_opaque: bool = False


class _NotUnderstood(Exception):
    """Why not: for the record."""


class TunnelOpening(Protocol):
    """Reads from a transport that was handed over until it can call `opened` with an `Opening`, or `failed`: one of
    them, once, and neither after `stop`.

    Fails with `TunnelRefused` (neither TLS nor HTTP), `RequestTimeout` or `ClientGone`. The transport stays open:
    who waits decides how it ends. `origin` is given where the tunnel may carry anything: then what is neither is an
    opening too, and so are first words of the origin's. `deadline` is an active one, whose wait is over.
    """

    transport: Any

    def __init__(
        self,
        opened: Callable[[Opening], object],
        failed: Callable[[NetfwError], object],
        deadline: Deadline,
        timeout: float,
        limit: int,
        *,
        origin: HeldOrigin | None = None,
    ) -> None:
        self._opened = opened
        self._failed = failed
        self.when_lost: Callable[[], object] | None = None
        """Called when the client leaves after `opened` has fired and before its bytes were taken."""
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._hello: ClientHelloReader | None = None
        deadline.change(timeout, self._timed_out)
        self._deadline: Any = deadline
        self._origin = origin

    def connectionMade(self) -> None:
        """An origin may have spoken before the tunnel was there."""
        if self._origin is not None:
            self._origin.listen(self._origin_spoke, self._origin_left)

    def dataReceived(self, data: bytes) -> None:
        """Look at the bytes so far."""
        self._parts.append(data)
        self._size += len(data)
        if self._deadline is None:
            # Decided already: read on a little, so that a client that leaves meanwhile is noticed.
            if self._size > _READ_AHEAD:
                self.transport.pauseProducing()
            return
        try:
            opening = self._look(data)
        except (ClientHelloError, _NotUnderstood) as problem:
            self._fail(TunnelRefused("the tunnel carries neither TLS nor HTTP", detail=str(problem)))
            return
        if opening is not None:
            self._open(opening)

    def _look(self, data: bytes) -> Opening | None:
        if self._hello is None:
            if self._origin is not None:
                said = b"".join(self._parts)
                if said[0] != _TLS_HANDSHAKE:
                    return self._look_at_anything(said)
                if len(said) == 1:
                    return None
                if said[1] != _TLS_MAJOR:
                    return Opening(None, self._take, is_opaque=True)
                data = said
            elif data[0] != _TLS_HANDSHAKE:
                if _METHOD_START.match(data):
                    return Opening(None, self._take)
                raise _NotUnderstood("the first byte is neither a TLS handshake nor a method")
            self._hello = ClientHelloReader()
        hello = self._hello.feed(data)
        if hello is not None and self._hello.size <= self._limit:
            return Opening(hello, self._take)
        if hello is not None or self._size > self._limit:
            raise _NotUnderstood(f"the ClientHello is longer than {self._limit} bytes")
        return None

    def _look_at_anything(self, said: bytes) -> Opening | None:
        is_http = may_be_http(said)
        return None if is_http is None else Opening(None, self._take, is_opaque=not is_http)

    def _origin_spoke(self) -> None:
        """Before the client has said anything that is understood: no server of TLS or HTTP does that."""
        if self._deadline is not None and self._hello is None:
            self._open(Opening(None, self._take, is_opaque=True))

    def _origin_left(self) -> None:
        if self._deadline is not None:
            self._fail(OriginClosed("the origin closed the connection before it was used"))

    def _take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts = []
        self.when_lost = None
        self.transport.resumeProducing()
        return data

    def stop(self) -> bool:
        """Wait no more; whether it has waited until now."""
        deadline, self._deadline = self._deadline, None
        if deadline is None:
            return False
        deadline.cancel()
        if self._origin is not None:
            self._origin.stop_listening()
        return True

    def _open(self, opening: Opening) -> None:
        self.stop()
        self._opened(opening)

    def _fail(self, error: NetfwError) -> None:
        self.stop()
        self._failed(error)

    def _timed_out(self) -> None:
        self._fail(RequestTimeout("nothing came through the tunnel in time"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client left before it said anything useful."""
        if self._deadline is not None:
            self._fail(ClientGone("the client left the tunnel before using it"))
        elif self.when_lost is not None:
            self.when_lost()
