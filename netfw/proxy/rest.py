"""A pause until a peer has taken what waits for it.

In this room: the producer that a transport pauses and resumes by its own figures. Not here: when to pause
(`client_connection`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Rest:
    """Register it with a transport that has much to send; `over` is called, once, when little is left."""

    __slots__ = ("_over", "_transport")

    def __init__(self, transport: Any, over: Callable[[], object]) -> None:
        self._transport = transport
        self._over = over

    def pauseProducing(self) -> None:
        """It is paused already."""

    def resumeProducing(self) -> None:
        """There is room again."""
        self._transport.unregisterProducer()
        self._over()

    def stopProducing(self) -> None:
        """The peer is gone; its protocol is told so."""
