"""The users file: `name:hash`, one a line, as htpasswd writes it; empty lines and lines that begin with # are skipped.

PURE. Not here: what a hash is (`password_hash`), and who is asked for a password (`proxy.authentication`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from netfw.config.password_hash import HashRefused, PasswordHash, read_hash

# What rules and records call a client: printable, without the colon that ends it in Basic (RFC 7617, section 2).
_NAME = re.compile(r"[!-9;-~](?:[ -9;-~]{0,126}[!-9;-~])?", re.ASCII)
MOST_USERS = 100_000


class UsersFileProblem(ValueError):
    """What is wrong, with the number of its line."""


def check_name(name: str) -> str:
    """The name itself. Raises UsersFileProblem."""
    if not _NAME.fullmatch(name) or name.startswith("#"):
        raise UsersFileProblem(f"{name!r} is no user name; write 1 to 128 printable ASCII characters without a colon")
    return name


def read_users(text: str) -> dict[str, PasswordHash]:
    """Hash by name. Raises UsersFileProblem at the first line that is wrong, or when nobody is in it."""
    users: dict[str, PasswordHash] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#"):
            continue
        name, colon, written = line.partition(":")
        try:
            if not colon:
                raise UsersFileProblem("is not name:hash")
            if check_name(name) in users:
                raise UsersFileProblem(f"{name!r} is there a second time")
            users[name] = read_hash(written)
        except HashRefused as refusal:
            raise UsersFileProblem(f"line {number}: the hash of {name!r} {refusal}") from None
        except UsersFileProblem as problem:
            raise UsersFileProblem(f"line {number}: {problem}") from None
        if len(users) > MOST_USERS:
            raise UsersFileProblem(f"line {number}: more than {MOST_USERS} users")
    if not users:
        raise UsersFileProblem("there is nobody in it; add somebody with `netfw user add`")
    return users


def with_user(text: str, name: str, hashed: PasswordHash | None) -> str:
    """The text with this user's line put in place of an earlier one, or taken out (None). Other lines stay."""
    lines = [line for line in text.split("\n") if line.partition(":")[0] != name or line.startswith("#")]
    while lines and not lines[-1]:
        lines.pop()
    if hashed is not None:
        lines.append(f"{check_name(name)}:{hashed.text}")
    return "\n".join([*lines, ""]) if lines else ""


Users = Mapping[str, PasswordHash]
