"""The clock on the wall jumps under a server that serves: only dates change, no deadline does.

libfaketime (Debian) gives the server a wall clock that a file sets; the monotonic clock stays the real one.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient, WireClient

LIBRARIES = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime")
DAY = 86400


@pytest.fixture
def jumping(make_proxy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`jumping(**settings)`: a proxy, and a function that sets its wall clock so many seconds off."""
    found = [library for place in LIBRARIES if (library := Path(place, "libfaketime.so.1")).exists()]
    if not found:
        pytest.skip("program missing: faketime")
    offset = tmp_path / "offset"
    offset.write_text("+0\n")

    def jump(seconds: int) -> None:
        offset.write_text(f"{seconds:+d}\n")

    def make(**settings: Any) -> tuple[ProxyProcess, Callable[[int], None]]:
        faked = {
            "LD_PRELOAD": str(found[0]), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip
        launch = ProxyProcess.launch
        monkeypatch.setattr(ProxyProcess, "launch", lambda proxy, command: launch(proxy, command, faked))
        # One process: a worker's environment has a few names that it needs, and none of these.
        return make_proxy(policy(), workers=0, **settings), jump

    return make


@pytest.mark.parametrize("seconds", [3600, -3600, 400 * DAY, -400 * DAY])
def test_deadlines_do_not_follow_the_wall(seconds: int, jumping: Any, origin: HttpOrigin) -> None:
    """Kept connections, a tunnel and a slow answer survive the jump; a wait that has begun ends in its own time."""

    def slow(connection: OriginConnection) -> None:
        while connection.read_head():
            time.sleep(1.0)
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")

    proxy, jump = jumping(timeouts={"idle": "60s", "response": "30s", "head": "2s"})
    with (
        ScriptedOrigin(slow) as patient,
        RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as kept,
        RoutedClient(proxy.port(), "tunnel", "origin.test", origin.port) as tunnel,
        ExitStack() as late,
    ):
        assert kept.fetch("/echo").status == 200
        assert tunnel.fetch("/echo").status == 200
        # Not before: on a busy machine the others may take longer than a head may.
        waiting = late.enter_context(RoutedClient(proxy.port(), "absolute", "origin.test", patient.port))
        waiting.send(f"GET {waiting.prefix}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        patient.wait_for_connection()
        begun = time.monotonic()
        silent = late.enter_context(WireClient(proxy.port()))
        silent.send(b"GET http://origin.test/ HT")
        jump(seconds)
        assert waiting.read_response().body == b"slow"
        # The head that does not end is over after two seconds of anybody's time: neither at once nor in an hour.
        assert silent.read_response().status == 408
        assert 1.0 < time.monotonic() - begun < 60
        assert kept.fetch("/echo").status == 200
        assert tunnel.fetch("/echo").status == 200
    records = proxy.wait_for_records(lambda record: record["kind"] in ("exchange", "connection"), 6)
    wall = time.time() + seconds
    assert any(abs(record["event_timestamp"] - wall) < 300 for record in records), "the clock did not jump"
    for record in records:
        assert record["duration_ms"] >= 0
        assert all(value >= 0 for value in record.get("durations", {}).values()), record


def test_a_leaf_is_valid_after_the_clock_was_put_right(
    jumping: Any, tls_origin: HttpOrigin, certificates: Any, clean_environment: Any, tmp_path: Path
) -> None:
    """A leaf that was made while the clock was two days ahead is not shown when it goes right again."""
    proxy, jump = jumping(intercept=True)
    jump(2 * DAY)
    command = [
        "curl", "-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", "-x", f"http://127.0.0.1:{proxy.port()}",
        "--cacert", str(certificates.intercept[0]), f"https://origin.test:{tls_origin.port}/echo",
    ]  # fmt: skip

    def fetch() -> tuple[int, str]:
        done = subprocess.run(
            command, env=clean_environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout

    code, _ = fetch()
    assert code == 60, "two days ahead: not valid yet for this client"
    jump(0)
    assert fetch() == (0, "200")
