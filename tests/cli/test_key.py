"""`netfw key` as it is typed."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from netfw.cli.credentials import find_profile
from netfw.cli.main import netfw
from netfw.control.key_file import read_keys
from netfw.control.refusals import UnrecognizedClient
from netfw.control.roles import Role
from tests.config.conftest import POLICY


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs `netfw key` with a configuration that names a file of keys in a directory that is not there yet."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    config = tmp_path / "proxy.yaml"
    config.write_text(
        "listeners: [{name: main, address: 127.0.0.1}]\n"
        "policy: {file: policy.yaml}\n"
        "control: {keys: secret/keys.json}\n"
    )

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(netfw, ["key", *arguments, "--config", str(config)])

    return invoke


def test_a_key_is_made_shown_and_revoked(run: Callable[..., Result], tmp_path: Path) -> None:
    """The secret is printed once, in the form that a shell takes, and is in a file that is its owner's alone."""
    made = run("create", "ann", "--role", "editor", "--group", "payments-*", "--role", "viewer")
    assert made.exit_code == 0, made.output
    key_id, secret = (line.partition("=")[2] for line in made.output.splitlines())
    path = tmp_path / "secret" / "keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = read_keys(path).get(key_id)
    assert (key.secret, key.name, key.groups) == (secret, "ann", ("payments-*",))
    assert key.roles == {Role.EDITOR, Role.VIEWER}
    listed = run("list")
    assert key_id in listed.output
    assert secret not in listed.output
    assert run("revoke", key_id).exit_code == 0
    with pytest.raises(UnrecognizedClient):
        read_keys(path).get(key_id)
    assert "revoked" in run("list").output


def test_keys_for_programs_are_json(run: Callable[..., Result]) -> None:
    """By the names that AWS tools use."""
    made: dict[str, Any] = json.loads(run("create", "ci", "--role", "owner", "--json").output)
    assert made["roles"] == ["owner"]
    listed = json.loads(run("list", "--json").output)
    assert [row["id"] for row in listed] == [made["AccessKeyId"]]
    assert made["SecretAccessKey"] not in json.dumps(listed)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("create", "ann", "--role", "editor"), 2, "an editor's key names rule groups"),
        (("create", "ann", "--group", "x"), 2, "no other does"),
        (("create", "a b"), 2, "not a holder's name"),
        (("create", "ann", "--role", "king"), 2, "king"),
        (("revoke", "NFWKAAAAAAAAAAAAAAAA"), 1, "there is no key"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    run: Callable[..., Result], arguments: tuple[str, ...], code: int, words: str
) -> None:
    """And says why."""
    refused = run(*arguments)
    assert refused.exit_code == code
    assert words in refused.output


def test_without_a_file_of_keys_it_says_what_to_write(tmp_path: Path) -> None:
    """Into which file."""
    config = tmp_path / "proxy.yaml"
    config.write_text("listeners: [{name: main, address: 127.0.0.1}]\npolicy: {file: policy.yaml}\n")
    refused = CliRunner().invoke(netfw, ["key", "list", "--config", str(config)])
    assert refused.exit_code == 1
    assert "control: {keys: FILE}" in refused.output


def test_a_key_may_go_straight_into_a_profile(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With where the API is; the secret is printed nowhere."""
    monkeypatch.setenv("NETFW_CREDENTIALS", str(tmp_path / "credentials"))
    config = tmp_path / "proxy.yaml"
    config.write_text(config.read_text() + "admin: {address: 127.0.0.1, port: 9901}\nproxy: {name: edge}\n")
    made = run("create", "ann", "--profile", "default")
    assert made.exit_code == 0, made.output
    found = find_profile(None)
    assert (found.endpoint, found.proxy) == ("http://127.0.0.1:9901", "edge")
    assert found.secret_access_key is not None and found.secret_access_key not in made.output
    assert found.access_key_id is not None and found.access_key_id in made.output
