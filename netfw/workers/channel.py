"""The channel between the supervisor and a worker: one end of a socket pair in the reactor.

In this room: messages in and out, and its end, told once. Not here: what they mean (`supervisor`, `worker`), their
form (`messages`). Off the data path, so Twisted's own transport carries it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.internet.interfaces import IAddress, IFileDescriptorReceiver
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from netfw.workers.messages import Message, MessageError, MessageReader, to_bytes

_log = Logger()


@implementer(IFileDescriptorReceiver)
class Channel(Protocol):
    """One end. `received` is called for each message; `lost` once, with the reason, when nothing can come any more."""

    transport: Any

    def __init__(
        self,
        known: Iterable[type[Any]],
        limit: int,
        *,
        received: Callable[[Any], None],
        lost: Callable[[str], None],
    ) -> None:
        self._reader = MessageReader(known, limit)
        self._received = received
        self._lost: Callable[[str], None] | None = lost
        self._broken = False
        self._files: list[int] = []

    @property
    def open(self) -> bool:
        """Whether something that is sent can still arrive."""
        return self._lost is not None and not self._broken and bool(self.connected)

    def send(self, message: Message) -> None:
        """Send it; without effect when the channel has ended."""
        self.send_bytes(to_bytes(message))

    def send_bytes(self, data: bytes) -> None:
        """The same for a message that goes to several, printed once."""
        if self.open:
            self.transport.write(data)

    def send_with_files(self, message: Message, descriptors: Sequence[int]) -> None:
        """The same with copies of these descriptors, which stay open here until they have left."""
        if self.open:
            for descriptor in descriptors:
                self.transport.sendFileDescriptor(descriptor)
            self.send(message)

    def take_files(self, count: int) -> list[int]:
        """The next descriptors that came; they are the caller's from now on."""
        taken, self._files = self._files[:count], self._files[count:]
        return taken

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """One came, no later than the message that it belongs to."""
        os.set_inheritable(descriptor, False)
        self._files.append(descriptor)

    def close(self) -> None:
        """Send what waits, then end."""
        if self.connected:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Read on. The other side is ours too: what it cannot have meant ends the channel."""
        if self._broken:
            return
        try:
            messages = self._reader.feed(data)
        except MessageError as error:
            self._broken = True
            _log.error(
                "the channel between supervisor and worker is broken: {error}; if netfw was upgraded under a running "
                "proxy, restart it",
                error=str(error),
            )
            self.transport.abortConnection()
            return
        for message in messages:
            try:
                self._received(message)
            except Exception:
                _log.failure("a {kind} message failed", kind=type(message).__name__)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The other process ended, or closed it."""
        for descriptor in self.take_files(len(self._files)):
            os.close(descriptor)
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(reason.getErrorMessage())


class _OneProtocol(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._protocol


def adopt_channel(reactor: Any, sock: socket.socket, channel: Channel) -> None:
    """Put this end of a socket pair into the reactor, which has it for itself from now on."""
    sock.setblocking(False)
    try:
        reactor.adoptStreamConnection(sock.fileno(), socket.AF_UNIX, _OneProtocol(channel))
    finally:
        sock.close()
