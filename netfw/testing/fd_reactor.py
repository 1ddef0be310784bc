"""A reactor driven by hand: real descriptors, a clock that a test sets. For tests.

In this room: `FdReactor`, IReactorFDSet and IReactorTime in one, which dispatches as Twisted's epoll reactor does,
hang-ups included; its test holds it against the real one. Not here: threads, signals, running.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from time import monotonic
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer


@implementer(IReactorFDSet)
class FdReactor(Clock):
    """`turn()` polls once and dispatches; time passes only by `advance()`."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: dict[int, Any] = {}
        self._writers: dict[int, Any] = {}
        self.failures: list[Failure] = []
        """What descriptors raised."""

    def addReader(self, reader: Any) -> None:
        self._readers.setdefault(_descriptor(reader), reader)

    def addWriter(self, writer: Any) -> None:
        self._writers.setdefault(_descriptor(writer), writer)

    def removeReader(self, reader: Any) -> None:
        _remove(self._readers, reader)

    def removeWriter(self, writer: Any) -> None:
        _remove(self._writers, writer)

    def removeAll(self) -> list[Any]:
        found = list({id(each): each for each in [*self._readers.values(), *self._writers.values()]}.values())
        self._readers.clear()
        self._writers.clear()
        return found

    def getReaders(self) -> list[Any]:
        return list(self._readers.values())

    def getWriters(self) -> list[Any]:
        return list(self._writers.values())

    def turn(self, wait: float = 0.0) -> None:
        """One turn: the calls that are due, then what descriptors have for us within `wait` seconds of real time."""
        self.advance(0)
        poll = select.poll()
        for fd in {*self._readers, *self._writers}:
            flags = (select.POLLIN if fd in self._readers else 0) | (select.POLLOUT if fd in self._writers else 0)
            poll.register(fd, flags)
        for fd, event in poll.poll(wait * 1000):
            # Looked up now, as epoll's reactor does: a descriptor may have changed hands in this very turn.
            selectable = self._readers.get(fd) or self._writers.get(fd)
            if selectable is not None:
                self._dispatch(selectable, fd, event)

    def turn_until(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Turn until the condition holds; AssertionError when it does not within so many seconds of real time."""
        turn_until(self.turn, condition, seconds)

    def settle(self, turns: int = 5) -> None:
        """A few turns more, for what must not happen."""
        for _ in range(turns):
            self.turn(0.001)

    def disconnect_all(self) -> None:
        """What a reactor does when it ends."""
        for selectable in self.removeAll():
            selectable.connectionLost(Failure(ConnectionLost()))

    def _dispatch(self, selectable: Any, fd: int, event: int) -> None:
        problem: BaseException | None = None
        in_read = False
        if event & (select.POLLHUP | select.POLLERR) and not event & select.POLLIN:
            in_read = fd in self._readers
            problem = ConnectionDone() if in_read else ConnectionLost()
        else:
            try:
                if selectable.fileno() == -1:
                    problem = ConnectionLost("no file descriptor")
                else:
                    if event & select.POLLIN:
                        in_read = True
                        problem = selectable.doRead()
                    if not problem and event & select.POLLOUT:
                        in_read = False
                        problem = selectable.doWrite()
            except Exception as raised:
                self.failures.append(Failure())
                problem = raised
        if problem is None:
            return
        self.removeReader(selectable)
        if in_read and isinstance(problem, ConnectionDone) and IHalfCloseableDescriptor.providedBy(selectable):
            selectable.readConnectionLost(Failure(problem))
        else:
            self.removeWriter(selectable)
            selectable.connectionLost(Failure(problem))


def turn_until(turn: Callable[[float], object], condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Turn any reactor, waiting a millisecond at most each time, until the condition holds."""
    end = monotonic() + seconds
    while not condition():
        if monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {condition}")
        turn(0.001)


def _descriptor(selectable: Any) -> int:
    fd = selectable.fileno()
    if fd < 0:
        raise ValueError(f"{selectable!r} has no descriptor")
    return int(fd)


def _remove(table: dict[int, Any], selectable: Any) -> None:
    fd = selectable.fileno()
    if fd == -1:
        fd = next((number for number, other in table.items() if other is selectable), -1)
    table.pop(fd, None)
