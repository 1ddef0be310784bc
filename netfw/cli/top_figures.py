"""What `netfw top` shows, worked out from two looks at the proxy: rates, and who is busy. PURE.

A look is the status, the counters and the latest records counted; rates are differences of counters over the time
between two looks. Not here: asking (`top`), and the screen (`top_screen`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]
Samples = dict[str, list[tuple[Labels, float]]]

_ERRORS = {
    "netfw_denied_total": "reason",
    "netfw_upstream_connect_errors_total": "kind",
    "netfw_tls_handshake_failures_total": "alert",
    "netfw_client_connections_refused_total": "reason",
}
_TROUBLES = {
    "netfw_denied_total": "denied",
    "netfw_upstream_connect_errors_total": "origin not reached",
    "netfw_tls_handshake_failures_total": "handshake failed",
    "netfw_client_connections_refused_total": "client not admitted",
}


@dataclass(frozen=True, slots=True)
class Look:
    """`at`: seconds of any steady clock; `status` and `busiest`: JSON as the admin surface gives it."""

    at: float
    status: Mapping[str, Any]
    samples: Samples
    busiest: Mapping[str, Any]

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        return sum(
            value
            for found, value in self.samples.get(name, ())
            if all(found.get(label) == word for label, word in labels.items())
        )


def read_samples(text: str) -> Samples:
    """Prometheus's text form, by sample name. Raises ValueError."""
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


def figures(before: Look, now: Look) -> dict[str, Any]:
    """Everything that the screen shows, ready for JSON. A counter that went back (a restart) counts as no change."""
    seconds = max(now.at - before.at, 1e-9)

    def rate(name: str, **labels: str) -> float:
        return round(max(now.total(name, **labels) - before.total(name, **labels), 0.0) / seconds, 1)

    status = now.status
    return {
        "name": status.get("name"),
        "version": status.get("version"),
        "state": status.get("state"),
        "uptime_seconds": status.get("uptime_seconds"),
        "generation": status.get("generation"),
        "seconds": round(seconds, 1),
        "requests_per_second": rate("netfw_requests_total"),
        "denials_per_second": rate("netfw_requests_total", action="deny"),
        "connections_per_second": rate("netfw_client_connections_opened_total"),
        "bytes_per_second": {
            direction: rate("netfw_bytes_total", direction=direction, leg="client") for direction in ("in", "out")
        },
        "requests": int(now.total("netfw_requests_total")),
        "denials": int(now.total("netfw_requests_total", action="deny")),
        "connections": status.get("connections"),
        "tunnels": status.get("tunnels"),
        "records_dropped": int(now.total("netfw_log_dropped_total")),
        "failed_checks": [row for row in status.get("checks", ()) if not row["ok"]],
        "errors": _errors(before, now, seconds),
        "workers": list(status.get("workers", ())),
        "busiest": now.busiest,
    }


def _errors(before: Look, now: Look, seconds: float) -> list[dict[str, Any]]:
    """What goes wrong, the most frequent of this moment first, then of all time."""
    rows = []
    for name, label in _ERRORS.items():
        for word in sorted({labels[label] for labels, _ in now.samples.get(name, ())}):
            total = now.total(name, **{label: word})
            recent = max(total - before.total(name, **{label: word}), 0.0) / seconds
            rows.append({"what": _TROUBLES[name], "why": word, "per_second": round(recent, 1), "total": int(total)})
    return sorted(rows, key=lambda row: (-row["per_second"], -row["total"]))
