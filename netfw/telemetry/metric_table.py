"""Every metric: its name, kind, labels and meaning, once. What is scraped and docs/operations.md both read this table.

Names and units are Prometheus's conventions: base units, `_total` for what only grows. Label values come from closed
sets or have a cap: never a host, a path or a client. Not here: the values (`metrics`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily

_FAMILIES: dict[str, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
    "info": InfoMetricFamily,
}


@dataclass(frozen=True, slots=True)
class Described:
    """One metric. `kind`: counter, gauge, histogram or info; `labels` in their order; `meaning`: a sentence."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def _described() -> Iterator[Described]:
    for kind, name, labels, meaning in (
        ("info", "netfw_build_info", "version python", "What runs here; the value is 1."),
        ("counter", "netfw_requests_total", "phase action rule_group", "Exchanges by their last word."),
        ("counter", "netfw_decisions_total", "phase action source", "Matches that count; source is rule or default."),
        ("counter", "netfw_denied_total", "reason", "Denied exchanges by RFC 9209 token."),
        ("counter", "netfw_name_disagreements_total", "check verdict", "Names that disagree: fronting is among them."),
        ("counter", "netfw_leaf_refusals_total", "sign", "Clients that did not take our leaf certificate."),
        ("histogram", "netfw_request_duration_seconds", "", "Whole exchanges, tunnels set aside."),
        ("histogram", "netfw_phase_duration_seconds", "phase", "Steps of an exchange: dns, connect, tls, first_byte."),
        ("gauge", "netfw_connect_tunnels", "", "Tunnels open now."),
        ("counter", "netfw_connect_tunnels_opened_total", "", "Tunnels ever opened."),
        ("counter", "netfw_bytes_total", "direction leg", "Bytes on the wire, counted when what moved them ends."),
        ("gauge", "netfw_client_connections", "listener", "Client connections open now."),
        ("counter", "netfw_client_connections_opened_total", "listener", "Client connections admitted."),
        ("counter", "netfw_client_connections_refused_total", "reason", "Client connections not admitted."),
        ("gauge", "netfw_open_connections", "", "Client connections that count against the limit."),
        ("gauge", "netfw_connections_limit", "", "Client connections that may be open."),
        ("gauge", "netfw_upstream_idle_connections", "", "Idle connections to origins."),
        ("histogram", "netfw_dns_lookup_duration_seconds", "result", "Lookups by result."),
        ("gauge", "netfw_parent_up", "parent", "Is this parent proxy up? 1 or 0; with workers how many say so."),
        ("counter", "netfw_parent_connections_total", "parent result", "Connections to parents: ok, or a token."),
        ("counter", "netfw_egress_connections_total", "pool source", "Connections by what they left from."),
        (
            "counter",
            "netfw_upstream_connect_errors_total",
            "kind",
            "Connections to origins not made, by RFC 9209 token.",
        ),
        ("counter", "netfw_tls_handshake_failures_total", "leg alert", "Failed TLS handshakes."),
        ("counter", "netfw_leaf_cache_hits_total", "", "Leaf certificates found; absent without interception."),
        ("counter", "netfw_leaf_cache_misses_total", "", "Leaf certificates made; absent without interception."),
        ("gauge", "netfw_ca_not_after_timestamp_seconds", "", "When the interception CA ends, since the epoch."),
        ("gauge", "netfw_certificate_days_left", "certificate", "Days until a certificate of ours ends."),
        ("gauge", "netfw_interception_in_force", "", "Is TLS intercepted? 1 or 0."),
        ("gauge", "netfw_ready", "", "Does /readyz say ready? 1 or 0."),
        ("gauge", "netfw_policy_generation", "", "The policy generation in force."),
        ("gauge", "netfw_store_reachable", "", "Is the store there? 1 or 0; absent where the policy is in files."),
        ("counter", "netfw_config_reloads_total", "result", "Reloads; result is taken or refused."),
        ("gauge", "netfw_config_last_reload_successful", "", "Was the last reload taken? 1 or 0; 1 from the start on."),
        ("gauge", "netfw_config_last_reload_success_timestamp_seconds", "", "When one was taken, or the start."),
        ("gauge", "netfw_workers", "", "Worker processes that serve; absent without workers."),
        ("counter", "netfw_worker_restarts_total", "", "Workers that were replaced; absent without workers."),
        ("gauge", "netfw_log_queue_length", "sink", "Records that wait to be written; sink is an output's name."),
        ("counter", "netfw_log_written_total", "sink", "Records written."),
        ("counter", "netfw_log_dropped_total", "sink", "Records dropped."),
        ("counter", "netfw_log_errors_total", "sink", "Failed attempts to write records."),
        ("counter", "netfw_log_left_out_total", "sink", "Records not for this output: sampled, or of another type."),
        ("gauge", "netfw_log_failing", "sink", "Processes whose output fails now."),
        ("gauge", "netfw_log_spooled_records", "sink", "Records that wait on disk for a server."),
        ("gauge", "netfw_log_spooled_bytes", "sink", "The size of what waits there."),
        ("gauge", "netfw_log_spool_limit_bytes", "sink", "The size at which records are dropped."),
        ("gauge", "netfw_log_last_success_timestamp_seconds", "sink", "When a server took a batch last."),
        (
            "gauge",
            "netfw_log_last_error_timestamp_seconds",
            "sink reason",
            "When it did not, by reason, or refused a record for good.",
        ),
        ("gauge", "netfw_record_index_records", "", "Records in the index; absent where there is none."),
        ("gauge", "netfw_record_index_lag_bytes", "", "Bytes of records not yet in the index."),
        ("gauge", "netfw_record_index_lag_seconds", "", "Age of the newest record in it while others wait."),
    ):
        yield Described(name, kind, tuple(labels.split()), meaning)


METRICS = {described.name: described for described in _described()}


def family(name: str) -> Any:
    """An empty family of prometheus_client's for this metric. KeyError: it has no row above."""
    described = METRICS[name]
    # An info's labels are its value.
    labels = () if described.kind == "info" else described.labels
    return _FAMILIES[described.kind](name.removesuffix("_info"), described.meaning, labels=labels)


def markdown() -> str:
    """The table of docs/operations.md."""
    lines = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for described in METRICS.values():
        labels = ", ".join(f"`{label}`" for label in described.labels)
        lines.append(f"| `{described.name}` | {described.kind} | {labels} | {described.meaning} |")
    return "\n".join(lines)
