"""`netfw reload`: make the running proxy read its rules again."""

from __future__ import annotations

import sys
from http import HTTPStatus
from pathlib import Path

import click

from netfw.cli.admin_client import ask
from netfw.cli.config_option import config_option, json_option
from netfw.cli.screen import print_facts, print_json
from netfw.cli.status import flatten


@click.command("reload")
@config_option
@json_option
def reload_command(config: Path | None, as_json: bool) -> None:
    """Make the running proxy read its rules again.

    The new rules are checked first: when something is wrong with them the old ones stay in force, and this says what.
    Exchanges that are under way end by the rules they began with. Exit status 1 when the old rules stayed.
    """
    answer = ask(config, "POST", "/reload")
    worked = answer.status == HTTPStatus.OK and isinstance(answer.document, dict) and answer.document.get("ok") is True
    if as_json:
        print_json(answer.document)
    else:
        print_facts("reloaded" if worked else "not reloaded: the old rules stay in force", flatten(answer.document))
    if not worked:
        sys.exit(1)
