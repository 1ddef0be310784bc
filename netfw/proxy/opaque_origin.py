"""The origin's end of a tunnel that may carry anything, while the client has said nothing yet.

In many protocols the server speaks first, and its client waits for that: then it is neither TLS nor HTTP. Not here:
what the client's first bytes are (`tunnel_opening`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import classImplements


class OriginListener:
    """Reads a dialled stream until its first bytes, which are kept for `take`; `spoke` is called once, then.

    `left` is called where the origin ends before. After `stop` neither is.
    """

    transport: Any = None

    def __init__(self, spoke: Callable[[], object], left: Callable[[], object]) -> None:
        self._spoke: Callable[[], object] | None = spoke
        self._left: Callable[[], object] | None = left
        self._parts: list[bytes] = []

    def makeConnection(self, transport: Any) -> None:
        """Begin."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """Nothing is said: the origin is listened to."""

    def dataReceived(self, data: bytes) -> None:
        """The origin speaks first."""
        self._parts.append(data)
        self.transport.pauseProducing()
        spoke, self._spoke = self._spoke, None
        if spoke is not None:
            spoke()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The origin has gone."""
        left, self._left = self._left, None
        if left is not None:
            left()

    def stop(self) -> None:
        """The client has spoken: whoever takes the stream reads on."""
        self._spoke = self._left = None
        self.transport.pauseProducing()

    def take(self) -> bytes:
        """What the origin has said so far, once."""
        data = b"".join(self._parts)
        self._parts = []
        return data


# Not by Twisted's base class: compiled, its heirs would be ordinary classes.
classImplements(OriginListener, IProtocol)
