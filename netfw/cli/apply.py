"""`netfw apply`: put a policy from files into the store, plan first. `netfw validate`: only check it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from netfw.cli.config_option import config_option, json_option
from netfw.cli.screen import complain, print_json, problems_as_data
from netfw.cli.store_access import StoreAccess, open_store
from netfw.config.errors import ConfigErrors
from netfw.config.policy_files import read_policy_parts
from netfw.policy.model import Phase, PolicyConfiguration, RuleGroup
from netfw.policy.shape import NO_LIMITS, VENDOR_LIMITS
from netfw.store.applying import Plan, PlanOutdated, carry_out, make_plan, wanted_of
from netfw.store.difference import KINDS, Difference

_COLOURS = {"added": "green", "removed": "red", "changed": "yellow"}
_ATTEMPTS = 5


@click.command("apply")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--yes", is_flag=True, help="Do it without asking.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and change nothing.")
@config_option
@json_option
def apply_command(path: Path, config: Path | None, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Put the policy in PATH, a file or a directory, into the store; the plan is shown first.

    Groups and the configuration of the files become what the files say; what they do not name stays. Files with groups
    alone are fine too. If there is no proxy of this name yet, it is made and follows the configuration. When somebody
    changes the same things meanwhile, nothing is done and a new plan is shown.

    Exit status 0: done, or nothing to do. 1: refused, or not confirmed.
    """
    groups, configuration = read_policy_parts(path)
    with open_store(config) as access:
        wanted = wanted_of(groups, configuration, access.proxy)
        for _ in range(_ATTEMPTS):
            plan = access.database.read(make_plan, wanted)
            if not as_json:
                _show(plan)
            if dry_run or not plan.differences:
                _finish(plan, None, as_json)
                return
            if not yes:
                _confirm()
            try:
                generation = access.change("apply", {"path": str(path)}, carry_out, plan, access.editor, access.arn_of)
            except PlanOutdated as error:
                click.echo(str(error), err=True)
                continue
            _finish(plan, generation, as_json)
            return
    raise click.ClickException("others change the same things all the time; try again later")


def print_differences(differences: Sequence[Difference]) -> None:
    """A plan, or what is different between two generations."""
    for one in differences:
        click.echo(click.style(f"{one.change:8} {KINDS[one.kind]} {one.name}", fg=_COLOURS[one.change]))
        for detail in one.details:
            click.echo(f"           {detail}")


def confirm_or_leave(question: str) -> None:
    """Ask; without a terminal to ask on that is an error."""
    if not sys.stdin.isatty():
        raise click.ClickException("there is nobody to ask: look at --dry-run, then use --yes")
    if not click.confirm(question):
        sys.exit(1)


def _show(plan: Plan) -> None:
    print_differences(plan.differences)
    if not plan.differences:
        click.echo("nothing to do: the store says the same")


def _confirm() -> None:
    confirm_or_leave("apply this?")


def _finish(plan: Plan, generation: int | None, as_json: bool) -> None:
    if as_json:
        changes = [one.as_data() for one in plan.differences]
        print_json({"applied": generation is not None, "generation": generation, "changes": changes})
    elif generation is not None:
        click.echo(f"applied as generation {generation}")


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
    return f"{named}{len(groups)} groups with {rules} rules"


__all__ = ["StoreAccess", "apply_command", "confirm_or_leave", "print_differences", "validate_command"]
