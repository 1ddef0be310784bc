"""`netfw status` and `netfw reload`, against an admin socket of the test's own."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from netfw.cli.main import netfw

ANSWERS: dict[str, tuple[int, bytes]] = {}
SEEN: list[str] = []


class Handler(BaseHTTPRequestHandler):
    """Answers what ANSWERS says."""

    def do_GET(self) -> None:  # noqa: N802 - the library's spelling
        """Any method."""
        SEEN.append(f"{self.command} {self.path}")
        status, body = ANSWERS[f"{self.command} {self.path}"]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def address_string(self) -> str:
        """A Unix socket's peer has none."""
        return "unix"

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture
def admin(config: Path) -> Iterator[dict[str, tuple[int, bytes]]]:
    """A running admin socket; the test says what it answers."""
    ANSWERS.clear()
    SEEN.clear()
    with socketserver.UnixStreamServer(str(config.parent / "admin.sock"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield ANSWERS
        server.shutdown()
        thread.join()


def run(config: Path, *arguments: str) -> Result:
    """Run a verb with this configuration."""
    return CliRunner().invoke(netfw, [*arguments, "--config", str(config)])


def test_status_is_shown(config: Path, admin: dict[str, tuple[int, bytes]]) -> None:
    """In words, or as it came with --json."""
    document = {"state": "ready", "policy": {"generation": 3, "rule_groups": ["a", "b"]}, "since": None, "ok": True}
    admin["GET /status"] = (200, json.dumps(document).encode())
    output = run(config, "status").output
    assert "policy generation" in output
    assert "a, b" in output
    assert json.loads(run(config, "status", "--json").stdout) == document


def test_reload_that_worked(config: Path, admin: dict[str, tuple[int, bytes]]) -> None:
    """Status 0, and a POST."""
    admin["POST /reload"] = (200, b'{"ok": true, "generation": 4, "problems": []}')
    result = run(config, "reload")
    assert result.exit_code == 0, result.output
    assert "reloaded" in result.output
    assert SEEN == ["POST /reload"]


@pytest.mark.parametrize("status", [200, 409, 422, 500])
def test_reload_that_did_not_work(config: Path, admin: dict[str, tuple[int, bytes]], status: int) -> None:
    """Status 1, and the problems."""
    admin["POST /reload"] = (status, b'{"ok": false, "problems": ["policy.yaml:3: no such group"]}')
    result = run(config, "reload")
    assert result.exit_code == 1
    assert "the old rules stay" in result.output
    assert "no such group" in result.output


@pytest.mark.parametrize("verb", ["status", "reload"])
def test_nobody_there_is_said(config: Path, verb: str) -> None:
    """With what would start it."""
    result = run(config, verb)
    assert result.exit_code == 1
    assert "nobody answers" in result.output
    assert "twistd -n netfwproxy" in result.output


def test_another_server_there_is_said(config: Path, admin: dict[str, tuple[int, bytes]]) -> None:
    """An answer that is not JSON is not the proxy's."""
    admin["GET /status"] = (200, b"<html>")
    result = run(config, "status")
    assert (result.exit_code, "not JSON" in result.output) == (1, True)


def test_no_admin_surface_is_said(config: Path) -> None:
    """With what to write."""
    config.write_text(config.read_text().replace("admin: {socket: admin.sock}", ""))
    result = run(config, "status")
    assert (result.exit_code, "no admin socket" in result.output) == (1, True)
