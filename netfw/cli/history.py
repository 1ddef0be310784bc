"""`netfw history`, `diff`, `rollback`: what the policy was, who changed it, and the way back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.apply import confirm_or_leave, print_differences
from netfw.cli.config_option import config_option, json_option
from netfw.cli.screen import print_json, screen
from netfw.cli.store_access import open_store
from netfw.store.difference import KINDS
from netfw.store.history import difference_between, generations, roll_back
from netfw.store.pruning import Pruned, prune


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
@config_option
@json_option
def history_command(
    limit: int, before: int | None, keep: int | None, yes: bool, config: Path | None, as_json: bool
) -> None:
    """List the generations of the policy, the newest first: who changed what, and when.

    With --keep old ones are taken out for good, at once; policy.history in proxy.yaml does it all the time. Those that
    are listed afterwards can still be compared with and gone back to.
    """
    with open_store(config) as access:
        if keep is not None:
            if not yes:
                confirm_or_leave(f"take out all but the newest {keep} generations?")
            _tell_pruned(access.change("history", {"keep": str(keep)}, prune, keep), as_json)
            return
        found = access.database.read(generations, limit, before)
    if as_json:
        print_json(
            [
                {
                    "generation": one.number,
                    "at": one.at,
                    "editor": one.editor,
                    "summary": one.summary,
                    "changed": [{"kind": KINDS[kind], "name": name} for kind, name in one.changed],
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
        at = datetime.fromtimestamp(one.at, UTC)
        table.add_row(str(one.number), f"{at:%Y-%m-%dT%H:%M:%SZ}", Text(one.editor), Text(one.summary))
    screen().print(table)


def _tell_pruned(pruned: Pruned, as_json: bool) -> None:
    if as_json:
        print_json(asdict(pruned))
    elif pruned.generations:
        click.echo(
            f"{pruned.generations} generations and {pruned.documents} documents are taken out; generation"
            f" {pruned.oldest} stands for all before it"
        )
    else:
        click.echo("nothing to do: there are no more")


@click.command("diff")
@click.argument("old", type=int)
@click.argument("new", type=int, required=False)
@config_option
@json_option
def diff_command(old: int, new: int | None, config: Path | None, as_json: bool) -> None:
    """Say which rules generation NEW, the newest by default, has added, removed, changed or moved since OLD."""
    with open_store(config) as access:
        found = access.database.read(
            lambda transaction: difference_between(transaction, old, transaction.generation if new is None else new)
        )
    if as_json:
        print_json([one.as_data() for one in found])
        return
    print_differences(found)
    if not found:
        click.echo("no difference")


@click.command("rollback")
@click.argument("generation", type=int)
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@config_option
@json_option
def rollback_command(generation: int, yes: bool, dry_run: bool, config: Path | None, as_json: bool) -> None:
    """Make groups and configurations what they were at GENERATION. It is a new generation; nothing is lost."""
    with open_store(config) as access:
        now = access.database.read(lambda transaction: transaction.generation)
        found = access.database.read(difference_between, now, generation)
        found = tuple(one for one in found if one.kind != "proxy")
        if not as_json:
            print_differences(found)
        made = None
        if found and not dry_run:
            if not yes:
                confirm_or_leave(f"go back to generation {generation}?")
            about = {"generation": str(generation)}
            made = access.change(
                "rollback", about, roll_back, generation, access.editor, access.arn_of, now, quotas=False
            )
    if as_json:
        print_json({"generation": made, "changes": [one.as_data() for one in found]})
    elif made is not None:
        click.echo(f"as in generation {generation}: generation {made}")
    elif not found:
        click.echo("nothing to do: it is the same")
