"""When this proxy is ready for traffic: the checks behind `/readyz`, each a question to the part that knows.

Not here: how the answers are shown (`admin.status`, `admin.resource`). A node that stays with the last good policy
while its store is away is ready: clients are served and rules hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from netfw.admin.status import ProcessStatus
from netfw.service.policy_source import PolicyInForce
from netfw.telemetry.metrics import Metrics

Answer = tuple[bool, str]


def add_checks(
    status: ProcessStatus,
    metrics: Metrics,
    *,
    policies: PolicyInForce,
    listeners: Callable[[], Answer],
    intercepts: Callable[[], bool],
    ca_ends: Callable[[], float | None],
    now: Callable[[], float],
    has_store: bool,
) -> None:
    """`ca_ends`: when the interception CA ends (seconds since the epoch), None where there is none."""
    status.check("listeners", listeners)
    status.check("policy", lambda: _policy(policies))
    status.check(
        "ca", lambda: _authority(ca_ends(), now()) if intercepts() else (True, "not needed: nothing is intercepted")
    )
    metrics.watch("netfw_ready", lambda: int(status.ready))
    if has_store:
        status.check("store", lambda: _store(policies))
        metrics.watch("netfw_store_reachable", lambda: int("store_away" not in policies.facts()))


def listening(ports: list[int | None]) -> Answer:
    """One process: whether each listener has its socket."""
    return bool(ports) and None not in ports, f"{sum(port is not None for port in ports)} of {len(ports)} accept"


def workers_accept(serving: int, places: int) -> Answer:
    """Several: one that serves is enough, for what waits in the queue of another is served by its replacement."""
    return serving > 0, f"{serving} of {places} workers accept"


def _policy(policies: PolicyInForce) -> Answer:
    return True, f"{policies.current.configuration.name}, generation {policies.current.generation}"


def _authority(end: float | None, now: float) -> Answer:
    if end is None:
        return False, "there is none, and TLS is to be intercepted"
    day = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    return end > now, f"valid until {day}" if end > now else f"ended at {day}: make another with netfw ca rotate"


def _store(policies: Any) -> Answer:
    away = policies.facts().get("store_away")
    if away is None:
        return True, "reachable"
    return True, f"away; the last good policy is in use, generation {policies.current.generation}"
