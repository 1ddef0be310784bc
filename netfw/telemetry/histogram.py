"""A histogram for the hot path: a few comparisons and two additions an observation. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

# Loopback answers and long downloads alike: half a millisecond to a minute.
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """Counts observations by upper bound (a value that equals a bound is within it), and adds them up."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        # Most values are small, and compiled, looking at a few bounds in turn costs less than calling for a bisection.
        place = 0
        for bound in self._bounds:
            if value <= bound:
                break
            place += 1
        self._counts[place] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, int]]:
        """Cumulative counts by bound, as Prometheus wants them; the last bound is `+Inf`."""
        names = [*(str(bound) for bound in self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))
