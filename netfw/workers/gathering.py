"""Asking every worker how it is, at once, and waiting for the answers a little.

In this room: who was asked and has not answered. Not here: what the answers say (`tally`), and the pool (`supervisor`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twisted.internet.defer import Deferred, succeed

from netfw.transport.deadlines import Deadline, Deadlines
from netfw.workers.child import Child
from netfw.workers.messages import Status

PATIENCE = 1.0
"""A worker that hangs must not hide the others: its last words stand in."""


@dataclass(slots=True)
class _Round:
    serial: int
    waiting: set[Child]
    done: Deferred[None]
    deadline: Deadline


class Gathering:
    """Rounds of questions; those who ask while one runs get a round of their own, since its answers may be older."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._serial = 0
        self._rounds: list[_Round] = []

    def ask(self, child: Child) -> None:
        """Ask one, and wait for nothing."""
        self._serial += 1
        child.send(Status(self._serial))

    def ask_all(self, children: Iterable[Child]) -> Deferred[None]:
        """Ask them all; fires when all have answered or ended, or when it is time."""
        waiting = set(children)
        if not waiting:
            return succeed(None)
        self._serial += 1
        done: Deferred[None] = Deferred()
        deadline = self._deadlines.start(PATIENCE, self._end, done)
        self._rounds.append(_Round(self._serial, waiting, done, deadline))
        for child in tuple(waiting):
            child.send(Status(self._serial))
        return done

    def answered(self, child: Child, serial: int) -> None:
        """It has answered this question, and with it all earlier ones."""
        for asked in list(self._rounds):
            if serial >= asked.serial:
                asked.waiting.discard(child)
                if not asked.waiting:
                    self._end(asked.done)

    def gone(self, child: Child) -> None:
        """It will not answer any more."""
        self.answered(child, self._serial)

    def _end(self, done: Deferred[None]) -> None:
        for asked in [asked for asked in self._rounds if asked.done is done]:
            self._rounds.remove(asked)
            asked.deadline.cancel()
            done.callback(None)
