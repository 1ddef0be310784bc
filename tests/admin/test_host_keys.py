"""The manhole's own keys: made once, and never used when others can read them."""

import os
from pathlib import Path

import pytest

from netfw.admin.host_keys import NAMES, HostKeyError, host_keys


def test_they_are_made_once(tmp_path: Path) -> None:
    """A second start shows clients the same ones; nothing half-made stays beside them."""
    directory = tmp_path / "ssh"
    first = host_keys(directory)
    assert first == host_keys(directory)
    assert len(set(first)) == 2
    assert sorted(os.listdir(directory)) == sorted(NAMES)
    for name in NAMES:
        assert (directory / name).stat().st_mode & 0o777 == 0o600
        assert (directory / name).read_bytes().startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----")


def test_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """With the command that mends it."""
    host_keys(tmp_path / "ssh")
    path = tmp_path / "ssh" / NAMES[0]
    path.chmod(0o640)
    with pytest.raises(HostKeyError, match=f"mode 0640.*chmod 0600 {path}"):
        host_keys(tmp_path / "ssh")


def test_a_place_that_is_no_directory_is_told(tmp_path: Path) -> None:
    """By its name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(HostKeyError, match="file"):
        host_keys(tmp_path / "file")
