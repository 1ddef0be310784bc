"""How long to wait before a worker that ended is replaced. PURE.

The first replacement comes at once, near enough; one that keeps ending is tried ever more rarely, so that it costs
neither a core nor the log.
"""

from __future__ import annotations

FIRST = 0.1
LONGEST = 5.0
LONG_LIFE = 30.0
"""After so many seconds of life the next wait is the first one again."""


class BackOff:
    """The waits of one place in the pool."""

    def __init__(self) -> None:
        self._next = FIRST

    def after(self, lived: float) -> float:
        """Seconds to wait now that a worker ended that had lived so long."""
        if lived >= LONG_LIFE:
            self._next = FIRST
        wait, self._next = self._next, min(self._next * 2, LONGEST)
        return wait
