"""How each output with a spool stands, as rows for people: read from the metrics, which have all workers'. PURE.

Not here: what all outputs have in common (`output_rows`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

_SPOOLED = "netfw_log_spooled_records"
_BYTES = "netfw_log_spooled_bytes"
_LIMIT = "netfw_log_spool_limit_bytes"
_SUCCESS = "netfw_log_last_success_timestamp_seconds"
_ERROR = "netfw_log_last_error_timestamp_seconds"


def delivery_rows(names: Iterable[str], families: Iterable[Any]) -> list[dict[str, Any]]:
    """A row for each of these outputs; `families`: the metrics of this moment."""
    rows: dict[str, dict[str, Any]] = {
        name: {
            "output": name,
            "spooled": 0,
            "spooled_bytes": 0,
            "limit": 0,
            "last_success": None,
            "last_error": None,
            "why": None,
        }
        for name in names
    }
    latest: dict[str, float] = {}
    for family in families:
        for sample in family.samples:
            name = sample.labels.get("sink", "")
            row = rows.get(name)
            if row is None:
                continue
            if sample.name == _SPOOLED:
                row["spooled"] = int(sample.value)
            elif sample.name == _BYTES:
                row["spooled_bytes"] = int(sample.value)
            elif sample.name == _LIMIT:
                row["limit"] = int(sample.value)
            elif sample.name == _SUCCESS:
                row["last_success"] = _moment(sample.value)
            elif sample.name == _ERROR and sample.value > latest.get(name, 0.0):
                latest[name] = sample.value
                row["last_error"], row["why"] = _moment(sample.value), sample.labels["reason"]
    return list(rows.values())


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
