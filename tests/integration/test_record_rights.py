"""Who sees what only decryption shows: by command, over the admin socket, over the API's port, with every reading on
record.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import netfw.cli.explain
import netfw.cli.intercept
import netfw.cli.logs
import netfw.cli.reload
import netfw.cli.why  # noqa: F401  # the same
from netfw.cli.credentials import Profile, write_profile
from netfw.cli.main import netfw as netfw_group
from netfw.control.access_keys import AccessKey, AccessKeys, text_of_keys
from netfw.control.roles import Role
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, configuration, merge, policy
from netfw.testing.record_tail import RecordTail
from netfw.testing.stores import wait_until
from netfw.testing.wire_client import RoutedClient
from tests.integration.test_control_files import free_port

SECRET = "geheimpfad"
SEER, VIEWER, OPERATOR = 54321, 54322, 54323
KEYS = {
    "seer": AccessKey("NFWK" + "A" * 16, "a" * 40, "sue", frozenset({Role.VIEWER}), decrypted=True),
    "viewer": AccessKey("NFWK" + "B" * 16, "b" * 40, "vic", frozenset({Role.VIEWER})),
}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")


@dataclass
class Place:
    """A proxy that has let one request through an intercepted tunnel."""

    proxy: ProxyProcess
    directory: Path
    exchange_id: str

    def audited(self) -> list[dict[str, Any]]:
        """What is on record."""
        path = self.directory / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def last(self, operation: str, who: str) -> dict[str, Any]:
        """The last record of somebody's operation, once it is there."""

        def those() -> list[dict[str, Any]]:
            return [one for one in self.audited() if (one["operation"], one["who"]) == (operation, who)]

        found = wait_until(those)
        last: dict[str, Any] = found[-1]
        return last


@pytest.fixture(scope="module")
def place(dns: Any, certificates: Any, tls_origin: HttpOrigin) -> Iterator[Place]:
    """In a directory that every user of the machine may enter, with a record file that is the proxy's alone."""
    directory = Path(tempfile.mkdtemp(prefix="netfw-rights-"))
    directory.chmod(0o755)
    with os.fdopen(os.open(directory / "keys.json", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(text_of_keys(AccessKeys(KEYS.values())))
    document = merge(
        configuration(
            directory, resolver_port=dns.port, intercept=certificates.intercept, trust=certificates.origin_ca
        ),
        {
            "admin": {"address": "127.0.0.1", "port": free_port()},
            "control": {
                "keys": str(directory / "keys.json"),
                "audit": str(directory / "audit.jsonl"),
                "rate": 0,
                "local": [
                    {"user": SEER, "decrypted": True},
                    {"group": OPERATOR, "roles": "operator"},
                ],
            },
        },
    )
    proxy = ProxyProcess(directory, document, policy())
    try:
        with proxy:
            tail = RecordTail(proxy)
            with RoutedClient(
                proxy.port(), "tls", "origin.test", tls_origin.port, trust=certificates.intercept[0]
            ) as client:
                client.fetch(f"/{SECRET}?q={SECRET}", f"User-Agent: {SECRET}")
            record = tail.take(1)[0]
            assert SECRET in json.dumps(record)
            Path(proxy.config["admin"]["socket"]).chmod(0o666)
            Path(proxy.config["log"]["path"]).chmod(0o600)
            yield Place(proxy, directory, record["id"])
    finally:
        shutil.rmtree(directory)


def run(*arguments: str) -> tuple[int, str]:
    """A verb in this process: its status, and what it printed."""
    done = CliRunner().invoke(netfw_group, list(arguments))
    return done.exit_code, done.output


def run_as(uid: int, *arguments: str) -> tuple[int, str]:
    """A verb as another user: in a fork that becomes one."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            with os.fdopen(writing, "w") as out:
                json.dump(run(*arguments), out)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    _, ended = os.waitpid(pid, 0)
    assert ended == 0, text
    code, output = json.loads(text)
    return code, output


def test_the_owner_reads_all_and_it_is_on_record(place: Place) -> None:
    """By `why`, whom the proxy answers, and by `logs`, which reads the file."""
    me = pwd.getpwuid(os.getuid()).pw_name
    config = ("--config", str(place.proxy.config_path))
    for arguments, operation in (
        (("why", place.exchange_id), "FindRecord"),
        (("logs", "--json"), "netfw logs"),
    ):
        status, output = run(*arguments, *config)
        assert status == 0 and SECRET in output, output
        record = place.last(operation, me)
        assert record["outcome"] == "done" and f"uid {os.getuid()}" in record["from"]
    assert place.last("FindRecord", me)["about"] == {"Id": place.exchange_id}


@as_root
def test_a_user_without_the_right_sees_where_it_went_and_no_more(place: Place) -> None:
    """The file is not theirs to read: the proxy answers, masks, and says which right it takes."""
    config = ("--config", str(place.proxy.config_path))
    before = len(place.audited())
    for arguments in (("why", place.exchange_id), ("why", place.exchange_id, "--json"), ("logs",), ("logs", "--json")):
        status, output = run_as(VIEWER, *arguments, *config)
        assert status == 0, output
        assert SECRET not in output and "/***" in output and "origin.test" in output, output
        assert "takes the right `decrypted`" in output
    assert "is not for this user to read" in run_as(VIEWER, "logs", "-f", *config)[1]
    assert len(place.audited()) == before


@as_root
def test_a_user_with_the_right_sees_it_and_it_is_on_record(place: Place) -> None:
    """By the number that the kernel gives."""
    config = ("--config", str(place.proxy.config_path))
    for arguments, operation in ((("why", place.exchange_id), "FindRecord"), (("logs", "--json"), "ReadRecords")):
        status, output = run_as(SEER, *arguments, *config)
        assert status == 0 and SECRET in output, output
        record = place.last(operation, f"uid {SEER}")
        assert record["roles"] == ["viewer"] and record["from"].startswith(f"socket, uid {SEER}, pid ")


@as_root
def test_who_may_read_the_file_is_masked_by_the_command_too(place: Place) -> None:
    """The permission is the boundary, and the command keeps to the rights all the same."""
    log = Path(place.proxy.config["log"]["path"])
    config = ("--config", str(place.proxy.config_path))
    log.chmod(0o644)
    try:
        status, output = run_as(VIEWER, "logs", "--json", *config)
    finally:
        log.chmod(0o600)
    assert status == 0 and SECRET not in output and "origin.test" in output, output


@as_root
def test_operating_the_process_takes_an_operator(place: Place) -> None:
    """Whoever can open the socket may look; reloading and turning interception off is more."""
    config = ("--config", str(place.proxy.config_path))
    for verb in (("reload",), ("intercept", "on", "--reason", "a test")):
        for uid in (VIEWER, SEER):
            status, output = run_as(uid, *verb, *config)
            assert status == 1 and "it takes an operator" in output, output
        status, output = run_as(OPERATOR, *verb, *config)
        assert status == 0, output


def test_keys_have_the_right_or_not(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another machine, with the rules as the proxy has them."""
    monkeypatch.setenv("NETFW_CREDENTIALS", str(place.directory / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "NETFW_ENDPOINT", "NETFW_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    endpoint = f"http://127.0.0.1:{place.proxy.config['admin']['port']}"
    for name, key in KEYS.items():
        write_profile(name, Profile(endpoint, key.id, key.secret))
    for arguments in (("why", place.exchange_id), ("logs", "--json"), ("logs", "summary")):
        status, output = run(*arguments, "--profile", "viewer")
        assert status == 0 and SECRET not in output and "origin.test" in output, output
    status, output = run("why", place.exchange_id, "--profile", "seer")
    assert status == 0 and SECRET in output and "PreREQUEST: ALLOW by default" in output, output
    record = place.last("ExplainExchange", "sue")
    assert (record["key"], record["about"]) == (KEYS["seer"].id, {"Id": place.exchange_id})
    assert run("logs", "--host", "other.test", "--json", "--profile", "seer") == (0, "")
    assert SECRET in run("logs", "--client", "127.0.0.0/8", "--since", "1h", "--json", "--profile", "seer")[1]
    assert "no record has the id" in run("why", "XXXXX-XXXXX", "--profile", "seer")[1]
