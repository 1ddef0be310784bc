"""Connections from load balancers: their PROXY header comes first, and says who the client is.

In here: waiting for the header, within a deadline. Not in here: its form (`transport.proxy_header`), whose connections
begin with one, and the admission of the client that it names (`proxy.listener`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from netfw.errors import NetfwError, NoProxyHeader
from netfw.proxy.admission import PROXY_HEADER
from netfw.proxy.data_plane import DataPlane
from netfw.proxy.exchange import Caller
from netfw.transport.closing import close
from netfw.transport.proxy_header import ProxyHeader, ProxyHeaderError, ProxyHeaderReader


class SenderHeader(Protocol):
    """Reads the header, then gives the transport to what `admit` returns for it; None: closed without a byte."""

    transport: Any

    def __init__(self, plane: DataPlane, sender: Caller, admit: Callable[[ProxyHeader], IProtocol | None]) -> None:
        self._plane = plane
        self.caller = sender
        self._admit = admit
        self._reader = ProxyHeaderReader()
        self._deadline: Any = None
        self._is_over = False

    def connectionMade(self) -> None:
        """The header must come in time."""
        self._plane.live.openings.add(self)
        self._deadline = self._plane.deadlines.start(self._plane.configuration.timeouts.head, self._refuse)

    def dataReceived(self, data: bytes) -> None:
        """Nothing but the header is looked at here."""
        if self._is_over:
            return
        try:
            read = self._reader.feed(data)
        except ProxyHeaderError:
            self._refuse()
            return
        if read is None:
            return
        header, rest = read
        self._finish(None)
        protocol = self._admit(header)
        if protocol is None:
            self._close()
            return
        self.transport.switch_protocol(protocol)
        # Whom it was given to may have handed it on already, as a refusal does, or have closed it.
        receiver = self.transport.protocol
        if rest and receiver is not None:
            receiver.dataReceived(rest)

    def cut(self, error: NetfwError) -> None:
        """The proxy stops."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """A sender that came to see whether somebody listens is no trouble; one that left within its header is."""
        self._finish(PROXY_HEADER if len(self._reader) else None)

    def _refuse(self) -> None:
        self._finish(PROXY_HEADER)
        self._close()

    def _close(self) -> None:
        close(self.transport, self._plane.deadlines, self._plane.configuration.timeouts.abort)

    def _finish(self, refused: str | None) -> None:
        """It waits for no header any more. Only the first call counts."""
        if self._is_over:
            return
        self._is_over = True
        self._deadline.cancel()
        self._plane.live.openings.discard(self)
        self._plane.admission.sender_done(refused)
        if refused is not None:
            self._plane.recording.metrics.refused(refused)
            error = NoProxyHeader("a PROXY header was to come first")
            self._plane.refusals.record(self.caller, error, bytes_in=len(self._reader))
