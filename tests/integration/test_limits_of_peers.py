"""Limits on how many and how often, by client, by destination, by tunnel, and on how slow: at the limit and one beyond.

Sizes, counts of all connections and deadlines are in `test_limits`.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack
from typing import Any

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.record_tail import RecordTail
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient, WireClient, WireResponse


def hello(name: str = "origin.test") -> bytes:
    """A ClientHello."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def get(proxy: ProxyProcess, host: str, port: int, source: str | None = None) -> WireResponse:
    """One request on a connection of its own."""
    with WireClient(proxy.port(), source=source) as client:
        return client.ask("GET", f"http://{host}:{port}/echo", f"{host}:{port}", "Connection: close")


def retry_after(response: WireResponse) -> int:
    """What the field says."""
    return int(response.single("Retry-After") or "0")


def test_tunnels(make_proxy: Any) -> None:
    """As many CONNECTs as `limits.tunnels`, passed through and plain; 503 beyond, and requests go on meanwhile."""
    # One process counts exactly; of several each has a share with room for chance (netfw.workers.shares).
    proxy = make_proxy(policy(), limits={"tunnels": 2}, workers=0)
    with ScriptedOrigin() as silent, HttpOrigin() as origin, ExitStack() as stack:
        tail = RecordTail(proxy)
        authority = f"origin.test:{silent.port}"
        clients = [stack.enter_context(WireClient(proxy.port())) for _ in range(2)]
        for client in clients:
            assert client.connect(authority).status == 200
        clients[0].send(hello())
        with WireClient(proxy.port()) as beyond:
            refused = beyond.connect(authority)
            assert (refused.status, retry_after(refused)) == (503, 5)
        (record,) = tail.take(1)
        assert (record["kind"], record["error"]["token"]) == ("connect", "connection_limit_reached")
        assert record["final_action"] == "deny"
        assert get(proxy, "origin.test", origin.port).status == 200
        for client in clients:
            client.close()
        proxy.wait_until(lambda: proxy.status()["connections"] == 0)
        with WireClient(proxy.port()) as again:
            assert again.connect(authority).status == 200
        assert proxy.status()["refused"]["too_many_tunnels"] == 1


def test_connections_to_one_destination(make_proxy: Any) -> None:
    """One that hangs takes no more than `limits.connections_per_destination`; the others are served."""
    limits = {"connections_per_destination": 3, "idle_upstream_connections": 0}
    proxy = make_proxy(policy(), limits=limits, workers=0)
    with ScriptedOrigin() as hangs, HttpOrigin() as origin, ExitStack() as stack:
        tail = RecordTail(proxy)
        for way in ("absolute", "absolute", "opaque"):
            client = stack.enter_context(WireClient(proxy.port()))
            if way == "opaque":
                assert client.connect(f"origin.test:{hangs.port}").status == 200
                client.send(hello())
            else:
                client.send(f"GET http://origin.test:{hangs.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        hangs.wait_for_connection(3)
        refused = get(proxy, "origin.test", hangs.port)
        assert (refused.status, retry_after(refused)) == (503, 5)
        (record,) = tail.take(1)
        assert record["error"]["token"] == "connection_limit_reached"
        for _ in range(5):
            assert get(proxy, "origin.test", origin.port).status == 200
    proxy.wait_until(lambda: proxy.status()["connections"] == 0)
    with ScriptedOrigin() as hangs, HttpOrigin() as origin:
        for _ in range(8):
            assert get(proxy, "origin.test", origin.port).status == 200


def test_requests_a_second(make_proxy: Any, origin: HttpOrigin) -> None:
    """Ten seconds' worth at once, then 429 with Retry-After, and served again after it; others are not concerned."""
    proxy = make_proxy(policy(), limits={"request_rate": 1})
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
        answers = [client.fetch("/echo") for _ in range(10)]
        assert [answer.status for answer in answers] == [200] * 10
        # A slow machine may take a second for some: each second allows one more.
        for _ in range(200):
            answer = client.fetch("/echo")
            if answer.status != 200:
                break
        assert (answer.status, retry_after(answer)) == (429, 1)
        assert get(proxy, "origin.test", origin.port, source="127.0.0.9").status == 200
        time.sleep(1.0)
        assert client.fetch("/echo").status == 200
    record = proxy.wait_for_records(lambda record: record["http_status_code"] == 429)[0]
    assert record["error"]["fault"] == "client"


def test_new_connections_a_second(make_proxy: Any, origin: HttpOrigin) -> None:
    """503 with Retry-After at once, counted and recorded; who is in stays in."""
    proxy = make_proxy(policy(), limits={"connection_rate": 1})
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as inside:
        statuses = [get(proxy, "origin.test", origin.port).status for _ in range(9)]
        assert statuses == [200] * 9
        for _ in range(200):
            with WireClient(proxy.port()) as client:
                try:
                    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                except OSError:
                    pass  # it has answered and closed
                answer = client.read_response()
            if answer.status == 503:
                break
        assert (answer.status, retry_after(answer)) == (503, 5)
        assert inside.fetch("/echo").status == 200
        assert get(proxy, "origin.test", origin.port, source="127.0.0.9").status == 200
    record = proxy.wait_for_records(lambda record: record["kind"] == "connection")[0]
    assert record["http_status_code"] == 503
    assert record["error"]["message"] == "limits.connection_rate is reached"
    assert 'reason="connection_rate"' in proxy.admin("/metrics")[1].decode()


SLOW = {"body": "3s", "idle": "60s", "response": "60s"}


def test_a_slow_sender(make_proxy: Any) -> None:
    """An octet now and then keeps no upload alive: 408; one that comes fast enough is not disturbed."""
    proxy = make_proxy(policy(), limits={"minimum_rate": "100B"}, timeouts=SLOW)
    with ScriptedOrigin() as origin:
        tail = RecordTail(proxy)
        with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode())
            client.sock.settimeout(0.1)
            begun = time.monotonic()
            while time.monotonic() < begun + 30:
                try:
                    client.send(b"x")
                    client.more()
                    break
                except TimeoutError:
                    continue
            client.sock.settimeout(20)
            assert client.read_response("POST").status == 408
        (record,) = tail.take(1)
        assert record["error"]["message"] == "the request body comes too slowly"
        assert record["duration_ms"] >= 900
        assert origin.connections[0].done.wait(10)
        with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode())
            for _ in range(20):
                client.send(bytes(1000))
                time.sleep(0.1)
            assert not client.buffer


def test_a_slow_reader(make_proxy: Any) -> None:
    """Who takes a few octets a second of a large answer is cut, and the origin is free again."""

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        try:
            connection.send(bytes(50_000_000))
        except OSError:
            return

    proxy = make_proxy(policy(), limits={"minimum_rate": "100B"}, timeouts=SLOW)
    with ScriptedOrigin(script) as origin:
        tail = RecordTail(proxy)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", proxy.port()))
            sock.sendall(f"GET http://origin.test:{origin.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            sock.settimeout(1)
            (record,) = tail.take(1, timeout=30)
        assert record["error"]["message"] == "the client reads too slowly"
        assert record["error"]["fault"] == "client"
        assert origin.connections[0].done.wait(10)


def test_a_slow_origin(make_proxy: Any) -> None:
    """An answer that owes its length and trickles is cut; one without a length is a stream, and goes on."""

    def script(connection: OriginConnection) -> None:
        head = connection.read_head()
        framing = b"Content-Length: 1000" if b"/length" in head else b"Connection: close"
        connection.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
        try:
            for _ in range(300 if b"/length" in head else 40):
                connection.send(b"x")
                time.sleep(0.1)
        except OSError:
            return
        connection.close()

    proxy = make_proxy(policy(), limits={"minimum_rate": "100B"}, timeouts=SLOW)
    with ScriptedOrigin(script) as origin:
        tail = RecordTail(proxy)
        with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"GET {client.prefix}/length HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert client.read_head().status == 200
            assert client.ends() == "reset"
        (record,) = tail.take(1)
        assert record["error"]["message"] == "the origin sends its answer too slowly"
        with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
            assert client.fetch("/stream").body == b"x" * 40
