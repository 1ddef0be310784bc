"""The first bytes inside a tunnel, before anything of them goes anywhere: TLS, plain HTTP, or neither.

They are held until they are understood (security rules 11 and 12): a whole ClientHello, however it is split, or the
start of an HTTP request. What is neither is refused unless configuration lets this tunnel carry anything, and so is a
client that says nothing in time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw.errors import ClientGone, NetfwError, OriginClosed, RequestTimeout, TunnelRefused
from netfw.http1.first_line import may_be_http
from netfw.tls.client_hello import ClientHello, ClientHelloError, ClientHelloReader
from netfw.transport.deadlines import Deadline

if TYPE_CHECKING:
    from netfw.proxy.held_origin import HeldOrigin

_TLS_HANDSHAKE: Final = 0x16
_TLS_MAJOR: Final = 3
# What may begin a method: the reader judges the rest and answers it.
_METHOD_START: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]")

_READ_AHEAD: Final = 64 * 1024


class _NotUnderstood(Exception):
    """Why not: for the record."""


class TunnelOpening:
    """Reads from a transport that was handed over until it can call `opened` with itself, or `failed`: one of them,
    once, and neither after `stop`. Then it says what the tunnel begins with: a `hello`, what is neither TLS nor HTTP
    (`is_opaque`), or plain HTTP.

    Fails with `TunnelRefused` (neither TLS nor HTTP), `RequestTimeout` or `ClientGone`. The transport stays open:
    who waits decides how it ends. `origin` is given where the tunnel may carry anything: then what is neither is an
    opening too, and so are first words of the origin's. `deadline` is an active one, whose wait is over.
    """

    transport: Any = None

    def __init__(
        self,
        opened: Callable[[TunnelOpening], object],
        failed: Callable[[NetfwError], object],
        deadline: Deadline,
        timeout: float,
        limit: int,
        origin: HeldOrigin | None,
    ) -> None:
        self.hello: ClientHello | None = None
        self.is_opaque = False
        self._opened = opened
        self._failed = failed
        self.when_lost: Callable[[], object] | None = None
        """Called when the client leaves after `opened` has fired and before its bytes were taken."""
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._reader: ClientHelloReader | None = None
        deadline.change(timeout, self._timed_out)
        self._deadline: Deadline | None = deadline
        self._origin = origin

    def makeConnection(self, transport: Any) -> None:
        """Begin."""
        self.transport = transport
        self.connectionMade()

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
            is_open = self._look(data)
        except (ClientHelloError, _NotUnderstood) as problem:
            self._fail(TunnelRefused("the tunnel carries neither TLS nor HTTP", detail=str(problem)))
            return
        if is_open:
            self._open()

    def _look(self, data: bytes) -> bool:
        """Whether it is understood by now."""
        reader = self._reader
        if reader is None:
            if self._origin is not None:
                said = b"".join(self._parts)
                if said[0] != _TLS_HANDSHAKE:
                    return self._look_at_anything(said)
                if len(said) == 1:
                    return False
                if said[1] != _TLS_MAJOR:
                    self.is_opaque = True
                    return True
                data = said
            elif data[0] != _TLS_HANDSHAKE:
                if _METHOD_START.match(data):
                    return True
                raise _NotUnderstood("the first byte is neither a TLS handshake nor a method")
            self._reader = reader = ClientHelloReader()
        self.hello = hello = reader.feed(data)
        if hello is not None and reader.size <= self._limit:
            return True
        if hello is not None or self._size > self._limit:
            raise _NotUnderstood(f"the ClientHello is longer than {self._limit} bytes")
        return False

    def _look_at_anything(self, said: bytes) -> bool:
        is_http = may_be_http(said)
        if is_http is None:
            return False
        self.is_opaque = not is_http
        return True

    def _origin_spoke(self) -> None:
        """Before the client has said anything that is understood: no server of TLS or HTTP does that."""
        if self._deadline is not None and self._reader is None:
            self.is_opaque = True
            self._open()

    def _origin_left(self) -> None:
        if self._deadline is not None:
            self._fail(OriginClosed("the origin closed the connection before it was used"))

    def take(self) -> bytes:
        """Every byte read so far, once; the transport reads on for whoever comes next."""
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
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

    def _open(self) -> None:
        self.stop()
        self._opened(self)

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


# Not by Twisted's base class: compiled, its heirs would be ordinary classes.
classImplements(TunnelOpening, IProtocol)
