"""`netfw lint`: rules that cannot match, shadow others or let too much through."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from netfw.cli.config_option import json_option
from netfw.cli.policy_option import find_policy, policy_options
from netfw.cli.screen import print_json, screen
from netfw.config.policy_files import read_condition_values
from netfw.policy.lint import LintWarning, lint_policy


@click.command("lint")
@click.option(
    "--public-suffixes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="More names below which anybody can have a name, one a line.",
)
@policy_options
@json_option
def lint_command(config: Path | None, policy: Path | None, public_suffixes: Path | None, as_json: bool) -> None:
    """Find rules that cannot match, shadow others or let too much through.

    Warnings only: `netfw check` finds mistakes, with which a policy is not used at all.

    Exit status 0: no warning. 1: warnings, or a policy with mistakes.
    """
    found = find_policy(config, policy)
    try:
        more = read_condition_values(public_suffixes) if public_suffixes else []
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    warnings = lint_policy(
        found.policy,
        intercepts=found.intercepts,
        passes_through=found.passes_through,
        now=time.time(),
        public_suffixes=more,
    )
    if as_json:
        print_json({"ok": not warnings, "warnings": [_as_data(warning) for warning in warnings]})
    elif not warnings:
        click.echo("no warnings")
    else:
        _print(warnings)
    sys.exit(1 if warnings else 0)


def _as_data(warning: LintWarning) -> dict[str, object]:
    return {
        "code": warning.code,
        "rule": None if warning.rule is None else str(warning.rule),
        "phase": None if warning.rule is None else warning.rule.phase.value,
        "message": warning.message,
    }


def _print(warnings: list[LintWarning]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True, style="dim")
    for warning in warnings:
        phase = "" if warning.rule is None else warning.rule.phase.value
        rule = "policy" if warning.rule is None else str(warning.rule)
        table.add_row(phase, Text(rule), Text(warning.message), warning.code)
    screen().print(table)
    click.echo(f"{len(warnings)} warning{'' if len(warnings) == 1 else 's'}")
