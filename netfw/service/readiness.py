"""When this proxy is ready for traffic: the checks behind `/readyz`, each a question to the part that knows.

Not here: how the answers are shown (`admin.status`, `admin.resource`). There is no check of the policy or its store: no
proxy serves without a policy, and one that stays with the last good policy while its store is away is ready.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from netfw.admin.status import ProcessStatus
from netfw.telemetry.metrics import Metrics

Answer = tuple[bool, str]


def add_checks(
    status: ProcessStatus,
    metrics: Metrics,
    *,
    listeners: Callable[[], Answer],
    intercepts: Callable[[], bool],
    ca_ends: Callable[[], float | None],
    now: Callable[[], float],
) -> None:
    """`ca_ends`: when the interception CA ends (seconds since the epoch), None where there is none."""
    status.check("listeners", listeners)
    status.check(
        "ca", lambda: _authority(ca_ends(), now()) if intercepts() else (True, "not needed: nothing is intercepted")
    )
    metrics.watch("netfw_ready", lambda: int(status.ready))


def listening(ports: list[int | None]) -> Answer:
    """One process: whether each open port has its socket, and there is one at all."""
    return bool(ports) and None not in ports, f"{sum(port is not None for port in ports)} of {len(ports)} accept"


def workers_accept(serving: int, places: int, ports: int) -> Answer:
    """Several: one that serves is enough, for what waits in the queue of another is served by its replacement."""
    if not ports:
        return False, "no port is open"
    return serving > 0, f"{serving} of {places} workers accept"


def _authority(end: float | None, now: float) -> Answer:
    if end is None:
        return False, "there is none, and TLS is to be intercepted"
    day = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    return end > now, f"valid until {day}" if end > now else f"ended at {day}: make another with netfw ca rotate"
