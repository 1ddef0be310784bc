"""Histograms count what was observed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netfw.telemetry.histogram import SECONDS, Histogram


def test_bounds_are_inclusive() -> None:
    """A value that equals a bound is within it."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2), ("2.0", 4), ("+Inf", 5)]
    assert histogram.total == 7.5


@given(st.lists(st.floats(0, 100, allow_nan=False)))
def test_buckets_are_cumulative(values: list[float]) -> None:
    """Each bucket holds exactly the values up to its bound; the last holds all."""
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    for bound, (_, count) in zip(SECONDS, histogram.buckets(), strict=False):
        assert sum(value <= bound for value in values) == count
    assert histogram.buckets()[-1] == ("+Inf", len(values))
