"""Pipes: bytes on their way through the kernel (splice(2)) from one socket to another, and the pool of them.

In this room: what holds bytes between two sockets without their being copied into the process. Not here: who moves
them: `splice` for tunnels, `splicing` and `unsent` for what a Stream receives and sends.

A pipe is borrowed only while bytes are in flight, so whoever is idle owns none, and the kernel's limit on the memory of
pipes (64 MiB for a user that is not root) is shared by those that move something right now.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

AVAILABLE = hasattr(os, "splice") and hasattr(os, "pipe2")
"""Whether this platform has it: Linux. Where it does not, bytes are copied."""

BULK: Final = 1 << 19
"""How much is taken from a socket at once."""
_FLAGS: Final = 1 | 2  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK, which os names only since Python 3.14
_F_SETPIPE_SZ: Final = 1031
_LARGE_PIPE: Final = 1 << 20


class Pipe:
    """Bytes in flight in the kernel; `held` is how many."""

    __slots__ = ("reader", "writer", "held")

    def __init__(self, reader: int, writer: int) -> None:
        self.reader = reader
        self.writer = writer
        self.held = 0

    def __len__(self) -> int:
        return self.held

    def fill(self, fd: int, most: int = BULK) -> int:
        """Take what a socket has, but no more than so much; 0 at its end. Raises BlockingIOError when it has nothing
        now.
        """
        moved = os.splice(fd, self.writer, most, flags=_FLAGS)
        self.held += moved
        return moved

    def drain(self, fd: int) -> int:
        """Give a socket what it takes. Raises BlockingIOError when it takes nothing now."""
        moved = os.splice(self.reader, fd, self.held, flags=_FLAGS)
        self.held -= moved
        return moved

    def move(self) -> Pipe:
        """The same as another object, for who keeps it; this one `has_moved`, and is nothing any more."""
        moved = Pipe(self.reader, self.writer)
        moved.held = self.held
        self.reader = self.writer = -1
        self.held = 0
        return moved

    @property
    def has_moved(self) -> bool:
        """Whether somebody else keeps it."""
        return self.reader < 0

    def close(self) -> None:
        """Drop what it holds."""
        os.close(self.reader)
        os.close(self.writer)


class Buffer:
    """The same in the process's memory, for when there is no descriptor left for a pipe."""

    __slots__ = ("data", "held")

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.held = len(data)

    def fill(self, fd: int) -> int:
        """As `Pipe.fill`; only called when it is empty."""
        self.data = os.read(fd, 1 << 16)
        self.held = len(self.data)
        return self.held

    def drain(self, fd: int) -> int:
        """As `Pipe.drain`."""
        moved = os.write(fd, self.data)
        self.data = self.data[moved:]
        self.held -= moved
        return moved

    def close(self) -> None:
        """Drop what it holds."""
        self.data = b""


class PipePool:
    """Empty pipes to borrow. It keeps no more than `capacity`; no more than `large` of all are made large."""

    def __init__(self, capacity: int = 64, large: int = 32) -> None:
        self._idle: list[Pipe] = []
        self._capacity = capacity
        self._may_be_large = large

    def __len__(self) -> int:
        """How many are idle."""
        return len(self._idle)

    def borrow(self) -> Pipe | Buffer:
        """An empty pipe, or a buffer when there is no descriptor for one."""
        if self._idle:
            return self._idle.pop()
        try:
            reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return Buffer()
        if self._may_be_large > 0:
            self._may_be_large -= 1
            try:
                fcntl.fcntl(writer, _F_SETPIPE_SZ, _LARGE_PIPE)
            except OSError:  # EPERM: this user's pipes hold as much memory as they may; the usual size does too
                self._may_be_large = 0
        return Pipe(reader, writer)

    def give_back(self, pipe: Pipe | Buffer) -> None:
        """An empty pipe is kept; one that holds bytes, of a relay that was cut, is closed."""
        idle = self._idle
        if not pipe.held and len(idle) < self._capacity and isinstance(pipe, Pipe):
            idle.append(pipe)
        else:
            pipe.close()

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle:
            self._idle.pop().close()


SHARED: Final = PipePool()
"""The process's own."""
