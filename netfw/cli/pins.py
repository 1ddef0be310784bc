"""`netfw pins`: who does not take our certificate for which host, and what to write about it.

In this room: asking the running proxy, or reading its records; the table, and the suggestions. Not here: noticing and
counting (`netfw.telemetry.pins`).
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.admin_client import ask
from netfw.cli.config_option import config_option, json_option
from netfw.cli.screen import print_json, screen
from netfw.telemetry.pins import CLOSED, NO_APPLICATION_PROTOCOL, Pins, Row, noted_in_record

LACKS_CA = 3
"""A client that refuses so many hosts pins none of them: it does not trust the CA."""


@click.command("pins")
@click.option("--records", metavar="FILE", type=click.Path(path_type=Path), help="Count in this file of records.")
@config_option
@json_option
def pins_command(config: Path | None, records: Path | None, as_json: bool) -> None:
    """List clients that refused our certificate, by host, with an entry for tls_intercept.bypass.

    \b
    A client pins when it takes no certificate but the origin's own, however well the CA is installed: its host has to
    be passed through. A client that refuses many hosts lacks the CA: `netfw doctor` and docs/clients.md help.

    The running proxy counts since its start; --records FILE counts what a file of records still has.
    """
    rows = rows_of_records(records) if records is not None else _running(config)
    hosts = by_host(rows)
    if as_json:
        print_json({"hosts": hosts})
        return
    if not hosts:
        screen().print("No client has refused our certificate.")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("host", "clients", "refusals", "sign", "last seen", "suggestion"):
        table.add_column(column, overflow="fold")
    now = time.time()
    for host in hosts:
        signs = ", ".join(f"{sign} {count}" for sign, count in host["signs"].items())
        seen = _ago(now - host["last"])
        row = (host["host"], _few(host["clients"]), str(host["refusals"]), signs, seen, host["suggestion"])
        # Text: rich would take the brackets of a suggestion for its own markup.
        table.add_row(*map(Text, row))
    screen().print(table)


def _running(config: Path | None) -> list[Row]:
    answer = ask(config, "GET", "/pins")
    if answer.status == HTTPStatus.FORBIDDEN:
        raise click.ClickException("the proxy shows this on its Unix socket only: write admin: {socket: PATH}")
    if answer.status != HTTPStatus.OK or not isinstance(answer.document, dict):
        raise click.ClickException(f"the proxy answers {answer.status}; is it as new as this command?")
    rows: list[Row] = answer.document.get("pins", [])
    return rows


def rows_of_records(path: Path) -> list[Row]:
    """The refusals that a file of records tells of; lines that are no records are skipped."""
    pins = Pins()
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    noted = noted_in_record(json.loads(line))
                except ValueError:
                    continue
                if noted is not None:
                    pins.note(*noted)
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
    return pins.rows()


def by_host(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One entry a host, the most often refused first, each with a suggestion."""
    rows = list(rows)
    refused: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if any(sign not in (CLOSED, NO_APPLICATION_PROTOCOL) for sign in row["signs"]):
            refused[row["client"]].add(row["host"])
    without_ca = {client for client, hosts in refused.items() if len(hosts) >= LACKS_CA}
    hosts: dict[str, dict[str, Any]] = {}
    for row in rows:
        host = hosts.setdefault(
            row["host"],
            {"clients": [], "refusals": 0, "signs": {}, **{name: row[name] for name in ("host", "first", "last")}},
        )
        host["clients"].append(row["client"])
        for sign, count in row["signs"].items():
            host["signs"][sign] = host["signs"].get(sign, 0) + count
            host["refusals"] += count
        host["first"], host["last"] = min(host["first"], row["first"]), max(host["last"], row["last"])
    for host in hosts.values():
        host["bypass"], host["suggestion"] = _suggestion(host, without_ca)
    return sorted(hosts.values(), key=lambda host: (-host["refusals"], host["host"]))


def _suggestion(host: dict[str, Any], without_ca: set[str]) -> tuple[Any, str]:
    """An entry for `tls_intercept.bypass`, or None, and the same in words."""
    clients = host["clients"]
    lacking = sorted(without_ca.intersection(clients))
    if lacking and len(lacking) == len(clients):
        return None, f"give {_few(lacking)} the CA (docs/clients.md)"
    if set(host["signs"]) == {CLOSED}:
        return None, "look: closed without a word, which need not be a refusal"
    entry: Any = host["host"]
    written = host["host"]
    if len(clients) == 1:
        entry = {"domain": host["host"], "source": clients[0]}
        written = f"{{domain: {host['host']}, source: {clients[0]}}}"
    # One host is not enough to tell a client that pins from one that trusts nothing of ours.
    doubt = ", if it has the CA" if "unknown_ca" in host["signs"] else ""
    return entry, f"bypass: [{written}]{doubt}"


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _ago(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds / size)} {unit} ago"
    return "now"
