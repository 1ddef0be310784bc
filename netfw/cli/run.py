"""`netfw run`: one command with the variables of `netfw env`."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import click

from netfw.cli.env import find_setting, kit_options
from netfw.kit.setting import SettingError
from netfw.kit.variables import assignments

CANNOT_RUN, NOT_FOUND = 126, 127
"""What shells answer with."""


@click.command("run", context_settings={"ignore_unknown_options": True})
@kit_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(command: tuple[str, ...], **kit: Any) -> NoReturn:
    """Run COMMAND so that it uses the proxy and trusts its CA; its exit status is the answer.

    \b
    netfw run -- npm ci
    netfw run --proxy http://egress:3128 --ca ca.pem -- git clone https://example.com/project.git

    The environment is the same that `netfw env` prints, for this command and what it starts. Nothing keeps a program
    from ignoring it: only a network without another way out does. `netfw doctor` tells which programs heed it.
    """
    setting = find_setting(**kit)
    try:
        environment = {**os.environ, **dict(assignments(setting))}
    except SettingError as error:
        raise click.ClickException(str(error)) from None
    try:
        # In this very process: signals, terminal and exit status are the command's own.
        os.execvpe(command[0], command, environment)
    except FileNotFoundError:
        click.echo(f"netfw run: {command[0]}: not found", err=True)
        raise SystemExit(NOT_FOUND) from None
    except OSError as error:
        click.echo(f"netfw run: {command[0]}: {error.strerror}", err=True)
        raise SystemExit(CANNOT_RUN) from None
