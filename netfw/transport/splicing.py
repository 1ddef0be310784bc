"""Splicing: bytes that a Stream receives and sends without their being copied into the process.

In this room: a part of Stream, which reads into pipes and sends out of them. Not here: the pipes (`pipes`); what waits
to be sent (`unsent`); which bytes nobody needs to look at (the protocol's business); tunnels (`splice`).
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from netfw.transport.pipes import BULK, SHARED, Pipe
from netfw.transport.socket_facts import SocketFacts

_ROUNDS_A_TURN: Final = 4
_COPIED_AT_ONCE: Final = 1 << 16


class Splicing(SocketFacts):
    """A part of Stream."""

    __slots__ = ("bytes_in", "bytes_out", "_to_splice")

    bytes_in: int
    bytes_out: int
    _direct: bool
    _fd: int
    _paused: bool
    disconnecting: bool
    protocol: Any

    def splice_next(self, count: int) -> None:
        """Hand out the next `count` bytes as pipes: to the protocol's `splicedReceived(pipe)`, which hears of no byte
        behind them.

        The protocol writes the pipe (`Stream.write_spliced`) before it returns; what it leaves in there is dropped.
        Where no pipe is to be had some of the bytes come by `dataReceived`. It holds until they have all come, or
        another protocol takes the stream over.
        """
        self._to_splice = count

    def write_spliced(self, pipe: Pipe) -> None:
        """Send what a pipe holds. What the kernel does not take is kept, and the pipe moved for that."""
        if not self._direct:
            self._queue(pipe)
            return
        try:
            self.bytes_out += pipe.drain(self._fd)
        except BlockingIOError:
            pass
        except OSError as problem:
            self._write_failed(problem)
            return
        if pipe.held:
            self._keep(pipe)

    def _read_spliced(self) -> None:
        """What a turn of the reactor reads, while bytes are to be spliced."""
        pipe = SHARED.borrow()
        if type(pipe) is not Pipe:
            for _ in range(_ROUNDS_A_TURN):
                if not self._copy_some():
                    return
            return
        try:
            for _ in range(_ROUNDS_A_TURN):
                try:
                    moved = pipe.fill(self._fd, min(self._to_splice, BULK))
                except BlockingIOError:
                    return
                except OSError as problem:
                    self._close(Failure(ConnectionLost(str(problem))))
                    return
                if not moved:
                    self._input_ended()
                    return
                self.bytes_in += moved
                self._to_splice -= moved
                self.protocol.splicedReceived(pipe)
                if pipe.has_moved or pipe.held or not self._to_splice:
                    return
                if self._paused or self._fd < 0 or self.disconnecting:
                    return
        finally:
            if not pipe.has_moved:
                SHARED.give_back(pipe)

    def _copy_some(self) -> bool:
        """No descriptor is left for a pipe. Whether more may be there now."""
        try:
            data = self._sock.recv(min(self._to_splice, _COPIED_AT_ONCE))
        except BlockingIOError:
            return False
        except OSError as problem:
            self._close(Failure(ConnectionLost(str(problem))))
            return False
        if not data:
            self._input_ended()
            return False
        self.bytes_in += len(data)
        self._to_splice -= len(data)
        self.protocol.dataReceived(data)
        return self._to_splice > 0 and not (self._paused or self._fd < 0 or self.disconnecting)

    # What is in `stream`.

    def _close(self, outcome: Failure) -> None:
        raise NotImplementedError

    def _input_ended(self) -> None:
        raise NotImplementedError

    def _keep(self, data: Any) -> None:
        raise NotImplementedError

    def _queue(self, data: Any) -> None:
        raise NotImplementedError

    def _write_failed(self, problem: OSError) -> None:
        raise NotImplementedError
