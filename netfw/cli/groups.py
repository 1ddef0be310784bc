"""`netfw groups`, `attach`, `detach`, `priorities`: what is in the store, and in which order it is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.config_option import config_option, json_option
from netfw.cli.screen import print_json, screen
from netfw.cli.store_access import open_store
from netfw.store.attaching import attach, detach, put_in_order
from netfw.store.repository import Transaction
from netfw.store.resources import PHASES, StoredGroup


@click.command("groups")
@click.argument("name", required=False)
@config_option
@json_option
def groups_command(name: str | None, config: Path | None, as_json: bool) -> None:
    """List the store's rule groups: how many rules, attached to what, changed when. With NAME that group whole."""
    with open_store(config) as access:
        if name is not None:
            print_json(access.database.read(lambda transaction: transaction.groups.get(name).document()))
            return
        rows = access.database.read(_rows)
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("group", *PHASES, "attached to", "changed"):
        table.add_column(column, justify="right" if column in PHASES else "left")
    for row in rows:
        changed = datetime.fromtimestamp(row["modified"], UTC)
        counts = [str(row["rules"][phase]) for phase in PHASES]
        table.add_row(
            Text(row["name"]), *counts, Text(", ".join(row["attached_to"]) or "nothing"), f"{changed:%Y-%m-%d %H:%M}"
        )
    screen().print(table)


def _rows(transaction: Transaction) -> list[dict[str, Any]]:
    return [_row(transaction, transaction.groups.get(one.name)) for one in transaction.groups.list()]


def _row(transaction: Transaction, group: StoredGroup) -> dict[str, Any]:
    return {
        "name": group.name,
        "arn": group.arn,
        "description": group.description,
        "rules": {phase: len(group.rules[phase]) for phase in PHASES},
        "attached_to": list(transaction.configurations.using(group.name)),
        "tags": dict(group.tags),
        "modified": group.modified,
    }


def _about(configuration: str, *groups: str) -> dict[str, str]:
    return {"configuration": configuration, "groups": " ".join(groups)}


@click.command("attach")
@click.argument("group")
@click.option("--to", "configuration", metavar="CONFIGURATION", help="The one that this proxy follows by default.")
@click.option("--position", type=click.IntRange(0), default=None, help="0 is asked first; at the end by default.")
@config_option
def attach_command(group: str, configuration: str | None, position: int | None, config: Path | None) -> None:
    """Attach a rule group to a configuration."""
    with open_store(config) as access:
        name = access.configuration_or_followed(configuration)
        generation = access.change("attach", _about(name, group), attach, name, group, position, access.editor)
    click.echo(f"{group} is attached to {name}: generation {generation}")


@click.command("detach")
@click.argument("group")
@click.option("--from", "configuration", metavar="CONFIGURATION", help="The one that this proxy follows by default.")
@config_option
def detach_command(group: str, configuration: str | None, config: Path | None) -> None:
    """Detach a rule group from a configuration; the group stays in the store."""
    with open_store(config) as access:
        name = access.configuration_or_followed(configuration)
        generation = access.change("detach", _about(name, group), detach, name, group, access.editor)
    click.echo(f"{group} is detached from {name}: generation {generation}")


@click.command("priorities")
@click.argument("groups", nargs=-1)
@click.option("--of", "configuration", metavar="CONFIGURATION", help="The one that this proxy follows by default.")
@config_option
@json_option
def priorities_command(groups: tuple[str, ...], configuration: str | None, config: Path | None, as_json: bool) -> None:
    """Show the order in which groups are asked; with GROUPS put these first, in this order."""
    with open_store(config) as access:
        name = access.configuration_or_followed(configuration)
        if groups:
            access.change("priorities", _about(name, *groups), put_in_order, name, groups, access.editor)
        order = access.database.read(lambda transaction: transaction.configurations.get(name).groups)
    if as_json:
        print_json({"configuration": name, "groups": list(order)})
        return
    for position, group in enumerate(order):
        click.echo(f"{position:4} {group}")
