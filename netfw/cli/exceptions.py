"""`netfw allow` and `netfw exceptions`: let a destination pass for a time, with reason and owner."""

from __future__ import annotations

import getpass
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.config_option import config_option, json_option
from netfw.cli.screen import print_json, screen
from netfw.cli.store_access import open_store
from netfw.config.units import parse_duration
from netfw.policy.printing import time_text
from netfw.store.timed_exceptions import (
    GROUP,
    NoSuchException,
    TimedException,
    add_exception,
    end_exceptions,
    list_exceptions,
)

_group_option = click.option("--group", default=GROUP, show_default=True, help="The rule group that they are kept in.")


def _duration(_context: Any, _parameter: Any, value: str) -> float:
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if seconds <= 0:
        raise click.BadParameter("an exception needs a time above 0, as in 2h")
    return seconds


@click.command("allow")
@click.argument("domain")
@click.option("--for", "seconds", required=True, callback=_duration, metavar="TIME", help="How long: 30m, 2h, 7d.")
@click.option("--why", required=True, help="The reason; it is kept with the rule.")
@click.option("--owner", default=None, help="Who answers for it; you by default.")
@click.option("--ticket", default=None, help="Where it was agreed.")
@click.option("--configuration", default=None, help="The one that this proxy follows by default.")
@_group_option
@config_option
@json_option
def allow_command(
    domain: str,
    seconds: float,
    why: str,
    owner: str | None,
    ticket: str | None,
    configuration: str | None,
    group: str,
    config: Path | None,
    as_json: bool,
) -> None:
    """Let DOMAIN pass for a time: an exception with owner and reason, which ends by itself.

    DOMAIN is as in an `allow` list: example.com, .example.com (and all below), example.com:8443. It passes PreDNS and
    PreREQUEST whatever later groups say; responses are judged as ever.

    \b
    netfw allow .example.com --for 2h --why 'release of 4.2' --ticket OPS-7
    """
    asked = TimedException("", domain, owner or getpass.getuser(), why, ticket, float(int(time.time() + seconds)))
    with open_store(config) as access:
        name = access.configuration_or_followed(configuration)
        about = {"domain": domain, "configuration": name, "group": group, "owner": asked.owner or "", "why": why}
        made, generation = access.change(
            "allow", about, add_exception, name, asked, access.editor, access.arn_of, group
        )
    if as_json:
        print_json({**_as_data(made, time.time()), "generation": generation})
    else:
        click.echo(f"{domain} passes until {time_text(made.until)} as {group}/{made.name}: generation {generation}")


@click.command("exceptions")
@click.option("--end", "names", multiple=True, metavar="NAME", help="End this one now; repeatable.")
@click.option("--clear", is_flag=True, help="Take out those whose time is over.")
@_group_option
@config_option
@json_option
def exceptions_command(names: tuple[str, ...], clear: bool, group: str, config: Path | None, as_json: bool) -> None:
    """List timed exceptions: what, who, why, until when; end them early."""
    now = time.time()
    with open_store(config) as access:
        if names or clear:

            def wanted(one: TimedException) -> bool:
                return one.name in names or (clear and one.is_over(now))

            about = {"group": group, "names": " ".join(names), **({"clear": "true"} if clear else {})}
            ended, _ = access.change("exceptions", about, end_exceptions, wanted, access.editor, group)
            missing = set(names) - {one.name for one in ended}
            if missing:
                raise NoSuchException(f"there is no exception {', '.join(sorted(missing))}")
        found = access.database.read(list_exceptions, group)
    if as_json:
        print_json([_as_data(one, now) for one in found])
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("name", "allows", "until", "owner", "ticket", "why"):
        table.add_column(column)
    for one in found:
        until = time_text(one.until) + (" (over)" if one.is_over(now) else "")
        table.add_row(*(Text(cell or "") for cell in (one.name, one.entry, until, one.owner, one.ticket, one.why)))
    screen().print(table)


def _as_data(one: TimedException, now: float) -> dict[str, Any]:
    return {**asdict(one), "until": time_text(one.until), "over": one.is_over(now)}
