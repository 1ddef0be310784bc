"""`netfw user` as it is typed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netfw.cli.main import netfw
from netfw.config.password_hash import make_hash
from netfw.config.users_file import read_users

OTHERS = f"# the lab\nbob:{make_hash(b'his own secret').text}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of bob, with a comment, and readable for a group."""
    path = tmp_path / "users"
    path.write_text(OTHERS)
    path.chmod(0o640)
    return path


@pytest.fixture
def run() -> Callable[..., Result]:
    """Runs `netfw user` with what is typed."""

    def invoke(*arguments: object, typed: str = "") -> Result:
        return CliRunner().invoke(netfw, ["user", *map(str, arguments)], input=typed)

    return invoke


def test_somebody_is_added_and_removed(run: Callable[..., Result], file: Path) -> None:
    """Their password holds; others, comments and the file's rights stay as they are."""
    added = run("add", file, "alice", typed="correct horse\nnot this\n")
    assert added.exit_code == 0, added.output
    assert "alice: added" in added.output
    assert "correct horse" not in added.output + file.read_text()
    users = read_users(file.read_text())
    assert users["alice"].matches(b"correct horse")
    assert not users["alice"].matches(b"not this")
    assert file.read_text().startswith(OTHERS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    removed = run("remove", file, "alice")
    assert removed.exit_code == 0, removed.output
    assert file.read_text() == OTHERS
    assert os.listdir(file.parent) == ["users"]


def test_another_password(run: Callable[..., Result], file: Path) -> None:
    """In the place of the former one."""
    changed = run("add", file, "bob", typed="another secret\n")
    assert "bob: has another password now" in changed.output
    (name, found), *others = read_users(file.read_text()).items()
    assert (name, others) == ("bob", [])
    assert found.matches(b"another secret")


def test_a_new_file_is_its_owners_alone(run: Callable[..., Result], tmp_path: Path) -> None:
    """Nobody else may try the hashes."""
    made = run("add", tmp_path / "new", "alice", typed="correct horse\n")
    assert made.exit_code == 0, made.output
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        (("add", "{file}", "alice"), "short\n", "shorter than 8 characters"),
        (("add", "{file}", "alice"), "", "shorter than 8 characters"),
        (("add", "{file}", "a:b"), "correct horse\n", "a:b"),
        (("add", "{file}", ""), "correct horse\n", "NAME"),
        (("add", "{file}/x/y", "alice"), "correct horse\n", "{file}/x/y"),
        (("add", "{broken}", "alice"), "correct horse\n", "{broken}"),
        (("remove", "{file}", "alice"), "", "alice is not in {file}"),
        (("remove", "{file}x", "alice"), "", "{file}x does not exist"),
    ],
)
def test_what_is_refused(
    arguments: tuple[str, ...], typed: str, said: str, run: Callable[..., Result], file: Path, tmp_path: Path
) -> None:
    """With the value and the place, and nothing is changed."""
    broken = tmp_path / "broken"
    broken.write_text("alice:{SHA}nonsense\n")
    places = {"file": str(file), "broken": str(broken)}
    done = run(*(argument.format(**places) for argument in arguments), typed=typed)
    assert done.exit_code != 0
    assert said.format(**places) in done.output
    assert file.read_text() == OTHERS
    assert broken.read_text() == "alice:{SHA}nonsense\n"
