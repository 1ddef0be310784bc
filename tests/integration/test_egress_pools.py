"""Pools of source addresses over real sockets: what the origin's side of a connection sees, in workers too."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from netfw.testing.proxy_process import ProxyProcess
from netfw.testing.wire_client import RoutedClient

POOLS = [
    {"name": "partners", "addresses": ["127.0.0.21", "127.0.0.22"], "listeners": "second"},
    {"name": "tests", "addresses": ["127.0.0.31"], "domains": ".test"},
]


@pytest.fixture(scope="module")
def seen() -> Iterator[tuple[int, list[str]]]:
    """An origin that answers each connection once: its port, and from where it was reached."""
    peers: list[str] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def serve() -> None:
            while True:
                try:
                    connection, peer = server.accept()
                except OSError:
                    return
                with connection:
                    if connection.recv(65536):
                        peers.append(peer[0])
                        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], peers
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module", params=[0, 2], ids=["one-process", "workers"])
def proxy(proxy_maker, request) -> Iterator[ProxyProcess]:
    """With two pools and a listener of its own for the first."""
    made = proxy_maker(f"pools-{request.param}", egress={"pools": POOLS}, workers=request.param)
    more = {"name": "second", "type": "HTTP", "address": "127.0.0.1", "port": 0, "clients": ["127.0.0.0/8"]}
    made.config["listeners"].append(more)
    made.config_path.write_text(json.dumps(made.config))
    with made:
        yield made


def ask(proxy: ProxyProcess, listener: str, host: str, port: int) -> int:
    """The status of one request."""
    with RoutedClient(proxy.port(listener), "absolute", host, port) as client:
        return client.fetch("/").status


def test_the_origin_sees_the_pools_address(proxy, seen):
    """By listener, by domain, and as the system chooses where none fits; records and counters say the same."""
    port, peers = seen
    before = len(peers)
    for listener, host in [("second", "origin.test")] * 6 + [("plain", "origin.test"), ("plain", "127.0.0.1")]:
        assert ask(proxy, listener, host, port) == 200
    shown = peers[before:]
    assert set(shown[:6]) <= {"127.0.0.21", "127.0.0.22"}
    assert shown[6:] == ["127.0.0.31", "127.0.0.1"]
    records = proxy.wait_for_records(lambda record: record.get("dest_port") == port, count=8)
    left = [record["route"]["from"] for record in records if record.get("route", {}).get("pool") == "partners"]
    assert sorted(left) == sorted(shown[:6])
    counted = 'netfw_egress_connections_total{pool="tests",source="127.0.0.31"}'
    proxy.wait_until(lambda: counted in proxy.admin("/metrics")[1].decode())


def test_a_reload_with_an_address_of_another_machine_is_refused(proxy, seen):
    """What was in force stays; with one of this machine's it is taken over."""
    port, peers = seen
    former = proxy.config_path.read_text()
    try:
        for address, code in (("198.51.100.7", 500), ("127.0.0.41", 200)):
            document = json.loads(former)
            document["egress"]["pools"][1]["addresses"] = [address]
            proxy.config_path.write_text(json.dumps(document))
            status, body = proxy.admin("/reload", "POST", timeout=60)
            assert (status == 200) is (code == 200), body
            if code != 200:
                assert b"this machine does not have 198.51.100.7" in body
            expected = "127.0.0.31" if code != 200 else "127.0.0.41"

            def leaves_from_it(expected: str = expected) -> bool:
                return ask(proxy, "plain", "origin.test", port) == 200 and peers[-1] == expected

            proxy.wait_until(leaves_from_it, timeout=30)  # workers take it over one after the other
    finally:
        proxy.config_path.write_text(former)
        assert proxy.admin("/reload", "POST", timeout=60)[0] == 200
