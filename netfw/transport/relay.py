"""Relay: two byte transports joined until both have ended.

In this room: `relay`, which chooses how, and the way that works for any two transports: what one receives is written
to the other, and each is the producer of the other. Not here: the way inside the kernel (`splice`); what is over
when, and why (`relay_life`).

An end of input is passed on as one only between two plain streams. TLS cannot be half-closed (a bare FIN behind TLS
records reads as an attack on the other side), so where a TlsStream is involved the first end closes both: what was
received before it is written out, then each side is closed orderly. What the other side would still have said is
lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer
from twisted.python.failure import Failure
from zope.interface import classImplements

from netfw.transport import pipes, splice
from netfw.transport.closing import close
from netfw.transport.deadlines import Deadlines
from netfw.transport.relay_life import LEFT, RIGHT, RelayLife, RelayOutcome
from netfw.transport.stream import Stream

__all__ = ["RelayOutcome", "relay"]


def relay(
    left: Any,
    right: Any,
    over: Callable[[RelayOutcome], object],
    *,
    deadlines: Deadlines,
    idle: float | None,
    lifetime: float | None,
    left_first: bytes = b"",
    right_first: bytes = b"",
    abort_timeout: float = 10.0,
) -> RelayLife:
    """Join two transports (`IByteTransport`); `over` is called once, when both are closed.

    The protocols that had the transports hear no more of them. `left_first` was read from the left side already and
    is sent to the right before all else; `right_first` likewise. `idle` seconds without a byte in either direction,
    or `lifetime` seconds in all, abort both sides; None is no such deadline. When one connection breaks the other is
    aborted. Cancelling what is returned aborts both, with the reason `cancelled`.
    """
    if isinstance(left, Stream) and isinstance(right, Stream) and pipes.AVAILABLE:
        right.write(left_first)
        left.write(right_first)
        # What the kernel did not take keeps the streams in use; so short a buffer is rare enough to copy instead.
        if left.may_detach and right.may_detach:
            life = splice.SplicedRelay(left, right, deadlines, idle, lifetime, over).life
            life.from_left = len(left_first)
            life.from_right = len(right_first)
            return life
        sent = True
    else:
        sent = False
    return _Relay(left, right, deadlines, idle, lifetime, abort_timeout, over).start(left_first, right_first, sent)


class _Relay:
    """One relay by copying."""

    def __init__(
        self,
        left: Any,
        right: Any,
        deadlines: Deadlines,
        idle: float | None,
        lifetime: float | None,
        abort_timeout: float,
        over: Callable[[RelayOutcome], object],
    ) -> None:
        self.transports: tuple[Any, Any] = (left, right)
        self.gone = [False, False]
        self.input_ended = [False, False]
        self.deadlines = deadlines
        self.abort_timeout = abort_timeout
        self.life = RelayLife(deadlines, idle, lifetime, self.abort, over)

    def start(self, left_first: bytes, right_first: bytes, sent: bool) -> RelayLife:
        # A Stream is known to end one side alone; of other transports only the two ends together are asked for.
        half_close = all(isinstance(transport, Stream) for transport in self.transports)
        sides = [(_HalfClosingSide if half_close else _Side)(self, index) for index in (LEFT, RIGHT)]
        valves = []
        for index, transport in enumerate(self.transports):
            valve = _Valve(transport)
            valves.append(valve)
            other = self.transports[1 - index]
            other.unregisterProducer()
            other.registerProducer(valve, True)
        for side, transport in zip(sides, self.transports, strict=True):
            hand_over(transport, side)
        for index, first in ((LEFT, left_first), (RIGHT, right_first)):
            if first:
                if not sent:
                    self.transports[1 - index].write(first)
                self.life.moved(index, len(first))
        for side, valve, transport in zip(sides, valves, self.transports, strict=True):
            if getattr(transport, "connected", True) is False:
                side.connectionLost(Failure(ConnectionDone()))
            elif getattr(transport, "read_ended", False):
                side.readConnectionLost()
            elif not valve.closed:
                transport.resumeProducing()
        return self.life

    def abort(self) -> None:
        for transport in self.transports:
            transport.abortConnection()

    def close(self, index: int) -> None:
        if not self.gone[index]:
            close(self.transports[index], self.deadlines, self.abort_timeout)


class _Side:
    """What one side receives."""

    def __init__(self, relay: _Relay, index: int) -> None:
        self.relay = relay
        self.index = index
        self.other: Any = relay.transports[1 - index]
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        pass

    def dataReceived(self, data: bytes) -> None:
        self.other.write(data)
        self.relay.life.moved(self.index, len(data))

    def connectionLost(self, reason: Failure) -> None:
        relay = self.relay
        if relay.gone[self.index]:
            return
        relay.gone[self.index] = True
        if not reason.check(ConnectionDone):
            relay.life.broke(self.index)
            return
        self.note_end()
        if all(relay.gone):
            relay.life.over()
        else:
            relay.close(1 - self.index)

    def readConnectionLost(self) -> None:
        """Called by Streams, which see that the other side can be ended alone too."""
        self.note_end()
        self.relay.close(1 - self.index)

    def note_end(self) -> None:
        self.relay.input_ended[self.index] = True
        self.relay.life.ended(self.index)


class _HalfClosingSide(_Side):
    """The same between two plain streams: an end of input ends the other side's output only."""

    def readConnectionLost(self) -> None:
        self.note_end()
        if all(self.relay.input_ended):
            for index in (LEFT, RIGHT):
                self.relay.close(index)
        else:
            self.other.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        pass


class _Valve:
    """Pauses one side while too much of it waits on the other.

    Not the transport itself: that one would be closed, orderly, when its consumer is lost, and a broken connection
    must not end orderly on the other side.
    """

    __slots__ = ("transport", "closed")

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.closed = False

    def pauseProducing(self) -> None:
        self.closed = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.closed = False
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        pass


def hand_over(transport: Any, protocol: IProtocol) -> None:
    """Make `protocol` the one that `transport` speaks to, whatever kind of transport it is."""
    if getattr(transport, "started", True) is False:
        transport.start(protocol)
    elif hasattr(transport, "switch_protocol"):
        transport.switch_protocol(protocol)
    else:  # Twisted's own
        transport.protocol = protocol
        protocol.makeConnection(transport)


# Not by decorators: compiled, decorated classes would be ordinary ones.
classImplements(_Side, IProtocol)
classImplements(_HalfClosingSide, IHalfCloseableProtocol)
classImplements(_Valve, IPushProducer)
