"""Access keys as text, who they make of a request, and what each role may do."""

import json
from pathlib import Path

import pytest

from netfw.control.access_keys import AccessKey, AccessKeys, KeyProblem, checked, keys_from_text, text_of_keys
from netfw.control.key_file import KeyFile, read_keys
from netfw.control.refusals import AccessDenied, Throttled, UnrecognizedClient
from netfw.control.roles import Caller, Role, check_right
from netfw.control.service_model import Resource
from netfw.control.throttle import Throttle

ID = "NFWK" + "A" * 16
KEY = AccessKey(ID, "s" * 40, "ann@example.com", frozenset({Role.EDITOR}), ("payments-*",), created=1.0)


def test_keys_survive_their_file() -> None:
    """Revoked ones too, so that their ids stay taken."""
    keys = AccessKeys([KEY]).revoking(ID, 5.0)
    assert keys_from_text(text_of_keys(keys)).keys == keys.keys
    assert keys.keys[0].revoked == 5.0


def test_a_secret_is_never_printed() -> None:
    """Not by accident, in a log or a traceback."""
    assert KEY.secret not in repr(KEY)


def test_revoked_and_unknown_keys_are_told_the_same() -> None:
    """Nobody learns which ids there were."""
    said = []
    for keys in (AccessKeys(), AccessKeys([KEY]).revoking(ID, 5.0)):
        with pytest.raises(UnrecognizedClient) as caught:
            keys.get(ID)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "AKIA"},
        {"secret": "short"},
        {"name": "a b"},
        {"roles": []},
        {"roles": ["king"]},
        {"groups": []},
        {"groups": ["a b"]},
        {"roles": ["owner"]},
        {"decrypted": "yes"},
        {"roles": 7},
        {"extra": 1},
        {"revoked": "never"},
    ],
)
def test_a_key_that_could_not_be_meant_is_refused(change: dict[str, object]) -> None:
    """The whole file is, so that nobody gets less or more than was written."""
    entry = json.loads(text_of_keys(AccessKeys([KEY])))["keys"][0]
    with pytest.raises(KeyProblem, match=r"keys\[0\]"):
        keys_from_text(json.dumps({"keys": [{**entry, **change}]}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": 1}', '{"keys": [1]}', "[" * 100_000])
def test_a_file_that_holds_no_keys_is_refused(text: str) -> None:
    """And nothing breaks."""
    with pytest.raises(KeyProblem):
        keys_from_text(text)


def test_an_editors_key_names_groups_and_no_other_does() -> None:
    """Groups without the role would be a right that does not count."""
    assert checked(KEY) is KEY


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """A key that is revoked counts no more with the next request."""
    path = tmp_path / "keys.json"
    file = KeyFile(path)
    assert file.keys().keys == ()
    path.touch(0o600)
    path.write_text(text_of_keys(AccessKeys([KEY])))
    assert file.keys().get(ID) == KEY
    path.write_text(text_of_keys(AccessKeys([KEY]).revoking(ID, 5.0)))
    with pytest.raises(UnrecognizedClient):
        file.keys().get(ID)


def test_a_file_that_others_can_read_lets_nobody_in(tmp_path: Path) -> None:
    """Whoever reads it is everybody in it."""
    path = tmp_path / "keys.json"
    path.write_text(text_of_keys(AccessKeys([KEY])))
    path.chmod(0o640)
    with pytest.raises(KeyProblem, match="chmod 0600"):
        read_keys(path)


def test_a_broken_file_does_not_leave_the_keys_of_before_in_force(tmp_path: Path) -> None:
    """Who broke it may have meant to revoke one."""
    path = tmp_path / "keys.json"
    path.touch(0o600)
    path.write_text(text_of_keys(AccessKeys([KEY])))
    file = KeyFile(path)
    assert file.keys().get(ID) == KEY
    path.write_text("{")
    for _ in range(2):
        with pytest.raises(KeyProblem):
            file.keys()


GROUP, CONFIGURATION, PROXY = Resource.RULE_GROUP, Resource.CONFIGURATION, Resource.PROXY
MAY_WRITE = {
    Role.VIEWER: set(),
    Role.EDITOR: {(GROUP, "payments-api")},
    Role.OPERATOR: {(CONFIGURATION, "main"), (PROXY, "main")},
    Role.OWNER: {(GROUP, "payments-api"), (GROUP, "other"), (CONFIGURATION, "main"), (PROXY, "main")},
}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("target", sorted(MAY_WRITE[Role.OWNER], key=str))
def test_each_role_changes_what_is_its_own(role: Role, target: tuple[Resource, str]) -> None:
    """And everybody with a role reads everything."""
    caller = Caller("ann", frozenset({role}), ("payments-*",) if role is Role.EDITOR else ())
    check_right(caller, "Describe", False, *target)
    if target in MAY_WRITE[role]:
        check_right(caller, "Update", True, *target)
    else:
        with pytest.raises(AccessDenied, match="ann may not call Update"):
            check_right(caller, "Update", True, *target)


def test_without_a_role_nothing_is_read() -> None:
    """No zero value means yes."""
    with pytest.raises(AccessDenied):
        check_right(Caller("ann", frozenset()), "Describe", False, GROUP, "g")


def test_a_burst_is_let_through_and_then_one_each_interval() -> None:
    """Each name has a bucket of its own."""
    throttle = Throttle(rate=2.0, burst=3.0)
    for _ in range(3):
        throttle.take("ann", 10.0)
    with pytest.raises(Throttled):
        throttle.take("ann", 10.0)
    throttle.take("bob", 10.0)
    throttle.take("ann", 10.5)
    with pytest.raises(Throttled):
        throttle.take("ann", 10.5)


def test_a_clock_that_goes_back_gives_no_tokens() -> None:
    """Nor takes any."""
    throttle = Throttle(rate=1.0, burst=1.0)
    throttle.take("ann", 10.0)
    with pytest.raises(Throttled):
        throttle.take("ann", 5.0)


def test_a_rate_of_nothing_is_no_limit() -> None:
    """As the configuration says."""
    throttle = Throttle(rate=0.0, burst=1.0)
    for _ in range(100):
        throttle.take("ann", 1.0)
