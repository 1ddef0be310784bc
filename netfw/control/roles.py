"""Who may do what: roles of access keys, and what each operation asks for. PURE.

A viewer reads. An editor also changes the rule groups that are named in the key, by name or pattern (`payments-*`). An
operator changes configurations and proxies, so decides which groups count and where, but not what is in them. An owner
does everything. To see decrypted URLs and fields is a right of its own, which no role includes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from netfw.control.refusals import AccessDenied
from netfw.control.service_model import Resource


class Role(Enum):
    """The roles, from the least to the most."""

    VIEWER = "viewer"
    EDITOR = "editor"
    OPERATOR = "operator"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who proved who they are. `origin` is where the request came from, `key` the access key's id.

    `groups`: names and patterns of the rule groups that an editor may change. `decrypted`: may see decrypted URLs.
    """

    name: str
    roles: frozenset[Role]
    groups: tuple[str, ...] = ()
    decrypted: bool = False
    key: str | None = None
    origin: str = ""

    def edits(self, group: str) -> bool:
        """May this rule group be changed?"""
        if Role.OWNER in self.roles:
            return True
        return Role.EDITOR in self.roles and any(fnmatchcase(group, pattern) for pattern in self.groups)


def check_right(caller: Caller, operation: str, writes: bool, resource: Resource, name: str | None) -> None:
    """Raises `AccessDenied` unless the caller may do this to the resource of this kind and name."""
    if not caller.roles:
        raise AccessDenied(f"{caller.name} has no role here")
    if not writes or Role.OWNER in caller.roles:
        return
    if resource is Resource.RULE_GROUP:
        if name is not None and caller.edits(name):
            return
        raise AccessDenied(
            f'{caller.name} may not call {operation} on rule group "{name}": it takes an owner, or its editor'
        )
    if Role.OPERATOR not in caller.roles:
        raise AccessDenied(f'{caller.name} may not call {operation} on {resource.value} "{name}": it takes an operator')
