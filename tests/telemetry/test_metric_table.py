"""The table of metrics: well-formed, and what docs/operations.md says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from netfw.telemetry.metric_table import METRICS, Described, family, markdown
from netfw.telemetry.metrics import Metrics

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_documented_metrics_are_what_the_table_says() -> None:
    """After a change print `netfw.telemetry.metric_table.markdown()` into the page, between its marks."""
    documented = re.search(r"<!-- metrics: [^\n]*-->\n(.*)\n<!-- end of metrics -->", PAGE.read_text(), re.DOTALL)
    assert documented is not None
    assert documented[1] == markdown()


@pytest.mark.parametrize("described", METRICS.values(), ids=METRICS)
def test_names_follow_the_conventions(described: Described) -> None:
    """What only grows ends in _total, nothing else does; labels are bounded words, never a peer's."""
    assert re.fullmatch(r"netfw(_[a-z0-9]+)+", described.name)
    assert described.name.endswith("_total") == (described.kind == "counter")
    assert described.meaning.endswith(".")
    assert not set(described.labels) & {"host", "client", "path", "url", "user", "address"}
    assert family(described.name).documentation == described.meaning


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("requests_total", "phase action rule_group"), ("decisions_total", "phase action source"),
        ("denied_total", "reason"), ("request_duration_seconds", ""), ("phase_duration_seconds", "phase"),
        ("connect_tunnels", ""), ("bytes_total", "direction leg"), ("dns_lookup_duration_seconds", "result"),
        ("upstream_connect_errors_total", "kind"), ("tls_handshake_failures_total", "leg alert"),
        ("leaf_cache_hits_total", ""), ("leaf_cache_misses_total", ""), ("ca_not_after_timestamp_seconds", ""),
        ("config_last_reload_successful", ""), ("config_last_reload_success_timestamp_seconds", ""),
        ("log_queue_length", "sink"), ("log_dropped_total", "sink"),
    ],
)  # fmt: skip
def test_names_that_dashboards_of_others_rely_on_stay(name: str, labels: str) -> None:
    """A metric that is renamed, or has another label, breaks alerts without a word."""
    assert METRICS[f"netfw_{name}"].labels == tuple(labels.split())


def test_what_is_not_described_is_not_shown() -> None:
    """A name without a row is a mistake of ours, found when it is wired."""
    with pytest.raises(KeyError, match="netfw_unheard_of"):
        Metrics().watch("netfw_unheard_of", lambda: 1)
    with pytest.raises(KeyError, match="netfw_unheard_of"):
        Metrics().watch_each("netfw_unheard_of", dict)
    with pytest.raises(KeyError, match="netfw_unheard_of"):
        Metrics().tally("netfw_unheard_of")
