"""What the process says of itself: the dict behind `/status`, `/healthz` and `/readyz`.

Ready is what is in state READY and passes every check; each check is named in what `/readyz` answers.

It asks others when somebody looks, and keeps nothing but what only it knows: when it started, how far it is, and how
the last reload ended. The rest is wired in by `service.assembly`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Protocol

from netfw import __version__


class State(Enum):
    """How far the process is. Only READY takes new traffic."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


Check = Callable[[], tuple[bool, str]]
"""Is it so, and what there is to say about it."""


class StatusSource(Protocol):
    """What the admin surface asks. `status()["state"]` is one of `State`'s values, `status()["checks"]` the rows of
    `ProcessStatus.checks`.
    """

    def status(self) -> dict[str, Any]:
        """Everything there is to say, ready for JSON."""


class ProcessStatus:
    """A `StatusSource` made of parts: each part gives its members when it is asked.

    `now` is the wall clock. A part that fails is left out and named in `problems`: the status must not be the first
    thing that breaks.
    """

    def __init__(self, *, name: str, now: Callable[[], float]) -> None:
        self._name = name
        self._now = now
        self._started = now()
        self._parts: dict[str, Callable[[], Any]] = {}
        self._checks: dict[str, Check] = {}
        self._last_reload: dict[str, Any] | None = None
        self.state = State.STARTING

    def part(self, name: str, value: Callable[[], Any]) -> None:
        """Show this member: `generation`, `listeners`, `connections`, `records`, `ca_not_after`, ..."""
        self._parts[name] = value

    def check(self, name: str, check: Check) -> None:
        """Be ready only while this holds."""
        self._checks[name] = check

    def checks(self) -> list[dict[str, Any]]:
        """Every check as a row: `check`, `ok`, `says`. One that breaks does not hold."""
        rows = []
        for name, check in self._checks.items():
            try:
                ok, says = check()
            except Exception as error:
                ok, says = False, f"cannot be told: {type(error).__name__}"
            rows.append({"check": name, "ok": ok, "says": says})
        return rows

    @property
    def ready(self) -> bool:
        """Whether new traffic belongs here."""
        return self.state is State.READY and all(row["ok"] for row in self.checks())

    def reloaded(self, result: Mapping[str, Any]) -> None:
        """Keep how a reload ended."""
        self._last_reload = {**result, "at": int(self._now())}

    def status(self) -> dict[str, Any]:
        """See `StatusSource`."""
        members: dict[str, Any] = {
            "name": self._name,
            "version": __version__,
            "state": self.state.value,
            "pid": os.getpid(),
            "uptime_seconds": int(self._now() - self._started),
            "checks": self.checks(),
        }
        problems = []
        for name, value in self._parts.items():
            try:
                members[name] = value()
            except Exception as error:
                problems.append(f"{name}: {type(error).__name__}")
        if self._last_reload is not None:
            members["last_reload"] = self._last_reload
        if problems:
            members["problems"] = problems
        return members
