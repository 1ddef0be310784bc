"""The data path's descriptors, watched by an epoll of their own inside the reactor's.

For each event of a descriptor Twisted's reactor makes a logging context and five calls around the one that matters; for
a tunnel, which is ten events long, that and registering were a sixth of its cost. An epoll can be watched by another:
the reactor sees one descriptor, ours, and what is ready behind it is dispatched here, as the reactor would do it.

In this room: `DescriptorSet`, an IReactorFDSet, and `descriptor_set`, which gives the reactor itself where the platform
has no epoll; `replace` and `leave`, for what costs system calls when it is said by the methods of IReactorFDSet. Not
here: time, threads, signals: the reactor's.
"""

from __future__ import annotations

import select
from typing import Any, Final

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import classImplements

# So many events at once, and so often a turn of the reactor: its timers and other descriptors come in between.
_AT_ONCE: Final = 64
_ROUNDS: Final = 4
_HAS_EPOLL = hasattr(select, "epoll")
# Linux's own numbers (epoll_ctl(2)): `select` names them only where there is an epoll.
_IN: Final = 1
_OUT: Final = 4
_GONE: Final = 8 | 16
_log = Logger()


def descriptor_set(reactor: Any) -> Any:
    """What the data path gives its descriptors to."""
    return DescriptorSet(reactor) if _HAS_EPOLL else reactor


def replace(reactor: Any, reader: Any, successor: Any) -> None:
    """Watch for reading `successor` instead of `reader`, which has the same descriptor and is watched."""
    if isinstance(reactor, DescriptorSet):
        reactor.replace_reader(reader, successor)
    else:
        reactor.removeReader(reader)
        reactor.addReader(successor)


def leave(reactor: Any, selectable: Any) -> None:
    """Watch this one no more, in any way. Its descriptor has to be closed before anything else is opened."""
    if isinstance(reactor, DescriptorSet):
        reactor.forget(selectable)
    else:
        reactor.removeReader(selectable)
        reactor.removeWriter(selectable)


class DescriptorSet:
    """Watches readers and writers. In the reactor only while there are any.

    The epoll is made when the first one comes: after a daemon has left its parent.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor: Any = reactor
        self._epoll: Any = None
        self._fd = -1
        self._readers: dict[int, Any] = {}
        self._writers: dict[int, Any] = {}
        self._fresh: set[int] = set()
        self.seconds: Any = reactor.seconds
        self.callLater: Any = reactor.callLater
        """The reactor's, as `seconds` is, for descriptors that have nobody else to ask."""

    def __repr__(self) -> str:
        return f"<DescriptorSet: {len(self._readers)} readers, {len(self._writers)} writers>"

    # IReactorFDSet

    def addReader(self, reader: Any) -> None:
        fd: int = reader.fileno()
        if fd not in self._readers:
            self._watch(fd, _IN, _OUT if fd in self._writers else 0)
            self._readers[fd] = reader

    def addWriter(self, writer: Any) -> None:
        fd: int = writer.fileno()
        if fd not in self._writers:
            self._watch(fd, _OUT, _IN if fd in self._readers else 0)
            self._writers[fd] = writer

    def removeReader(self, reader: Any) -> None:
        fd = _take_out(self._readers, reader)
        if fd >= 0:
            self._ignore(fd, _OUT if fd in self._writers else 0)

    def removeWriter(self, writer: Any) -> None:
        fd = _take_out(self._writers, writer)
        if fd >= 0:
            self._ignore(fd, _IN if fd in self._readers else 0)

    def replace_reader(self, reader: Any, successor: Any) -> None:
        """See `replace`. The kernel knows descriptors only, and nothing changes for it."""
        fd: int = reader.fileno()
        if self._readers.get(fd) is reader:
            self._readers[fd] = successor
        else:
            self.addReader(successor)

    def forget(self, selectable: Any) -> None:
        """See `leave`. What is closed leaves an epoll by itself, and that is a system call less for each connection."""
        readers, writers = self._readers, self._writers
        fd: int = selectable.fileno()
        if readers.get(fd) is selectable:
            del readers[fd]
        if writers.get(fd) is selectable:
            del writers[fd]
        if not readers and not writers:
            self._reactor.removeReader(self)

    def removeAll(self) -> list[Any]:
        found = list({id(each): each for each in (*self._readers.values(), *self._writers.values())}.values())
        for each in found:
            self.removeReader(each)
            self.removeWriter(each)
        return found

    def getReaders(self) -> list[Any]:
        return list(self._readers.values())

    def getWriters(self) -> list[Any]:
        return list(self._writers.values())

    def _watch(self, fd: int, event: int, other: int) -> None:
        if other:
            self._epoll.modify(fd, event | other)
            return
        if not self._readers and not self._writers:
            if self._epoll is None:
                self._epoll = select.epoll()
                self._fd = self._epoll.fileno()
            self._reactor.addReader(self)
        self._epoll.register(fd, event)
        self._fresh.add(fd)

    def _ignore(self, fd: int, other: int) -> None:
        try:
            if other:
                self._epoll.modify(fd, other)
            else:
                self._epoll.unregister(fd)
        except OSError:
            pass  # closed before it was taken out: the kernel has done it
        if not self._readers and not self._writers:
            self._reactor.removeReader(self)

    # IReadDescriptor: the reactor's side

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "data path"

    def doRead(self) -> None:
        """Something is ready. What came while that was dealt with is dealt with too: asking again costs a fifth of a
        turn of the reactor, and where there is much to do there often is something.
        """
        for _ in range(_ROUNDS):
            events = self._epoll.poll(0, _AT_ONCE)
            if not events:
                return
            self._dispatch(events)

    def _dispatch(self, events: list[tuple[int, int]]) -> None:
        """One after the other, each by itself: what one raises ends that one."""
        readers, writers, fresh = self._readers, self._writers, self._fresh
        fresh.clear()
        for fd, event in events:
            # Looked up now, for it may have been taken out in this very turn; and what was said of a descriptor before
            # its number was given to another connection is not for that one. If it holds, it is said again.
            selectable = readers.get(fd) or writers.get(fd)
            if selectable is None or fd in fresh:
                continue
            in_read = True
            problem: Any
            try:
                if event == _IN:  # nearly all
                    problem = selectable.doRead()
                elif event & _GONE and not event & _IN:
                    in_read = fd in readers
                    problem = ConnectionDone() if in_read else ConnectionLost()
                else:
                    problem = selectable.doRead() if event & _IN else None
                    if event & _OUT and not problem:
                        in_read = False
                        problem = selectable.doWrite()
            except Exception as raised:
                _log.failure("{selectable!r} failed", selectable=selectable)
                problem = raised
            if problem:
                self._disconnect(selectable, problem, in_read)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends: so does everything here."""
        for each in self.removeAll():
            try:
                each.connectionLost(reason)
            except Exception:
                _log.failure("{selectable!r} failed", selectable=each)

    def _disconnect(self, selectable: Any, problem: BaseException, in_read: bool) -> None:
        try:
            self.removeReader(selectable)
            if in_read and isinstance(problem, ConnectionDone) and IHalfCloseableDescriptor.providedBy(selectable):
                selectable.readConnectionLost(Failure(problem))
            else:
                self.removeWriter(selectable)
                selectable.connectionLost(Failure(problem))
        except Exception:
            _log.failure("{selectable!r} failed", selectable=selectable)


# Not by a decorator: compiled, a decorated class would be an ordinary one.
classImplements(DescriptorSet, IReactorFDSet, IReadDescriptor)


def _take_out(table: dict[int, Any], selectable: Any) -> int:
    fd: int = selectable.fileno()
    if fd == -1:
        # Closed before it was taken out.
        fd = next((number for number, other in table.items() if other is selectable), -1)
    if table.get(fd) is not selectable:
        return -1
    del table[fd]
    return fd
