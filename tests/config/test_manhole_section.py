"""`manhole`: off unless it is there, and never open to the world or to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from netfw.config.errors import ConfigErrors
from netfw.config.load import load_config

KEYS = {"authorized_keys": "a.pub", "host_keys": "ssh"}


def load(tmp_path: Path, manhole: dict | None):
    document = {
        "listeners": [{"name": "main", "address": "127.0.0.1", "port": 3128}],
        "policy": {"file": "policy.yaml"},
        "admin": {"address": "127.0.0.1", "port": 9901},
    }
    if manhole is not None:
        document["manhole"] = manhole
    (tmp_path / "proxy.yaml").write_text(yaml.safe_dump(document))
    return load_config(tmp_path / "proxy.yaml", with_files=False)


def test_it_is_off_unless_it_is_there(tmp_path: Path) -> None:
    """Nothing listens by default."""
    assert load(tmp_path, None).manhole is None


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    """As everywhere."""
    section = load(tmp_path, {"socket": "m.sock", **KEYS}).manhole
    assert section is not None
    assert section.socket == tmp_path / "m.sock"
    assert section.authorized_keys == tmp_path / "a.pub"
    assert section.host_keys == tmp_path / "ssh"


@pytest.mark.parametrize(
    ("manhole", "says"),
    [
        ({"socket": "m.sock", "host_keys": "ssh"}, "lets nobody in"),
        ({**KEYS}, "listens nowhere"),
        ({"socket": "m.sock", "address": "127.0.0.1", "port": 2222, **KEYS}, "keep one of the two"),
        ({"address": "192.0.2.1", "port": 2222, **KEYS}, "not a loopback address"),
        ({"address": "127.0.0.1", **KEYS}, "manhole.port: is missing"),
        ({"socket": "m.sock", "port": 2222, **KEYS}, "belongs to an address"),
        ({"address": "127.0.0.1", "port": 3128, **KEYS}, "is the port of listener main"),
        ({"address": "127.0.0.1", "port": 9901, **KEYS}, "is the admin surface's port"),
        ({"socket": "m.sock", "authorized_keys": "a.pub"}, "host_keys: is missing"),
        ({"socket": "m.sock", "password": "x", **KEYS}, "password: unknown setting"),
        ({"socket": "x" * 200, **KEYS}, "the kernel's limit"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, manhole: dict, says: str) -> None:
    """With the setting and the fix."""
    with pytest.raises(ConfigErrors) as raised:
        load(tmp_path, manhole)
    assert says in str(raised.value)
