"""Every limit and every deadline at its edge: what is just within passes, one beyond does not, each wait has its end.

Deadlines are looked at from below by the record's duration, which no slow machine can shorten; from above the tests'
own time-out bounds them.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.record_tail import RecordTail
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient, WireClient, WireResponse

SMALL = {"head_size": 1024, "head_fields": 8, "chunk_line": 20, "trailer_size": 64, "client_hello": 512}
HALF = "500ms"
HURRY = dict.fromkeys(("head", "resolve", "connect", "handshake", "abort"), HALF)
# A request that stops coming is the client's fault, so `body` must be over before `response` is.
HURRY |= {"drain": "1s", "body": "1s", "idle": "1s", "response": "1500ms"}
HALF_MS = 450  # what a deadline of half a second cannot be shorter than, less a clock's rounding


@pytest.fixture(scope="module")
def small(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """Every size is as small as may be."""
    with proxy_maker("small", policy(), limits=SMALL) as process:
        yield process


@pytest.fixture(scope="module")
def hurried(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """Every deadline is half a second or one."""
    with proxy_maker("short-of-time", policy(), intercept=True, timeouts=HURRY) as process:
        yield process


@pytest.fixture(scope="module")
def sink() -> Iterator[ScriptedOrigin]:
    """Reads one request with its chunked body, if it has one, and answers."""

    def script(connection: OriginConnection) -> None:
        while head := connection.read_head():
            if b"Transfer-Encoding" in head and not connection.read_until(b"0\r\n").endswith(b"0\r\n"):
                return
            if b"Transfer-Encoding" in head:
                while (line := connection.read_until(b"\r\n")) != b"\r\n" and line:
                    pass
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with ScriptedOrigin(script) as origin:
        yield origin


def ask(proxy: ProxyProcess, data: bytes) -> WireResponse:
    """Send these bytes and read the one answer."""
    with WireClient(proxy.port()) as client:
        client.send(data)
        return client.read_response()


def head_of(origin: ScriptedOrigin, size: int) -> bytes:
    """A request head of exactly so many octets."""
    head = f"GET http://origin.test:{origin.port}/ HTTP/1.1\r\nHost: x\r\nX: ".encode()
    return head + b"x" * (size - len(head) - 4) + b"\r\n\r\n"


def answering(data: bytes) -> ScriptedOrigin:
    """An origin that answers everything with these bytes."""

    def script(connection: OriginConnection) -> None:
        while connection.read_head():
            connection.send(data)

    return ScriptedOrigin(script)


# -- limits: requests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "status"), [(1023, 200), (1024, 200), (1025, 431), (5000, 431)])
def test_head_size(size: int, status: int, small: ProxyProcess, sink: ScriptedOrigin) -> None:
    """A head may be as large as `limits.head_size`, to the octet."""
    assert ask(small, head_of(sink, size)).status == status


def test_head_size_holds_while_reading(small: ProxyProcess, sink: ScriptedOrigin) -> None:
    """A head that does not end is refused as soon as it is too large."""
    assert ask(small, head_of(sink, 5000)[:1024]).status == 431


@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 431), (300, 414)])
def test_request_line(over: int, status: int, small: ProxyProcess, sink: ScriptedOrigin) -> None:
    """A target without measure is told apart: 414."""
    start, end = f"GET http://origin.test:{sink.port}/", " HTTP/1.1\r\nHost: x\r\n\r\n"
    path = "u" * (1024 - len(start) - len(end) + over)
    assert ask(small, (start + path + end).encode()).status == status


@pytest.mark.parametrize(("count", "status"), [(8, 200), (9, 431), (40, 431)])
def test_head_fields(count: int, status: int, small: ProxyProcess, sink: ScriptedOrigin) -> None:
    """As many fields as `limits.head_fields`, Host among them."""
    fields = "X: y\r\n" * (count - 1)
    head = f"GET http://origin.test:{sink.port}/ HTTP/1.1\r\nHost: x\r\n{fields}\r\n"
    assert ask(small, head.encode()).status == status


@pytest.mark.parametrize(("size", "status"), [(19, 200), (20, 200), (21, 400)])
def test_chunk_line(size: int, status: int, small: ProxyProcess, sink: ScriptedOrigin) -> None:
    """A chunk line may be as long as `limits.chunk_line`, its CRLF not counted."""
    line = "3;" + "a" * (size - 2)
    body = f"{line}\r\nabc\r\n0\r\n\r\n"
    head = f"POST http://origin.test:{sink.port}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert ask(small, (head + body).encode()).status == status


@pytest.mark.parametrize(("size", "status"), [(63, 200), (64, 200), (65, 431)])
def test_trailer_size(size: int, status: int, small: ProxyProcess, sink: ScriptedOrigin) -> None:
    """A trailer section may be as large as `limits.trailer_size`, its empty line counted."""
    trailers = "X: " + "y" * (size - 7) + "\r\n\r\n"
    assert len(trailers) == size
    head = f"POST http://origin.test:{sink.port}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert ask(small, f"{head}0\r\n{trailers}".encode()).status == status


@pytest.mark.parametrize("record", [1, 100, 1 << 14])
def test_client_hello(record: int, small: ProxyProcess) -> None:
    """A ClientHello that is not whole within `limits.client_hello` ends its tunnel, in whatever pieces it comes."""
    message = b"\x01\x00\x10\x00\x03\x03" + bytes(1000)
    pieces = [message[at : at + record] for at in range(0, len(message), record)]
    flight = b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    with ScriptedOrigin() as origin:
        tail = RecordTail(small)
        with WireClient(small.port()) as client:
            port = client.sock.getsockname()[1]
            assert client.connect(f"origin.test:{origin.port}").status == 200
            client.send(flight[:512])
            client.sock.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.sock.recv(1)
            client.sock.settimeout(20)
            client.send(flight[512:514])
            assert client.sock.recv(100) in (b"", b"\x15\x03\x03\x00\x02\x02\x31")
        record_of_it = tail.of_port(port)
        assert "512 bytes" in record_of_it["error"]["detail"]
        assert origin.received == b""


# -- limits: responses ------------------------------------------------------------------------------------------------


def response_of(size: int) -> bytes:
    """A response whose head has so many octets."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: "
    return head + b"x" * (size - len(head) - 4) + b"\r\n\r\nok"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(response_of(1024), 200, id="head of 1024"),
        pytest.param(response_of(1025), 502, id="head of 1025"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"X: y\r\n" * 7 + b"\r\nok", 200, id="8 fields"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + b"X: y\r\n" * 8 + b"\r\nok", 502, id="9 fields"),
        pytest.param(CHUNKED + b"2;" + b"a" * 18 + b"\r\nok\r\n0\r\n\r\n", 200, id="chunk line of 20"),
        pytest.param(CHUNKED + b"0\r\nX: " + b"y" * 57 + b"\r\n\r\n", 200, id="trailers of 64"),
    ],
)
def test_limits_of_responses(answer: bytes, status: int, small: ProxyProcess) -> None:
    """The same numbers hold for what origins send."""
    with answering(answer) as origin, RoutedClient(small.port(), "absolute", "origin.test", origin.port) as client:
        assert client.fetch("/").status == status


@pytest.mark.parametrize("body", [b"2;" + b"a" * 19 + b"\r\nok\r\n", b"0\r\nX: " + b"y" * 58 + b"\r\n\r\n"])
def test_limits_of_response_bodies(body: bytes, small: ProxyProcess) -> None:
    """One octet more of chunk line or trailers cuts the response off."""
    with (
        answering(CHUNKED + body) as origin,
        RoutedClient(small.port(), "absolute", "origin.test", origin.port) as client,
    ):
        client.send(f"GET {client.prefix}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        try:
            answer = client.read_to_end()
        except ConnectionError:
            answer = client.buffer
        assert not answer.endswith(b"0\r\n\r\n")
        assert answer == b"" or answer.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 200 "))


# -- limits: bodies ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bounded(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """Bodies of at most 1000 octets up and 2000 down."""
    with proxy_maker("bounded", policy(), limits={"request_body": 1000, "response_body": 2000}) as process:
        yield process


@pytest.mark.parametrize(("size", "status"), [(999, 200), (1000, 200), (1001, 413), (10**9, 413)])
def test_request_body_by_length(size: int, status: int, bounded: ProxyProcess) -> None:
    """A length that is too large is told before anything is asked or sent."""

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.read_exactly(size)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with ScriptedOrigin(script) as origin:
        with RoutedClient(bounded.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
            if size <= 1000:
                client.send(bytes(size))
            assert client.read_response("POST").status == status
            assert status == 200 or client.ends() == "end"
        assert status == 200 or origin.connections == []


@pytest.mark.parametrize(("size", "status"), [(1000, 200), (1001, 413), (50_000, 413)])
def test_request_body_by_chunks(size: int, status: int, bounded: ProxyProcess, sink: ScriptedOrigin) -> None:
    """Without a length it is told when it is too much; the origin's request is never completed."""
    tail = RecordTail(bounded)
    with RoutedClient(bounded.port(), "absolute", "origin.test", sink.port) as client:
        head = f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(head.encode())
        for at in range(0, size, 100):
            piece = min(100, size - at)
            client.send(b"%x\r\n%b\r\n" % (piece, bytes(piece)))
        client.send(b"0\r\n\r\n")
        assert client.read_response("POST").status == status
    (record,) = tail.take(1)
    assert record["http_status_code"] == status


@pytest.mark.parametrize(("size", "status"), [(2000, 200), (2001, 502)])
def test_response_body_by_length(size: int, status: int, bounded: ProxyProcess) -> None:
    """An answer that says that it is too large is not begun."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    with answering(answer) as origin, RoutedClient(bounded.port(), "absolute", "origin.test", origin.port) as client:
        response = client.fetch("/")
        assert response.status == status
        assert status == 200 or "http_response_body_size" in (response.single("Proxy-Status") or "")


def test_response_body_by_chunks(bounded: ProxyProcess) -> None:
    """One that does not say is cut, visibly."""
    with answering(CHUNKED + b"7d0\r\n" + bytes(2000) + b"\r\n1\r\nx\r\n0\r\n\r\n") as origin:
        tail = RecordTail(bounded)
        with RoutedClient(bounded.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"GET {client.prefix}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            try:
                got = client.read_to_end()
            except ConnectionError:
                got = client.buffer
            assert not got.endswith(b"0\r\n\r\n")
        (record,) = tail.take(1)
        assert record["error"]["token"] == "http_response_body_size"


# -- limits: connections ----------------------------------------------------------------------------------------------


def test_connections_of_all_and_of_one(make_proxy: Any) -> None:
    """One client cannot take the place of all, and all together no more than there is; who leaves makes place."""
    proxy = make_proxy(policy(), limits={"connections": 4, "connections_per_client": 3}, workers=0)

    def status_for(source: str) -> int:
        with WireClient(proxy.port(), source=source) as client:
            try:
                return client.ask("GET", "/", "x", "Connection: close").status
            except OSError:
                return client.read_response().status

    with ExitStack() as stack:
        held = [stack.enter_context(WireClient(proxy.port(), source="127.0.0.2")) for _ in range(3)]
        proxy.wait_until(lambda: proxy.status()["connections"] == 3)
        assert status_for("127.0.0.2") == 503
        assert status_for("127.0.0.3") == 200
        proxy.wait_until(lambda: proxy.status()["connections"] == 3)
        stack.enter_context(WireClient(proxy.port(), source="127.0.0.4"))
        proxy.wait_until(lambda: proxy.status()["connections"] == 4)
        assert status_for("127.0.0.3") == 503
        held[0].close()
        proxy.wait_until(lambda: proxy.status()["connections"] == 3)
        assert status_for("127.0.0.2") == 200
    metrics = proxy.admin("/metrics")[1].decode()
    assert "too_many_connections_from_client" in metrics
    assert 'too_many_connections"' in metrics


def test_idle_connections_to_origins(make_proxy: Any) -> None:
    """No more than `limits.idle_upstream_connections` wait; the one that waits longest gives way."""
    # In one process: each worker keeps its half, and the kernel chooses who asks.
    proxy = make_proxy(policy(), limits={"idle_upstream_connections": 2}, workers=0)
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as origin, ExitStack() as stack:
        for host in ("origin.test", "other.test", "alerted.test", "moved.test"):
            client = stack.enter_context(RoutedClient(proxy.port(), "absolute", host, origin.port))
            assert client.fetch("/").status == 200
        assert origin.connections[0].done.wait(10)
        assert origin.connections[1].done.wait(10)
        assert not origin.connections[3].done.is_set()


def test_caches_of_one(make_proxy: Any, dns: DnsServer, tls_origin: HttpOrigin, certificates: Any) -> None:
    """With place for one leaf and one name everything works, and the name that was pushed out is asked for again."""
    # In one process: of two workers each has caches of its own, and the kernel chooses who is asked.
    limits = {"leaf_cache": 1, "dns_cache": 1, "idle_upstream_connections": 0}
    proxy = make_proxy(policy(), intercept=True, limits=limits, workers=0)
    before = dns.asked("origin.test", "A"), dns.asked("other.test", "A")
    for host in ("origin.test", "other.test") * 3:
        with RoutedClient(proxy.port(), "tls", host, tls_origin.port, trust=certificates.intercept[0]) as client:
            assert client.fetch("/echo").status == 200
    assert (dns.asked("origin.test", "A") - before[0], dns.asked("other.test", "A") - before[1]) == (3, 3)


# -- deadlines --------------------------------------------------------------------------------------------------------


def one_record(tail: RecordTail, token: str, shortest_ms: int = HALF_MS) -> dict[str, Any]:
    """The one record of what a deadline ended."""
    (record,) = tail.take(1)
    assert record["error"]["token"] == token, record
    assert record["duration_ms"] >= shortest_ms, record
    return record


def test_head_deadline_holds_in_spite_of_drops(hurried: ProxyProcess) -> None:
    """Octets that come one by one do not keep a head alive."""
    with WireClient(hurried.port()) as client:
        client.sock.settimeout(0.1)
        request = b"GET http://origin.test/" + b"x" * 1000
        answered = False
        for at in range(len(request)):
            try:
                client.send(request[at : at + 1])
                answered = client.more()
                break
            except TimeoutError:
                continue
        assert answered
        client.sock.settimeout(20)
        assert client.read_response().status == 408


def test_first_octet_deadline(hurried: ProxyProcess) -> None:
    """A connection that never says anything is closed without a word and a record."""
    with WireClient(hurried.port()) as client:
        assert client.ends() in ("end", "reset")


def test_body_deadline_is_between_two_pieces(hurried: ProxyProcess) -> None:
    """A body may take longer than `timeouts.body` as long as it comes; when it stops, 408."""

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.read_exactly(8)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.close()

    def come(origin: ScriptedOrigin) -> tuple[int, float, dict[str, Any]]:
        """Status, the longest time between two octets, and the record."""
        tail, longest = RecordTail(hurried), 0.0
        with RoutedClient(hurried.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n".encode())
            last = time.monotonic()
            for octet in b"12345678":
                time.sleep(0.15)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
                try:
                    client.send(bytes([octet]))
                except OSError:
                    break  # it has answered and closed
            status = client.read_response("POST").status
        (record,) = tail.take(1)
        return status, longest, record

    with ScriptedOrigin(script) as origin:
        # Where the machine itself stood still for too long, here or in the proxy, it is tried again.
        for _ in range(5):
            status, longest, record = come(origin)
            if status == 200:
                break
        assert status == 200, f"the longest gap was {longest:.2f} s"
        assert record["duration_ms"] >= 1150
        tail = RecordTail(hurried)
        with RoutedClient(hurried.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n1".encode())
            assert client.read_response("POST").status == 408
        one_record(tail, "connection_read_timeout", 900)


def test_resolve_deadline(hurried: ProxyProcess) -> None:
    """504 when no server answers within `timeouts.resolve`, whatever one question may take."""
    tail = RecordTail(hurried)
    with RoutedClient(hurried.port(), "absolute", "silent.test", 80) as client:
        assert client.fetch("/").status == 504
    one_record(tail, "dns_timeout")


def test_connect_deadline(hurried: ProxyProcess) -> None:
    """504 when the connection is not made within `timeouts.connect`: here the origin's queue is full."""
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        tail = RecordTail(hurried)
        with RoutedClient(hurried.port(), "absolute", "origin.test", full.getsockname()[1]) as client:
            assert client.fetch("/").status == 504
        record = one_record(tail, "connection_timeout")
        assert record["durations"]["connect"] > 0.4


def test_handshake_deadline_of_origins(hurried: ProxyProcess, certificates: Any) -> None:
    """An origin that never ends its handshake: told inside the tunnel."""
    with ScriptedOrigin() as origin:
        tail = RecordTail(hurried)
        trust = certificates.intercept[0]
        with RoutedClient(hurried.port(), "tls", "origin.test", origin.port, trust=trust) as client:
            assert client.fetch("/").status in (502, 504)
        (record,) = tail.take(1)
        assert record["error"]["fault"] == "origin"


def test_response_deadline(hurried: ProxyProcess) -> None:
    """504 when the head does not come within `timeouts.response`; interim responses are no head."""

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        for _ in range(5):
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.4)
        connection.read_to_end()

    with ScriptedOrigin(script) as origin:
        tail = RecordTail(hurried)
        with RoutedClient(hurried.port(), "absolute", "origin.test", origin.port) as client:
            response = client.fetch("/")
            assert response.status == 504
            assert 1 <= len(response.interim) <= 5
        one_record(tail, "http_response_timeout", 1400)


def test_an_origin_that_stops_in_the_middle(hurried: ProxyProcess) -> None:
    """The response is cut, not ended, after `timeouts.idle`."""
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") as origin:
        tail = RecordTail(hurried)
        with RoutedClient(hurried.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"GET {client.prefix}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert client.read_head().status == 200
            assert client.read_until(b"half")
            assert client.ends() == "reset"
        one_record(tail, "http_response_timeout", 900)


def test_abort_deadline(hurried: ProxyProcess) -> None:
    """Who is told to go and does not, is cut after `timeouts.abort`: here a TLS client that ignores close_notify."""
    with socket.create_connection(("127.0.0.1", hurried.port("tls"))) as sock:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        sock.settimeout(10)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(1 << 16))
        tls.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        sock.sendall(outgoing.read())
        # All that comes is read and none of it answered: neither the alert nor the end.
        try:
            while sock.recv(1 << 16):
                pass
        except ConnectionError:
            pass
    hurried.wait_until(lambda: hurried.status()["connections"] == 0)


def test_a_flood_of_refused_connections(make_proxy: Any) -> None:
    """Each kind has one record at once, the others one with their count at the end, and none is lost: over a cap, no
    TLS on a TLS port, TLS that breaks."""
    proxy = make_proxy(
        policy(), intercept=True, limits={"connections_per_client": 1}, timeouts={"drain": HALF}, workers=0
    )
    plain, tls = proxy.port(), proxy.port("tls")
    kinds: list[tuple[int, str, bytes]] = [
        (plain, "127.0.0.2", b""),  # over the cap: one is inside
        (tls, "127.0.0.3", b"GET / HTTP/1.1\r\n\r\n"),
        (tls, "127.0.0.4", b"\x16\x03\x01\x00\x05hello"),
    ]
    with socket.create_connection(("127.0.0.1", plain), source_address=("127.0.0.2", 0)):
        proxy.wait_until(lambda: proxy.status()["connections"] == 1)
        for _ in range(25):
            for port, source, data in kinds:
                with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) as sock:
                    sock.settimeout(10)
                    sock.sendall(data)
                    try:
                        while sock.recv(4096):
                            pass
                    except ConnectionError:
                        pass
                proxy.wait_until(lambda: proxy.status()["connections"] == 1)
        tokens = ["connection_limit_reached", "http_request_error", "tls_protocol_error"]
        first = proxy.wait_for_records(lambda record: record["kind"] == "connection", 3)
        assert sorted(record["error"]["token"] for record in first) == tokens
        assert not any("count" in record for record in first)
    proxy.stop()
    told = [record for record in proxy.records() if "count" in record]
    assert sorted((record["error"]["token"], record["count"]) for record in told) == [(token, 24) for token in tokens]
    assert len(proxy.records()) == 6
