"""The fleet, for `netfw status --fleet`: every node that follows the store, and who lags."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.screen import print_json, screen
from netfw.cli.store_access import open_store
from netfw.store.fleet import Node, nodes_of
from netfw.store.repository import Transaction


def show_fleet(config: Path | None, as_json: bool) -> bool:
    """Print it; whether all is well."""
    with open_store(config) as database:
        generation, nodes = database.read(_look)
    now = time.time()
    rows = [_row(node, generation, now) for node in nodes]
    if as_json:
        print_json({"generation": generation, "nodes": rows})
    else:
        _print(rows, generation, now)
    return all(row["verdict"] == "in step" for row in rows)


def _look(transaction: Transaction) -> tuple[int, list[Node]]:
    return transaction.generation, nodes_of(transaction)


def _row(node: Node, generation: int, now: float) -> dict[str, Any]:
    return {**asdict(node), "load": dict(node.load), "verdict": _verdict(node, generation, now)}


def _verdict(node: Node, generation: int, now: float) -> str:
    if node.is_silent(now):
        return f"silent for {int(now - node.contact)} s"
    if node.problem is not None:
        return f"refuses: {node.problem}"
    if node.generation < generation:
        return f"lags by {generation - node.generation}"
    return "in step"


def _print(rows: list[dict[str, Any]], generation: int, now: float) -> None:
    click.echo(f"the store is at generation {generation}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("proxy", "host", "version", "generation", "state", "connections", "last contact", ""):
        table.add_column(column)
    for row in rows:
        cells = (row["proxy"], row["host"], row["version"], row["generation"], row["state"])
        load = row["load"].get("connections", "")
        style = "green" if row["verdict"] == "in step" else "red"
        heard = f"{max(0, int(now - row['contact']))} s ago"
        table.add_row(*(Text(str(cell)) for cell in cells), str(load), heard, Text(row["verdict"], style=style))
    screen().print(table)
