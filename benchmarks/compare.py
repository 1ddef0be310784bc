"""netfw against other proxies, in one run: `make bench HARNESS=DIR`.

    python benchmarks/compare.py HARNESS [--scenarios s1,s3,s5] [--peers squid] [--rounds 5] [--write]
    python benchmarks/compare.py HARNESS --profile FILE

HARNESS is a built copy of the forward-proxy bench: its `bench`, `bin/lg`, `lib` and `peers/*.sh`. netfw's own start
script is `peers/netfw.sh` beside this file; it uses the `twistd` on PATH.

A busy machine drifts by half within minutes. So all peers of a scenario run at once, each on a port of its own, and
windows of load take turns among them; what is told is the CPU of each proxy's process tree for a request, a connection
or a gigabyte (median, and the least), and netfw's ratio to the first peer. Where a proxy has to be fresh (a new name
each time, memory, start) whole starts take turns instead. Every peer logs what it serves to a file.

`--write` stores the run in `results/`, prints the table into docs/performance.md and draws docs/performance.svg; each
run is compared with the one stored before. `--profile` replays the mix of a HAR file or of netfw's own records,
methods, sizes and which of them were TLS, through each peer, from a generator and to origins of its own (`replay`).
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import chart, replay

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs/performance.md"
BEGIN, END = "<!-- bench: printed by benchmarks/compare.py --write -->", "<!-- bench: end -->"
UNITS = {
    "req": ("cpu_us_per_req", "µs a request"),
    "conn": ("cpu_us_per_conn", "µs a connection"),
    "GB": ("cpu_s_per_GB", "s a gigabyte"),
}
FRESH = {"s6cold"}
WHOLE = {
    "s9": ("kib_per_tunnel", "KiB a tunnel"),
    "s9m": ("kib_per_tunnel", "KiB a connection"),
    "s10": ("start_s", "s to the first answer"),
}
DEFAULT = "s1,s2,s3,s4,s4x64,s4abs,s5,s6,s6cold,s7,s9,s9m,s10"
MUST = {
    "s1": 1.0, "s2": 0.9, "s3": 1.2, "s4": 0.5, "s4x64": 0.7, "s4abs": 0.35, "s5": 1.1, "s6": 0.2, "s6cold": 0.3,
    "s7": 0.6, "s9": 0.15, "s9m": 0.6,
}  # fmt: skip
"""The budget: netfw's figure by that of Squid with an access log."""
WHAT = {
    "s1": "absolute-form GET of 1 KiB, kept connections", "s2": "the same, a new client connection each",
    "s3": "CONNECT passed through, TLS, one GET", "s4": "a tunnel of 1 GiB", "s4x64": "64 tunnels of 16 MiB",
    "s4abs": "1 GiB by absolute-form GET", "s5": "intercepted GET of 1 KiB, kept connections",
    "s6": "new intercepted connection, one GET", "s6cold": "the same, a new name each time", "s7": "1 GiB intercepted",
    "s9": "memory of an idle tunnel", "s9m": "memory of an idle intercepted connection", "s10": "start to first answer",
}  # fmt: skip


@contextmanager
def harness(directory: Path) -> Iterator[Any]:
    """The harness as a module, with netfw's own script among its peers and nothing changed where it lies."""
    if not (directory / "bin/lg").exists():
        raise SystemExit(f"{directory} has no bin/lg: build the harness there first (its README says how)")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        copy = Path(name)
        copy.chmod(0o755)
        shutil.copy(directory / "bench", copy)
        for part in ("bin", "lib"):
            (copy / part).symlink_to((directory / part).resolve())
        (copy / "peers").mkdir()
        for script in (directory / "peers").iterdir():
            (copy / "peers" / script.name).symlink_to(script.resolve())
        own = copy / "peers/netfw.sh"
        own.unlink(missing_ok=True)
        own.symlink_to((HERE / "peers/netfw.sh").resolve())
        loader = importlib.machinery.SourceFileLoader("bench_harness", str(copy / "bench"))
        spec = importlib.util.spec_from_loader("bench_harness", loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        module.args = SimpleNamespace(
            secs=1.0, warm=0.1, limit=90, ready=60, reps=1, acl="", results=str(copy / "rows.jsonl")
        )
        os.environ["LOG"] = "1"
        yield module


class Run:
    """One run: what was measured, by scenario and peer."""

    def __init__(self, bench: Any, peers: list[str], rounds: int) -> None:
        self.bench = bench
        self.peers = peers
        self.rounds = rounds
        self.figures: dict[str, dict[str, list[float]]] = {}

    def names(self, scenario: str) -> list[str]:
        """The peers that can do this; for interception the variant with an elliptic-curve CA, where there is one."""
        bench = self.bench
        if scenario in WHOLE:
            wanted = "mitm" if scenario == "s9m" else "connect"
        else:
            wanted = bench.SCEN[scenario][0]
        intercepts = wanted == "mitm"
        chosen = []
        for name in self.peers:
            variant = f"{name}-ec"
            has_variant = intercepts and (bench.HERE / "peers" / f"{variant}.sh").exists()
            chosen.append(variant if has_variant else name)
        return [name for name in [*chosen, "netfw"] if wanted in bench.caps(name)]

    def measure(self, scenario: str, origin: Any) -> None:
        """All rounds of one scenario."""
        taken: dict[str, list[float]] = {name: [] for name in self.names(scenario)}
        print(f"{time.strftime('%H:%M:%S')} {scenario}: {', '.join(taken)}", file=sys.stderr)
        if scenario in WHOLE or scenario in FRESH:
            for number in range(self.rounds):
                for name in sorted(taken, reverse=bool(number % 2)):
                    taken[name].append(self._whole(scenario, name, origin))
        else:
            self._in_turns(scenario, taken, origin)
        self.figures[scenario] = taken

    def _whole(self, scenario: str, name: str, origin: Any) -> float:
        bench = self.bench
        rows = Path(bench.args.results)
        rows.write_text("")
        if scenario in ("s9", "s9m"):
            bench.run_s9(scenario, name, origin)
        elif scenario == "s10":
            bench.run_s10(name, origin)
        else:
            bench.run_load(scenario, name, "pin", origin)
        key = WHOLE[scenario][0] if scenario in WHOLE else UNITS[bench.SCEN[scenario][3]][0]
        found = [json.loads(line)[key] for line in rows.read_text().splitlines()]
        return float(statistics.median(found))

    def _in_turns(self, scenario: str, taken: dict[str, list[float]], origin: Any) -> None:
        bench = self.bench
        _, arguments, mode, per = bench.SCEN[scenario]
        first_port = bench.PORT
        with ExitStack() as stack:
            running = []
            for number, name in enumerate(taken):
                bench.PORT = first_port + number
                peer = bench.Peer(name, mode, "pin")
                stack.callback(setattr, bench, "PORT", first_port)
                stack.enter_context(peer)
                running.append((name, bench.PORT, peer))
            origin.pin(running[0][2].load_cores)
            for number in range(-1, self.rounds):
                for name, port, peer in running if number % 2 else reversed(running):
                    bench.PORT = port
                    with bench.locked():
                        answer = bench.lg(arguments, peer)
                    if answer["errors"] or answer["bad_status"]:
                        raise SystemExit(f"{scenario} {name}: {answer}")
                    if number >= 0:  # the first is for caches and certificates
                        taken[name].append(answer[UNITS[per][0]])

    def rows(self) -> list[dict[str, Any]]:
        """A line a scenario and peer."""
        lines = []
        for scenario, taken in self.figures.items():
            base = next(iter(taken.values()))
            unit = WHOLE[scenario][1] if scenario in WHOLE else UNITS[self.bench.SCEN[scenario][3]][1]
            for name, values in taken.items():
                middle, least = statistics.median(values), min(values)
                lines.append({
                    "scenario": scenario, "peer": name, "unit": unit, "median": middle, "least": least,
                    "ratio": middle / statistics.median(base), "ratio_of_least": least / min(base),
                    "rounds": len(values),
                })  # fmt: skip
        return lines


def table(rows: list[dict[str, Any]], before: dict[str, float]) -> str:
    """Markdown. `before`: netfw's ratios of the run that was stored last."""
    lines = [
        "| what | unit | peer | median (least) | ratio of medians (of least) | must | the run before |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        own = row["peer"] == "netfw"
        must = MUST.get(row["scenario"]) if own else None
        cells = [
            WHAT[row["scenario"]], row["unit"], row["peer"], f"{_short(row['median'])} ({_short(row['least'])})",
            f"{row['ratio']:.2f} ({row['ratio_of_least']:.2f})" if own else "1", "" if must is None else f"{must:g}",
            f"{before[row['scenario']]:.2f}" if own and row["scenario"] in before else "",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def stored() -> dict[str, float]:
    """netfw's ratios in the newest stored run."""
    runs = sorted(RESULTS.glob("*.jsonl")) if RESULTS.exists() else []
    if not runs:
        return {}
    rows = [json.loads(line) for line in runs[-1].read_text().splitlines()]
    return {row["scenario"]: row["ratio"] for row in rows if row["peer"] == "netfw"}


def write(rows: list[dict[str, Any]], printed: str) -> None:
    """Keep the run, and show it in the documentation."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{time.strftime('%Y-%m-%dT%H%M')}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    versions = subprocess.run(["netfw", "version"], capture_output=True, text=True, check=False).stdout
    of = ", ".join(" ".join(line.split()) for line in versions.splitlines()[1:5])
    said = f"{time.strftime('%Y-%m-%d')}; {of}; {os.cpu_count()} processors.\n"
    picture = "![CPU and memory by that of the first peer](performance.svg)\n"
    PAGE.write_text(f"{head}{BEGIN}\n{said}\n{printed}\n{picture}{END}{tail}")
    ratios = [
        (WHAT[row["scenario"]], row["ratio"], MUST.get(row["scenario"])) for row in rows if row["peer"] == "netfw"
    ]
    (PAGE.parent / "performance.svg").write_text(chart.bars(ratios))


def main() -> None:
    """The command line above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", type=Path)
    parser.add_argument("--scenarios", default=DEFAULT, help=f"default: {DEFAULT}")
    parser.add_argument("--peers", default="squid", help="the first is what netfw is compared with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", type=Path, metavar="FILE", help="replay this HAR file, or these records")
    parser.add_argument("--write", action="store_true", help="store the run, and print it into the documentation")
    wanted = parser.parse_args()
    with harness(wanted.harness) as bench, bench.Origin() as origin:
        run = Run(bench, wanted.peers.split(","), wanted.rounds)
        if wanted.profile is not None:
            replay.compare(bench, [*run.peers, "netfw"], wanted.profile, wanted.rounds)
            return
        for scenario in wanted.scenarios.split(","):
            run.measure(scenario, origin)
        printed = table(run.rows(), stored())
        print(printed)
        if wanted.write:
            write(run.rows(), printed)


if __name__ == "__main__":
    main()
