"""How the comparison measures: who runs, and whose turn it is.

A busy machine drifts by half within minutes. So all variants of a scenario run at once, each on a port of its own, and
windows of load take turns among them. Where a proxy has to be fresh (a new name each time, memory, start) whole starts
take turns instead.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scenarios import SCENARIOS, Scenario


@dataclass(frozen=True)
class Variant:
    """A proxy as it runs here: `peer` is its script, `base` the label of the variant that its ratio is to."""

    label: str
    peer: str
    base: str
    layout: str = "pin"
    rules: int = 0


class Run:
    """One run: what was measured, by scenario and variant. `figures` have one value a round."""

    def __init__(self, bench: Any, peers: list[str], rounds: int) -> None:
        self.bench = bench
        self.peers = peers
        self.rounds = rounds
        self.figures: dict[str, dict[Variant, list[float]]] = {}

    def measure(self, name: str, origin: Any) -> None:
        """All rounds of one scenario."""
        scenario = SCENARIOS[name]
        taken: dict[Variant, list[float]] = {variant: [] for variant in self.variants(name, scenario)}
        print(f"{time.strftime('%H:%M:%S')} {name}: {', '.join(each.label for each in taken)}", file=sys.stderr)
        if scenario.way in ("turns", "growth", "workers", "latency"):
            self._in_turns(scenario.of or name, scenario, taken, origin)
        else:
            for number in range(self.rounds):
                for variant in list(taken)[:: -1 if number % 2 else 1]:
                    value = self._whole(name, scenario, variant, origin)
                    if value is not None:
                        taken[variant].append(value)
        self.figures[name] = {variant: values for variant, values in taken.items() if values}

    def variants(self, name: str, scenario: Scenario) -> list[Variant]:
        """Who can do this; for interception the variant with an elliptic-curve CA, where there is one."""
        if scenario.way == "workers":
            return [
                Variant("netfw, one", "netfw", "netfw, one", "free"),
                Variant("netfw, two", "netfw", "netfw, one", "w2"),
            ]
        if scenario.way == "growth":
            names = [self.peers[0], "netfw"]
            return [
                Variant(f"{peer}, {rules:,}", peer, f"{peer}, 10", rules=rules)
                for peer in names
                for rules in (10, 100_000)
            ]
        names = self._able(self._needs(scenario.of or name, scenario))
        if scenario.way == "latency":
            names = [names[0], "netfw"]
        return [Variant(peer, peer, names[0]) for peer in names]

    def _needs(self, name: str, scenario: Scenario) -> str:
        if scenario.way in ("memory", "start"):
            return "mitm" if name == "s9m" else "connect" if scenario.way == "memory" else "abs"
        return str(self.bench.SCEN[name][0])

    def _able(self, needed: str) -> list[str]:
        chosen = []
        for name in self.peers:
            variant = f"{name}-ec"
            has_variant = needed == "mitm" and (self.bench.HERE / "peers" / f"{variant}.sh").exists()
            chosen.append(variant if has_variant else name)
        return [name for name in [*chosen, "netfw"] if needed in self.bench.caps(name)]

    def _whole(self, name: str, scenario: Scenario, variant: Variant, origin: Any) -> float | None:
        bench = self.bench
        rows = Path(bench.args.results)
        rows.write_text("")
        if scenario.way == "memory":
            bench.run_s9(name, variant.peer, origin)
        elif scenario.way == "start":
            bench.run_s10(variant.peer, origin)
        else:
            bench.run_load(name, variant.peer, "pin", origin)
        found = [json.loads(line) for line in rows.read_text().splitlines()]
        values = [row[scenario.key] for row in found if row.get(scenario.key) and not row.get("errors")]
        if not values:
            self._failed(variant, found)
            return None
        return float(statistics.median(values))

    def _in_turns(self, load: str, scenario: Scenario, taken: dict[Variant, list[float]], origin: Any) -> None:
        bench = self.bench
        _, arguments, mode, _ = bench.SCEN[load]
        first_port = bench.PORT
        with ExitStack() as stack:
            stack.callback(setattr, bench, "PORT", first_port)
            running: list[tuple[Variant, int, Any]] = []
            for number, variant in enumerate(taken):
                bench.PORT = first_port + number
                acl = ("dstdomain", bench.acl_file("dstdomain", variant.rules)) if variant.rules else ("none", None)
                peer = stack.enter_context(bench.Peer(variant.peer, mode, variant.layout, acl=acl))
                running.append((variant, bench.PORT, peer))
            origin.pin(running[0][2].load_cores)
            measured = self._by_load(arguments, scenario)
            if scenario.way == "latency":
                measured = self._at_half_of_the_peak(load, arguments, running)
            for number in range(-1, self.rounds):
                for variant, port, peer in running if number % 2 else running[::-1]:
                    bench.PORT = port
                    with bench.locked():
                        value = measured(variant, peer)
                    if value is None:
                        running = [each for each in running if each[0] is not variant]
                        taken[variant].clear()
                    elif number >= 0:  # the first is for caches and certificates
                        taken[variant].append(value)

    def _by_load(self, arguments: str, scenario: Scenario) -> Callable[[Variant, Any], float | None]:
        """As much as goes, from the harness's generator."""

        def measured(variant: Variant, peer: Any) -> float | None:
            answer = self.bench.lg(arguments, peer)
            if answer["errors"] or answer["bad_status"]:
                self._failed(variant, answer)
                return None
            return float(answer[scenario.key])

        return measured

    def _at_half_of_the_peak(
        self, load: str, arguments: str, running: list[tuple[Variant, int, Any]]
    ) -> Callable[[Variant, Any], float | None]:
        """99th percentile in ms at half of what the slower one reaches, the same rate for all (`paced`)."""
        bench = self.bench
        peaks = []
        for variant, port, peer in running:
            bench.PORT = port
            bench.lg(arguments, peer)
            peaks.append(bench.lg(arguments, peer)["rps"])
            print(f"  {variant.label}: {peaks[-1]:,.0f} requests a second at most", file=sys.stderr)
        command = [sys.executable, str(Path(__file__).with_name("paced.py")), "--trust", f"{bench.PKI}/trust.pem"]
        command += ["--rate", f"{min(peaks) / 2:.0f}", "--seconds", str(bench.args.secs * 3)]
        command += ["--tls"] if load == "s5" else []

        def measured(variant: Variant, peer: Any) -> float | None:
            done = subprocess.run(
                [*command, str(bench.PORT), str(bench.HTTPS if load == "s5" else bench.HTTP)],
                capture_output=True, text=True, preexec_fn=bench.prep(peer.load_cores),
            )  # fmt: skip
            if done.returncode:
                self._failed(variant, done.stderr[-300:])
                return None
            times = sorted(json.loads(done.stdout))
            return float(times[int(len(times) * 0.99)])

        return measured

    def _failed(self, variant: Variant, told: Any) -> None:
        """netfw and what it is compared with must do everything; another peer is left out."""
        if variant.peer == "netfw" or variant.label == variant.base:
            raise SystemExit(f"{variant.label}: {told}")
        print(f"  {variant.label} is left out: {str(told)[:300]}", file=sys.stderr)
