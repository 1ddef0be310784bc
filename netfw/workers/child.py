"""One worker, as the supervisor sees it: the process, its channel, its output, and how far it is.

In this room: `Child`, from `spawn` to its end. Not here: which children there should be (`supervisor`), and what the
process itself does (`worker`, `service.worker_process`).

What the process logs comes through a pipe and is told here, in the supervisor's log; what it writes to standard output
is whole lines of records, when those go to standard output.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from netfw.workers.channel import Channel, adopt_channel
from netfw.workers.messages import FROM_WORKER, LIMIT_FROM_WORKER, Drain, FromWorker, ToWorker
from netfw.workers.tally import Figures

CHANNEL_DESCRIPTOR = 3
FIRST_DESCRIPTOR = 4
"""From here on, what a child is given: listening sockets, then files with listeners' certificates."""
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_LONGEST_LINE = 1 << 20
_log = Logger()


class ChildState(Enum):
    """How far it is. Only SERVING accepts connections, and DRAINING finishes what it has."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    ENDED = "ended"


class ChildOwner(Protocol):
    """Who is told."""

    def received(self, child: Child, message: FromWorker) -> None:
        """It said something."""

    def ended(self, child: Child, reason: str) -> None:
        """Its process is no more, and nothing more will come from it."""

    def printed(self, line: bytes) -> None:
        """It wrote this line, newline included, to standard output."""


@dataclass(frozen=True, slots=True)
class Program:
    """What is run, with which arguments, environment and descriptors (from `FIRST_DESCRIPTOR` on)."""

    executable: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


class Child(ProcessProtocol):
    """`silent` counts the supervisor's ticks since the last message; `figures` are its last words."""

    def __init__(self, number: int, owner: ChildOwner, now: Callable[[], float]) -> None:
        self.number = number
        self.pid: int | None = None
        self.state = ChildState.STARTING
        self.heard = False
        self.silent = 0
        self.started = now()
        self.sent: int | None = None
        self.prepared: int | None = None
        self.told_to_swap: int | None = None
        self.swapped: int | None = None
        self.generation: int | None = None
        self.figures: Figures | None = None
        self._owner = owner
        self._lines = {_STDOUT: _Lines(self._printed), _STDERR: _Lines(self._logged)}
        self._channel = Channel(FROM_WORKER, LIMIT_FROM_WORKER, received=self._received, lost=lambda _: None)

    def __repr__(self) -> str:
        return f"<Child {self.number} pid {self.pid} {self.state.value}>"

    @property
    def stays(self) -> bool:
        """Whether it serves or is about to."""
        return self.state in (ChildState.STARTING, ChildState.SERVING)

    def spawn(self, reactor: Any, program: Program, descriptors: Sequence[int]) -> None:
        """Start the process. Raises OSError."""
        ours, theirs = socket.socketpair()
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            given: dict[int, Any] = {_STDIN: nothing, _STDOUT: "r", _STDERR: "r", CHANNEL_DESCRIPTOR: theirs.fileno()}
            given.update(enumerate(descriptors, FIRST_DESCRIPTOR))
            adopt_channel(reactor, ours, self._channel)
            process = reactor.spawnProcess(
                self, program.executable, list(program.arguments), env=dict(program.environment), childFDs=given
            )
            self.pid = process.pid
        except BaseException:
            self.state = ChildState.ENDED
            self._channel.close()
            raise
        finally:
            theirs.close()
            os.close(nothing)

    def send(self, message: ToWorker) -> None:
        """Send it; without effect when the channel has ended."""
        self._channel.send(message)

    def send_bytes(self, data: bytes) -> None:
        """The same for a message that is printed already."""
        self._channel.send_bytes(data)

    def send_with_files(self, message: ToWorker, descriptors: Sequence[int]) -> None:
        """The same with copies of these descriptors."""
        self._channel.send_with_files(message, descriptors)

    def drain(self, seconds: float) -> None:
        """Let it finish what it has, and end."""
        if self.state is not ChildState.ENDED:
            self.state = ChildState.DRAINING
            self.send(Drain(seconds))

    def kill(self) -> None:
        """End it now."""
        if self.state is not ChildState.ENDED and self.pid is not None:
            try:
                # Not yet reaped, so the number is still its own.
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It wrote to standard output or standard error."""
        self._lines[childFD].take(data)

    def processEnded(self, reason: Failure) -> None:
        """It is gone, and its pipes are empty."""
        for lines in self._lines.values():
            lines.end()
        self.state = ChildState.ENDED
        self._channel.close()
        self._owner.ended(self, reason.getErrorMessage())

    def _received(self, message: FromWorker) -> None:
        self.heard = True
        self.silent = 0
        self._owner.received(self, message)

    def _printed(self, line: bytes) -> None:
        self._owner.printed(line)

    def _logged(self, line: bytes) -> None:
        text = line.rstrip(b"\n").decode("utf-8", "replace")
        _log.info("worker {number}: {text}", number=self.number, text=text)


class _Lines:
    """Bytes in, whole lines out; a line without an end, or one that never ends, is dropped."""

    def __init__(self, whole: Callable[[bytes], None]) -> None:
        self._whole = whole
        self._rest = b""

    def take(self, data: bytes) -> None:
        # Not splitlines(): a record may hold a carriage return.
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            self._rest = b""
        for line in lines:
            self._whole(line + b"\n")

    def end(self) -> None:
        self._rest = b""
