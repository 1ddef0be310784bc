"""`netfw why`: from the id that a client saw to the rule that denied, and to what would let it pass."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from netfw.cli.audit import audit_reading
from netfw.cli.config_option import find_config, json_option
from netfw.cli.control_access import At, asking_proxy, control, control_options
from netfw.cli.control_client import CannotAsk, ControlClient, Refused
from netfw.cli.local_rights import sees_decrypted
from netfw.cli.policy_option import read_configured
from netfw.cli.screen import print_json
from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.control.refusals import ResourceNotFound, UnknownOperation
from netfw.names.printable import printable
from netfw.telemetry.decrypted_fields import is_decrypted
from netfw.telemetry.denial_report import Asked, report
from netfw.telemetry.record_index import canonical_id
from netfw.telemetry.record_search import find_record

_DAY = 86400.0
_TRIES = 2
_PAUSE = 0.3


@click.command("why")
@click.argument("exchange_id", metavar="ID")
@control_options
@json_option
def why_command(exchange_id: str, at: At, as_json: bool) -> None:
    """Tell why an exchange was denied or failed, and what to do about it.

    ID is what the client was shown: in the reason phrase of the denial, in X-Netfw-Id, and on its page.

    \b
    curl: (56) CONNECT tunnel failed, response 403
    < HTTP/1.1 403 Blocked by netfw default [2HA26-1F5FD]
    netfw why 2HA26-1F5FD

    The rules are those of the policy generation that decided, where the store has it; else today's, and it says so.
    What only decryption shows is masked for those without the right to it (`control.local`, or a key with
    --decrypted).

    Exit status 0: found. 1: no such record. 2: wrong usage.
    """
    wanted = canonical_id(exchange_id)
    if wanted is None:
        raise click.UsageError(f"{exchange_id!r} is no id: it is ten letters and digits, like 2HA26-1F5FD")
    if at.is_elsewhere:
        with control(at) as access:
            _print_told(access.client.call("ExplainExchange", Id=wanted), as_json)
        return
    configuration = load_config(find_config(at.config).absolute(), with_files=False)
    proxy = asking_proxy(configuration)
    found = _find(configuration, proxy, wanted)
    for _ in range(_TRIES):
        if found.record is not None:
            break
        # Who has just seen a denial may be faster than its record, which waits for others to be written with it.
        time.sleep(_PAUSE)
        found = _find(configuration, proxy, wanted)
    if found.record is None:
        _complain_of_none(configuration, found, wanted, as_json)
        sys.exit(1)
    asked = _policy_of(configuration, found.record)
    if found.by_proxy and asked.policy is None and proxy is not None:
        # The rules are not for this user to read; the proxy has them.
        _print_told(proxy.call("ExplainExchange", Id=wanted), as_json)
        return
    in_store = configuration.policy.store is not None
    told = report(found.record, asked, in_store=in_store, decrypted=found.decrypted, notes=found.notes)
    if not found.by_proxy and found.decrypted and is_decrypted(found.record):
        audit_reading(configuration, "netfw why", {"id": wanted})
    if as_json:
        print_json(told.as_data())
    else:
        for line in told.lines():
            click.echo(line)


def _print_told(told: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told["Report"])
        return
    for line in told["Lines"]:
        click.echo(printable(line))


@dataclass(frozen=True, slots=True)
class _Found:
    """`decrypted`: nothing that the record has is masked. `by_proxy`: the proxy found it, and has put it on record."""

    record: Mapping[str, Any] | None
    notes: tuple[str, ...]
    decrypted: bool
    by_proxy: bool


def _find(configuration: Configuration, proxy: ControlClient | None, wanted: str) -> _Found:
    """By the running proxy, to whom the kernel says who asks; else in the files."""
    if proxy is not None:
        try:
            told = proxy.call("FindRecord", Id=wanted)
            return _Found(told["Record"], tuple(told["Notes"]), told["Decrypted"], True)
        except Refused as refused:
            if refused.code == ResourceNotFound.code:
                return _Found(None, (), False, True)
            if refused.code != UnknownOperation.code:
                raise
        except CannotAsk:
            pass
    log = configuration.log
    if log.readable is None:
        raise click.ClickException(
            f"{log.why_unreadable} in {configuration.path}; write log: {{index: {{path: FILE}}}} to find them"
        )
    try:
        found = find_record(log.readable, None if log.index is None else log.index.path, wanted)
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or log.readable} cannot be read ({error.strerror}), and no proxy answers; use the proxy's"
            " own user, or root"
        ) from None
    return _Found(found.record, found.notes, sees_decrypted(configuration), False)


def _complain_of_none(configuration: Configuration, found: _Found, wanted: str, as_json: bool) -> None:
    log = configuration.log
    notes = [*found.notes, *([log.why_partial] if log.why_partial is not None else [])]
    if log.index is not None:
        notes.append(f"the index keeps {log.index.keep / _DAY:g} days; another proxy may have said it")
    else:
        notes.append("there is no index: write log: {index: {path: FILE}} to find what was rotated away")
    if as_json:
        print_json({"id": wanted, "found": False, "notes": notes})
    else:
        click.echo("\n".join([f"no record of {log.readable} has the id {wanted}", *notes]), err=True)


def _policy_of(configuration: Configuration, record: Mapping[str, Any]) -> Asked:
    """The rules that decided, or the nearest to them that is to be had."""
    generation = record.get("generation")
    why_not = "what was in force then is not kept"
    if configuration.policy.store is not None and isinstance(generation, int):
        # A database takes longer to import than most verbs to run.
        from sqlalchemy.exc import SQLAlchemyError

        from netfw.policy.problems import PolicyErrors
        from netfw.store.configured import open_configured
        from netfw.store.errors import StoreError
        from netfw.store.former import policy_at

        try:
            database = open_configured(configuration)
            try:
                policy = policy_at(database, configuration.proxy.name, generation)
            finally:
                database.close()
            return Asked(policy, f"generation {generation}, in force then", True)
        except (ConfigErrors, PolicyErrors, StoreError, SQLAlchemyError) as error:
            why_not = f"generation {generation} cannot be had: {error}"
    try:
        return Asked(read_configured(configuration), f"as they are now; {why_not}", False)
    except ConfigErrors as errors:
        return Asked(None, f"not to be had: {errors}", False)
