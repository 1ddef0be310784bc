"""Unsent: bytes that the kernel did not take yet, in order.

In this room: keeping them, and offering them again. Not here: when to offer, and whom to pause meanwhile (`stream`).
"""

from __future__ import annotations

import socket
from collections import deque
from itertools import islice
from typing import Any

PARTS_A_WRITE = 64
"""How many pieces one sendmsg takes; the kernel's own limit is 1024."""


class Unsent:
    """A queue of pieces; `size` is how many bytes they are in all."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        # Most connections never need it, and an empty deque is larger than all the rest of an idle connection.
        self._parts: deque[Any] | None = None
        self.size = 0

    def keep(self, data: Any) -> None:
        """Put a piece at the end. What the caller may still change is copied; bytes, and views of them, are not."""
        if type(data) is not bytes and not (type(data) is memoryview and type(data.obj) is bytes):
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
        if len(parts) == 1:
            sent = sock.send(parts[0])
        else:
            sent = sock.sendmsg(list(islice(parts, PARTS_A_WRITE)))
        self.size -= sent
        left = sent
        while left:
            first = len(parts[0])
            if left < first:
                parts[0] = memoryview(parts[0])[left:]
                break
            left -= first
            parts.popleft()
        if not parts:
            self._parts = None
        return sent

    def clear(self) -> None:
        """Drop all."""
        self._parts = None
        self.size = 0
