"""What a reload reads from files, from themselves or from copies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netfw.config.credential_files import credential_files
from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.config.password_hash import make_hash
from netfw.proxy.credentials import Credentials, CredentialsRefused, read_credentials
from netfw.service.reading_anew import Found, copy_anew, read_anew
from netfw.workers.sealed_files import close_files, sealed_copies
from netfw.x509.authority import create_root
from netfw.x509.reading import certificates_from_pem
from tests.config.conftest import POLICY

NOW = datetime.now(UTC)
SECONDS = NOW.timestamp()
USER = f"alice:{make_hash(b'correct horse').text}\n"


def new_ca(directory: Path) -> bytes:
    certificate, key = create_root("test", NOW, 30)
    (directory / "ca.pem").write_bytes(certificate)
    (directory / "ca.key").write_bytes(key)
    (directory / "ca.key").chmod(0o600)
    return certificate


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """Interception, and a listener with users."""
    new_ca(tmp_path)
    (tmp_path / "users").write_text(USER)
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "proxy.yaml").write_text(
        "listeners: [{name: main, address: 127.0.0.1, users: users}]\n"
        "policy: {file: policy.yaml}\n"
        "tls_intercept: {mode: ENABLED, ca: {certificate: ca.pem, private_key: ca.key}}\n"
    )
    return load_config(tmp_path / "proxy.yaml")


@pytest.fixture
def former(configuration: Configuration) -> Credentials:
    """What is in force."""
    return read_credentials(configuration)


def copies_of(configuration: Configuration) -> dict[Path, int]:
    return sealed_copies(credential_files(configuration))


Read = Callable[[Configuration, Credentials], Found]


@pytest.fixture(params=["files", "copies"])
def read(request: pytest.FixtureRequest) -> Iterator[Read]:
    """Both ways; copies that were made are closed."""
    made: list[Found] = []

    def found(configuration: Configuration, former: Credentials) -> Found:
        if request.param == "files":
            made.append(read_anew(configuration, former, SECONDS))
        else:
            made.append(copy_anew(configuration, former, SECONDS, copies_of))
        return made[-1]

    yield found
    for one in made:
        close_files(one.copies)


def test_what_has_not_changed(read: Read, configuration: Configuration, former: Credentials) -> None:
    """The CA's key is not even looked at: it may be nothing for this user to read by now."""
    (configuration.path.parent / "ca.key").unlink()
    found = read(configuration, former)
    assert found.authority is None
    assert found.credentials.marks == former.marks


def test_another_ca_and_other_users(read: Read, configuration: Configuration, former: Credentials) -> None:
    """Both are there, and marked as others."""
    directory = configuration.path.parent
    certificate = new_ca(directory)
    (directory / "users").write_text(USER.replace("alice", "carol"))
    found = read(configuration, former)
    assert found.authority is not None
    assert found.authority.certificate == certificates_from_pem(certificate)[0]
    assert found.credentials.ca_certificate == certificate
    assert [list(users or ()) for users in found.credentials.users] == [["carol"]]
    changed = {part for part, mark in found.credentials.marks.items() if mark != former.marks[part]}
    assert changed == {"ca", "listener main"}


def test_a_key_of_another_ca_is_refused(read: Read, configuration: Configuration, former: Credentials) -> None:
    """A certificate alone signs nothing."""
    (configuration.path.parent / "ca.pem").write_bytes(create_root("other", NOW, 30)[0])
    with pytest.raises(ValueError, match="key"):
        read(configuration, former)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_refused_leaves_no_copy_open(configuration: Configuration, former: Credentials) -> None:
    """Neither where a file is wrong nor where it is missing."""
    before = open_descriptors()
    (configuration.path.parent / "users").write_text("alice:{SHA}nonsense\n")
    with pytest.raises(CredentialsRefused, match="users: .*SHA-1"):
        copy_anew(configuration, former, SECONDS, copies_of)
    (configuration.path.parent / "users").unlink()
    with pytest.raises(FileNotFoundError):
        copy_anew(configuration, former, SECONDS, copies_of)
    assert open_descriptors() == before


def test_copies_are_read_and_nothing_else(configuration: Configuration, former: Credentials) -> None:
    """What becomes of the files meanwhile does not count: workers will read the copies."""
    directory = configuration.path.parent

    def copy_and_spoil(wanted: Configuration) -> dict[Path, int]:
        copies = copies_of(wanted)
        (directory / "users").write_text("spoiled")
        return copies

    found = copy_anew(configuration, former, SECONDS, copy_and_spoil)
    close_files(found.copies)
    assert found.credentials.marks == former.marks


def test_a_listener_that_cannot_be_read_any_more(
    configuration: Configuration, former: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps what it has, unless it is to be another one: that is said, and nothing is taken."""
    users = configuration.path.parent / "users"
    can = os.access
    # Who runs the tests may be root, and read everything.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != users and can(path, mode))
    found = read_anew(configuration, former, SECONDS)
    assert found.credentials.users == former.users
    assert found.credentials.marks == former.marks
    (section,) = configuration.listeners
    other = replace(configuration, listeners=(replace(section, realm="the lab"),))
    with pytest.raises(CredentialsRefused, match="listener main: .* need a restart"):
        read_anew(other, former, SECONDS)
