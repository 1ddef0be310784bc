"""What a comparison says: the table, what is kept of it, and its place in the documentation."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks import chart
from benchmarks.measuring import Run
from benchmarks.scenarios import SCENARIOS

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- bench: printed by benchmarks/compare.py --write -->", "<!-- bench: end -->"


def rows_of(run: Run) -> list[dict[str, Any]]:
    """A line a scenario and variant."""
    lines = []
    for name, taken in run.figures.items():
        by_label = {variant.label: values for variant, values in taken.items()}
        for variant, values in taken.items():
            base = by_label[variant.base]
            middle, least = statistics.median(values), min(values)
            lines.append({
                "scenario": name, "peer": variant.label, "unit": SCENARIOS[name].unit, "median": middle, "least": least,
                "ratio": middle / statistics.median(base), "ratio_of_least": least / min(base),
                "rounds": len(values), "budgeted": variant.peer == "netfw" and variant.label != variant.base,
            })  # fmt: skip
    return lines


def table(rows: list[dict[str, Any]], before: dict[str, float]) -> str:
    """Markdown. `before`: netfw's ratios of the run that was stored last."""
    lines = [
        "| what | unit | peer | median (least) | ratio of medians (of least) | must | the run before |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        name, own = row["scenario"], row["budgeted"]
        must = SCENARIOS[name].must if own else None
        sign = "≥ " if SCENARIOS[name].way == "workers" else ""
        ratio = "1" if row["ratio"] == 1 and not own else f"{row['ratio']:.2f} ({row['ratio_of_least']:.2f})"
        cells = [
            SCENARIOS[name].what, row["unit"], row["peer"], f"{_short(row['median'])} ({_short(row['least'])})",
            ratio, "" if must is None else f"{sign}{must:g}", f"{before[name]:.2f}" if own and name in before else "",
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
    return {row["scenario"]: row["ratio"] for row in rows if row.get("budgeted", row["peer"] == "netfw")}


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
        (SCENARIOS[row["scenario"]].what, row["ratio"], SCENARIOS[row["scenario"]].must)
        for row in rows
        if row["budgeted"] and SCENARIOS[row["scenario"]].way != "workers" and row["scenario"] != "s10"
    ]
    (PAGE.parent / "performance.svg").write_text(chart.bars(ratios))
