"""`netfw allow` and `netfw exceptions`: let a destination pass for a time, with reason and owner."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.config_option import json_option
from netfw.cli.control_access import At, control, control_options
from netfw.cli.screen import print_json, screen
from netfw.config.units import parse_duration
from netfw.names.printable import printable
from netfw.policy.printing import time_text

GROUP = "exceptions"
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
@control_options
@json_option
def allow_command(
    domain: str,
    seconds: float,
    why: str,
    owner: str | None,
    ticket: str | None,
    configuration: str | None,
    group: str,
    at: At,
    as_json: bool,
) -> None:
    """Let DOMAIN pass for a time: an exception with owner and reason, which ends by itself.

    DOMAIN is as in an `allow` list: example.com, .example.com (and all below), example.com:8443. It passes PreDNS and
    PreREQUEST whatever later groups say; responses are judged as ever.

    \b
    netfw allow .example.com --for 2h --why 'release of 4.2' --ticket OPS-7
    """
    with control(at) as access:
        answer = access.client.call(
            "AllowForTime",
            Domain=domain,
            NotAfter=int(time.time() + seconds),
            Description=why,
            Owner=owner,
            Ticket=ticket,
            ProxyConfigurationName=configuration,
            ProxyName=None if configuration is not None else access.the_proxy(),
            ProxyRuleGroupName=group,
        )
    made, generation = answer["TimedException"], answer["Generation"]
    if as_json:
        print_json({**_as_data(made), "generation": generation})
    else:
        until = time_text(made["NotAfter"])
        click.echo(f"{domain} passes until {until} as {group}/{made['Name']}: generation {generation}")


@click.command("exceptions")
@click.option("--end", "names", multiple=True, metavar="NAME", help="End this one now; repeatable.")
@click.option("--clear", is_flag=True, help="Take out those whose time is over.")
@_group_option
@control_options
@json_option
def exceptions_command(names: tuple[str, ...], clear: bool, group: str, at: At, as_json: bool) -> None:
    """List timed exceptions: what, who, why, until when; end them early."""
    with control(at) as access:
        if names or clear:
            access.client.call("EndExceptions", Names=list(names) or None, Over=clear or None, ProxyRuleGroupName=group)
        found = access.client.call("ListExceptions", ProxyRuleGroupName=group)["TimedExceptions"]
    if as_json:
        print_json([_as_data(one) for one in found])
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("name", "allows", "until", "owner", "ticket", "why"):
        table.add_column(column)
    for one in found:
        until = time_text(one["NotAfter"]) + (" (over)" if one["Over"] else "")
        cells = (one["Name"], one["Domain"], until, one.get("Owner"), one.get("Ticket"), one.get("Description"))
        table.add_row(*(Text(printable(cell or "")) for cell in cells))
    screen().print(table)


def _as_data(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": one["Name"],
        "entry": one["Domain"],
        "owner": one.get("Owner"),
        "why": one.get("Description"),
        "ticket": one.get("Ticket"),
        "until": time_text(one["NotAfter"]),
        "over": one["Over"],
    }
