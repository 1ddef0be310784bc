"""Unsent: bytes that the kernel did not take yet, in order.

In this room: keeping them, and offering them again. Not here: when to offer, and whom to pause meanwhile (`stream`).
"""

from __future__ import annotations

import socket
from collections import deque
from itertools import islice, takewhile
from typing import Any, Final

from netfw.transport.pipes import SHARED, Pipe

PARTS_A_WRITE: Final = 64
"""How many pieces one sendmsg takes; the kernel's own limit is 1024."""


class Unsent:
    """A queue of pieces, which are bytes or pipes that hold some; `size` is how many bytes they are in all."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        # Most connections never need it, and an empty deque is larger than all the rest of an idle connection.
        self._parts: deque[Any] | None = None
        self.size = 0

    def keep(self, data: Any) -> None:
        """Put a piece at the end. What the caller may still change is copied; bytes, and views of them, are not.

        A pipe is moved, and goes back to its pool when it is empty.
        """
        if type(data) is Pipe:
            data = data.move()
        elif type(data) is not bytes and not (type(data) is memoryview and type(data.obj) is bytes):
            data = bytes(data)
        if self._parts is None:
            self._parts = deque()
        self._parts.append(data)
        self.size += len(data)

    def send(self, sock: socket.socket) -> int:
        """Offer the first pieces to the kernel once; returns how many bytes it took. Raises OSError.

        Not to be called when there is nothing to send.
        """
        parts = self._parts
        assert parts
        first = parts[0]
        if type(first) is Pipe:
            return self._drain(first, sock)
        if len(parts) == 1:
            sent = sock.send(first)
        else:
            sent = sock.sendmsg(list(takewhile(_is_in_memory, islice(parts, PARTS_A_WRITE))))
        self.size -= sent
        left = sent
        while left:
            size = len(parts[0])
            if left < size:
                parts[0] = memoryview(parts[0])[left:]
                break
            left -= size
            parts.popleft()
        if not parts:
            self._parts = None
        return sent

    def _drain(self, pipe: Pipe, sock: socket.socket) -> int:
        sent = pipe.drain(sock.fileno())
        self.size -= sent
        if not pipe.held:
            parts = self._parts
            assert parts
            parts.popleft()
            SHARED.give_back(pipe)
            if not parts:
                self._parts = None
        return sent

    def clear(self) -> None:
        """Drop all."""
        parts, self._parts = self._parts, None
        self.size = 0
        for part in parts or ():
            if type(part) is Pipe:
                SHARED.give_back(part)


def _is_in_memory(part: Any) -> bool:
    return type(part) is not Pipe
