"""Counters of several processes as one: sums, and nothing of another process believed unread."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.telemetry.metrics import Metrics
from netfw.telemetry.metrics_merge import (
    ExportError,
    Families,
    MergedMetrics,
    add_families,
    export,
    growing,
    read_export,
)


def counted(tunnels: int, refusals: int = 0, seconds: tuple[float, ...] = ()) -> Metrics:
    """A process that has counted this."""
    metrics = Metrics()
    for _ in range(tunnels):
        metrics.tunnel_opened()
    for _ in range(refusals):
        metrics.refused("draining")
    for value in seconds:
        metrics.dns_lookup("ok", value)
    metrics.watch("netfw_open_connections", lambda: tunnels)
    return metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """What is printed, but for what the process itself is."""
    lines = [line for line in metrics.render().decode().splitlines() if line.startswith("netfw_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def merged(*processes: Families) -> dict[str, float]:
    """With the supervisor's own."""
    return samples(MergedMetrics(lambda: processes))


def test_what_several_count_is_added() -> None:
    """Counters, gauges and histograms; labels keep their words apart."""
    got = merged(read_export(export(counted(2, 3, (0.002, 0.2)))), read_export(export(counted(5, 0, (0.2,)))))
    assert got["netfw_connect_tunnels_opened_total"] == 7
    assert got["netfw_connect_tunnels"] == 7
    assert got["netfw_open_connections"] == 7
    assert got['netfw_client_connections_refused_total{reason="draining"}'] == 3
    assert got['netfw_dns_lookup_duration_seconds_count{result="ok"}'] == 3
    assert got['netfw_dns_lookup_duration_seconds_bucket{le="0.0025",result="ok"}'] == 1


def test_without_others_nothing_changes() -> None:
    """The same as one process prints."""
    assert merged() == samples(Metrics())


@given(st.lists(st.integers(0, 50), max_size=5))
def test_sums_are_exact(counts: list[int]) -> None:
    """Whatever the number of processes."""
    families = [read_export([["netfw_x", "X.", "counter", [["netfw_x_total", [], count]]]]) for count in counts]
    assert merged(*families).get("netfw_x_total", 0) == sum(counts)


def test_what_the_dead_counted_stays_and_what_they_had_open_does_not() -> None:
    """Histograms stay too."""
    gone: Families = {}
    for tunnels in (2, 3):
        add_families(gone, growing(read_export(export(counted(tunnels, 1, (0.1,))))))
    assert "netfw_open_connections" not in gone
    got = merged(gone)
    assert got["netfw_connect_tunnels_opened_total"] == 5
    assert got["netfw_connect_tunnels"] == 0
    assert got['netfw_dns_lookup_duration_seconds_count{result="ok"}'] == 2


def test_adding_does_not_change_what_was_added() -> None:
    """The same figures are asked for again and again."""
    families = read_export(export(counted(2)))
    assert merged(families, families) == merged(families, families)


GOOD = ["netfw_x", "X.", "counter", [["netfw_x_total", [["a", "b"]], 1]]]


@pytest.mark.parametrize(
    "exported",
    [
        None, 1, "text", [1], [[]], [GOOD[:3]], [["x", *GOOD[1:]]], [["netfw_x\n", *GOOD[1:]]],
        [["netfw_x", 1, *GOOD[2:]]], [["netfw_x", "X.", "info", GOOD[3]]], [["netfw_x", "X.", [], GOOD[3]]],
        [[*GOOD[:3], [["netfw_y", [], 1]]]], [[*GOOD[:3], [["netfw_x_total", [["a"]], 1]]]],
        [[*GOOD[:3], [["netfw_x_total", [["a", 1]], 1]]]], [[*GOOD[:3], [["netfw_x_total", [], "1"]]]],
        [[*GOOD[:3], [["netfw_x_total", [], True]]]], [[*GOOD[:3], [["netfw_x_total", [], -1]]]],
        [[*GOOD[:3], [["netfw_x_total", [], float("nan")]]]],
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused(exported: Any) -> None:
    """And nothing but ExportError is raised."""
    with pytest.raises(ExportError):
        read_export(exported)


def test_a_family_of_another_kind_is_left_out() -> None:
    """Rather than printed as something it is not."""
    families = read_export([["netfw_connect_tunnels", "X.", "counter", [["netfw_connect_tunnels_total", [], 4]]]])
    assert "netfw_connect_tunnels_total" not in merged(families)
