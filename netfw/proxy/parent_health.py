"""Whether a parent proxy is up, by what became of the connections to it. No I/O: the clock is given.

In this room: counting failures and successes in a row. Not here: checking (`parent_checks`), and which parent is asked
(`ways`).
"""

from __future__ import annotations

from collections.abc import Callable

from netfw.config.way_model import HealthSection


class ParentHealth:
    """It begins up: nothing speaks against it. `seconds` is a monotonic clock, `changed` hears (is it up, why)."""

    def __init__(
        self, section: HealthSection, seconds: Callable[[], float], changed: Callable[[bool, str], object]
    ) -> None:
        self._section = section
        self._seconds = seconds
        self._changed = changed
        self._failures = 0
        self._successes = 0
        self._tried_at = 0.0
        self.is_up = True
        self.since = seconds()
        """When it went up or down last, by the clock."""
        self.problem = ""
        """What the last failure was; empty after a success."""

    def may_try(self) -> bool:
        """Whether an exchange may go there: it is up, or nobody checks it and it has been let alone for long enough.

        In the second case only the one who asks tries; others wait for what comes of that, or as long again.
        """
        if self.is_up:
            return True
        now = self._seconds()
        if self._section.interval or now - self._tried_at < self._section.retry:
            return False
        self._tried_at = now
        return True

    def failed(self, problem: str) -> None:
        """A connection was not made, or was of no use."""
        self.problem = problem
        self._successes = 0
        self._failures += 1
        self._tried_at = self._seconds()
        if self.is_up and self._failures >= self._section.fall:
            self._turn(False, problem)

    def worked(self) -> None:
        """It did what it was asked."""
        self.problem = ""
        self._failures = 0
        if self.is_up:
            return
        self._successes += 1
        if self._successes >= self._section.rise or not self._section.interval:
            self._turn(True, "")

    def _turn(self, up: bool, why: str) -> None:
        self.is_up = up
        self.since = self._seconds()
        self._successes = self._failures = 0
        self._changed(up, why)
