"""`netfw groups`, `attach`, `detach`, `priorities`: what is in the store, and in which order it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.config_option import json_option
from netfw.cli.control_access import At, ControlAccess, control, control_options
from netfw.cli.screen import print_json, screen
from netfw.names.printable import printable
from netfw.store.resources import PHASES


@click.command("groups")
@click.argument("name", required=False)
@control_options
@json_option
def groups_command(name: str | None, at: At, as_json: bool) -> None:
    """List the store's rule groups: how many rules, attached to what, changed when. With NAME that group whole."""
    with control(at) as access:
        if name is not None:
            print_json(access.client.call("DescribeProxyRuleGroup", ProxyRuleGroupName=name)["ProxyRuleGroup"])
            return
        rows = [_row(one) for one in access.client.call("SummarizeRuleGroups")["RuleGroupSummaries"]]
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
            Text(printable(row["name"])),
            *counts,
            Text(", ".join(row["attached_to"]) or "nothing"),
            f"{changed:%Y-%m-%d %H:%M}",
        )
    screen().print(table)


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": one["Name"],
        "arn": one["Arn"],
        "description": one.get("Description"),
        "rules": one["Rules"],
        "attached_to": one["AttachedTo"],
        "tags": {tag["Key"]: tag["Value"] for tag in one["Tags"]},
        "modified": one["UpdateTime"],
    }


def _edit(access: ControlAccess, configuration: str, operation: str, groups: Callable[[list[str]], Any]) -> None:
    """Change the configuration's groups by an operation, with the members that `groups` makes of the present order; as
    often as somebody else was first.
    """

    def attempt() -> None:
        found = access.client.call("DescribeProxyConfiguration", ProxyConfigurationName=configuration)
        order = [one["ProxyRuleGroupName"] for one in found["ProxyConfiguration"].get("RuleGroups", ())]
        given = groups(order)
        if given is not None:
            access.client.call(
                operation, ProxyConfigurationName=configuration, UpdateToken=found["UpdateToken"], **given
            )

    access.client.edit(attempt)


@click.command("attach")
@click.argument("group")
@click.option("--to", "configuration", metavar="CONFIGURATION", help="The one that this proxy follows by default.")
@click.option("--position", type=click.IntRange(0), default=None, help="0 is asked first; at the end by default.")
@control_options
def attach_command(group: str, configuration: str | None, position: int | None, at: At) -> None:
    """Attach a rule group to a configuration."""
    added = {"ProxyRuleGroupName": group, **({} if position is None else {"InsertPosition": position})}
    with control(at) as access:
        name = access.configuration_or_followed(configuration)
        _edit(access, name, "AttachRuleGroupsToProxyConfiguration", lambda _: {"RuleGroups": [added]})
        generation = access.client.generation
    click.echo(f"{group} is attached to {name}: generation {generation}")


@click.command("detach")
@click.argument("group")
@click.option("--from", "configuration", metavar="CONFIGURATION", help="The one that this proxy follows by default.")
@control_options
def detach_command(group: str, configuration: str | None, at: At) -> None:
    """Detach a rule group from a configuration; the group stays in the store."""
    with control(at) as access:
        name = access.configuration_or_followed(configuration)
        _edit(access, name, "DetachRuleGroupsFromProxyConfiguration", lambda _: {"RuleGroupNames": [group]})
        generation = access.client.generation
    click.echo(f"{group} is detached from {name}: generation {generation}")


@click.command("priorities")
@click.argument("groups", nargs=-1)
@click.option("--of", "configuration", metavar="CONFIGURATION", help="The one that this proxy follows by default.")
@control_options
@json_option
def priorities_command(groups: tuple[str, ...], configuration: str | None, at: At, as_json: bool) -> None:
    """Show the order in which groups are asked; with GROUPS put these first, in this order."""
    with control(at) as access:
        name = access.configuration_or_followed(configuration)
        if groups:
            _edit(access, name, "UpdateProxyRuleGroupPriorities", lambda order: _moved(order, groups))
        found = access.client.call("DescribeProxyConfiguration", ProxyConfigurationName=name)["ProxyConfiguration"]
        order = [one["ProxyRuleGroupName"] for one in found.get("RuleGroups", ())]
    if as_json:
        print_json({"configuration": name, "groups": order})
        return
    for place, group in enumerate(order):
        click.echo(f"{place:4} {printable(group)}")


def _moved(order: Sequence[str], first: Sequence[str]) -> dict[str, Any] | None:
    """Those that are to be first, each with its position; None when they are."""
    if list(order[: len(first)]) == list(first):
        return None
    return {
        "RuleGroups": [{"ProxyRuleGroupName": name, "NewPosition": position} for position, name in enumerate(first)]
    }
