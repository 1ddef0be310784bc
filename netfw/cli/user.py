"""`netfw user`: who may use a listener with a password. The hashes are scrypt's; `htpasswd -B` does as well."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from netfw.cli.audit import audited
from netfw.config.model import Configuration
from netfw.config.password_hash import make_hash
from netfw.config.users_file import UsersFileProblem, check_name, read_users, with_user

SHORTEST = 8


@click.group("user")
def user_command() -> None:
    """Add people to the users file of a listener (`users: FILE`), and take them out.

    \b
    netfw user add users alice               asks for the password
    pass show proxy | netfw user add users alice
    netfw user remove users alice
    netfw reload
    """


FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@user_command.command("add")
@FILE
@click.argument("name")
def add_command(file: Path, name: str) -> None:
    """Add NAME to FILE, or give them another password.

    The password is asked for, or is the first line of standard input: never an argument, which everybody on the machine
    can see.
    """
    try:
        check_name(name)
    except UsersFileProblem as problem:
        raise click.BadParameter(str(problem), param_hint="NAME") from None
    text = _text(file, missing="")
    password = _password()
    if len(password) < SHORTEST:
        raise click.ClickException(f"the password is shorter than {SHORTEST} characters")
    is_new = not any(line.partition(":")[0] == name for line in text.split("\n"))
    _write(file, with_user(text, name, make_hash(password.encode("utf-8"))))
    click.echo(f"{name}: {'added' if is_new else 'has another password now'}. The proxy takes it with `netfw reload`.")


@user_command.command("remove")
@FILE
@click.argument("name")
def remove_command(file: Path, name: str) -> None:
    """Take NAME out of FILE."""
    text = _text(file)
    after = with_user(text, name, None)
    if len(after.splitlines()) == len(text.splitlines()):
        raise click.ClickException(f"{name} is not in {file}")
    _write(file, after)
    click.echo(f"{name}: removed. The proxy takes it with `netfw reload`; tunnels that are open stay.")


def _text(file: Path, missing: str | None = None) -> str:
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        if missing is None:
            raise click.ClickException(f"{file} does not exist") from None
        return missing
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{file} cannot be read: {error}") from None
    if text.strip():
        try:
            read_users(text)
        except UsersFileProblem as problem:
            raise click.ClickException(f"{file}: {problem}") from None
    return text


def _password() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")


def _write(file: Path, text: str) -> None:
    """Whole or not at all, and with the rights that it had; a new one is its owner's alone."""
    try:
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fchmod(out.fileno(), mode)
            if file.exists():
                facts = file.stat()
                if (facts.st_uid, facts.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(out.fileno(), facts.st_uid, facts.st_gid)
            os.fsync(out.fileno())
        os.replace(temporary, file)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error.strerror}") from None


def _state(_configuration: Configuration | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Whether there is such a user, and a mark of their password's hash, which changes with it."""
    name = options["name"]
    try:
        lines = [line for line in options["file"].read_text("utf-8").split("\n") if line.partition(":")[0] == name]
    except (OSError, ValueError):
        lines = []
    return {name: [sha256(line.encode("utf-8")).hexdigest()[:12] for line in lines]}


for command in (add_command, remove_command):
    audited(command, "user", "users", _state)
