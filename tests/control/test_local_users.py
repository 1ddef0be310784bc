"""Who a user of this machine is: a table of users, entries and what comes of them."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from netfw.config.control_section import ROLES
from netfw.config.model import LocalUser
from netfw.control.local_users import LocalUsers
from netfw.control.roles import Role

STRANGER = 54321
GROUP = 54322
OWNER = 54323


def test_the_configurations_roles_are_those_of_the_api() -> None:
    """It cannot import them: it is below."""
    assert list(ROLES) == [role.value for role in Role]


VIEWER: tuple[set[Role], tuple[str, ...], bool] = ({Role.VIEWER}, (), False)


@pytest.mark.parametrize(
    ("uid", "entries", "expected"),
    [
        (0, [], ({Role.OWNER}, (), True)),
        (OWNER, [], ({Role.OWNER}, (), True)),
        (STRANGER, [], VIEWER),
        (STRANGER, [LocalUser(user="99", roles=("owner",), decrypted=True)], VIEWER),
        (STRANGER, [LocalUser(user=str(STRANGER), roles=("operator",))], ({Role.OPERATOR}, (), False)),
        (STRANGER, [LocalUser(user=str(STRANGER), roles=("viewer",), decrypted=True)], ({Role.VIEWER}, (), True)),
        (STRANGER, [LocalUser(group=str(GROUP), roles=("owner",))], ({Role.OWNER}, (), False)),
        (
            STRANGER,
            [
                LocalUser(user=str(STRANGER), roles=("editor",), rule_groups=("a-*", "b")),
                LocalUser(group=str(GROUP), roles=("editor", "operator"), rule_groups=("b", "c"), decrypted=True),
            ],
            ({Role.EDITOR, Role.OPERATOR}, ("a-*", "b", "c"), True),
        ),
        (0, [LocalUser(user="0", roles=("viewer",))], ({Role.OWNER}, (), True)),
    ],
)
def test_all_entries_about_somebody_count(
    uid: int, entries: list[LocalUser], expected: tuple[set[Role], tuple[str, ...], bool]
) -> None:
    """And nothing else does."""
    caller = LocalUsers(entries, lambda: OWNER).caller(uid, GROUP, "socket")
    assert (set(caller.roles), caller.groups, caller.decrypted) == expected


def test_users_and_groups_are_known_by_name() -> None:
    """As the machine has them."""
    user = pwd.getpwuid(os.getuid())
    group = grp.getgrgid(user.pw_gid).gr_name
    entries = [
        LocalUser(user=user.pw_name, roles=("operator",)),
        LocalUser(group=group, roles=("editor",), rule_groups=("x",)),
    ]
    users = LocalUsers(entries, lambda: OWNER)
    nobody = pwd.getpwnam("nobody")
    caller = users.caller(nobody.pw_uid, user.pw_gid, "socket")
    assert (caller.name, set(caller.roles), caller.groups) == ("nobody", {Role.EDITOR}, ("x",))
    if user.pw_uid:
        assert Role.OPERATOR in users.caller(user.pw_uid, user.pw_gid, "socket").roles
