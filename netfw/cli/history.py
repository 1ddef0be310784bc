"""`netfw history`, `diff`, `rollback`: what the policy was, who changed it, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.apply import as_data, confirm_or_leave, print_changes
from netfw.cli.config_option import json_option
from netfw.cli.control_access import At, control, control_options
from netfw.cli.screen import print_json, screen
from netfw.names.printable import printable


@click.command("history")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@click.option("--before", type=int, default=None, metavar="GENERATION", help="Those before this one.")
@click.option(
    "--keep",
    type=click.IntRange(1, 1_000_000),
    default=None,
    metavar="N",
    help="Take out all but the newest N and the state before them.",
)
@click.option("--yes", is_flag=True, help="With --keep: do it without asking.")
@control_options
@json_option
def history_command(limit: int, before: int | None, keep: int | None, yes: bool, at: At, as_json: bool) -> None:
    """List the generations of the policy, the newest first: who changed what, and when.

    With --keep old ones are taken out for good, at once; policy.history in proxy.yaml does it all the time. Those that
    are listed afterwards can still be compared with and gone back to.
    """
    with control(at) as access:
        if keep is not None:
            if not yes:
                confirm_or_leave(f"take out all but the newest {keep} generations?")
            _tell_pruned(access.client.call("PruneGenerations", Keep=keep), as_json)
            return
        found = access.client.call("ListGenerations", MaxResults=limit, Before=before)["Generations"]
    if as_json:
        print_json(
            [
                {
                    "generation": one["Generation"],
                    "at": one["At"],
                    "editor": one["Editor"],
                    "summary": one["Summary"],
                    "changed": as_data(one["Changed"]),
                }
                for one in found
            ]
        )
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right", style="bold")
    for _ in range(3):
        table.add_column(overflow="fold")
    for one in found:
        moment = datetime.fromtimestamp(one["At"], UTC)
        told = (Text(printable(one["Editor"])), Text(printable(one["Summary"])))
        table.add_row(str(one["Generation"]), f"{moment:%Y-%m-%dT%H:%M:%SZ}", *told)
    screen().print(table)


def _tell_pruned(pruned: Mapping[str, Any], as_json: bool) -> None:
    oldest, taken, documents = pruned["OldestGeneration"], pruned["Generations"], pruned["Documents"]
    if as_json:
        print_json({"oldest": oldest, "generations": taken, "documents": documents})
    elif taken:
        click.echo(
            f"{taken} generations and {documents} documents are taken out; generation {oldest} stands for all before it"
        )
    else:
        click.echo("nothing to do: there are no more")


@click.command("diff")
@click.argument("old", type=int)
@click.argument("new", type=int, required=False)
@control_options
@json_option
def diff_command(old: int, new: int | None, at: At, as_json: bool) -> None:
    """Say which rules generation NEW, the newest by default, has added, removed, changed or moved since OLD."""
    with control(at) as access:
        found = access.client.call("CompareGenerations", OldGeneration=old, NewGeneration=new)["Differences"]
    if as_json:
        print_json(as_data(found))
        return
    print_changes(found)
    if not found:
        click.echo("no difference")


@click.command("rollback")
@click.argument("generation", type=int)
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@control_options
@json_option
def rollback_command(generation: int, yes: bool, dry_run: bool, at: At, as_json: bool) -> None:
    """Make groups and configurations what they were at GENERATION. It is a new generation; nothing is lost."""
    with control(at) as access:
        newest = access.client.call("ListGenerations", MaxResults=1)["Generations"]
        now = newest[0]["Generation"] if newest else 0
        compared = access.client.call("CompareGenerations", OldGeneration=now, NewGeneration=generation)
        found = [one for one in compared["Differences"] if one["Kind"] != "proxy"]
        if not as_json:
            print_changes(found)
        made = None
        if found and not dry_run:
            if not yes:
                confirm_or_leave(f"go back to generation {generation}?")
            # Somebody who was first is an error here: what was confirmed is not what would be done.
            made = access.client.call("RollBack", Generation=generation, SeenGeneration=now)["Generation"]
    if as_json:
        print_json({"generation": made, "changes": as_data(found)})
    elif made is not None:
        click.echo(f"as in generation {generation}: generation {made}")
    elif not found:
        click.echo("nothing to do: it is the same")
