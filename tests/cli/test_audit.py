"""What is done by command leaves audit records where the configuration has a file for them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

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


def test_every_ca_operation_is_recorded_with_the_ca_before_and_after(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    """Also those that were refused; looking is no operation."""
    assert run("ca", "init", "--name", "one").exit_code == 0
    assert run("ca", "init", "--name", "two").exit_code == 1
    assert run("ca", "show").exit_code == 0
    made, refused = records(tmp_path)
    assert (made["operation"], made["outcome"]) == ("ca init", "done")
    assert made["from"].startswith(f"command, uid {os.getuid()}, pid ")
    (change,) = made["changes"]
    assert (change["before"], len(change["after"]["sha256"])) == ({"sha256": None}, 64)
    assert (refused["operation"], refused["outcome"]) == ("ca init", "failed")
    assert (refused["about"]["name"], refused["changes"]) == ("two", [])


def test_keys_are_recorded_without_their_secrets(run: Callable[..., Result], tmp_path: Path) -> None:
    """Who made one, and when."""
    secret = json.loads(run("key", "create", "ann", "--json").output)["SecretAccessKey"]
    (record,) = records(tmp_path)
    assert (record["operation"], record["about"]["name"], record["changes"]) == ("key create", "ann", [])
    assert secret not in (tmp_path / "audit.jsonl").read_text()


def test_without_a_record_nothing_is_done(run: Callable[..., Result], tmp_path: Path) -> None:
    """The file is opened first."""
    (tmp_path / "audit.jsonl").mkdir()
    refused = run("ca", "init", "--name", "one")
    assert refused.exit_code == 1
    assert "no audit record can be written, so nothing is done" in refused.output
    assert not (tmp_path / "ca.pem").exists()
