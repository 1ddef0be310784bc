"""`netfw key`: the access keys of the control API: create, list, revoke.

They are kept in the file that `control.keys` names. The secret is shown once, when the key is made. A running proxy
takes a changed file with the next request. Not here: what is in the file (`control.access_keys`).
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from netfw.cli.audit import audited
from netfw.cli.ca_files import SECRET, make_directories, write_file
from netfw.cli.config_option import config_option, find_config, json_option
from netfw.cli.credentials import Profile, write_profile
from netfw.cli.screen import print_json
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.control.access_keys import AccessKey, AccessKeys, KeyProblem, checked, text_of_keys
from netfw.control.key_file import read_keys
from netfw.control.roles import Role


@click.group("key")
def key_command() -> None:
    """Make, show and revoke the access keys that clients of the control API sign with."""


@key_command.command("create")
@click.argument("name")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice([role.value for role in Role]),
    default=[Role.VIEWER.value],
    show_default=True,
    help="What the key may do; may be given more than once.",
)
@click.option(
    "--group", "groups", multiple=True, help="A rule group that an editor may change, or a pattern: payments-*."
)
@click.option("--decrypted", is_flag=True, help="May also see decrypted URLs and fields.")
@click.option(
    "--profile", metavar="PROFILE", help="Write it into your credentials file, as this profile, instead of printing it."
)
@config_option
@json_option
def create_command(
    name: str,
    roles: tuple[str, ...],
    groups: tuple[str, ...],
    decrypted: bool,
    profile: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Make a key for NAME, a person or a program.

    A viewer reads; an editor also changes the rule groups that --group names; an operator changes configurations and
    proxies; an owner does everything. The secret is printed once and can never be shown again.

    \b
    netfw key create deploy --role operator             prints what a shell on another machine needs
    netfw key create me --role owner --profile default  for `netfw apply` and its like, here
    """
    configuration = load_config(find_config(config), with_files=False)
    path = _path(configuration)
    key = AccessKey(
        id="NFWK" + base64.b32encode(secrets.token_bytes(10)).decode("ascii"),
        secret=secrets.token_urlsafe(30),
        name=name,
        roles=frozenset(Role(role) for role in roles),
        groups=groups,
        decrypted=decrypted,
        created=float(int(time.time())),
    )
    try:
        checked(key)
    except KeyProblem as problem:
        raise click.UsageError(str(problem)) from None
    _write(path, _read(path).with_key(key))
    if profile is not None:
        place = write_profile(profile, _profile(configuration, key))
        if as_json:
            print_json({"AccessKeyId": key.id, "name": key.name, "roles": list(roles), "profile": profile})
        else:
            print(f"{key.id} is profile {profile} of {place}")
        return
    if as_json:
        print_json({"AccessKeyId": key.id, "SecretAccessKey": key.secret, "name": key.name, "roles": list(roles)})
        return
    print(f"export AWS_ACCESS_KEY_ID={key.id}")
    print(f"export AWS_SECRET_ACCESS_KEY={key.secret}")


@key_command.command("list")
@config_option
@json_option
def list_command(config: Path | None, as_json: bool) -> None:
    """Show every key, without its secret."""
    rows: list[dict[str, Any]] = [
        {
            "id": key.id,
            "name": key.name,
            "roles": sorted(role.value for role in key.roles),
            "groups": list(key.groups),
            "decrypted": key.decrypted,
            "created": _shown(key.created),
            "revoked": None if key.revoked is None else _shown(key.revoked),
        }
        for key in _read(_path(load_config(find_config(config), with_files=False))).keys
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        rights = [*row["roles"], *row["groups"], *(["decrypted"] if row["decrypted"] else [])]
        ended = f", revoked {row['revoked']}" if row["revoked"] else ""
        print(f"{row['id']}  {row['name']}  {' '.join(rights)}  since {row['created']}{ended}")


@key_command.command("revoke")
@click.argument("key_id", metavar="ID")
@config_option
def revoke_command(key_id: str, config: Path | None) -> None:
    """Make the key with this ID count no more, from the next request on."""
    path = _path(load_config(find_config(config), with_files=False))
    try:
        keys = _read(path).revoking(key_id, float(int(time.time())))
    except KeyProblem as problem:
        raise click.ClickException(str(problem)) from None
    _write(path, keys)
    print(f"{key_id} is revoked")


def _profile(configuration: Configuration, key: AccessKey) -> Profile:
    """What this machine's clients need: the key, and where the port is."""
    admin = configuration.admin
    endpoint = None
    if admin.address is not None and admin.port:
        host = f"[{admin.address}]" if admin.address.version == 6 else str(admin.address)
        endpoint = f"{'http' if admin.certificate is None else 'https'}://{host}:{admin.port}"
    return Profile(endpoint, key.id, key.secret, proxy=configuration.proxy.name)


def _path(configuration: Configuration) -> Path:
    control = configuration.control
    if control is None or control.keys is None:
        raise click.ClickException(f"{configuration.path} names no file of keys; write control: {{keys: FILE}}")
    return control.keys


def _read(path: Path) -> AccessKeys:
    try:
        return read_keys(path)
    except KeyProblem as problem:
        raise click.ClickException(str(problem)) from None


def _write(path: Path, keys: AccessKeys) -> None:
    """All of it or nothing; `like` leaves a file that is the proxy's own user's with that user."""
    make_directories([path])
    like = path if path.exists() else None
    write_file(path, text_of_keys(keys).encode("ascii"), SECRET, force=True, like=like)


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _state(configuration: Configuration | None, _options: Mapping[str, Any]) -> dict[str, Any]:
    """Which keys there are, and what they may; no secret."""
    control = None if configuration is None else configuration.control
    try:
        keys = () if control is None or control.keys is None else read_keys(control.keys).keys
    except KeyProblem as problem:
        return {"problem": str(problem)}
    return {
        key.id: {
            "name": key.name,
            "roles": sorted(role.value for role in key.roles),
            "groups": list(key.groups),
            "decrypted": key.decrypted,
            "revoked": None if key.revoked is None else _shown(key.revoked),
        }
        for key in keys
    }


for command in (create_command, revoke_command):
    audited(command, "key", "access keys", _state)
