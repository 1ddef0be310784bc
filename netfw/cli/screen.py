"""How verbs print: problems, tables, JSON.

Programs get `--json`; people get words, in colour where there is a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import yaml
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from netfw.config.errors import ConfigErrors, Problem
from netfw.names.printable import printable

PIPE_WIDTH = 160
_ANY_WIDTH = 10_000


def complain(errors: ConfigErrors) -> None:
    """Print every problem on standard error, one a line."""
    click.echo(click.style(str(errors), fg="red"), err=True)


def print_json(document: Any) -> None:
    """Print data for programs."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


class _Plain(yaml.SafeDumper):
    """Writes a value out wherever it is used: anchors are not accepted in policies."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def yaml_text(document: Any) -> str:
    """A policy document as YAML that can be read again."""
    return str(yaml.dump(document, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120))


def problems_as_data(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Problems as `--json` shows them."""
    return [
        {"source": problem.source, "line": problem.line, "path": problem.path, "message": problem.message}
        for problem in problems
    ]


def print_facts(title: str, facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values as a two-column table."""
    table = Table(title=Text(title), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in facts:
        # Text: rich would take the [1] of a path for its own markup. Printable: it lets escapes through.
        table.add_row(Text(name), Text(printable(str(value))))
    screen().print(table)


def print_rows(title: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows of the same members as a table, or one below the other where the terminal is too narrow for that."""
    console = screen()
    table = Table(title=Text(title, "bold"), title_justify="left", box=None, padding=(0, 2, 0, 0))
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(Text(name.replace("_", " ")), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(in_words(row.get(name)))) for name in names))
    if Measurement.get(console, console.options.update(max_width=_ANY_WIDTH), table).maximum <= console.width:
        console.print(table)
        return
    console.print(Text(title, "bold"))
    for row in rows:
        facts = Table(show_header=False, box=None, padding=(0, 2, 0, 2))
        facts.add_column(no_wrap=True)
        facts.add_column(overflow="fold")
        for name in names:
            facts.add_row(Text(name.replace("_", " ")), Text(printable(in_words(row.get(name)))))
        console.print(facts)


def in_words(value: object) -> str:
    """A value of JSON for people."""
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def screen() -> Console:
    """Standard output; a pipe has no width of its own, and 80 would break paths."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)
