"""What is done by command leaves audit records where the configuration has a file for them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from netfw.cli.ca import ca_command
from netfw.cli.main import netfw
from tests.config.conftest import POLICY


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Runs `netfw` with a configuration of a CA that is not made yet, keys and audit records."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    config = tmp_path / "proxy.yaml"
    config.write_text(
        "listeners: [{name: main, address: 127.0.0.1}]\n"
        "policy: {file: policy.yaml}\n"
        "tls_intercept: {mode: ENABLED, ca: {certificate: ca.pem, private_key: ca.key}}\n"
        "control: {keys: keys.json, audit: audit.jsonl}\n"
    )
    return lambda *arguments: CliRunner().invoke(netfw, [*arguments, "--config", str(config)])


def records(directory: Path) -> list[dict[str, Any]]:
    """What was recorded."""
    return [json.loads(line) for line in (directory / "audit.jsonl").read_text().splitlines()]


def changed(record: dict[str, Any], side: str = "after") -> set[str]:
    """The files that a record says something of, on one side."""
    return {Path(name).name for change in record["changes"] for name in change[side]}


def test_every_ca_operation_is_recorded_with_the_ca_before_and_after(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    """Each verb of `netfw ca` but `show` and `check`, which only look; the files that it changed, and of keys no more
    than that they are there.
    """
    files = {"ca.pem", "ca.key"}
    following = {"ca.next.pem", "ca.next.key"}
    previous = {"ca.previous.pem", "ca.previous.key"}
    for arguments, operation, after in (
        (("init", "--name", "one"), "ca init", files),
        (("export", "-o", str(tmp_path / "out.pem")), "ca export", {"out.pem"}),
        (("rotate",), "ca rotate", following),
        (("rotate", "--switch"), "ca rotate", {"ca.pem", "ca.key"} | previous),
        (("revoke", "0A"), "ca revoke", {"ca.revoked.json"}),
        (("crl",), "ca crl", {"ca.crl", "ca.crl.pem", "ca.revoked.json"}),
        (("csr", "--next"), "ca csr", {"ca.next.key", "ca.next.csr"}),
        (("replace", "--yes"), "ca replace", {"ca.pem", "ca.key", "ca.revoked.json"}),
    ):
        done = run("ca", *arguments)
        assert done.exit_code == 0, (arguments, done.output)
        record = records(tmp_path)[-1]
        assert (record["operation"], record["outcome"]) == (operation, "done")
        assert record["from"].startswith(f"command, uid {os.getuid()}, pid ")
        assert after <= changed(record), (arguments, record["changes"])
        states = [
            state for change in record["changes"] for side in ("before", "after") for state in change[side].items()
        ]
        assert all(state is None or state.startswith("there") or not name.endswith(".key") for name, state in states)
    number = len(records(tmp_path))
    assert {"ca.next.pem", "ca.next.key"} <= changed(records(tmp_path)[3], "before")
    assert run("ca", "show").exit_code == 0
    assert run("ca", "check").exit_code in (0, 1)
    assert len(records(tmp_path)) == number
    (tmp_path / "strange.pem").write_text("no certificate")
    for arguments in (("init", "--name", "two"), ("import", "--next", str(tmp_path / "strange.pem"))):
        assert run("ca", *arguments).exit_code == 1
        refused = records(tmp_path)[-1]
        assert (refused["operation"], refused["outcome"]) == (f"ca {arguments[0]}", "failed")
        assert refused["changes"] == []
    assert set(ca_command.commands) == {
        "init", "show", "check", "export", "csr", "import", "rotate", "replace", "revoke", "crl",
    }  # fmt: skip


def test_keys_are_recorded_without_their_secrets(run: Callable[..., Result], tmp_path: Path) -> None:
    """Who made one, and when."""
    secret = json.loads(run("key", "create", "ann", "--json").output)["SecretAccessKey"]
    (record,) = records(tmp_path)
    assert (record["operation"], record["about"]["name"]) == ("key create", "ann")
    (made,) = record["changes"][0]["after"].values()
    assert (made["name"], made["roles"], made["revoked"]) == ("ann", ["viewer"], None)
    key = next(iter(record["changes"][0]["after"]))
    assert run("key", "revoke", key).exit_code == 0
    revoked = records(tmp_path)[-1]["changes"][0]
    assert (revoked["before"][key]["revoked"], revoked["after"][key]["revoked"] is None) == (None, False)
    assert secret not in (tmp_path / "audit.jsonl").read_text()


def test_without_a_record_nothing_is_done(run: Callable[..., Result], tmp_path: Path) -> None:
    """The file is opened first."""
    (tmp_path / "audit.jsonl").mkdir()
    refused = run("ca", "init", "--name", "one")
    assert refused.exit_code == 1
    assert "no audit record can be written, so nothing is done" in refused.output
    assert not (tmp_path / "ca.pem").exists()
