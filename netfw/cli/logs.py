"""`netfw logs`: the records, read by people and handed to others; `netfw logs summary` counts them.

In this room: options to a choice and a shape, and the printing. Not here: reading the files
(`telemetry.record_reading`), and what a line looks like (`telemetry.record_text`, `record_schemas`).
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from itertools import chain
from pathlib import Path
from typing import Any

import click

from netfw.cli.config_option import json_option
from netfw.cli.control_access import At, control_options
from netfw.cli.record_source import records_of
from netfw.cli.screen import print_facts, print_json, print_rows
from netfw.config.units import parse_duration
from netfw.telemetry.decrypted_fields import NOTE, is_decrypted
from netfw.telemetry.record_choice import Choice
from netfw.telemetry.record_fields import FIELD_NAMES, FORMATS, HASHED, MANDATORY
from netfw.telemetry.record_privacy import checked_key, token_maker
from netfw.telemetry.record_reading import Record
from netfw.telemetry.record_shape import Shape
from netfw.telemetry.record_summary import Summary

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


def _moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    """`2h` ago, or a date with or without a time, in UTC unless it says otherwise."""
    if value is None:
        return None
    try:
        return time.time() - parse_duration(value)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time back (30m, 2h, 7d) and no date (2026-01-31T12:00)") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _fields(allowed: Iterable[str], what: str) -> Callable[..., tuple[str, ...]]:
    known = frozenset(allowed)

    def check(_context: click.Context, _parameter: click.Parameter, value: Any) -> tuple[str, ...]:
        given = value if isinstance(value, tuple) else (value or "",)
        names = tuple(name.strip() for one in given for name in one.split(",") if name.strip())
        for name in names:
            if name not in known:
                raise click.BadParameter(f"{name!r} is no field that {what}; the fields are in docs/records.md")
        return names

    return check


def _chosen(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose records; the function gets `choice`."""

    @functools.wraps(function)
    def with_choice(
        *, denied: bool, alerts: bool, client: tuple[str, ...], host: str | None, rule: str | None,
        begin: float | None, end: float | None, **others: Any,
    ) -> Any:  # fmt: skip
        networks, identities = [], set()
        for one in client:
            try:
                networks.append(ip_network(one, strict=False))
            except ValueError:
                identities.add(one)
        types = frozenset(name for name, asked in (("deny", denied), ("alert", alerts)) if asked)
        choice = Choice(types, tuple(networks), frozenset(identities), host, rule, begin, end)
        return function(choice=choice, **others)

    for option in (
        click.option("--until", "end", callback=_moment, metavar="TIME", help="Up to a time back, or a date."),
        click.option("--since", "begin", callback=_moment, metavar="TIME", help="From a time back (2h), or a date."),
        click.option("--rule", help="Decided by this: GROUP/RULE, one of them alone, or an error's word (dns_error)."),
        click.option("--host", metavar="NAME", help="To this destination; .example.com: all below it too."),
        click.option("--client", multiple=True, metavar="WHO", help="An address, network or user; again for more."),
        click.option("--alerts", is_flag=True, help="Those that an ALERT rule matched."),
        click.option("--denied", is_flag=True, help="Those that were denied."),
    ):  # fmt: skip
        with_choice = option(with_choice)
    return with_choice


@click.group("logs", invoke_without_command=True)
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--lines", "-n", type=click.IntRange(0), default=20, show_default=True, help="So many, without --since.")
@_chosen
@click.option("--format", "form", type=click.Choice(FORMATS), default="pretty", show_default=True, help="Of the lines.")
@json_option
@click.option("--fields", callback=_fields(FIELD_NAMES, "records have"), metavar="A,B", help="Only these fields.")
@click.option(
    "--drop", multiple=True, callback=_fields(set(FIELD_NAMES) - set(MANDATORY), "can be left out"), metavar="A,B",
    help="Leave these out.",
)  # fmt: skip
@click.option("--mask", multiple=True, callback=_fields(HASHED, "can be masked"), metavar="A,B", help="*** for these.")
@click.option(
    "--token", multiple=True, callback=_fields(HASHED, "a token can stand for"), metavar="A,B",
    help="A token for these, the same for the same value.",
)  # fmt: skip
@click.option("--token-key", type=_FILE, metavar="FILE", help="What makes tokens: 16 octets or more that nobody knows.")
@click.option(
    "--sample", type=click.FloatRange(0, 1), default=1.0, metavar="SHARE",
    help="Of what was let pass, 0 to 1; denials and alerts stay.",
)  # fmt: skip
@control_options
@click.pass_context
def logs_command(
    context: click.Context,
    *,
    choice: Choice,
    follow: bool,
    lines: int,
    form: str,
    as_json: bool,
    fields: tuple[str, ...],
    drop: tuple[str, ...],
    mask: tuple[str, ...],
    token: tuple[str, ...],
    token_key: Path | None,
    sample: float,
    at: At,
) -> None:
    """Show records: the latest 20, or all since a time; those that are asked for, in the form that is asked for.

    \b
    netfw logs --denied                         what was denied lately, and by which rule
    netfw logs -f --client 10.2.0.0/16          what a network does right now
    netfw logs --since 1h --host .example.com --json | jq .url.path
    netfw logs --since 7d --format ocsf --token client_src_ip --token-key key.txt   for somebody else
    netfw logs summary --since 1d               counted

    Time, + let pass, - denied, ! with an alert, method, URL, status, size, duration, client, rule, id. `netfw why ID`
    tells more of one.

    Exit status 0: in order, also where there is none. 1: the records cannot be read. 2: wrong usage.
    """
    if context.invoked_subcommand is not None:
        return
    treatments = {**dict.fromkeys(mask, "mask"), **dict.fromkeys(token, "hash"), **dict.fromkeys(drop, "drop")}
    maker = None
    if token:
        if token_key is None:
            raise click.UsageError("--token needs --token-key FILE: without a key anybody could try values out")
        maker = token_maker(_key(token_key))
    shape = Shape(
        form="json" if as_json else form, fields=fields, sample=sample, treatments=treatments, token=maker,
    )  # fmt: skip
    with _reading(), records_of(at, "netfw logs", choice) as records:
        coming = records.follow(choice) if follow else None
        told = False
        for record in chain(records.read(choice, lines), coming or ()):
            if not (told or records.decrypted) and is_decrypted(record):
                told = True
                click.echo(NOTE, err=True)
            _print(shape, record)


@logs_command.command("summary")
@_chosen
@control_options
@json_option
def summary_command(*, choice: Choice, at: At, as_json: bool) -> None:
    """Count records: what came of them, by which rules, who asked, where to, how much went through."""
    choice = replace(choice, since=choice.since or 0.0)
    with _reading(), records_of(at, "netfw logs summary", choice) as records:
        found = Summary().add(records.read(choice, 0)).as_data()
    if as_json:
        print_json(found)
        return
    span = " to ".join(_when(found[end]) for end in ("first", "last") if found[end] is not None)
    facts = [("records", found["records"]), ("time", span or "none"), *found["types"].items()]
    print_facts("Records", [*facts, ("bytes in", found["bytes_in"]), ("bytes out", found["bytes_out"])])
    for title, name in (
        ("Denied by", "denied_by"),
        ("Denied destinations", "denied_destinations"),
        ("Failures", "failures"),
        ("Clients", "clients"),
        ("Destinations", "destinations"),
    ):
        if found[name]:
            click.echo()
            print_rows(title, found[name])


def _print(shape: Shape, record: Record) -> None:
    text = shape.text(record)
    if text is not None:
        click.echo(text)
        sys.stdout.flush()


class _reading:
    """Errors of files as sentences; Ctrl-C and a closed pipe end it quietly."""

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, BrokenPipeError):
            # Python would complain once more when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return True
        if isinstance(error, KeyboardInterrupt):
            return True
        if isinstance(error, OSError):
            raise click.ClickException(
                f"{error.filename or 'the record file'} cannot be read ({error.strerror}), and no proxy answers; use"
                " the proxy's own user, or root"
            ) from None
        return False


def _key(path: Path) -> bytes:
    try:
        return checked_key(path.read_bytes(), str(path))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _when(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
