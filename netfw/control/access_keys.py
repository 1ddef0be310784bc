"""Local access keys: what is in the file of them, and making one. PURE.

A signature can only be checked with the secret itself, so the file holds secrets: it is its owner's alone (mode 0600)
and never leaves the machine. A revoked key stays in it, so that its id is never given away again and audit records
that name it can be read. Not here: reading and writing the file (`config.key_file`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from netfw.control.refusals import UnrecognizedClient
from netfw.control.roles import Caller, Role
from netfw.control.shapes import shown

_ID = re.compile(r"NFWK[A-Z2-7]{16}", re.ASCII)
_SECRET = re.compile(r"[A-Za-z0-9_-]{40}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9*?-]{1,128}", re.ASCII)
_MEMBERS = {"id", "secret", "name", "roles", "groups", "decrypted", "created", "revoked"}


class KeyProblem(ValueError):
    """A file of keys, or a key, that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One key. `name` is whose it is; `revoked` is when it stopped counting."""

    id: str
    secret: str
    name: str
    roles: frozenset[Role]
    groups: tuple[str, ...] = ()
    decrypted: bool = False
    created: float = 0.0
    revoked: float | None = None

    def __repr__(self) -> str:
        return f"<AccessKey {self.id} of {self.name}>"

    def caller(self, origin: str) -> Caller:
        """Who a request signed with it is from."""
        return Caller(self.name, self.roles, self.groups, self.decrypted, self.id, origin)


class AccessKeys:
    """The keys of a file."""

    def __init__(self, keys: Iterable[AccessKey] = ()) -> None:
        self.keys = tuple(keys)
        self._by_id = {key.id: key for key in self.keys}
        if len(self._by_id) < len(self.keys):
            raise KeyProblem("two keys have the same id")

    def get(self, key_id: str) -> AccessKey:
        """A key that counts. Raises `UnrecognizedClient`, in the same words whether it never was or was revoked."""
        key = self._by_id.get(key_id)
        if key is None or key.revoked is not None:
            raise UnrecognizedClient(f"the access key {shown(key_id)} is not known here")
        return key

    def with_key(self, key: AccessKey) -> AccessKeys:
        """These and another."""
        return AccessKeys((*self.keys, key))

    def revoking(self, key_id: str, now: float) -> AccessKeys:
        """These, without one. Raises KeyProblem when there is none to revoke."""
        key = self._by_id.get(key_id)
        if key is None:
            raise KeyProblem(f"there is no key {key_id}")
        if key.revoked is not None:
            raise KeyProblem(f"key {key_id} is revoked already")
        return AccessKeys(replace(one, revoked=now) if one.id == key_id else one for one in self.keys)


def checked(key: AccessKey) -> AccessKey:
    """The key itself. Raises KeyProblem when it could not be used as it is meant."""
    if _ID.fullmatch(key.id) is None or _SECRET.fullmatch(key.secret) is None:
        raise KeyProblem("a key's id or secret does not have its form; make keys with `netfw key create`")
    if _NAME.fullmatch(key.name) is None:
        raise KeyProblem(f"{shown(key.name)} is not a holder's name: write letters, digits, @ . _ and -")
    if not key.roles:
        raise KeyProblem(f"a key needs a role: {', '.join(role.value for role in Role)}")
    for pattern in key.groups:
        if _PATTERN.fullmatch(pattern) is None:
            raise KeyProblem(f"{shown(pattern)} is no name of a rule group and no pattern of names (like payments-*)")
    if (Role.EDITOR in key.roles) is not bool(key.groups):
        raise KeyProblem("an editor's key names rule groups, and no other does")
    return key


def keys_from_text(text: str) -> AccessKeys:
    """The keys in a file's text. Raises KeyProblem."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise KeyProblem(f"it is not JSON: {error}") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeyProblem('it is not {"keys": [...]}')
    return AccessKeys(_key(entry, position) for position, entry in enumerate(entries))


def text_of_keys(keys: AccessKeys) -> str:
    """A file's text."""
    entries = [
        {
            "id": key.id,
            "secret": key.secret,
            "name": key.name,
            "roles": sorted(role.value for role in key.roles),
            "groups": list(key.groups),
            "decrypted": key.decrypted,
            "created": key.created,
            "revoked": key.revoked,
        }
        for key in keys.keys
    ]
    return json.dumps({"keys": entries}, indent=1) + "\n"


def _key(entry: Any, position: int) -> AccessKey:
    if not isinstance(entry, Mapping) or not entry.keys() <= _MEMBERS:
        raise KeyProblem(f"keys[{position}] is no key")
    try:
        revoked = entry.get("revoked")
        decrypted = entry.get("decrypted", False)
        if not isinstance(decrypted, bool):
            raise TypeError
        key = AccessKey(
            id=entry["id"],
            secret=entry["secret"],
            name=entry["name"],
            roles=frozenset(Role(word) for word in entry["roles"]),
            groups=tuple(entry.get("groups", ())),
            decrypted=decrypted,
            created=float(entry.get("created", 0.0)),
            revoked=None if revoked is None else float(revoked),
        )
        return checked(key)
    except KeyProblem as problem:
        raise KeyProblem(f"keys[{position}]: {problem}") from None
    except (KeyError, TypeError, ValueError):
        raise KeyProblem(f"keys[{position}] is no key") from None
