"""`netfw doctor` without a proxy: what it says then, and its witness."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from netfw.cli.doctor_witness import Witness
from netfw.cli.main import netfw
from netfw.testing.pki import TestAuthority


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def ca(tmp_path: Path) -> str:
    """Any CA."""
    (tmp_path / "ca.pem").write_bytes(TestAuthority().certificate_pem)
    return str(tmp_path / "ca.pem")


def test_nobody_there(closed_port: int, ca: str) -> None:
    """Status 1; no tool is tried."""
    result = CliRunner().invoke(netfw, ["doctor", "--json", "--proxy", f"127.0.0.1:{closed_port}", "--ca", ca])
    found = json.loads(result.output)
    assert result.exit_code == 1
    assert [(check["name"], check["state"]) for check in found["checks"]] == [
        ("name", "ok"), ("reachable", "fail"), ("direct way out", "skip"),
    ]  # fmt: skip
    assert (found["ok"], found["tools"]) == (False, [])


@pytest.mark.parametrize(
    "arguments",
    [("ftp://a/",), ("https://",), ("https://u@a/",), ("--direct", "a"), ("--direct", "a:0"), ("--tool", "x")],
)
def test_wrong_usage(arguments: tuple[str, ...], ca: str) -> None:
    """Status 2, before anything is tried."""
    result = CliRunner().invoke(netfw, ["doctor", "--proxy", "127.0.0.1:1", "--ca", ca, *arguments])
    assert result.exit_code == 2, result.output


def test_another_server_is_not_taken_for_the_proxy(ca: str) -> None:
    """What closes at once has no page of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close_all() -> None:
            try:
                while True:
                    server.accept()[0].close()
            except OSError:
                pass

        thread = threading.Thread(target=close_all)
        thread.start()
        port = server.getsockname()[1]
        result = CliRunner().invoke(
            netfw, ["doctor", "--json", "--proxy", f"127.0.0.1:{port}", "--ca", ca, "--tool", "curl"]
        )
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert result.exit_code == 1
    assert {check["name"]: check["state"] for check in json.loads(result.output)["checks"]}["own page"] == "fail"


def test_the_witness() -> None:
    """Bytes go both ways; it knows that something was asked and what the first answer was, until it forgets."""
    with socket.create_server(("127.0.0.1", 0)) as server, Witness(server.getsockname()[:2]) as witness:
        assert witness.saw() == (False, None)
        with socket.create_connection(("127.0.0.1", witness.port)) as client:
            client.sendall(b"CONNECT a:443 HTTP/1.1\r\n\r\n")
            proxy, _ = server.accept()
            with proxy:
                assert proxy.recv(100) == b"CONNECT a:443 HTTP/1.1\r\n\r\n"
                proxy.sendall(b"HTTP/1.1 403 No\r\n\r\n")
                assert client.recv(100) == b"HTTP/1.1 403 No\r\n\r\n"
        assert witness.saw() == (True, 403)
        witness.forget()
        assert witness.saw() == (False, None)
