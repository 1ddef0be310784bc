"""What the comparison measures, in which unit, and the budget. Data; how it is measured: `measuring`.

The names are those of the forward-proxy bench, whose README says what each sends; those of our own are below.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """One line of the table.

    `way` says how it is measured: `turns` (windows of load take turns among peers that all run), `fresh` (whole starts
    take turns), `memory`, `start`, `growth` (longer lists of rules), `workers` (two against one), `latency` (at a fixed
    rate). `key` is the figure's name in what the harness tells. `must` is the budget: netfw's figure by that of the
    first peer (of its own with 10 rules, or with one worker), at most, and for `workers` at least.
    """

    what: str
    unit: str
    way: str
    key: str
    must: float | None = None
    of: str = ""
    """The scenario of the harness whose load it is, where it is not its own."""


_REQUEST = ("µs a request", "turns", "cpu_us_per_req")
_CONNECTION = ("µs a connection", "turns", "cpu_us_per_conn")
_GIGABYTE = ("s a gigabyte", "turns", "cpu_s_per_GB")

SCENARIOS = {
    "s1": Scenario("absolute-form GET of 1 KiB, kept connections", *_REQUEST, 1.0),
    "s2": Scenario("the same, a new client connection each", *_REQUEST, 0.9),
    "s3": Scenario("CONNECT passed through, TLS, one GET", *_CONNECTION, 1.2),
    "s4": Scenario("a tunnel of 1 GiB", *_GIGABYTE, 0.5),
    "s4x64": Scenario("64 tunnels of 16 MiB", *_GIGABYTE, 0.7),
    "s4abs": Scenario("1 GiB by absolute-form GET", *_GIGABYTE, 0.35),
    "s5": Scenario("intercepted GET of 1 KiB, kept connections", *_REQUEST, 1.1),
    "s6": Scenario("new intercepted connection, one GET", *_CONNECTION, 0.2),
    "s6cold": Scenario("the same, a new name each time", "µs a connection", "fresh", "cpu_us_per_conn", 0.3),
    "s7": Scenario("1 GiB intercepted", *_GIGABYTE, 0.6),
    "s8": Scenario("100,000 domain rules for 10", "µs a request", "growth", "cpu_us_per_req", 1.15, of="s1"),
    "s9": Scenario("memory of an idle tunnel", "KiB a tunnel", "memory", "kib_per_tunnel", 0.15),
    "s9m": Scenario("memory of an idle intercepted connection", "KiB a connection", "memory", "kib_per_tunnel", 0.6),
    "s10": Scenario("start to first answer", "s to the first answer", "start", "start_s"),
    "w2-s1": Scenario("two workers for one, kept connections", "requests a second", "workers", "rps", 1.5, of="s1"),
    "w2-s5": Scenario("two workers for one, intercepted", "requests a second", "workers", "rps", 1.5, of="s5"),
    "p99-s1": Scenario("p99 at half of the peak, kept connections", "ms", "latency", "p99", 1.0, of="s1"),
    "p99-s5": Scenario("p99 at half of the peak, intercepted", "ms", "latency", "p99", 1.0, of="s5"),
}
DEFAULT = ",".join(SCENARIOS)
