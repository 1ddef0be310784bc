"""The counters, and how they read to Prometheus.

Counting is plain additions (the hot path); a collector turns them into families when somebody asks. Label values come
from closed sets: never a host, a path or a client. Words that come from elsewhere (error tokens, TLS alerts, reasons)
go through `Words`, which has a cap; rule groups come from loaded policies only, and have one too.

Not here: names, labels and meanings (`metric_table`).
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from netfw import __version__
from netfw.telemetry.counters import RuleCounts, Words, known_word
from netfw.telemetry.histogram import Histogram
from netfw.telemetry.metric_table import METRICS, family
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
        self._refused = Words()
        self._reload_ok: bool | None = None
        self._reload_ok_at: float | None = None
        self._reloads = {"taken": 0, "refused": 0}
        self._tallies: dict[str, dict[tuple[str, ...], int]] = {}
        self._watched: list[tuple[str, Callable[[], float | None]]] = []
        self._watched_by_word: list[tuple[str, Callable[[], Mapping[str, float]]]] = []
        self._record_logs: dict[str, Any] = {}
        self._deliveries: dict[str, Any] = {}
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

    def origin_bytes(self, received: int, sent: int) -> None:
        """Count bytes of an origin's connection that has ended; the client's come with the exchange."""
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

    def refused(self, reason: str) -> None:
        """A connection was not admitted."""
        self._refused.add(reason)

    def loaded(self, when: float) -> None:
        """The process started with a policy, at `when` (seconds since the epoch)."""
        self._reload_ok = True
        self._reload_ok_at = when

    def reload(self, ok: bool, when: float) -> None:
        """The policy was read again, at `when` (seconds since the epoch)."""
        self._reloads["taken" if ok else "refused"] += 1
        self._reload_ok = ok
        if ok:
            self._reload_ok_at = when

    # Wiring

    def watch_record_log(self, sink: str, record_log: Any) -> None:
        """Show a `record_log.RecordLog`'s own counters under this sink's name."""
        self._record_logs[sink] = record_log

    def watch_delivery(self, sink: str, destination: Any) -> None:
        """Show how a `spooled_destination.SpooledDestination` stands, beside its log's counters."""
        self._deliveries[sink] = destination

    def forget_record_log(self, sink: str) -> None:
        """It is no output any more."""
        self._record_logs.pop(sink, None)
        self._deliveries.pop(sink, None)

    def watch(self, name: str, value: Callable[[], float | None]) -> None:
        """Show one that is asked for when somebody looks; None leaves it out. KeyError: not in `metric_table`."""
        METRICS[name]
        self._watched.append((name, value))

    def watch_each(self, name: str, values: Callable[[], Mapping[str, float]]) -> None:
        """The same for one with a label, whose values are words of the configuration."""
        METRICS[name]
        self._watched_by_word.append((name, values))

    def tally(self, name: str) -> dict[tuple[str, ...], int]:
        """A counter that its owner counts in, by the values of its labels; they must come from closed sets. The same
        again for who counts in it later.
        """
        METRICS[name]
        counts: dict[tuple[str, ...], int] = self._tallies.setdefault(name, {})
        return counts

    def render(self) -> bytes:
        """The text form of all of it."""
        return generate_latest(self._registry)

    def families(self) -> Iterator[Any]:
        """All families, with the values of this moment."""
        build = family("netfw_build_info")
        build.add_metric([], self._versions)
        yield build
        yield from self._policy_families()
        yield from self._traffic_families()
        yield from self._upstream_families()
        yield from self._operation_families()

    def _policy_families(self) -> Iterator[Any]:
        requests = family("netfw_requests_total")
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
        decisions = family("netfw_decisions_total")
        for labels, value in taken.items():
            decisions.add_metric(labels, value)
        yield decisions
        yield _by_word("netfw_denied_total", self._denied)

    def _traffic_families(self) -> Iterator[Any]:
        yield _histograms("netfw_request_duration_seconds", {(): self._request_seconds})
        yield _histograms("netfw_phase_duration_seconds", {(step,): of for step, of in self._step_seconds.items()})
        opened, closed = self._tunnels_opened, self._tunnels_closed
        yield _single("netfw_connect_tunnels", opened - closed)
        yield _single("netfw_connect_tunnels_opened_total", opened)
        moved = family("netfw_bytes_total")
        totals = dict(self._bytes)
        totals["in", "client"] += self._client_bytes_in
        totals["out", "client"] += self._client_bytes_out
        for labels, value in totals.items():
            moved.add_metric(labels, value)
        yield moved
        yield _by_word("netfw_client_connections_refused_total", self._refused)

    def _upstream_families(self) -> Iterator[Any]:
        yield _histograms(
            "netfw_dns_lookup_duration_seconds", {(result,): of for result, of in self._dns_seconds.items()}
        )
        yield _by_word("netfw_upstream_connect_errors_total", self._connect_errors)
        failures = family("netfw_tls_handshake_failures_total")
        for leg, words in self._tls_failures.items():
            for alert, value in words.items():
                failures.add_metric([leg, alert], value)
        yield failures

    def _operation_families(self) -> Iterator[Any]:
        yield _by_word("netfw_config_reloads_total", self._reloads)
        if self._reload_ok is not None:
            yield _single("netfw_config_last_reload_successful", int(self._reload_ok))
        if self._reload_ok_at is not None:
            yield _single("netfw_config_last_reload_success_timestamp_seconds", self._reload_ok_at)
        logs = self._record_logs.items()
        yield _by_word("netfw_log_queue_length", {sink: log.queue_length for sink, log in logs})
        yield _by_word("netfw_log_written_total", {sink: log.written for sink, log in logs})
        yield _by_word("netfw_log_dropped_total", {sink: log.dropped for sink, log in logs})
        yield _by_word("netfw_log_errors_total", {sink: log.errors for sink, log in logs})
        yield _by_word("netfw_log_left_out_total", {sink: log.left_out for sink, log in logs})
        yield _by_word("netfw_log_failing", {sink: int(log.failing) for sink, log in logs})
        yield from self._delivery_families()
        for name, counts in self._tallies.items():
            tallied = family(name)
            for words, count in counts.items():
                tallied.add_metric(words, count)
            yield tallied
        for name, values in self._watched_by_word:
            yield _by_word(name, values())
        for name, value in self._watched:
            now = value()
            if now is not None:
                yield _single(name, now)

    def _delivery_families(self) -> Iterator[Any]:
        deliveries = self._deliveries
        if not deliveries:
            return
        yield _by_word("netfw_log_spooled_records", {sink: one.spool.records for sink, one in deliveries.items()})
        yield _by_word("netfw_log_spooled_bytes", {sink: one.spool.bytes for sink, one in deliveries.items()})
        yield _by_word("netfw_log_spool_limit_bytes", {sink: one.spool.size for sink, one in deliveries.items()})
        health = {sink: one.health for sink, one in deliveries.items()}
        yield _by_word(
            "netfw_log_last_success_timestamp_seconds",
            {sink: one.last_success for sink, one in health.items() if one.last_success is not None},
        )
        errors = family("netfw_log_last_error_timestamp_seconds")
        for sink, one in health.items():
            for reason, moment in one.errors.copy().items():
                errors.add_metric([sink, reason], moment)
        yield errors


class _Families:
    """The collector that prometheus_client asks: kept apart so that registering does not collect."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        return self._metrics.families()


def _single(name: str, value: float) -> Any:
    single = family(name)
    single.add_metric([], value)
    return single


def _by_word(name: str, values: Mapping[str, float]) -> Any:
    by_word = family(name)
    for word, value in values.items():
        by_word.add_metric([word], value)
    return by_word


def _histograms(name: str, by_labels: Mapping[tuple[str, ...], Histogram]) -> Any:
    histograms = family(name)
    for labels, histogram in by_labels.items():
        histograms.add_metric(labels, histogram.buckets(), histogram.total)
    return histograms
