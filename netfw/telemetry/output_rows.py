"""How each output of records stands, as rows for people: read from the metrics, which have all workers' sums. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_COLUMNS = {
    "netfw_log_written_total": "written",
    "netfw_log_left_out_total": "left_out",
    "netfw_log_dropped_total": "dropped",
    "netfw_log_errors_total": "errors",
    "netfw_log_queue_length": "waiting",
}
_FAILING = "netfw_log_failing"


def output_rows(places: Mapping[str, str], families: Iterable[Any]) -> list[dict[str, Any]]:
    """A row for each output. `places`: where each leads, by name; `families`: the metrics of this moment."""
    found: dict[str, dict[str, Any]] = {name: {} for name in places}
    for family in families:
        for sample in family.samples:
            row = found.get(sample.labels.get("sink", ""))
            if row is not None and (sample.name in _COLUMNS or sample.name == _FAILING):
                row[sample.name] = int(sample.value)
    return [
        {
            "output": name,
            "to": places[name],
            "state": "fails" if figures.get(_FAILING) else "works",
            **{column: figures.get(sample, 0) for sample, column in _COLUMNS.items()},
        }
        for name, figures in found.items()
    ]
