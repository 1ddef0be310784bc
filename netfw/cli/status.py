"""`netfw status`: how the running proxy is."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from netfw.cli.admin_client import ask
from netfw.cli.config_option import config_option, json_option
from netfw.cli.screen import in_words, print_facts, print_json, print_rows
from netfw.cli.top_screen import duration

_TIMES = re.compile(r"(?:.*[ _])?at|.*not[ _]after")


@click.command("status")
@click.option("--fleet", is_flag=True, help="Every proxy that follows the store, and who lags behind it.")
@config_option
@json_option
def status_command(config: Path | None, fleet: bool, as_json: bool) -> None:
    """Ask the running proxy how it is: version, policy generation, connections, certificates.

    Uses the admin socket of the configuration, else its loopback port. Exit status 1 when nobody answers; with --fleet,
    which asks the store, when somebody lags, is silent or refuses the policy.
    """
    if fleet:
        # A database takes longer to import than the rest of this verb to run.
        from netfw.cli.fleet import show_fleet

        sys.exit(0 if show_fleet(config, as_json) else 1)
    answer = ask(config, "GET", "/status")
    if as_json:
        print_json(answer.document)
    else:
        _show(answer.document)
    if answer.status != HTTPStatus.OK:
        sys.exit(1)


def _show(document: dict[str, Any]) -> None:
    """Single facts, then each list of rows as a table of its own."""
    tables = {name: value for name, value in document.items() if _is_table(value)}
    facts = {name: value for name, value in document.items() if name not in tables}
    print_facts(f"netfw is {document.get('state', 'running')}", readable_facts(facts))
    for name, rows in tables.items():
        print_rows(name.replace("_", " "), rows)


def readable_facts(document: Any) -> Iterator[tuple[str, object]]:
    """The leaves of parsed JSON, times and durations in words too."""
    return ((name, _readable(name, value)) for name, value in flatten(document))


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _readable(name: str, value: object) -> object:
    """A duration, or a time since the epoch, with what it is in words."""
    try:
        number = float(str(value))
    except ValueError:
        return value
    if name == "uptime seconds":
        return f"{value} ({duration(number)})"
    if _TIMES.fullmatch(name):
        return f"{value} ({time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(number))})"
    return value


def flatten(document: Any, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield every leaf of parsed JSON with its path in words."""
    if isinstance(document, dict) and document:
        for key, value in document.items():
            yield from flatten(value, f"{prefix} {key}".strip().replace("_", " "))
    elif isinstance(document, list) and any(isinstance(value, (dict, list)) for value in document):
        for position, value in enumerate(document, 1):
            yield from flatten(value, f"{prefix} {position}".strip())
    elif isinstance(document, list):
        yield prefix, ", ".join(str(value) for value in document) or "none"
    else:
        yield prefix, in_words(document)
