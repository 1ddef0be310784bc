"""Where `netfw logs` has its records from: the files, or the proxy where they are not for this user to read.

Files come first: reading much is not for the process that serves. What only decryption shows is veiled for whoever has
no right to it; whoever has leaves an audit record. In this room: choosing, and asking. Not here: reading the files
(`telemetry.record_reading`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import click

from netfw.cli.audit import audit_reading, may_record
from netfw.cli.config_option import find_config
from netfw.cli.control_access import At, asking_proxy, control
from netfw.cli.control_client import ControlClient, NobodyThere
from netfw.cli.local_rights import sees_decrypted
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.control.own_model import MOST_RECORDS
from netfw.telemetry.decrypted_fields import veiled
from netfw.telemetry.record_choice import Choice
from netfw.telemetry.record_reading import Following, Record, latest, since


class Records(Protocol):
    """`decrypted`: nothing that the records have is masked."""

    decrypted: bool

    def read(self, choice: Choice, lines: int) -> Iterable[Record]:
        """Those that are asked for: all since a time, or so many of the latest."""

    def follow(self, choice: Choice) -> Iterator[Record]:
        """What comes from now on, without end. Raises ClickException where that cannot be."""


class FileRecords:
    """From the record file and those that it was rotated to."""

    def __init__(self, path: Path, *, decrypted: bool) -> None:
        self.path = path
        self.decrypted = decrypted

    def read(self, choice: Choice, lines: int) -> Iterable[Record]:
        """See `Records`."""
        if not self.path.parent.is_dir():
            raise click.ClickException(f"{self.path.parent} is not there: has the proxy run yet?")
        if choice.since is not None:
            return map(self._shown, since(self.path, choice.since, choice.takes))
        return map(self._shown, latest(self.path, lines, choice.takes))

    def follow(self, choice: Choice) -> Iterator[Record]:
        """See `Records`."""
        following = Following(self.path)
        return (self._shown(record) for record in following.records() if choice.takes(record))

    def _shown(self, record: Record) -> Record:
        return record if self.decrypted else veiled(record)


class ProxyRecords:
    """From the proxy, which knows who asks."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self.decrypted = False

    def read(self, choice: Choice, lines: int) -> Iterable[Record]:
        """See `Records`; no more than the proxy gives at once, and then says so."""
        most = MOST_RECORDS if choice.since is not None else min(lines, MOST_RECORDS)
        if most == 0:
            return []
        told = self._client.call("ReadRecords", MaxResults=most, **_asked(choice))
        self.decrypted = told["Decrypted"]
        found: list[Record] = told["Records"]
        if len(found) == MOST_RECORDS:
            click.echo(f"the proxy shows the latest {MOST_RECORDS} records, and there may be more", err=True)
        return found

    def follow(self, choice: Choice) -> Iterator[Record]:
        """See `Records`."""
        raise click.ClickException(
            "records are followed in the file, which is not for this user to read; without --follow the proxy shows the"
            " latest"
        )


@contextmanager
def records_of(at: At, verb: str, choice: Choice) -> Iterator[Records]:
    """The records that the options lead to."""
    if at.is_elsewhere:
        with control(at) as access:
            yield ProxyRecords(access.client)
        return
    configuration = load_config(find_config(at.config).absolute(), with_files=False)
    path = configuration.log.readable
    if path is None:
        raise click.ClickException(
            f"{configuration.log.why_unreadable} in {configuration.path}; write log: {{path: FILE}}, or log: {{index: "
            "{path: FILE}} beside it, to look at them here"
        )
    if configuration.log.why_partial is not None:
        click.echo(f"note: {configuration.log.why_partial}", err=True)
    decrypted = sees_decrypted(configuration)
    readable = not path.exists() or os.access(path, os.R_OK)
    if not readable or (decrypted and not may_record(configuration)):
        proxy = _listening(configuration)
        if proxy is not None:
            yield ProxyRecords(proxy)
            return
    if decrypted:
        asked = {name: str(getattr(choice, name)) for name in ("host", "rule") if getattr(choice, name) is not None}
        audit_reading(configuration, verb, asked)
    yield FileRecords(path, decrypted=decrypted)


def _listening(configuration: Configuration) -> ControlClient | None:
    """The proxy, if it listens; what else is wrong with it is better said than that the file cannot be read."""
    proxy = asking_proxy(configuration)
    if proxy is None:
        return None
    try:
        proxy.call("ListProxies", MaxResults=1)
    except NobodyThere:
        return None
    return proxy


def _asked(choice: Choice) -> dict[str, Any]:
    clients = [*map(str, choice.networks), *sorted(choice.identities)]
    return {
        "Since": choice.since,
        "Until": choice.until,
        "Denied": True if "deny" in choice.types else None,
        "Alerts": True if "alert" in choice.types else None,
        "Clients": clients or None,
        "Host": choice.host,
        "Rule": choice.rule,
    }
