"""As many connections as there are descriptors for: `limits.connections` follows RLIMIT_NOFILE.

A connection of a client needs a descriptor, and another one for its origin. Above the cap clients are told 503, below
it there is always a descriptor for the log, the DNS and the admin surface: that is worth more than a cap that cannot be
reached. Squid does the same with its file descriptors.
"""

from __future__ import annotations

import resource
from dataclasses import replace

from twisted.logger import Logger

from netfw.config.model import Configuration
from netfw.errors import NetfwError

_log = Logger()

RESERVE = 192
"""For listeners, the log, DNS, the admin surface, the policy's process, and the pipes of 64 tunnels that move bytes."""
FEWEST = 16


class TooFewDescriptors(NetfwError):
    """Not even a handful of connections could be served."""


def connections_for(descriptors: int, idle_upstream: int) -> int:
    """How many clients so many descriptors carry."""
    return (descriptors - RESERVE - idle_upstream) // 2


def fitted(configuration: Configuration) -> Configuration:
    """The configuration with a cap that this process can keep; the soft limit is raised to what is needed first.

    What is made smaller is logged. Raises `TooFewDescriptors`.
    """
    limits = configuration.limits
    needed = 2 * limits.connections + RESERVE + limits.idle_upstream_connections
    available = _raised(needed)
    if needed <= available:
        return configuration
    idle = min(limits.idle_upstream_connections, available // 8)
    possible = connections_for(available, idle)
    if possible < FEWEST:
        raise TooFewDescriptors(
            f"this process may open {available} descriptors, which is not enough for {FEWEST} connections; "
            "raise LimitNOFILE in the unit, or `ulimit -n`"
        )
    connections = min(limits.connections, possible)
    _log.warn(
        "limits.connections is {connections} and not {wanted}: this process may open {available} descriptors "
        "(LimitNOFILE, ulimit -n), and {needed} are needed",
        connections=connections, wanted=limits.connections, available=available, needed=needed,
    )  # fmt: skip
    return replace(configuration, limits=replace(limits, connections=connections, idle_upstream_connections=idle))


def _raised(needed: int) -> int:
    """Raise the soft limit as far as is needed and the hard one lets us; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed if soft == resource.RLIM_INFINITY else soft
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if wanted > soft:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft
        return wanted
    return soft
