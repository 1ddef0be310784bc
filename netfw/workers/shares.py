"""What part of the proxy's caps each worker has. PURE.

The kernel spreads connections by a hash of their addresses: evenly, but only as evenly as chance is. So a share has
room for chance (four standard deviations), and all shares together are a little more than the cap: 10,000 connections
in four workers are 2,700 in each. Otherwise a client would be refused while the proxy has room.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, sqrt

from netfw.config.model import LimitsSection

_DEVIATIONS = 4


def share(cap: int, workers: int) -> int:
    """The cap of one worker for something that is spread by chance."""
    if workers <= 1:
        return cap
    mean = cap / workers
    return min(cap, ceil(mean + _DEVIATIONS * sqrt(mean)))


def share_of_limits(limits: LimitsSection, workers: int) -> LimitsSection:
    """The limits of one of so many workers.

    Caches are not shared out: every worker meets every name. `request_rate` is not either, since the requests of one
    connection all come to one worker: a client with many connections may ask that often in each. 0, which is none,
    stays none.
    """
    return replace(
        limits,
        connections=share(limits.connections, workers),
        connections_per_client=share(limits.connections_per_client, workers),
        tunnels=share(limits.tunnels, workers),
        connections_per_destination=share(limits.connections_per_destination, workers),
        connection_rate=share(limits.connection_rate, workers),
        idle_upstream_connections=ceil(limits.idle_upstream_connections / max(workers, 1)),
    )
