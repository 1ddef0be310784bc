"""Cold issuing of leaves: new names a second on one core, and how long the reactor is held up meanwhile.

Run by hand: `python benchmarks/micro/leaf_issuing.py [--names N] [--rate R] [--json]`. Two figures, in CPU time, so
that other processes count as little as can be; exit status 1 where one falls short of what is promised:

* *names a second*: one process signs a leaf for a new name and makes the connection that shows it. The best of rounds
  of 250 names, and the median: what else runs makes a round slower, never faster.
* *stall*: new names arrive in bursts, ten a second, at `rate` names a second in all. The most that the reactor worked
  between two ticks of a timer that is due every millisecond, and the 99.9th percentile.

The cache is bounded: what it keeps is printed after more names than it holds.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from datetime import UTC, datetime
from statistics import median
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.epollreactor import EPollReactor

from netfw.names.host import parse_host
from netfw.tls.interception import HostIdentities, HostIdentity
from netfw.tls.issuer import LocalIssuer
from netfw.transport.turns import Turns
from netfw.x509.authority import create_root, load_authority

CAPACITY = 1000
WANTED_NAMES = 800
WANTED_STALL = 0.020
ROUND = 250
TICK = 0.001
BURSTS_A_SECOND = 10


def made(reactor: Any = None) -> HostIdentities:
    """As the proxy makes them, with an authority of this run's own."""
    now = datetime.now(UTC)
    authority = load_authority(*create_root("benchmark", now, 30), now)
    turns = Turns(reactor) if reactor is not None else None
    return HostIdentities(LocalIssuer(authority), CAPACITY, turns=turns)


def host(number: int) -> Any:
    return parse_host(f"host-{number}.example.com".encode())


def show(identities: HostIdentities, number: int) -> None:
    """The first connection of a host."""
    maybeDeferred(identities.identity_for, host(number)).addCallback(HostIdentity.connection)


def names_a_second(names: int) -> tuple[float, float, int]:
    """Names a CPU second, best and median, and how many are kept at the end."""
    identities = made()
    for number in range(1, 50):  # what the libraries do once
        show(identities, -number)
    speeds = []
    for first in range(0, names, ROUND):
        begun = time.process_time()
        for number in range(first, first + ROUND):
            show(identities, number)
        speeds.append(ROUND / (time.process_time() - begun))
    return max(speeds), median(speeds), len(identities)


def stalls(names: int, rate: float) -> tuple[float, float]:
    """The most CPU time, and its 99.9th percentile, between two ticks while bursts of new names come."""
    reactor: Any = EPollReactor()
    identities = made(reactor)
    spent: list[float] = []
    burst = max(1, int(rate / BURSTS_A_SECOND))
    issued = 0

    def arrive() -> None:
        nonlocal issued
        for _ in range(burst):
            show(identities, issued)
            issued += 1
        if issued >= names:
            reactor.callLater(0.5, reactor.stop)
        else:
            reactor.callLater(1 / BURSTS_A_SECOND, arrive)

    def tick(before: float) -> None:
        now = time.process_time()
        spent.append(now - before)
        reactor.callLater(TICK, tick, now)

    show(identities, -1)
    # As the proxy does when it has started.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    reactor.callWhenRunning(lambda: tick(time.process_time()))
    reactor.callWhenRunning(arrive)
    reactor.run(installSignalHandlers=False)
    spent.sort()
    return spent[-1], spent[int(len(spent) * 0.999)]


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--names", type=int, default=4000)
    parser.add_argument("--rate", type=float, default=float(WANTED_NAMES) / 2, help="new names a second, for the stall")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    best, usual, kept = names_a_second(arguments.names)
    longest, late = stalls(arguments.names, arguments.rate)
    figures = {
        "names_per_cpu_second": round(best),
        "names_per_cpu_second_median": round(usual),
        "kept": kept,
        "capacity": CAPACITY,
        "longest_stall_ms": round(longest * 1000, 2),
        "stall_p999_ms": round(late * 1000, 2),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name.replace('_', ' '):30} {value}")
    return 0 if best >= WANTED_NAMES and kept <= CAPACITY and longest <= WANTED_STALL else 1


if __name__ == "__main__":
    sys.exit(main())
