"""Where a control API is and what to sign with: from the environment, or a profile of the credentials file.

The file is `~/.config/netfw/credentials` (`NETFW_CREDENTIALS` names another), its owner's alone, in sections:

    [default]
    endpoint = https://egress.example:9901
    access_key_id = NFWK...
    secret_access_key = ...
    ca_certificate = /etc/netfw/admin-ca.pem    # whom the endpoint's certificate is from; the system's roots otherwise
    proxy = berlin                              # whose configuration is meant where none is named

The environment (`NETFW_ENDPOINT`, `AWS_ACCESS_KEY_ID` ...) comes before the file, as with the AWS CLI. Not here: making
keys (`cli.key`).
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import click

from netfw.config import defaults
from netfw.config.files import exposed
from netfw.names.printable import printable

DEFAULT_PROFILE = "default"
_ENVIRONMENT = {
    "endpoint": ("NETFW_ENDPOINT",),
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "ca_certificate": ("NETFW_CA_CERTIFICATE",),
    "proxy": ("NETFW_PROXY",),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known; None where nothing says it."""

    endpoint: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    region: str = defaults.REGION
    ca_certificate: str | None = None
    proxy: str | None = None

    def __repr__(self) -> str:
        return f"<Profile of {self.endpoint}, key {self.access_key_id}>"


def credentials_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the file is, whether it is there or not."""
    named = environment.get("NETFW_CREDENTIALS")
    if named:
        return Path(named)
    home = environment.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "netfw" / "credentials"


def find_profile(name: str | None, environment: Mapping[str, str] = os.environ) -> Profile:
    """The profile, with what the environment says in its place. Without a name it is `NETFW_PROFILE`, else `default`,
    which need not be there. A key of the environment is taken whole or not at all.

    Raises ClickException where the file cannot be used, or a profile that was named is not in it.
    """
    wanted = name or environment.get("NETFW_PROFILE") or None
    found = _of_file(credentials_file(environment), wanted)
    given: dict[str, str] = {}
    for member, variables in _ENVIRONMENT.items():
        value = next((environment[one] for one in variables if environment.get(one)), None)
        if value is not None:
            given[member] = value
    if ("access_key_id" in given) is not ("secret_access_key" in given):
        raise click.ClickException("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together: set both, or neither")
    if name is not None:
        # Who names a profile means its key and its place, whatever is left in the shell.
        given = {member: value for member, value in given.items() if getattr(found, member) is None}
    return replace(found, **given)


def write_profile(name: str, profile: Profile, environment: Mapping[str, str] = os.environ) -> Path:
    """Put a profile into the file, in the place of one of that name; the file is made as its owner's alone."""
    path = credentials_file(environment)
    parser = _parsed(path) if path.exists() else configparser.ConfigParser(interpolation=None)
    parser[name] = {
        field.name: value for field in fields(Profile) if (value := getattr(profile, field.name)) is not None
    }
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        parser.write(opened)
    new.replace(path)
    return path


def _of_file(path: Path, name: str | None) -> Profile:
    if not path.exists():
        if name is not None:
            raise click.ClickException(
                f"there is no profile {printable(name)}: {path} is not there; netfw key create --profile makes it"
            )
        return Profile()
    parser = _parsed(path)
    section = name or DEFAULT_PROFILE
    if section not in parser:
        if name is None:
            return Profile()
        known = ", ".join(parser.sections()) or "none"
        raise click.ClickException(f"{path} has no profile {printable(name)}; it has: {known}")
    known_members = {field.name for field in fields(Profile)}
    for member in parser[section]:
        if member not in known_members:
            raise click.ClickException(
                f"{path}: [{section}] has {member!r}, which is not known; known are {', '.join(sorted(known_members))}"
            )
    found = Profile(**{member: value for member, value in parser[section].items() if value})
    if (found.access_key_id is None) is not (found.secret_access_key is None):
        raise click.ClickException(f"{path}: [{section}] needs both access_key_id and secret_access_key, or neither")
    return found


def _parsed(path: Path) -> configparser.ConfigParser:
    problem = exposed(path, what="a file of credentials")
    if problem is not None:
        raise click.ClickException(problem)
    parser = configparser.ConfigParser(interpolation=None, default_section="", inline_comment_prefixes=("#",))
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None
    return parser
