"""A start that the machine refuses: one line that names the place, and exit status 1."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from twisted.internet.error import CannotListenError

from netfw.service.starting import reason
from netfw.testing.proxy_process import ROOT, RUN_TWISTD, configuration, policy


@pytest.mark.parametrize(
    ("workers", "taken"), [(0, "listener"), (2, "listener"), (0, "admin port"), (0, "admin socket")]
)
def test_an_address_that_somebody_else_has(tmp_path: Path, workers: int, taken: str) -> None:
    """A real start: no traceback, and what to do."""
    document = {**configuration(tmp_path), "workers": workers}
    with socket.create_server(("127.0.0.1", 0)) as other, socket.socket(socket.AF_UNIX) as local:
        port = other.getsockname()[1]
        place = f"127.0.0.1 port {port}"
        if taken == "listener":
            document["listeners"][0]["port"] = port
        elif taken == "admin port":
            document["admin"].update(address="127.0.0.1", port=port)
        else:
            place = document["admin"]["socket"]
            local.bind(place)
            local.listen()
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump(policy()))
        (tmp_path / "proxy.yaml").write_text(yaml.safe_dump(document))
        words = ["-n", "--pidfile=", "netfwproxy", "--config", str(tmp_path / "proxy.yaml")]
        command = [sys.executable, "-c", RUN_TWISTD, *words]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    said = [line for line in ended.stdout.splitlines() if "cannot start" in line]
    assert len(said) == 1, ended.stdout
    assert place in said[0]
    assert "ss -l" in said[0] or "somebody listens there" in said[0]
    assert "Traceback" not in ended.stdout + ended.stderr


def test_what_is_said() -> None:
    """Place, reason, and a hint where there is one."""
    taken = OSError(errno.EADDRINUSE, "Address already in use", "127.0.0.1 port 1")
    assert reason(taken) == (
        "127.0.0.1 port 1: address already in use; another process has it: ss -ltnp or ss -lxp shows which"
    )
    assert reason(CannotListenError("::1", 9, taken)).startswith("::1 port 9: address already in use; ")
    assert reason(CannotListenError(None, "/run/x", OSError(errno.EACCES, "Permission denied"))).startswith(
        "/run/x: permission denied; this user may not"
    )
    assert reason(CannotListenError(None, "/run/x", TimeoutError("late"))) == "/run/x: late"
    assert reason(OSError(errno.EIO, "Input/output error")) == "input/output error"
