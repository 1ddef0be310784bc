"""How things end: peers that leave at any moment, deadlines, limits, and the server itself."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.origins import HttpOrigin, pattern
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient, WireClient


def client_hello(server_name: str) -> bytes:
    """The first flight of a TLS client."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def settles(proxy: ProxyProcess, seconds: float = 15.0) -> None:
    """Wait until no client connection and no tunnel is left; what a deadline of 10 seconds ends may take that long."""
    proxy.wait_until(lambda: proxy.status()["connections"] == 0 and proxy.status()["tunnels"] == 0, seconds)


@pytest.fixture(scope="module")
def hurried(proxy_maker: Any) -> Any:
    """Every deadline is a second or so."""
    timeouts = {
        "drain": "1s",
        "head": "1s",
        "body": "1s",
        "idle": "1s",
        "handshake": "1s",
        "response": "1s",
        "abort": "1s",
    }
    with proxy_maker("hurried", policy(), intercept=True, timeouts=timeouts) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def hurried_passing(proxy_maker: Any) -> Any:
    """The same without interception."""
    timeouts = {"drain": "1s", "head": "1s", "idle": "1s", "abort": "1s"}
    with proxy_maker("hurried-passing", policy(), timeouts=timeouts) as proxy:
        yield proxy


# -- peers that leave -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("proxy_name", ["passing", "intercepting"])
def test_clients_that_leave_at_every_byte_of_a_connect(
    how: str, proxy_name: str, request: pytest.FixtureRequest, tls_origin: HttpOrigin
) -> None:
    """Cut at many places from the first byte of the CONNECT to the end of the ClientHello, nothing stays behind."""
    proxy: ProxyProcess = request.getfixturevalue(proxy_name)
    head = f"CONNECT origin.test:{tls_origin.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    whole = head + client_hello("origin.test")
    for cut in [*range(0, len(head) + 2, 7), len(head), *range(len(head) + 1, len(whole), 53), len(whole)]:
        client = WireClient(proxy.port())
        client.send(whole[:cut])
        client.reset() if how == "reset" else client.close()
    settles(proxy)


def test_a_client_that_resets_behind_its_client_hello(make_proxy: Any) -> None:
    """It is noticed at once, while the origin is still shaking hands."""
    proxy = make_proxy(policy(), intercept=True)
    with ScriptedOrigin() as origin:
        client = WireClient(proxy.port())
        assert client.connect(f"origin.test:{origin.port}").status == 200
        client.send(client_hello("origin.test"))
        proxy.wait_until(lambda: origin.received != b"")
        client.reset()
        settles(proxy, 5)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_clients_that_leave_inside_tls(
    how: str, intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """The same from the end of the handshake to the middle of the response."""
    request = (
        f"POST /upload HTTP/1.1\r\nHost: origin.test:{tls_origin.port}\r\nContent-Length: 10\r\n\r\n0123456789".encode()
    )
    for cut in [*range(0, len(request), 9), len(request)]:
        client = RoutedClient(
            intercepting.port(), "tls", "origin.test", tls_origin.port, trust=certificates.intercept[0]
        )
        client.send(request[:cut])
        client.reset() if how == "reset" else client.close()
    settles(intercepting)


@pytest.mark.parametrize("way", ["absolute", "tls"])
def test_origins_that_leave_at_every_moment(way: str, intercepting: ProxyProcess, certificates: Any) -> None:
    """An origin that ends after N bytes of its answer never makes the client wait, and nothing stays behind."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    cuts = iter([(how, cut) for how in ("close", "reset") for cut in range(0, len(answer), 6)])

    def script(connection: OriginConnection) -> None:
        how, cut = next(cuts)
        connection.read_head()
        connection.send(answer[:cut])
        connection.reset() if how == "reset" else connection.close()

    tls = certificates.origin if way == "tls" else None
    with ScriptedOrigin(script, tls=tls) as origin:
        for _ in range(2 * len(range(0, len(answer), 6))):
            with RoutedClient(
                intercepting.port(), way, "origin.test", origin.port, trust=certificates.intercept[0]
            ) as client:
                client.send(
                    f"GET {client.prefix}/ HTTP/1.1\r\nHost: {client.authority}\r\nConnection: close\r\n\r\n".encode()
                )
                try:
                    got = client.read_to_end()
                except OSError:
                    got = client.buffer
                assert not got.endswith(b"0\r\n\r\n")
                assert b"502" in got[:20] or got == b"" or got.startswith(b"HTTP/1.1 200 ")
    settles(intercepting)


def test_an_origin_that_resets_in_its_handshake(intercepting: ProxyProcess, certificates: Any) -> None:
    """502 inside the tunnel."""

    def script(connection: OriginConnection) -> None:
        connection.read_exactly(5)
        connection.reset()

    with (
        ScriptedOrigin(script) as origin,
        RoutedClient(intercepting.port(), "tls", "origin.test", origin.port, trust=certificates.intercept[0]) as client,
    ):
        assert client.fetch("/").status == 502
    settles(intercepting)


# -- deadlines --------------------------------------------------------------------------------------------------------


def test_an_origin_that_never_ends_its_handshake(hurried: ProxyProcess, certificates: Any) -> None:
    """The client is told inside the tunnel."""
    trust = certificates.intercept[0]
    with (
        ScriptedOrigin() as origin,
        RoutedClient(hurried.port(), "tls", "origin.test", origin.port, trust=trust) as client,
    ):
        assert client.fetch("/").status in (502, 504)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTT"])
def test_a_tunnel_that_does_not_begin(sent: bytes, hurried: ProxyProcess, tls_origin: HttpOrigin) -> None:
    """A client that says nothing, or half a ClientHello, or half a request, does not keep its tunnel."""
    with WireClient(hurried.port()) as client:
        assert client.connect(f"origin.test:{tls_origin.port}").status == 200
        client.send(sent)
        try:
            rest = client.read_to_end()
        except ConnectionError:
            rest = b""
        assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")
    settles(hurried)


def test_half_a_handshake_with_us(hurried: ProxyProcess, tls_origin: HttpOrigin) -> None:
    """A client that goes silent after its ClientHello is closed."""
    with WireClient(hurried.port()) as client:
        assert client.connect(f"origin.test:{tls_origin.port}").status == 200
        client.send(client_hello("origin.test"))
        try:
            client.read_to_end()
        except ConnectionError:
            pass
    settles(hurried)


def test_half_a_handshake_with_the_https_listener(hurried: ProxyProcess) -> None:
    """The same on the TLS port."""
    with WireClient(hurried.port("tls")) as client:
        client.send(client_hello("proxy.test")[:100])
        assert client.ends() in ("end", "reset")
    settles(hurried)


@pytest.mark.parametrize("way", ["absolute", "tls"])
def test_a_body_that_stops_coming(way: str, hurried: ProxyProcess, certificates: Any) -> None:
    """408 and the end; the origin's connection ends with it."""
    tls = certificates.origin if way == "tls" else None
    with ScriptedOrigin(tls=tls) as origin:
        with RoutedClient(hurried.port(), way, "origin.test", origin.port, trust=certificates.intercept[0]) as client:
            client.send(
                f"POST {client.prefix}/ HTTP/1.1\r\nHost: {client.authority}\r\nContent-Length: 10\r\n\r\n123".encode()
            )
            assert client.read_response("POST").status == 408
            client.read_to_end()
        assert origin.wait_for_connection().done.wait(10)


@pytest.mark.parametrize("way", ["absolute", "tls"])
def test_an_idle_connection_is_closed(
    way: str, hurried: ProxyProcess, origin: HttpOrigin, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """After its answer a kept connection ends in order when nothing more is asked for."""
    server = tls_origin if way == "tls" else origin
    with RoutedClient(hurried.port(), way, "origin.test", server.port, trust=certificates.intercept[0]) as client:
        assert client.fetch("/echo").status == 200
        assert client.ends() == "end"
    settles(hurried)


def test_an_idle_tunnel_is_closed(hurried_passing: ProxyProcess) -> None:
    """So does an opaque tunnel in which nothing moves; the record says why."""
    with ScriptedOrigin() as origin, WireClient(hurried_passing.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == 200
        client.send(client_hello("origin.test"))
        assert client.ends() in ("end", "reset")
    record = hurried_passing.wait_for_record(lambda r: r["kind"] == "tunnel")
    assert "idle" in record["close_reason"]


def test_a_tunnels_life_is_limited(make_proxy: Any) -> None:
    """`timeouts.lifetime` cuts a tunnel however busy it is."""
    proxy = make_proxy(policy(), timeouts={"drain": "1s", "lifetime": "1s"})

    def script(connection: OriginConnection) -> None:
        while not connection.ended:
            try:
                connection.send(b"x" * 1000)
            except OSError:
                return

    with ScriptedOrigin(script) as origin, WireClient(proxy.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == 200
        client.send(client_hello("origin.test"))
        try:
            while client.sock.recv(1 << 16):
                pass
        except ConnectionError:
            pass
    assert "lifetime" in proxy.wait_for_record(lambda r: r["kind"] == "tunnel")["close_reason"]


# -- limits -----------------------------------------------------------------------------------------------------------


def test_too_many_connections(make_proxy: Any) -> None:
    """Over the cap a client is told 503 with Retry-After, and place is made again when others leave."""
    # In one process: each worker has a share with room for chance, so small caps are not exact with several.
    proxy = make_proxy(policy(), limits={"connections_per_client": 3}, workers=0)
    clients = [WireClient(proxy.port()) for _ in range(3)]
    for client in clients:
        client.send(b"GET ")
    proxy.wait_until(lambda: proxy.status()["connections"] == 3)
    with WireClient(proxy.port()) as refused:
        response = refused.read_response()
        assert response.status == 503
        assert response.single("Retry-After") is not None
        assert refused.ends() == "end"
    for client in clients:
        client.close()
    proxy.wait_until(lambda: proxy.status()["connections"] == 0)
    with WireClient(proxy.port()) as client:
        assert client.ask("GET", "/", "127.0.0.1").status == 200


def test_requests_per_connection(make_proxy: Any, origin: HttpOrigin) -> None:
    """The last request that a connection may make says so, and then it ends."""
    proxy = make_proxy(policy(), limits={"requests_per_connection": 3})
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
        closing = [client.fetch("/echo").single("Connection") for _ in range(3)]
        assert [value == "close" for value in closing] == [False, False, True]
        assert client.ends() == "end"


def test_a_large_head_within_the_limit(passing: ProxyProcess, origin: HttpOrigin) -> None:
    """60 KiB of fields pass."""
    with RoutedClient(passing.port(), "absolute", "origin.test", origin.port) as client:
        assert client.fetch("/echo", "X-Long: " + "x" * 60_000).status == 200


# -- the server -------------------------------------------------------------------------------------------------------


def test_a_transfer_is_finished_before_the_server_stops(make_proxy: Any, origin: HttpOrigin) -> None:
    """SIGTERM: no new connections, idle ones end, a running response arrives whole, and the process ends."""
    proxy = make_proxy(policy(), timeouts={"drain": "20s"})
    gate = origin.gate("drain")
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as idle:
        assert idle.fetch("/echo").status == 200
        with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as busy:
            busy.send(f"GET {busy.prefix}/sse?gate=drain HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            busy.read_until(b"data: first\n\n")
            stopping = threading.Thread(target=proxy.stop)
            stopping.start()
            assert idle.ends() == "end"
            with pytest.raises(OSError):
                WireClient(proxy.port()).read_head()
            gate.set()
            assert b"data: second\n\n" in busy.read_until(b"0\r\n\r\n")
        stopping.join(15)
    assert proxy.process is not None
    assert proxy.process.poll() is not None


def test_what_does_not_end_is_cut(make_proxy: Any) -> None:
    """When the time to drain is over the rest is cut and recorded, and the process ends."""
    proxy = make_proxy(policy(), timeouts={"drain": "1s"})
    with ScriptedOrigin() as origin, WireClient(proxy.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == 200
        client.send(client_hello("origin.test"))
        proxy.wait_until(lambda: proxy.status()["tunnels"] == 1)
        proxy.stop()
        assert client.ends() in ("end", "reset")
    assert [record["kind"] for record in proxy.records()] == ["tunnel"]


def test_records_are_one_object_a_line(passing: ProxyProcess, origin: HttpOrigin) -> None:
    """Whatever a client sends, no line is broken, no control character comes through, and secrets are masked."""
    since = len(passing.records())
    agent = '\x9b31m\xe2\x80\xae{"\\"}\t,'
    with RoutedClient(passing.port(), "absolute", "origin.test", origin.port) as client:
        assert client.fetch("/echo?a=%0d%0a&token=hush", f"User-Agent: {agent}").status == 200
    record = passing.wait_for_record(lambda r: "a=%0d%0a" in str(r.get("url")), since=since)
    assert "hush" not in str(record)
    assert record["user_agent"] == agent
    assert all(32 <= byte < 127 for line in passing.records_path.read_bytes().split(b"\n") for byte in line)


def test_memory_of_a_slow_origin(passing: ProxyProcess) -> None:
    """An origin that does not read holds up the client's upload, not memory."""
    before = passing.rss()
    released = threading.Event()

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        released.wait(20)
        connection.read_exactly(64 << 20)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with ScriptedOrigin(script) as origin:
        with RoutedClient(passing.port(), "absolute", "origin.test", origin.port, timeout=30) as client:
            head = f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nContent-Length: {64 << 20}\r\n\r\n"
            client.send(head.encode())
            client.sock.settimeout(0.5)
            sent = 0
            pieces = b"".join(pattern(64 << 20))
            view = memoryview(pieces)
            try:
                while sent < len(pieces):
                    sent += client.sock.send(view[sent : sent + (1 << 16)])
            except TimeoutError:
                pass
            assert sent < len(pieces)
            assert passing.rss() - before < 16 << 20
            released.set()
            client.sock.settimeout(30)
            client.send(pieces[sent:])
            assert client.read_response("POST").status == 200
        assert origin.connections[0].received.endswith(pieces[-100:])


def test_readiness_files(passing: ProxyProcess) -> None:
    """The admin socket answers health, metrics and status; the log has no secret of the CA."""
    assert passing.admin("/healthz")[0] == 200
    assert passing.admin("/readyz")[0] == 200
    status, metrics = passing.admin("/metrics")
    assert status == 200
    assert b"netfw_" in metrics
    assert "PRIVATE KEY" not in passing.log
    assert Path(passing.config["admin"]["socket"]).stat().st_mode & 0o007 == 0
