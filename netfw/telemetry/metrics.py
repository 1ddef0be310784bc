"""The counters, and how they read to Prometheus.

Counting is plain additions (the hot path); a collector turns them into families when somebody asks. Label values come
from closed sets: never a host, a path or a client. Words that come from elsewhere (error tokens, TLS alerts, reasons)
go through `Words`, which has a cap; rule groups come from loaded policies only, and have one too.

Names and units: Prometheus's own conventions (base units, `_total`).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from netfw import __version__
from netfw.telemetry.counters import RuleCounts, Words, known_word
from netfw.telemetry.histogram import Histogram
from netfw.telemetry.outcome import outcome

if TYPE_CHECKING:
    from netfw.telemetry.exchange_record import RecordedExchange

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STEPS = ("dns", "connect", "tls", "first_byte")
LEGS = ("client", "origin")
_NO_DECISION = ("none", "deny", "")


class Metrics:
    """One a process. All methods belong to the reactor's thread; none raises on odd values."""

    def __init__(self) -> None:
        self._rules = RuleCounts()
        self._request_seconds = Histogram()
        self._step_seconds = {step: Histogram() for step in STEPS}
        self._denied = Words()
        self._bytes = {(direction, leg): 0 for leg in LEGS for direction in ("in", "out")}
        self._client_bytes_in = 0
        self._client_bytes_out = 0
        self._tunnels_opened = 0
        self._tunnels_closed = 0
        self._dns_seconds: dict[str, Histogram] = {}
        self._connect_errors = Words()
        self._tls_failures = {leg: Words() for leg in LEGS}
        self._leaf_hits = 0
        self._leaf_misses = 0
        self._connections_opened: dict[str, int] = {}
        self._connections_closed: dict[str, int] = {}
        self._refused = Words()
        self._reload_ok: bool | None = None
        self._reload_ok_at: float | None = None
        self._tallies: list[tuple[str, str, tuple[str, ...], dict[tuple[str, ...], int]]] = []
        self._gauges: list[tuple[str, str, Callable[[], float | None]]] = []
        self._gauges_by_word: list[tuple[str, str, str, Callable[[], Mapping[str, float]]]] = []
        self._record_logs: dict[str, Any] = {}
        self._versions: dict[str, str] = {"version": __version__, "python": platform.python_version()}
        self._registry = CollectorRegistry()
        self._registry.register(_Families(self))
        ProcessCollector(registry=self._registry)

    # Counting

    def exchange_finished(self, exchange: RecordedExchange) -> None:
        """Count a finished exchange: its decisions, its last word, its bytes and times."""
        self._rules.add(exchange.decisions, exchange.error)
        if (error := exchange.error) is not None and not outcome(exchange.decisions, error)[0]:
            self._denied.add(error.token)
        self._client_bytes_in += exchange.bytes_in
        self._client_bytes_out += exchange.bytes_out
        durations = exchange.durations
        if exchange.kind == "exchange":
            total = durations.get("total")
            self._request_seconds.observe(exchange.finished - exchange.started if total is None else total)
        steps = self._step_seconds
        for step, seconds in durations.items():
            if step in steps:
                steps[step].observe(seconds)

    def denied(self, reason: str) -> None:
        """Count a denial that has no exchange of its own. `reason`: an RFC 9209 token."""
        self._denied.add(reason)

    def origin_bytes(self, received: int, sent: int) -> None:
        """Count bytes of an origin's connection; the client's come with the exchange."""
        self._bytes["in", "origin"] += received
        self._bytes["out", "origin"] += sent

    def tunnel_opened(self) -> None:
        """A tunnel carries bytes from now on."""
        self._tunnels_opened += 1

    def tunnel_closed(self) -> None:
        """It ended."""
        self._tunnels_closed += 1

    def dns_lookup(self, result: str, seconds: float) -> None:
        """Count a lookup. `result`: a word such as ok, cache, not_found, failure, timeout."""
        histogram = self._dns_seconds.get(result)
        if histogram is None:
            histogram = self._dns_seconds.setdefault(known_word(result, self._dns_seconds), Histogram())
        histogram.observe(seconds)

    def upstream_connect_error(self, kind: str) -> None:
        """Count a connection to an origin that was not made. `kind`: an RFC 9209 token."""
        self._connect_errors.add(kind)

    def tls_failure(self, leg: str, alert: str | None) -> None:
        """Count a failed handshake with the `client` or the `origin`. `alert`: the alert's name, or an error token."""
        self._tls_failures[leg if leg in LEGS else "origin"].add(alert)

    def leaf_cache(self, hit: bool) -> None:
        """Count a look into the leaf cache."""
        if hit:
            self._leaf_hits += 1
        else:
            self._leaf_misses += 1

    def connection_opened(self, listener: str) -> None:
        """A client connection was admitted. `listener`: its name, from the configuration."""
        self._connections_opened[listener] = self._connections_opened.get(listener, 0) + 1

    def connection_closed(self, listener: str) -> None:
        """It ended."""
        self._connections_closed[listener] = self._connections_closed.get(listener, 0) + 1

    def refused(self, reason: str) -> None:
        """A connection was not admitted."""
        self._refused.add(reason)

    def reload(self, ok: bool, when: float) -> None:
        """The policy was read again, at `when` (seconds since the epoch)."""
        self._reload_ok = ok
        if ok:
            self._reload_ok_at = when

    # Wiring

    def watch_record_log(self, sink: str, record_log: Any) -> None:
        """Show a `record_log.RecordLog`'s own counters under this sink's name."""
        self._record_logs[sink] = record_log

    def watch(self, name: str, documentation: str, value: Callable[[], float | None]) -> None:
        """Show a gauge that is asked for when somebody looks; None leaves it out."""
        self._gauges.append((name, documentation, value))

    def watch_each(self, name: str, documentation: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        """The same for several of a kind; `label` tells them apart, by words of the configuration."""
        self._gauges_by_word.append((name, documentation, label, values))

    def tally(self, name: str, documentation: str, labels: tuple[str, ...]) -> dict[tuple[str, ...], int]:
        """A counter that its owner counts in, by the values of these labels; they must come from closed sets."""
        counts: dict[tuple[str, ...], int] = {}
        self._tallies.append((name, documentation, labels, counts))
        return counts

    def build_info(self, **versions: str) -> None:
        """Add versions of libraries to `netfw_build_info`."""
        self._versions.update(versions)

    def render(self) -> bytes:
        """The text form of all of it."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Any]:
        """All families, with the values of this moment."""
        yield InfoMetricFamily("netfw_build", "What runs here.", value=self._versions)
        yield from self._policy_families()
        yield from self._traffic_families()
        yield from self._upstream_families()
        yield from self._operation_families()

    def _policy_families(self) -> Iterator[Any]:
        requests = CounterMetricFamily(
            "netfw_requests", "Exchanges by their last word.", labels=["phase", "action", "rule_group"]
        )
        taken: dict[tuple[str, str, str], int] = {}
        counts = self._rules.counts()
        refusals = self._rules.refusals
        final: dict[tuple[str, str, str], int] = {_NO_DECISION: refusals} if refusals else {}
        for count in counts:
            source = (count.phase, count.action, "default" if count.by_default else "rule")
            taken[source] = taken.get(source, 0) + count.taken
            if count.final:
                label = (count.phase, count.action, count.group)
                final[label] = final.get(label, 0) + count.final
        for labels, value in final.items():
            requests.add_metric(labels, value)
        yield requests
        decisions = CounterMetricFamily("netfw_decisions", "Matches that count.", labels=["phase", "action", "source"])
        for labels, value in taken.items():
            decisions.add_metric(labels, value)
        yield decisions
        yield _by_word("netfw_denied", "Denied exchanges by RFC 9209 token.", "reason", self._denied)

    def _traffic_families(self) -> Iterator[Any]:
        request_seconds = HistogramMetricFamily("netfw_request_duration_seconds", "Whole exchanges, tunnels set aside.")
        request_seconds.add_metric([], self._request_seconds.buckets(), self._request_seconds.total)
        yield request_seconds
        yield _histograms("netfw_phase_duration_seconds", "Steps of an exchange.", "phase", self._step_seconds)
        opened, closed = self._tunnels_opened, self._tunnels_closed
        yield GaugeMetricFamily("netfw_connect_tunnels", "Tunnels open now.", value=opened - closed)
        yield CounterMetricFamily("netfw_connect_tunnels_opened", "Tunnels ever opened.", value=opened)
        moved = CounterMetricFamily("netfw_bytes", "Bytes on the wire.", labels=["direction", "leg"])
        totals = dict(self._bytes)
        totals["in", "client"] += self._client_bytes_in
        totals["out", "client"] += self._client_bytes_out
        for labels, value in totals.items():
            moved.add_metric(labels, value)
        yield moved
        open_now = GaugeMetricFamily("netfw_client_connections", "Client connections open now.", labels=["listener"])
        for listener, count in self._connections_opened.items():
            open_now.add_metric([listener], count - self._connections_closed.get(listener, 0))
        yield open_now
        yield _by_word(
            "netfw_client_connections_opened", "Client connections admitted.", "listener", self._connections_opened
        )
        yield _by_word("netfw_client_connections_refused", "Those not admitted.", "reason", self._refused)

    def _upstream_families(self) -> Iterator[Any]:
        yield _histograms("netfw_dns_lookup_duration_seconds", "Lookups by result.", "result", self._dns_seconds)
        yield _by_word(
            "netfw_upstream_connect_errors", "Connections to origins not made.", "kind", self._connect_errors
        )
        failures = CounterMetricFamily("netfw_tls_handshake_failures", "Failed handshakes.", labels=["leg", "alert"])
        for leg, words in self._tls_failures.items():
            for alert, value in words.items():
                failures.add_metric([leg, alert], value)
        yield failures
        yield CounterMetricFamily("netfw_leaf_cache_hits", "Leaf certificates found.", value=self._leaf_hits)
        yield CounterMetricFamily("netfw_leaf_cache_misses", "Leaf certificates issued.", value=self._leaf_misses)

    def _operation_families(self) -> Iterator[Any]:
        if self._reload_ok is not None:
            yield GaugeMetricFamily(
                "netfw_config_last_reload_successful", "Was the last reload taken?", value=int(self._reload_ok)
            )
        if self._reload_ok_at is not None:
            yield GaugeMetricFamily(
                "netfw_config_last_reload_success_timestamp_seconds", "When one was taken.", value=self._reload_ok_at
            )
        length = GaugeMetricFamily("netfw_log_queue_length", "Records that wait to be written.", labels=["sink"])
        written = CounterMetricFamily("netfw_log_written", "Records written.", labels=["sink"])
        dropped = CounterMetricFamily("netfw_log_dropped", "Records dropped.", labels=["sink"])
        errors = CounterMetricFamily("netfw_log_errors", "Failed attempts to write.", labels=["sink"])
        for sink, record_log in self._record_logs.items():
            length.add_metric([sink], record_log.queue_length)
            written.add_metric([sink], record_log.written)
            dropped.add_metric([sink], record_log.dropped)
            errors.add_metric([sink], record_log.errors)
        yield from (length, written, dropped, errors)
        for name, documentation, labels, counts in self._tallies:
            family = CounterMetricFamily(name, documentation, labels=labels)
            for words, count in counts.items():
                family.add_metric(words, count)
            yield family
        for name, documentation, label, values in self._gauges_by_word:
            by_word = GaugeMetricFamily(name, documentation, labels=[label])
            for word, number in values().items():
                by_word.add_metric([word], number)
            yield by_word
        for name, documentation, value in self._gauges:
            now = value()
            if now is not None:
                yield GaugeMetricFamily(name, documentation, value=now)


class _Families:
    """The collector that prometheus_client asks: kept apart so that registering does not collect."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        return self._metrics.families()


def _by_word(name: str, documentation: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, documentation, labels=[label])
    for word, value in counts.items():
        family.add_metric([word], value)
    return family


def _histograms(name: str, documentation: str, label: str, by_word: Mapping[str, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, documentation, labels=[label])
    for word, histogram in by_word.items():
        family.add_metric([word], histogram.buckets(), histogram.total)
    return family
