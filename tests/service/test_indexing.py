"""How the index stands, as status and metrics tell it. The process itself is in tests/integration/test_why.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netfw.admin.status import ProcessStatus
from netfw.config.model import IndexSection
from netfw.service.indexing import Indexing
from netfw.telemetry.metrics import Metrics


def indexing(tmp_path: Path, reactor: Any, **more: Any) -> Indexing:
    section = IndexSection(tmp_path / "records.index", 86400.0, 1 << 30)
    return Indexing(tmp_path / "records.jsonl", section, reactor, is_journal=False, **more)


def test_what_is_not_heard_of_lags(tmp_path: Path) -> None:
    """A process that says nothing, or that it is behind, or what it cannot do."""
    now = [0.0]
    made = indexing(tmp_path, None, seconds=lambda: now[0])
    status, metrics = ProcessStatus(name="p", now=lambda: 0.0), Metrics()
    made.watch(status, metrics)
    assert made.describe()["state"] == "keeps up"
    now[0] = 10.0
    made.heard(b'{"kept_by_another": true}')
    assert (made.describe()["state"], made.lag()) == ("kept by another proxy", 0.0)
    made.heard(b'{"records": 0, "lag_bytes": 0, "lag_seconds": 0.0, "rebuilt": null}')
    assert made.describe()["state"] == "keeps up"
    now[0] = 30.0
    assert made.describe()["state"] == "lags"
    assert "netfw_record_index_lag_seconds 20.0" in metrics.render().decode()
    made.heard(b'{"records": 7, "lag_bytes": 900, "lag_seconds": 31.5, "rebuilt": null}')
    assert made.describe() | {"path": ""} == {
        "path": "", "state": "lags", "records": 7, "lag_bytes": 900, "lag_seconds": 31.5,
    }  # fmt: skip
    assert "netfw_record_index_lag_bytes 900.0" in metrics.render().decode()
    made.heard(b'{"error": "database or disk is full"}')
    assert made.describe()["state"] == "fails"
    assert made.describe()["error"] == "database or disk is full"
    made.heard(b'{"records": 9, "lag_bytes": 0, "lag_seconds": 0.0, "rebuilt": null}')
    assert made.describe()["state"] == "keeps up"
