"""Audit records of what is done by command: the same file and form as those of the control API.

In this room: a block or a command of which what it did, or was refused, is a line of `control.audit`. What cannot be
recorded is not done. Not here: the record (`control.audit`).
"""

from __future__ import annotations

import functools
import getpass
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from netfw.cli.config_option import find_config
from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.control.audit import audit_line
from netfw.control.operations.call import Change
from netfw.control.roles import Caller, Role

_MODE = 0o640


@dataclass(slots=True)
class Outcome:
    """What the record will say; whoever does the work fills it in."""

    outcome: str = "failed"
    changes: Sequence[Change] = ()
    generation: int | None = None


@contextmanager
def recorded(
    configuration: Configuration | None, operation: str, about: Mapping[str, Any], request_id: str | None = None
) -> Iterator[Outcome]:
    """A block that leaves one record when it ends, however it ends, where the configuration has a file for it.

    Raises ClickException where none can be written, before the block.
    """
    outcome = Outcome()
    if configuration is None or configuration.control is None or configuration.control.audit is None:
        yield outcome
        return
    descriptor = _open(configuration.control.audit)
    try:
        yield outcome
    finally:
        try:
            os.write(descriptor, _line(operation, configuration, about, outcome, request_id or str(uuid4())))
        finally:
            os.close(descriptor)


# What is there of what a command changes, by the configuration, if there is one, and the command's options.
State = Callable[[Configuration | None, Mapping[str, Any]], dict[str, Any]]


def audited(command: click.Command, what: str, subject: str, state: State) -> click.Command:
    """The command, which from now on leaves a record where the configuration has a file for it. `what` is before its
    name in the record; `state` says what is there of the `subject`, before and after.
    """
    run: Any = command.callback

    @functools.wraps(run)
    def with_record(*arguments: Any, **options: Any) -> Any:
        configuration = _configuration(options.get("config"))
        about = {name: str(value) for name, value in options.items() if value not in (None, (), False)}
        with recorded(configuration, f"{what} {command.name}", about) as record:
            before = state(configuration, options)
            try:
                result = run(*arguments, **options)
                record.outcome = "done"
                return result
            finally:
                after = state(configuration, options)
                if before != after:
                    record.changes = (Change(subject, before, after),)

    command.callback = with_record
    return command


def audit_reading(configuration: Configuration, operation: str, about: dict[str, str]) -> None:
    """Leave a record of somebody reading what was encrypted on the wire, where the configuration has a file for it.

    Raises ClickException where it cannot be written: then nothing is shown.
    """
    with recorded(configuration, operation, about) as record:
        record.outcome = "done"


def may_record(configuration: Configuration) -> bool:
    """Whether this user could leave a record, where there is a file for it."""
    control = configuration.control
    if control is None or control.audit is None:
        return True
    place = control.audit
    return os.access(place if place.exists() else place.parent, os.W_OK)


def _configuration(config: Path | None) -> Configuration | None:
    try:
        return load_config(find_config(config), with_files=False)
    except ConfigErrors:
        # The command says so itself, unless it was told everything by options.
        return None


def _open(path: Path) -> int:
    """The file, made as the owner of its directory where root makes it, so that the proxy can go on writing to it."""
    try:
        new = not path.exists()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        if new and os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise click.ClickException(
            f"{path}: no audit record can be written, so nothing is done: {error.strerror}"
        ) from None
    return descriptor


def authority_state(configuration: Configuration | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The files of the CA and of what lies beside it, the next, the previous, the root, lists of what is revoked, and
    those that options name: by name, the SHA-256 of each; of keys only that they are there, and since when.
    """
    found: dict[str, Any] = {}
    intercept = None if configuration is None else configuration.tls_intercept
    for path in (options.get("certificate"), *(() if intercept is None else (intercept.ca_certificate,))):
        if path is not None:
            # The key lies beside its certificate or elsewhere; whatever has its name belongs to it.
            found |= {str(one): _file_state(one) for one in sorted(Path(path).parent.glob(f"{Path(path).stem}.*"))}
    key = None if intercept is None else intercept.ca_private_key
    for path in (options.get("private_key"), options.get("output"), key):
        if path is not None and Path(path).exists():
            found[str(path)] = _file_state(Path(path))
    return found


def _file_state(path: Path) -> str:
    try:
        if path.suffix == ".key" or not path.is_file():
            return f"there, of {path.stat().st_mtime_ns}"
        return f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def local_caller() -> Caller:
    """Who typed the command. Files are what lets them do it: who can open the store owns it."""
    return Caller(_user(), frozenset({Role.OWNER}), origin=f"command, uid {os.getuid()}, pid {os.getpid()}")


def _line(
    operation: str, configuration: Configuration, about: Mapping[str, Any], record: Outcome, request_id: str
) -> bytes:
    # Roles are those of the API; a command has what the files' permissions give.
    caller = replace(local_caller(), roles=frozenset())
    return audit_line(
        now=time.time(),
        request_id=request_id,
        caller=caller,
        operation=operation,
        about={**about, "config": str(configuration.path)},
        outcome=record.outcome,
        changes=record.changes,
        generation=record.generation,
    )


def _user() -> str:
    """Who typed it, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
