"""HTTP/1.1 on the wire through the proxy: framing, connections, interim responses, upgrades, oddities of CONNECT."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import ssl
import threading
import time
from typing import Any

import pytest

from netfw.testing.origins import HttpOrigin, pattern
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient

WAYS = ("absolute", "tunnel", "tls")


@pytest.fixture
def open_way(intercepting: ProxyProcess, origin: HttpOrigin, tls_origin: HttpOrigin, certificates: Any) -> Any:
    """`open_way(way)`: a client of the intercepting proxy on its way to the origin that the way needs."""

    def make(way: str) -> RoutedClient:
        server = tls_origin if way == "tls" else origin
        return RoutedClient(intercepting.port(), way, "origin.test", server.port, trust=certificates.intercept[0])

    return make


@pytest.fixture
def to_script(intercepting: ProxyProcess, certificates: Any) -> Any:
    """`to_script(way, origin)`: the same to a scripted origin."""

    def make(way: str, origin: ScriptedOrigin) -> RoutedClient:
        return RoutedClient(intercepting.port(), way, "origin.test", origin.port, trust=certificates.intercept[0])

    return make


def tls_files(way: str, certificates: Any) -> Any:
    """What a scripted origin needs for this way."""
    return certificates.origin if way == "tls" else None


# -- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_connections_are_kept(way: str, open_way: Any, origin: HttpOrigin, tls_origin: HttpOrigin) -> None:
    """Twenty requests on one client connection use one origin connection at most."""
    server = tls_origin if way == "tls" else origin
    before = server.connections
    with open_way(way) as client:
        for number in range(20):
            response = client.fetch(f"/echo?n={number}", method="POST", body=b"x" * number)
            assert json.loads(response.body)["body"] == "x" * number
    assert server.connections - before <= 1


@pytest.mark.parametrize("way", WAYS)
def test_pipelined_requests_are_answered_in_order(way: str, open_way: Any) -> None:
    """Requests sent at once, with bodies, denied ones between them, get their answers one after the other."""
    with open_way(way) as client:
        batch, wanted = b"", []
        for number in range(12):
            path = f"/echo/forbidden/{number}" if number % 4 == 3 else f"/echo?n={number}"
            body = b"y" * number
            head = (
                f"POST {client.prefix}{path} HTTP/1.1\r\nHost: {client.authority}\r\nContent-Length: {number}\r\n\r\n"
            )
            batch += head.encode() + body
            wanted.append((403, None) if number % 4 == 3 else (200, path))
        client.send(batch)
        for status, path in wanted:
            response = client.read_response("POST")
            assert response.status == status
            if path is not None:
                assert json.loads(response.body)["target"] == path


def test_bytes_come_one_by_one(open_way: Any) -> None:
    """A request that trickles in is the same request."""
    with open_way("absolute") as client:
        request = (
            f"POST {client.prefix}/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        for byte in request.encode():
            client.send(bytes([byte]))
        response = client.read_response("POST")
        assert json.loads(response.body)["body"] == "abc"


def test_http_1_0_client(open_way: Any) -> None:
    """It gets no chunks, and the end of the connection ends the body; no Host is needed."""
    with open_way("absolute") as client:
        client.send(f"GET {client.prefix}/chunked/100000/999 HTTP/1.0\r\n\r\n".encode())
        response = client.read_response()
        assert response.single("Transfer-Encoding") is None
        assert response.body == b"".join(pattern(100_000))
        assert client.ends() == "end"


def test_stale_origin_connection(to_script: Any) -> None:
    """A GET on a kept connection that the origin has closed is tried again on a new one; a POST is never sent twice."""

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.read_head()  # the second request comes and is not answered
        connection.close()

    with ScriptedOrigin(script) as origin, to_script("absolute", origin) as client:
        assert client.fetch("/1").status == 200
        assert client.fetch("/2").status == 200
        assert len(origin.connections) == 2
        assert client.fetch("/3", method="POST").status == 502
        assert origin.received.count(b"POST /3") == 1


def test_bytes_that_nobody_asked_for(to_script: Any) -> None:
    """What an origin sends behind its answer is never taken for the next answer."""
    extra = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"

    def script(connection: OriginConnection) -> None:
        while connection.read_head():
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + extra)

    with ScriptedOrigin(script) as origin, to_script("absolute", origin) as client:
        for _ in range(3):
            response = client.fetch("/")
            assert response.status == 502 or response.body == b"ok"


@pytest.mark.parametrize("way", WAYS)
def test_hop_by_hop_fields_stay_here(way: str, open_way: Any) -> None:
    """Connection-nominated, Proxy- and framing fields of the client are not forwarded; Via is added, Host is ours."""
    with open_way(way) as client:
        answer = client.fetch(
            "/echo", "Connection: X-Hop, keep-alive", "X-Hop: 1", "X-End: 2", "Keep-Alive: timeout=5",
            "Proxy-Authorization: Basic c2VjcmV0", "Proxy-Connection: keep-alive", "TE: trailers",
        )  # fmt: skip
        seen = json.loads(answer.body)["fields"]
        names = [name.lower() for name, _ in seen]
        assert not {"x-hop", "keep-alive", "proxy-authorization", "proxy-connection"} & set(names)
        assert dict(seen)["X-End"] == "2"
        assert dict(seen)["Via"].startswith("1.1 ")
        assert [value for name, value in seen if name.lower() == "host"] == [client.authority]
        assert (answer.single("Via") or "").startswith("1.1 ")


def test_target_beats_host(open_way: Any) -> None:
    """In absolute-form the origin's Host comes from the target."""
    with open_way("absolute") as client:
        answer = client.ask("GET", f"{client.prefix}/echo", "other.test")
        assert dict(json.loads(answer.body)["fields"])["Host"] == client.authority


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/bytes/300000", "/chunked/300000/7777", "/close-delimited"])
def test_response_bodies(way: str, path: str, open_way: Any) -> None:
    """Each framing of a response arrives whole."""
    with open_way(way) as client:
        response = client.fetch(path)
        wanted = b"until the connection closes\n" if path == "/close-delimited" else b"".join(pattern(300_000))
        assert response.body == wanted


@pytest.mark.parametrize("way", WAYS)
def test_responses_without_bodies(way: str, open_way: Any) -> None:
    """HEAD, 204 and 304 end with their heads; the connection goes on."""
    with open_way(way) as client:
        head = client.fetch("/bytes/1234", method="HEAD")
        assert (head.status, head.single("Content-Length")) == (200, "1234")
        assert client.fetch("/status/204").status == 204
        assert client.fetch("/status/304").status == 304
        assert client.fetch("/echo").status == 200


@pytest.mark.parametrize("way", WAYS)
def test_chunks_both_ways_with_trailers(way: str, open_way: Any) -> None:
    """Chunked content and trailers pass in both directions."""
    with open_way(way) as client:
        lines = [f"POST {client.prefix}/upload HTTP/1.1", f"Host: {client.authority}", "Transfer-Encoding: chunked",
                 "Trailer: X-Sum", "", ""]  # fmt: skip
        client.send("\r\n".join(lines).encode())
        data = b"".join(pattern(100_000))
        for start in range(0, len(data), 999):
            piece = data[start : start + 999]
            client.send(b"%x;extension=1\r\n%b\r\n" % (len(piece), piece))
        client.send(b"0\r\nX-Sum: 42\r\nAuthorization: Basic x\r\n\r\n")
        response = client.read_response("POST")
        assert response.status == 200, response
        answer = json.loads(response.body)
        assert answer["sha256"] == hashlib.sha256(data).hexdigest()
        assert ["X-Sum", "42"] in answer["trailers"]
        assert not any(name.lower() == "authorization" for name, _ in answer["trailers"])
        response = client.fetch("/trailers", "TE: trailers")
        assert response.body == b"content with trailers\n"
        assert response.trailers == [("X-Checksum", "1f2e3d")]


@pytest.mark.parametrize("way", WAYS)
def test_first_event_arrives_while_the_second_is_held_back(
    way: str, open_way: Any, origin: HttpOrigin, tls_origin: HttpOrigin
) -> None:
    """A stream of events is not collected: the first one is here before the origin is let go on."""
    server = tls_origin if way == "tls" else origin
    gate = server.gate(f"sse-{way}")
    with open_way(way) as client:
        client.send(f"GET {client.prefix}/sse?gate=sse-{way} HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode())
        assert client.read_head().status == 200
        client.read_until(b"data: first\n\n")
        gate.set()
        client.read_until(b"data: second\n\n")


def test_a_request_body_is_not_collected_either(to_script: Any) -> None:
    """The origin sees the first piece of an upload while the client holds back the rest."""
    first_came = threading.Event()

    def script(connection: OriginConnection) -> None:
        connection.read_until(b"first")
        first_came.set()
        connection.read_until(b"0\r\n\r\n")
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with ScriptedOrigin(script) as origin, to_script("absolute", origin) as client:
        client.send(
            f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n".encode()
        )
        assert first_came.wait(10)
        client.send(b"0\r\n\r\n")
        assert client.read_response("POST").status == 200


@pytest.mark.parametrize("way", ["absolute", "tls"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_truncation_stays_visible(way: str, how: str, to_script: Any, certificates: Any) -> None:
    """A response that breaks off is not ended in order for the client either."""

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        released.wait(10)
        connection.close() if how == "close" else connection.reset()

    released = threading.Event()
    with ScriptedOrigin(script, tls=tls_files(way, certificates)) as origin, to_script(way, origin) as client:
        client.send(f"GET {client.prefix}/ HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode())
        assert client.read_head().status == 200
        assert client.read_until(b"hello\r\n")
        released.set()
        try:
            rest = client.read_to_end()
        except OSError:
            rest = b""
        assert b"0\r\n\r\n" not in rest


def test_truncated_tls_without_close_notify(to_script: Any, certificates: Any) -> None:
    """A close-delimited body over TLS that ends without close_notify is not passed on as whole."""

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it")
        released.wait(10)
        connection.truncate()

    released = threading.Event()
    with ScriptedOrigin(script, tls=certificates.origin) as origin, to_script("tls", origin) as client:
        client.send(f"GET / HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode())
        response = client.read_head()
        client.read_until(b"half of it")
        released.set()
        try:
            rest = client.read_to_end()
        except OSError:
            return
        assert response.single("Transfer-Encoding") == "chunked"
        assert b"0\r\n\r\n" not in rest


def test_a_client_that_leaves_ends_the_origins_work(to_script: Any) -> None:
    """The origin's connection ends soon after the client's, in the middle of a response and before one."""

    def script(connection: OriginConnection) -> None:
        head = connection.read_head()
        if b"/wait" not in head:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin")
        connection.read_to_end()

    with ScriptedOrigin(script) as origin:
        for number, path in enumerate(("/wait", "/begin"), 1):
            client = to_script("absolute", origin)
            client.send(f"GET {client.prefix}{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection = origin.wait_for_connection(number)
            if path == "/begin":
                client.read_until(b"begin")
            client.close()
            assert connection.done.wait(10)


# -- interim responses and early answers ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_expect_100_continue_is_relayed(way: str, to_script: Any, certificates: Any) -> None:
    """The origin's own 100 comes back, and only then the client sends its body."""

    def script(connection: OriginConnection) -> None:
        head = connection.read_head()
        assert b"expect: 100-continue" in head.lower()
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert connection.read_exactly(5) == b"hello"
        connection.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    with ScriptedOrigin(script, tls=tls_files(way, certificates)) as origin, to_script(way, origin) as client:
        fields = f"Host: {client.authority}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        client.send(f"PUT {client.prefix}/ HTTP/1.1\r\n{fields}".encode())
        assert client.read_head().status == 100
        client.send(b"hello")
        assert client.read_response("PUT").status == 201
        assert origin.errors == []


def test_expect_100_continue_refused_by_the_origin(to_script: Any) -> None:
    """A final answer in place of the 100 reaches the client, which then sends no body."""

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.read_to_end()

    with ScriptedOrigin(script) as origin, to_script("absolute", origin) as client:
        client.send(
            f"PUT {client.prefix}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        response = client.read_response("PUT")
        assert (response.status, response.interim) == (413, [])


def test_expect_100_continue_is_not_answered_on_denial(open_way: Any) -> None:
    """A denied upload gets its 403 and no 100."""
    with open_way("absolute") as client:
        fields = "Host: x\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n"
        client.send(f"PUT {client.prefix}/forbidden HTTP/1.1\r\n{fields}".encode())
        response = client.read_response("PUT")
        assert (response.status, response.interim) == (403, [])


def test_other_interim_responses(make_proxy: Any, origin: HttpOrigin, open_way: Any) -> None:
    """The final answer arrives whatever came before it; a 103 passes only where no PostRESPONSE rule could object."""
    with open_way("absolute") as client:
        response = client.fetch("/interim")
        assert (response.status, response.interim) == (200, [])
        assert response.body == b"after the hints\n"
    proxy = make_proxy(policy())
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
        response = client.fetch("/interim")
        assert response.body == b"after the hints\n"
        assert {interim.status for interim in response.interim} <= {103}


@pytest.mark.parametrize("way", WAYS)
def test_early_answer_while_uploading(way: str, open_way: Any) -> None:
    """An answer that comes before the body was sent arrives whole, then the connection ends."""
    with open_way(way) as client:
        head = f"POST {client.prefix}/early HTTP/1.1\r\nHost: {client.authority}\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head.encode() + b"10000\r\n" + bytes(0x10000) + b"\r\n")
        response = client.read_response("POST")
        assert (response.status, response.body) == (413, b"too much for me\n")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ending", ["close", "reset", "silence"])
def test_early_answer_to_a_client_that_goes_on_sending(
    ending: str, way: str, to_script: Any, certificates: Any
) -> None:
    """The answer arrives whole although the client is still sending, whatever the origin does behind it."""
    released = threading.Event()

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo much\n")
        if ending == "silence":
            released.wait(20)
        connection.reset() if ending == "reset" else connection.close()

    with ScriptedOrigin(script, tls=tls_files(way, certificates)) as origin, to_script(way, origin) as client:
        head = f"POST {client.prefix}/ HTTP/1.1\r\nHost: {client.authority}\r\nContent-Length: {1 << 30}\r\n\r\n"
        client.send(head.encode())
        answer = send_until_answered(client, b"too much\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        released.set()


def send_until_answered(client: RoutedClient, marker: bytes) -> bytes:
    """Send zeros and read in turn until the marker came. One thread: an SSLSocket does not serve two at once."""
    client.sock.settimeout(0)
    answer, may_send, deadline = b"", True, time.monotonic() + 20
    while marker not in answer:
        assert time.monotonic() < deadline, answer
        try:
            piece = client.sock.recv(65536)
            assert piece, f"the connection ended after {answer!r}"
            answer += piece
            continue
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        try:
            if may_send:
                client.sock.send(bytes(65536))
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            select.select([client.sock], [client.sock], [], 1)
        except OSError:
            may_send = False  # the other side has said that it wants no more
    return answer


# -- upgrades ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_websocket(way: str, open_way: Any, intercepting: ProxyProcess) -> None:
    """Upgrade passes, and frames of all sizes come back; the record tells the bytes of both directions."""
    since = len(intercepting.records())
    with open_way(way) as client:
        key = base64.b64encode(os.urandom(16)).decode()
        response = client.fetch("/ws", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
                                "Sec-WebSocket-Version: 13")  # fmt: skip
        accept = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
        assert (response.status, response.single("Sec-WebSocket-Accept")) == (101, accept)
        for size in (0, 1, 125):
            client.send(bytes([0x82, 0x80 | size]) + bytes(4) + b"w" * size)
            assert client.read_exactly(2 + size) == bytes([0x82, size]) + b"w" * size
        client.send(b"\x82\xff" + (500_000).to_bytes(8, "big") + bytes(4) + b"w" * 500_000)
        assert client.read_exactly(10 + 500_000)[10:] == b"w" * 500_000
        client.send(b"\x88\x80" + bytes(4))
        assert client.read_exactly(2) == b"\x88\x00"
        assert client.ends() == "end"
    record = intercepting.wait_for_record(lambda r: r.get("http_status_code") == 101, since=since)
    assert record["bytes_in"] > 500_000
    assert record["bytes_out"] > 500_000


def test_an_upgrade_that_is_denied(open_way: Any) -> None:
    """PreREQUEST judges it like any request."""
    with open_way("absolute") as client:
        fields = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
        assert client.fetch("/forbidden/ws", *fields).status == 403
