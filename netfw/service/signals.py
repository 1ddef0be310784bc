"""Signals, handed to the reactor's thread, and given back at the end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any


class Signals:
    """What a service does on signals while it runs."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._former: dict[int, Any] = {}

    def take(self, number: int, react: Callable[[], object]) -> None:
        """Call `react` in the reactor's thread whenever this signal comes."""

        def caught(_number: int, _frame: Any) -> None:
            self._reactor.callFromThread(react)

        try:
            self._former.setdefault(number, signal.signal(number, caught))
        except ValueError:
            pass  # not the main thread: a test runs the service; signals are for the process

    def give_back(self) -> None:
        """As it was before."""
        for number, former in self._former.items():
            signal.signal(number, former)
        self._former.clear()
