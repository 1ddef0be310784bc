"""`netfw reload`: make the running proxy read its configuration and rules again."""

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
    """Make the running proxy read its configuration and its rules again.

    Both are checked first: when something is wrong the old ones stay in force, and this says what. Exchanges that are
    under way end by what they began with. Sockets, names, keys and the number of processes are read at the start only:
    what of them has changed is listed, and waits for a restart. Exit status 1 when the old ones stayed.
    """
    answer = ask(config, "POST", "/reload")
    worked = answer.status == HTTPStatus.OK and isinstance(answer.document, dict) and answer.document.get("ok") is True
    if as_json:
        print_json(answer.document)
    else:
        heading = "reloaded" if worked else "not reloaded: the old rules stay in force, and the old settings"
        print_facts(heading, flatten(answer.document))
    if not worked:
        sys.exit(1)
