"""`netfw apply`: make the policy in the store what files say, plan first. `netfw validate`: only check the files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from netfw.cli.config_option import json_option
from netfw.cli.control_access import At, ControlAccess, control, control_options
from netfw.cli.control_client import Refused
from netfw.cli.screen import complain, print_json, problems_as_data
from netfw.config.errors import ConfigErrors
from netfw.config.policy_files import read_policy_parts
from netfw.control.refusals import InvalidToken
from netfw.names.printable import printable
from netfw.policy.model import Phase, PolicyConfiguration, RuleGroup
from netfw.policy.printing import configuration_document, group_document
from netfw.policy.shape import NO_LIMITS, VENDOR_LIMITS

_COLOURS = {"added": "green", "removed": "red", "changed": "yellow"}
Change = Mapping[str, Any]


@click.command("apply")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and change nothing.")
@control_options
@json_option
def apply_command(path: Path, at: At, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Put the policy in PATH, a file or a directory, into the store; the plan is shown first.

    Groups and the configuration of the files become what the files say; what they do not name stays. Files with groups
    alone are fine too. If there is no proxy of this name yet, it is made and follows the configuration. When somebody
    changes the same things meanwhile, nothing is done and a new plan is shown.

    Exit status 0: done, or nothing to do. 1: refused, or not confirmed.
    """
    groups, configuration = read_policy_parts(path)
    with control(at) as access:
        given = {
            "Document": _document(groups, configuration),
            "ProxyName": access.proxy if configuration is not None else None,
        }
        # With one who answers, each new plan is asked about; whoever said yes to any gets the plan that was done.
        changes, generation = access.client.edit(lambda: _planned(access, given, yes, dry_run, as_json))
    if as_json:
        print_json({"applied": generation is not None, "generation": generation, "changes": as_data(changes)})
    elif generation is not None:
        click.echo(f"applied as generation {generation}")


def _planned(
    access: ControlAccess, given: dict[str, Any], yes: bool, dry_run: bool, as_json: bool
) -> tuple[Sequence[Change], int | None]:
    plan = access.client.call("PlanPolicy", **given)
    changes = plan["Differences"]
    if not as_json:
        print_changes(changes)
        if not changes:
            click.echo("nothing to do: the store says the same")
    if dry_run or not changes:
        return changes, None
    if not yes:
        confirm_or_leave("apply this?")
    try:
        return changes, access.client.call("ApplyPolicy", UpdateToken=plan["UpdateToken"], **given)["Generation"]
    except Refused as refused:
        if refused.code == InvalidToken.code and not as_json:
            click.echo(refused.message, err=True)
        raise


def print_changes(changes: Sequence[Change]) -> None:
    """A plan, or what is different between two generations."""
    for one in changes:
        text = printable(f"{one['Change']:8} {one['Kind']} {one['Name']}")
        click.echo(click.style(text, fg=_COLOURS[one["Change"]]))
        for detail in one["Details"]:
            click.echo(f"           {printable(detail)}")


def as_data(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """The same for --json."""
    return [{name.lower(): value for name, value in one.items()} for one in changes]


def confirm_or_leave(question: str) -> None:
    """Ask; without a terminal to ask on that is an error."""
    if not sys.stdin.isatty():
        raise click.ClickException("there is nobody to ask: look at --dry-run, then use --yes")
    if not click.confirm(question):
        sys.exit(1)


def _document(groups: Sequence[RuleGroup], configuration: PolicyConfiguration | None) -> dict[str, Any]:
    document: dict[str, Any] = {"ProxyRuleGroups": [group_document(group) for group in groups]}
    if configuration is not None:
        document["ProxyConfiguration"] = configuration_document(configuration)
    return document


@click.command("validate")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--vendor-limits", is_flag=True, help="Hold it to the vendor's quotas as well.")
@json_option
def validate_command(path: Path, vendor_limits: bool, as_json: bool) -> None:
    """Check the policy in PATH, a file or a directory, as `apply` would; needs neither a store nor a configuration.

    Exit status 0: in order. 1: it has mistakes, and they are listed.
    """
    try:
        groups, configuration = read_policy_parts(path, VENDOR_LIMITS if vendor_limits else NO_LIMITS)
    except ConfigErrors as errors:
        if as_json:
            print_json({"ok": False, "problems": problems_as_data(errors.problems)})
        else:
            complain(errors)
        sys.exit(1)
    if as_json:
        print_json({"ok": True, "problems": [], "groups": [group.name for group in groups]})
    else:
        click.echo(f"in order: {_told(groups, configuration)}")


def _told(groups: Sequence[RuleGroup], configuration: PolicyConfiguration | None) -> str:
    rules = sum(len(group.rules[phase]) for group in groups for phase in Phase)
    named = f"configuration {configuration.name}, " if configuration is not None else ""
    return f"{named}{_count(len(groups), 'group')} with {_count(rules, 'rule')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
