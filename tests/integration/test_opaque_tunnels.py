"""What is neither TLS nor HTTP, through the real server: refused, or carried byte by byte where that is configured."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from netfw.testing.proxy_process import ProxyProcess
from netfw.testing.wire_client import WireClient

BANNER = b"SSH-2.0-test_1.0 some words\r\n"


@pytest.fixture
def greeter() -> Iterator[tuple[int, list[bytes]]]:
    """A server that speaks first and then says everything back; its port and what it has heard."""
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        # Where nothing is carried the proxy resets the connection.
        with connection, contextlib.suppress(ConnectionError):
            connection.sendall(b"220 ready\r\n")
            while data := connection.recv(65536):
                heard.append(data)
                connection.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("intercept", [True, False])
def test_carried_where_it_is_allowed(
    intercept: bool, make_proxy: Callable[..., ProxyProcess], greeter: tuple[int, list[bytes]]
) -> None:
    """To the host that is listed, from the server's first words on; to no other."""
    port, heard = greeter
    entry = {"domain": "origin.test", "port": port, "source": "127.0.0.0/8"}
    proxy = make_proxy(intercept=intercept, tunnels={"hosts": [entry]})
    with WireClient(proxy.port()) as client:
        assert client.connect(f"origin.test:{port}").status == 200
        assert client.read_exactly(11) == b"220 ready\r\n"
        client.send(BANNER)
        assert client.read_exactly(len(BANNER)) == BANNER
    record = proxy.wait_for_record(lambda record: record["kind"] == "tunnel")
    assert record["final_action"] == "allow"
    assert {"rule_id": "tunnels/opaque", "hook": "pre_request", "action": "allow"} in record["all_matches"]["matches"]
    heard.clear()
    with WireClient(proxy.port()) as client:
        assert client.connect(f"other.test:{port}", early=b"\x00\x01\x02").status == 200
        assert b"220" not in client.read_to_end()
    record = proxy.wait_for_record(lambda record: record.get("dest_domain") == "other.test.")
    assert (record["final_action"], record["error"]["message"]) == (
        "deny", "the tunnel carries neither TLS nor HTTP",
    )  # fmt: skip
    assert heard == []
