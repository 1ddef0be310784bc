"""Metrics: the names, what counts where, and bounds on labels."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from netfw import errors
from netfw.policy.decision import Decision, Match, RuleRef
from netfw.policy.model import Action, Phase
from netfw.telemetry.metrics import Metrics


def read(metrics: Metrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Rendered and parsed again: sample name -> labels -> value."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def labels(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_names_before_any_traffic(metrics: Metrics) -> None:
    """A fresh process shows its build, its gauges and itself."""
    found = read(metrics)
    assert {"netfw_build_info", "netfw_connect_tunnels", "netfw_bytes_total", "process_cpu_seconds_total"} <= set(found)
    assert "netfw_config_last_reload_successful" not in found


def test_an_allowed_exchange(metrics: Metrics, make: Any) -> None:
    """Three decisions, one last word, its bytes and times."""
    rule = RuleRef("team", "get-only", Phase.POST_RESPONSE)
    exchange = make.allowed()
    exchange.decisions[2] = make.decide(Phase.POST_RESPONSE, Action.ALLOW, rule=rule)
    for _ in range(3):
        metrics.exchange_finished(exchange)
    found = read(metrics)
    assert found["netfw_requests_total"] == {labels(phase="post_response", action="allow", rule_group="team"): 3}
    assert found["netfw_decisions_total"] == {
        labels(phase="pre_dns", action="allow", source="default"): 3,
        labels(phase="pre_request", action="allow", source="default"): 3,
        labels(phase="post_response", action="allow", source="rule"): 3,
    }
    assert found["netfw_bytes_total"][labels(direction="in", leg="client")] == 360
    assert found["netfw_bytes_total"][labels(direction="out", leg="client")] == 3900
    assert found["netfw_request_duration_seconds_count"] == {(): 3}
    assert found["netfw_request_duration_seconds_sum"] == {(): 0.375}
    assert found["netfw_phase_duration_seconds_count"][labels(phase="connect")] == 3
    assert "netfw_denied_total" not in found


def test_a_denied_exchange(metrics: Metrics, make: Any) -> None:
    """The denying group has the last word, and the token is counted."""
    decision = make.decide(Phase.PRE_DNS, Action.DENY, rule=RuleRef("base", "no-ads", Phase.PRE_DNS))
    metrics.exchange_finished(make.exchange(decisions=[decision], error=errors.Denied("no", decision=decision)))
    found = read(metrics)
    assert found["netfw_requests_total"] == {labels(phase="pre_dns", action="deny", rule_group="base"): 1}
    assert found["netfw_denied_total"] == {labels(reason="http_request_denied"): 1}


def test_a_guards_denial_has_no_rule(metrics: Metrics, make: Any) -> None:
    """Guards and malformed requests are denials of no phase and no group."""
    metrics.exchange_finished(make.allowed(error=errors.DestinationProhibited("no")))
    metrics.exchange_finished(make.exchange(error=errors.MalformedRequest("no")))
    found = read(metrics)
    assert found["netfw_requests_total"] == {labels(phase="none", action="deny", rule_group=""): 2}
    assert found["netfw_denied_total"] == {
        labels(reason="destination_ip_prohibited"): 1,
        labels(reason="http_request_error"): 1,
    }


def test_alerts_count_as_decisions(metrics: Metrics, make: Any) -> None:
    """An alert on the way, and a default of ALERT."""
    alert = RuleRef("watch", "posts", Phase.PRE_DNS)
    default = RuleRef("", "default", Phase.PRE_REQUEST)
    decisions = [
        make.decide(Phase.PRE_DNS, Action.ALLOW, alerts=(alert,)),
        Decision(
            Phase.PRE_REQUEST, Action.ALLOW, default, (Match(default, Action.ALERT), Match(default, Action.ALLOW)), None
        ),
    ]
    metrics.exchange_finished(make.exchange(decisions=decisions))
    assert read(metrics)["netfw_decisions_total"] == {
        labels(phase="pre_dns", action="allow", source="default"): 1,
        labels(phase="pre_dns", action="alert", source="rule"): 1,
        labels(phase="pre_request", action="alert", source="default"): 1,
        labels(phase="pre_request", action="allow", source="default"): 1,
    }


def test_a_tunnels_life_is_no_request_duration(metrics: Metrics, make: Any) -> None:
    """Tunnels would drown the histogram."""
    metrics.exchange_finished(make.allowed(kind="tunnel"))
    assert read(metrics)["netfw_request_duration_seconds_count"] == {(): 0}


def test_the_rest(metrics: Metrics) -> None:
    """Each method shows under its name."""
    metrics.tunnel_opened()
    metrics.tunnel_opened()
    metrics.tunnel_closed()
    metrics.dns_lookup("ok", 0.002)
    metrics.dns_lookup("timeout", 5.0)
    metrics.upstream_connect_error("connection_refused")
    metrics.tls_failure("client", "unknown_ca")
    metrics.tls_failure("origin", None)
    metrics.refused("too_many_connections")
    opened = {"main": 2}
    metrics.watch_each("netfw_client_connections", lambda: {"main": 1})
    metrics.watch_each("netfw_client_connections_opened_total", lambda: opened)
    metrics.reload(True, 1000.0)
    metrics.reload(False, 2000.0)
    metrics.origin_bytes(7, 8)
    metrics.watch("netfw_ca_not_after_timestamp_seconds", lambda: 5000.0)
    metrics.watch("netfw_workers", lambda: None)
    found = read(metrics)
    expected = {
        "netfw_connect_tunnels": {(): 1},
        "netfw_connect_tunnels_opened_total": {(): 2},
        "netfw_dns_lookup_duration_seconds_count": {labels(result="ok"): 1, labels(result="timeout"): 1},
        "netfw_upstream_connect_errors_total": {labels(kind="connection_refused"): 1},
        "netfw_tls_handshake_failures_total": {
            labels(leg="client", alert="unknown_ca"): 1,
            labels(leg="origin", alert="none"): 1,
        },
        "netfw_client_connections": {labels(listener="main"): 1},
        "netfw_client_connections_opened_total": {labels(listener="main"): 2},
        "netfw_client_connections_refused_total": {labels(reason="too_many_connections"): 1},
        "netfw_config_reloads_total": {labels(result="taken"): 1, labels(result="refused"): 1},
        "netfw_config_last_reload_successful": {(): 0},
        "netfw_config_last_reload_success_timestamp_seconds": {(): 1000},
        "netfw_ca_not_after_timestamp_seconds": {(): 5000},
    }
    assert expected == {name: found[name] for name in expected}
    assert found["netfw_bytes_total"][labels(direction="in", leg="origin")] == 7
    assert "netfw_workers" not in found


def test_record_log_counters(metrics: Metrics) -> None:
    """A sink's own counters show under its name."""

    class Sink:
        queue_length, written, dropped, errors, left_out, failing = 1, 2, 3, 4, 5, True

    metrics.watch_record_log("file", Sink())
    found = read(metrics)
    names = ["queue_length", "written_total", "dropped_total", "errors_total", "left_out_total", "failing"]
    assert [found[f"netfw_log_{name}"][labels(sink="file")] for name in names] == [1, 2, 3, 4, 5, 1]


def test_dns_results_are_bounded(metrics: Metrics) -> None:
    """So are results."""
    for number in range(1000):
        metrics.dns_lookup(f"r{number}", 0.1)
    assert len(read(metrics)["netfw_dns_lookup_duration_seconds_count"]) <= 65


def test_rule_groups_are_bounded(metrics: Metrics, make: Any) -> None:
    """Many reloads with new group names do not grow the labels without end."""
    for number in range(1500):
        rule = RuleRef(f"group-{number}", "r", Phase.PRE_DNS)
        metrics.exchange_finished(make.exchange(decisions=[make.decide(Phase.PRE_DNS, Action.ALLOW, rule=rule)]))
    found = read(metrics)["netfw_requests_total"]
    assert len(found) == 1001
    assert found[labels(phase="pre_dns", action="allow", rule_group="other")] == 500


def test_group_names_are_escaped(metrics: Metrics, make: Any) -> None:
    """A group's name is the operator's, and may hold quotes and line ends."""
    rule = RuleRef('a"b\\c\nd', "r", Phase.PRE_DNS)
    metrics.exchange_finished(make.exchange(decisions=[make.decide(Phase.PRE_DNS, Action.ALLOW, rule=rule)]))
    assert labels(phase="pre_dns", action="allow", rule_group='a"b\\c\nd') in read(metrics)["netfw_requests_total"]
