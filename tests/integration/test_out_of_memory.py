"""Memory runs out: what asks for more of it is closed, with a line in the log, and everybody else is served."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path
from typing import Any

from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import WireClient

MIB = 1 << 20
SPARE = 30 * MIB
CLIENTS = 400


def address_space(proxy: ProxyProcess) -> int:
    """What the process has mapped."""
    lines = Path(f"/proc/{proxy.pid}/status").read_text().splitlines()
    (size,) = [int(line.split()[1]) for line in lines if line.startswith("VmSize:")]
    return size * 1024


def test_memory_runs_out(make_proxy: Any) -> None:
    """Hundreds of clients that read nothing of large answers need more than there is: the server outlives it."""

    def script(connection: OriginConnection) -> None:
        while connection.read_head():
            # In chunks: a body with a length would go by the kernel, and need no memory of the proxy's.
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % 3_000_000)
            try:
                connection.send(bytes(3_000_000))
            except OSError:
                return

    # One process, and it has the limit: memory of workers is their own.
    proxy = make_proxy(policy(), limits={"minimum_rate": 0}, workers=0)
    limit = address_space(proxy) + SPARE
    resource.prlimit(proxy.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    clients = []
    with ScriptedOrigin(script) as origin:
        request = f"GET http://origin.test:{origin.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        for _ in range(CLIENTS):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", proxy.port()))
            client.sendall(request)
            clients.append(client)
        until = time.monotonic() + 30
        while "MemoryError" not in proxy.log and time.monotonic() < until:
            time.sleep(0.1)
        assert "MemoryError" in proxy.log
        assert proxy.process is not None
        assert proxy.process.poll() is None
        for client in clients:
            client.close()
    deadline = time.monotonic() + 30
    while True:  # the admin surface too needs memory that may not have come back yet
        try:
            if proxy.status()["connections"] == 0:
                break
        except (OSError, ValueError):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for _ in range(5):
        with WireClient(proxy.port()) as client:
            assert client.ask("GET", "/nothing", "x").status == 404
    assert len(proxy.log) < 2 * MIB
    resource.prlimit(proxy.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert "MemoryError" in proxy.new_trouble()
