"""Asking every worker for rows, and joining what they answer.

In this room: who was asked, and what has come. Not here: figures for the status, which every worker gives all the time
(`gathering`), and the pool (`supervisor`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed

from netfw.transport.deadlines import Deadline, Deadlines
from netfw.workers.child import Child
from netfw.workers.messages import Connections, ConnectionsReply

PATIENCE = 2.0
"""A worker that hangs must not hide the others."""


@dataclass(slots=True)
class _Question:
    waiting: set[Child]
    most: int
    done: Deferred[list[dict[str, Any]]]
    deadline: Deadline
    rows: list[dict[str, Any]] = field(default_factory=list)


class Asking:
    """Questions under way, by their serial numbers."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._serial = 0
        self._questions: dict[int, _Question] = {}

    def connections(self, children: Iterable[Child], most: int) -> Deferred[list[dict[str, Any]]]:
        """A Deferred of the rows of all, each with its worker's number."""
        waiting = set(children)
        if not waiting:
            return succeed([])
        self._serial += 1
        serial = self._serial
        deadline = self._deadlines.start(PATIENCE, self._end, serial)
        question = self._questions[serial] = _Question(waiting, most, Deferred(), deadline)
        for child in tuple(waiting):
            child.send(Connections(serial, most))
        return question.done

    def answered(self, child: Child, reply: ConnectionsReply) -> None:
        """It has said who is connected."""
        question = self._questions.get(reply.serial)
        if question is None or child not in question.waiting:
            return
        if isinstance(reply.rows, list):
            question.rows += [{"worker": child.number, **row} for row in reply.rows if isinstance(row, dict)]
        self._without(reply.serial, child)

    def gone(self, child: Child) -> None:
        """It will not answer any more."""
        for serial in list(self._questions):
            self._without(serial, child)

    def _without(self, serial: int, child: Child) -> None:
        question = self._questions[serial]
        question.waiting.discard(child)
        if not question.waiting:
            self._end(serial)

    def _end(self, serial: int) -> None:
        question = self._questions.pop(serial, None)
        if question is not None:
            question.deadline.cancel()
            question.done.callback(question.rows[: question.most])
