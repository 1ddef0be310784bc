"""`netfw intercept on|off`: interception in the running proxy, for the hour in which it is in the way."""

from __future__ import annotations

import sys
from http import HTTPStatus
from pathlib import Path

import click

from netfw.cli.admin_client import ask
from netfw.cli.config_option import config_option, json_option
from netfw.cli.screen import print_facts, print_json
from netfw.cli.status import readable_facts

REASON_LIMIT = 200


@click.command("intercept")
@click.argument("state", type=click.Choice(["on", "off"]))
@click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")
@config_option
@json_option
def intercept_command(config: Path | None, state: str, reason: str, as_json: bool) -> None:
    """Turn TLS interception off, or on again, in the running proxy.

    It holds at once for tunnels that begin from now on, in all workers; those that are open stay as they are. Off,
    every tunnel is passed through and judged by name, address and server name: conditions on HTTP match nothing there.

    It lasts until it is switched again or the proxy ends: a start does what the configuration says, a reload changes
    nothing. Who switched, when and why is in the records (kind: audit), in the log and in `netfw status`.
    """
    if len(reason) > REASON_LIMIT or not (reason.isprintable() or not reason):
        raise click.UsageError(f"--reason is at most {REASON_LIMIT} printable characters")
    answer = ask(config, "POST", f"/intercept/{state}", {"reason": reason})
    document = answer.document if isinstance(answer.document, dict) else {}
    worked = answer.status == HTTPStatus.OK and document.get("ok") is True
    if as_json:
        print_json(answer.document)
    else:
        done = f"interception is {state}" if document.get("changed") else f"interception was {state} already"
        print_facts(done if worked else "nothing was switched", readable_facts(document))
    if not worked:
        sys.exit(1)
