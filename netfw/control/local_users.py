"""Who a user of this machine is to the proxy: by the number that the kernel gives, and what `control.local` says of it.

Root and the user whose the proxy is are owners: the files are theirs. Of everybody else all entries count that are
about them or one of their groups; whoever is in none is a viewer. Not here: how the number is known (`identity` for the
admin socket, `cli.local_rights` for commands that read files).
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable, Iterable

from netfw.config.model import LocalUser
from netfw.control.roles import Caller, Role

ROOT = 0


class LocalUsers:
    """`entries`: those of the configuration. `owner`: says the number of the user whose the proxy is, who may become
    another one after everything was wired.
    """

    def __init__(self, entries: Iterable[LocalUser], owner: Callable[[], int]) -> None:
        self._entries = tuple(entries)
        self._owner = owner

    def caller(self, uid: int, gid: int, origin: str) -> Caller:
        """The user as a caller. `gid`: the group of the process that asks, besides those of the user."""
        name = _user_name(uid)
        shown = name if name is not None else f"uid {uid}"
        if uid in (ROOT, self._owner()):
            return Caller(shown, frozenset({Role.OWNER}), decrypted=True, origin=origin)
        found = self._about(uid, gid, name)
        roles = frozenset(Role(word) for entry in found for word in entry.roles) or frozenset({Role.VIEWER})
        groups = tuple(dict.fromkeys(pattern for entry in found for pattern in entry.rule_groups))
        return Caller(shown, roles, groups, decrypted=any(entry.decrypted for entry in found), origin=origin)

    def _about(self, uid: int, gid: int, name: str | None) -> list[LocalUser]:
        users = {str(uid), name}
        groups: set[str] | None = None
        found = []
        for entry in self._entries:
            if entry.user is not None:
                if entry.user in users:
                    found.append(entry)
                continue
            if groups is None:
                groups = _group_names(gid, name)
            if entry.group in groups:
                found.append(entry)
        return found


def _user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _group_names(gid: int, name: str | None) -> set[str]:
    """Numbers and names of the groups."""
    numbers = {gid}
    if name is not None:
        numbers.update(os.getgrouplist(name, gid))
    names = {str(number) for number in numbers}
    for number in numbers:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return names
