"""Asking every worker for something, and joining what they answer.

In this room: who was asked, and what has come. Not here: figures for the status, which every worker gives all the time
(`gathering`), and the pool (`supervisor`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed

from netfw.transport.deadlines import Deadline, Deadlines
from netfw.workers.child import Child


@dataclass(slots=True)
class _Question:
    waiting: set[Child]
    done: Deferred[list[dict[str, Any]]]
    deadline: Deadline
    rows: list[dict[str, Any]] = field(default_factory=list)


class Asking:
    """Questions under way, by their serial numbers."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._serial = 0
        self._questions: dict[int, _Question] = {}

    def ask(
        self, children: Iterable[Child], say: Callable[[Child, int], object], patience: float
    ) -> Deferred[list[dict[str, Any]]]:
        """A Deferred of the rows of all, each with its worker's number; after `patience` seconds of those that came:
        one that hangs must not hide others. `say` sends a child the question, whose serial number its answer has.
        """
        waiting = set(children)
        if not waiting:
            return succeed([])
        self._serial += 1
        serial = self._serial
        deadline = self._deadlines.start(patience, self._end, serial)
        question = self._questions[serial] = _Question(waiting, Deferred(), deadline)
        for child in tuple(waiting):
            say(child, serial)
        return question.done

    def answered(self, child: Child, serial: int, rows: Any = ()) -> None:
        """It has said what it had to say."""
        question = self._questions.get(serial)
        if question is None or child not in question.waiting:
            return
        if isinstance(rows, list):
            question.rows += [{"worker": child.number, **row} for row in rows if isinstance(row, dict)]
        self._without(serial, child)

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
            question.done.callback(question.rows)
