"""How outputs with a spool stand: of several processes, the sum of what waits and the latest of each moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netfw.telemetry.carrier import Carried, NotCarried
from netfw.telemetry.delivery_rows import delivery_rows
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.metrics_merge import MergedMetrics, export, read_export
from netfw.telemetry.spool import BatchLimits, Spool
from netfw.telemetry.spooled_destination import SpooledDestination


class Nowhere:
    """No batch is ever carried in this test."""

    shown = "nowhere"

    def carry(self, records: list[bytes], identity: str) -> Carried:
        raise NotCarried("unreachable", "never")

    def renew(self) -> None: ...

    def stop(self) -> None: ...


def metrics_of(root: Path, records: int, success: float | None, errors: dict[str, float]) -> Metrics:
    """One process's, with so many records in its spool."""
    spool = Spool(root, size=10_000, limits=BatchLimits(10, 1000, 5.0))
    spool.open()
    spool.append([b"record\n"] * records)
    destination = SpooledDestination(spool, Nowhere())
    destination.health.last_success = success
    destination.health.errors = errors
    metrics = Metrics()
    metrics.watch_delivery("siem", destination)
    return metrics


def rows(metrics: Metrics) -> list[dict[str, Any]]:
    return delivery_rows(["siem"], metrics.families())


def test_one_process(tmp_path: Path) -> None:
    """The latest error is the one that is shown."""
    metrics = metrics_of(tmp_path, 3, None, {"timeout": 1000.0, "refused": 2000.0})
    assert rows(metrics) == [
        {
            "output": "siem",
            "spooled": 3,
            "spooled_bytes": 21,
            "limit": 10_000,
            "last_success": None,
            "last_error": "1970-01-01T00:33:20Z",
            "why": "refused",
        }
    ]


def test_workers_are_put_together(tmp_path: Path) -> None:
    """What waits is added, and moments are not."""
    exported = [
        export(metrics_of(tmp_path, 3, 1000.0, {"timeout": 3000.0})),
        export(metrics_of(tmp_path, 4, 2000.0, {"timeout": 1000.0, "busy": 2000.0})),
    ]
    merged = MergedMetrics(lambda: [read_export(one) for one in exported])
    (row,) = rows(merged)
    assert (row["spooled"], row["last_success"]) == (7, "1970-01-01T00:33:20Z")
    assert (row["last_error"], row["why"]) == ("1970-01-01T00:50:00Z", "timeout")


def test_without_a_word_of_it_everything_is_unknown() -> None:
    """A supervisor whose workers have not answered yet."""
    assert rows(Metrics())[0]["last_success"] is None
