"""Peers that vanish, stall or lie about the end, and a machine that fails: one record with its cause, nothing left.

`Watched` takes the proxy's sockets before and after: they must come back to where they were.
"""

from __future__ import annotations

import json
import resource
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin, pattern
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.record_tail import RecordTail
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient, WireClient

TIMEOUTS = {"drain": "1s", "head": "2s", "body": "2s", "idle": "2s", "handshake": "2s", "response": "3s", "abort": "1s"}
HOWS = ("close", "reset")


class Watched:
    """A proxy whose sockets are counted: as many at the end as at the beginning."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self.proxy = proxy
        self.tail: RecordTail
        self.before = 0

    def __enter__(self) -> Watched:
        self.proxy.wait_until(self._is_idle)
        self.before = self.proxy.open_sockets()
        self.tail = RecordTail(self.proxy)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.proxy.wait_until(lambda: self._is_idle() and self.proxy.open_sockets() <= self.before, 15)
            assert self.proxy.new_trouble() == ""

    def _is_idle(self) -> bool:
        status = self.proxy.status()
        return bool(status["connections"] == 0 and status["tunnels"] == 0)


@pytest.fixture(scope="module")
def plain(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """Passes TLS through. No connection to an origin is kept, so that every socket is somebody's."""
    limits = {"idle_upstream_connections": 0}
    with proxy_maker("faulty-passing", policy(), timeouts=TIMEOUTS, limits=limits) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def intercepts(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """The same, intercepting."""
    limits = {"idle_upstream_connections": 0}
    with proxy_maker("faulty-intercepting", policy(), intercept=True, timeouts=TIMEOUTS, limits=limits) as proxy:
        yield proxy


def leave(client: WireClient, how: str) -> None:
    """Go."""
    client.reset() if how == "reset" else client.close()


def hello() -> bytes:
    """A ClientHello for origin.test."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="origin.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


# -- clients that go --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
def test_clients_that_go_within_a_request(how: str, plain: ProxyProcess) -> None:
    """At any octet of an upload: no record before the head was whole, one that says why from then on."""
    with ScriptedOrigin() as origin, Watched(plain) as watched:
        head = f"POST http://origin.test:{origin.port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n".encode()
        whole = head + b"x" * 39
        for cut in (1, 20, len(head) - 1):
            client = WireClient(plain.port())
            client.send(whole[:cut])
            leave(client, how)
        for cut in (len(head), len(head) + 1, len(whole)):
            since = len(origin.connections)
            client = WireClient(plain.port())
            client.send(whole[:cut])
            origin.wait_for_connection(since + 1)
            leave(client, how)
            (record,) = watched.tail.take(1)
            assert record["close_reason"] == "client_closed"
            assert record["http_status_code"] == 499
            assert origin.connections[since].done.wait(10)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("way", ["absolute", "tunnel", "tls"])
def test_clients_that_go_within_a_response(way: str, how: str, intercepts: ProxyProcess, certificates: Any) -> None:
    """At any octet of a response: the origin's connection ends soon, and the record says who went."""

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            while True:
                connection.send(b"x" * 10000)
        except OSError:
            return

    tls = certificates.origin if way == "tls" else None
    with ScriptedOrigin(script, tls=tls) as origin, Watched(intercepts) as watched:
        for number, read in enumerate((0, 5, 60, 20_000, 300_000), 1):
            client = RoutedClient(intercepts.port(), way, "origin.test", origin.port, trust=certificates.intercept[0])
            client.send(f"GET {client.prefix}/ HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode())
            if read:
                client.read_exactly(read)
            else:
                origin.wait_for_connection(number)
                time.sleep(0.05)
            leave(client, how)
            (record,) = watched.tail.take(1)
            assert record["close_reason"] == "client_closed", (read, record)
            assert origin.wait_for_connection(number).done.wait(10)


@pytest.mark.parametrize("how", HOWS)
def test_clients_that_go_while_we_wait(how: str, plain: ProxyProcess) -> None:
    """In the middle of a lookup, a dial or a wait for the head: it is given up at once, and recorded."""
    with socket.socket() as full, ScriptedOrigin() as silent, Watched(plain) as watched:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        targets = (f"silent.test:{silent.port}", f"origin.test:{full.getsockname()[1]}", f"origin.test:{silent.port}")
        for target in targets:
            for method in ("GET", "CONNECT"):
                client = WireClient(plain.port())
                uri = f"http://{target}/" if method == "GET" else target
                client.send(f"{method} {uri} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
                if method == "CONNECT" and target == targets[2]:
                    client.read_head()
                else:
                    time.sleep(0.1)
                leave(client, how)
                (record,) = watched.tail.take(1)
                assert record["error"]["token"] == "connection_terminated", record
                assert record["error"]["fault"] == "client", record
                assert record["duration_ms"] < 8000, record
        for filler in fillers:
            filler.close()


# -- origins that go --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", HOWS)
def test_origins_that_go_within_a_response(how: str, plain: ProxyProcess) -> None:
    """At any octet of the answer the client hears of it, and the record has the origin's fault."""
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    cuts = [0, 1, 16, 45, 46, 47, 48, 49, 54, 55, 56, 57, 58, 60]
    todo = iter(cuts)

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(answer[: next(todo)])
        connection.reset() if how == "reset" else connection.close()

    with ScriptedOrigin(script) as origin, Watched(plain) as watched:
        for cut in cuts:
            with RoutedClient(plain.port(), "absolute", "origin.test", origin.port) as client:
                client.send(f"GET {client.prefix}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                try:
                    got = client.read_to_end()
                except ConnectionError:
                    got = client.buffer
            assert got == b"" or got.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 502 ")), cut
            assert not (got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"0\r\n\r\n"))
            (record,) = watched.tail.take(1)
            assert record["error"]["fault"] == "origin", (cut, record)
            assert record["error"]["token"] in ("connection_terminated", "http_response_incomplete"), record


@pytest.mark.parametrize("how", HOWS)
def test_origins_that_go_within_an_upload(how: str, plain: ProxyProcess) -> None:
    """The client is told 502 although it has not finished, or gets what the origin still said."""

    def script(connection: OriginConnection) -> None:
        connection.read_until(b"some")
        connection.reset() if how == "reset" else connection.close()

    with ScriptedOrigin(script) as origin, Watched(plain) as watched:
        with RoutedClient(plain.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nsome".encode())
            assert client.read_response("POST").status == 502
        (record,) = watched.tail.take(1)
        assert record["error"]["fault"] == "origin"


def test_an_origin_that_answers_and_goes_while_it_is_sent_to(plain: ProxyProcess) -> None:
    """Its answer reaches a client that is still sending, whole."""

    def script(connection: OriginConnection) -> None:
        connection.read_until(b"some")
        connection.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 6\r\nConnection: close\r\n\r\nenough")
        connection.close()

    with ScriptedOrigin(script) as origin, Watched(plain) as watched:
        with RoutedClient(plain.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nsome".encode())
            response = client.read_response("POST")
            assert (response.status, response.body) == (413, b"enough")
        (record,) = watched.tail.take(1)
        assert record["http_status_code"] == 413


# -- half-close -------------------------------------------------------------------------------------------------------


def test_a_client_that_ends_its_side_is_gone(plain: ProxyProcess) -> None:
    """Between request and response an end of input is the end."""
    with ScriptedOrigin() as origin, Watched(plain) as watched:
        with RoutedClient(plain.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"GET {client.prefix}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection = origin.wait_for_connection()
            client.finish()
            assert connection.done.wait(10)
        (record,) = watched.tail.take(1)
        assert record["close_reason"] == "client_closed"


def test_an_origin_that_ends_its_side_of_a_tunnel(plain: ProxyProcess) -> None:
    """What the client sends afterwards still arrives, to the last octet."""
    payload = b"".join(pattern(2_000_000))
    first = hello()

    def script(connection: OriginConnection) -> None:
        connection.read_exactly(len(first))
        connection.send(b"that is all")
        connection.finish()
        connection.read_to_end()

    with ScriptedOrigin(script) as origin, Watched(plain) as watched:
        with WireClient(plain.port()) as client:
            assert client.connect(f"origin.test:{origin.port}").status == 200
            client.send(first)
            assert client.read_to_end() == b"that is all"
            client.send(payload)
            client.finish()
            assert origin.wait_for_connection().done.wait(10)
        assert origin.received == first + payload
        (record,) = watched.tail.take(1)
        assert (record["kind"], record["request_size"]) == ("tunnel", len(first + payload))


@pytest.mark.parametrize("side", ["client", "origin"])
def test_a_reset_in_a_tunnel_is_passed_on(side: str, plain: ProxyProcess) -> None:
    """An abort on one side is no orderly end on the other."""
    go = threading.Event()

    def script(connection: OriginConnection) -> None:
        connection.read_exactly(10)
        go.set()
        if side == "origin":
            connection.reset()
        else:
            connection.read_to_end()

    with ScriptedOrigin(script) as origin, Watched(plain) as watched:
        with WireClient(plain.port()) as client:
            assert client.connect(f"origin.test:{origin.port}").status == 200
            client.send(hello())
            assert go.wait(10)
            if side == "origin":
                assert client.ends() == "reset"
            else:
                client.reset()
                connection = origin.wait_for_connection()
                assert connection.done.wait(10)
                assert connection.ended == "ConnectionResetError"
        (record,) = watched.tail.take(1)
        assert record["kind"] == "tunnel"
        assert record["close_reason"]


# -- peers that stall -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [30_000, 200_000, 1_000_000, 20_000_000])
@pytest.mark.parametrize("how", ["length", "close"])
def test_a_client_that_does_not_read(how: str, size: int, plain: ProxyProcess) -> None:
    """Whether the rest lies with us, the kernel or the origin: it ends in time, and one record says so."""

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        length = f"Content-Length: {size}\r\n" if how == "length" else ""
        connection.send(f"HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n".encode())
        try:
            connection.send(bytes(size))
            connection.close()
        except OSError:
            return

    with ScriptedOrigin(script) as origin, Watched(plain) as watched:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", plain.port()))
        head = f"GET http://origin.test:{origin.port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        sock.sendall(head.encode())
        (record,) = watched.tail.take(1, timeout=20)
        assert record["http_status_code"] == 200
        if "error" in record:
            assert record["error"]["fault"] == "client", record
        plain.wait_until(lambda: plain.status()["connections"] == 0, 15)
        sock.close()


def test_a_client_that_does_not_read_its_tunnel(plain: ProxyProcess) -> None:
    """A tunnel in which nothing can move is idle, and ends."""

    def script(connection: OriginConnection) -> None:
        connection.read_exactly(10)
        try:
            while True:
                connection.send(bytes(100_000))
        except OSError:
            return

    with ScriptedOrigin(script) as origin, Watched(plain) as watched, WireClient(plain.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == 200
        client.send(hello())
        (record,) = watched.tail.take(1, timeout=20)
        assert "idle" in record["close_reason"]


def test_an_origin_that_does_not_read(plain: ProxyProcess) -> None:
    """An upload that nobody takes ends in time; the fault is the origin's."""
    over = threading.Event()

    def script(connection: OriginConnection) -> None:
        over.wait(30)

    with ScriptedOrigin(script) as origin, Watched(plain) as watched:
        with RoutedClient(plain.port(), "absolute", "origin.test", origin.port) as client:
            client.send(f"POST {client.prefix}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n".encode())
            client.sock.settimeout(0.3)
            try:
                while True:
                    client.send(bytes(100_000))
            except OSError:
                pass
            (record,) = watched.tail.take(1, timeout=20)
            assert record["error"]["fault"] == "origin", record
            assert record["http_status_code"] == 504
        over.set()


# -- TLS that ends badly ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("when", ["handshake", "request", "idle"])
def test_clients_whose_tls_is_cut(
    when: str, how: str, intercepts: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """A FIN without close_notify, or a reset, at any moment: nothing is left, one record for the CONNECT or request."""
    with Watched(intercepts) as watched:
        if when == "handshake":
            client: WireClient = WireClient(intercepts.port())
            assert client.connect(f"origin.test:{tls_origin.port}").status == 200
            client.send(hello())
            client.sock.recv(100)
        else:
            client = RoutedClient(
                intercepts.port(), "tls", "origin.test", tls_origin.port, trust=certificates.intercept[0]
            )
            client.send(b"GET /echo HTTP/1.1\r\n")
            if when == "idle":
                client.send(f"Host: origin.test:{tls_origin.port}\r\n\r\n".encode())
                client.read_response()
        if how == "reset":
            client.reset()
        else:
            client.sock.shutdown(socket.SHUT_RDWR)
            client.sock.close()
        (record,) = watched.tail.take(1)
        assert record["kind"] == ("exchange" if when == "idle" else "connect")


def test_a_client_that_ignores_close_notify(
    intercepts: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """After its last answer the connection is gone in time although the client keeps its side open."""
    with Watched(intercepts) as watched:
        client = RoutedClient(intercepts.port(), "tls", "origin.test", tls_origin.port, trust=certificates.intercept[0])
        response = client.fetch("/echo", "Connection: close")
        assert response.status == 200
        watched.tail.take(1)
        intercepts.wait_until(lambda: intercepts.status()["connections"] == 0, 10)
        client.sock.close()


def test_an_origin_that_ignores_close_notify(intercepts: ProxyProcess, certificates: Any) -> None:
    """We close towards it, it does not: its socket is gone from us in time."""
    over = threading.Event()

    def script(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        over.wait(20)

    with ScriptedOrigin(script, tls=certificates.origin) as origin, Watched(intercepts) as watched:
        trust = certificates.intercept[0]
        with RoutedClient(intercepts.port(), "tls", "origin.test", origin.port, trust=trust) as client:
            assert client.fetch("/").body == b"ok"
        watched.tail.take(1)
        intercepts.wait_until(lambda: intercepts.open_sockets() <= watched.before, 10)
        over.set()


# -- a machine that fails ---------------------------------------------------------------------------------------------


def test_a_resolver_that_is_dead(make_proxy: Any, tmp_path: Path) -> None:
    """Nobody listens there: an answer in time, nothing left; the names in hosts still work."""
    with DnsServer({}) as server:
        port = server.port
    (tmp_path / "hosts").write_text("127.0.0.1 known.test\n")
    proxy = make_proxy(
        policy(),
        dns={"resolvers": [f"127.0.0.1:{port}"], "hosts_file": str(tmp_path / "hosts"), "timeout": "300ms"},
        limits={"idle_upstream_connections": 0},
    )
    with Watched(proxy) as watched:
        with WireClient(proxy.port()) as client:
            response = client.ask("GET", "http://origin.test/", "x", "Connection: close")
            assert response.status in (502, 504)
            assert b"dns_" in response.body
        (record,) = watched.tail.take(1)
        assert record["error"]["token"].startswith("dns_")
        with HttpOrigin() as origin, RoutedClient(proxy.port(), "absolute", "known.test", origin.port) as client:
            assert client.fetch("/echo", "Connection: close").status == 200
        watched.tail.take(1)


def test_a_full_disk_does_not_stop_traffic(make_proxy: Any, origin: HttpOrigin) -> None:
    """Records that cannot be written are kept and tried again; requests go on, and the program's log says so."""
    proxy = make_proxy(policy(), log={"path": "/dev/full"})
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
        for _ in range(20):
            assert client.fetch("/echo").status == 200
    proxy.wait_until(lambda: "No space left" in proxy.log or "ENOSPC" in proxy.log)


def test_a_log_directory_that_is_removed(make_proxy: Any, origin: HttpOrigin, tmp_path: Path) -> None:
    """It is made again, and records go on in a new file."""
    directory = tmp_path / "records"
    directory.mkdir()
    proxy = make_proxy(policy(), log={"path": str(directory / "records.jsonl")})
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
        assert client.fetch("/echo").status == 200
        proxy.wait_for_records(lambda record: True, 1)
        shutil.rmtree(directory)
        assert client.fetch("/echo?again").status == 200
        proxy.wait_for_records(lambda record: record["url"]["query"] == "again", 1)
    assert json.loads((directory / "records.jsonl").read_text().splitlines()[-1])["http_status_code"] == 200


def test_a_log_directory_that_cannot_be_made_again(make_proxy: Any, origin: HttpOrigin, tmp_path: Path) -> None:
    """A file stands where it was: traffic goes on, and what was not written comes when the place is free again."""
    directory = tmp_path / "records"
    directory.mkdir()
    proxy = make_proxy(policy(), log={"path": str(directory / "records.jsonl")})
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
        assert client.fetch("/echo").status == 200
        proxy.wait_for_records(lambda record: True, 1)
        shutil.rmtree(directory)
        directory.write_text("in the way")
        assert client.fetch("/echo?lost").status == 200
        proxy.wait_until(lambda: "records.jsonl" in proxy.log)
        directory.unlink()
        assert client.fetch("/echo?again").status == 200
        found = proxy.wait_for_records(lambda record: "url" in record, 2)
    assert [record["url"]["query"] for record in found] == ["lost", "again"]


def test_descriptors_run_out(make_proxy: Any, origin: HttpOrigin) -> None:
    """With none left clients wait or are told, nothing breaks, and all goes on when some are free again."""
    proxy = make_proxy(policy())
    used = len(proxy.open_files())
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (used + 6, used + 6))
    clients = []
    try:
        for _ in range(12):
            client = WireClient(proxy.port(), timeout=10)
            client.send(f"GET http://origin.test:{origin.port}/echo HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            clients.append(client)
        time.sleep(0.5)
    finally:
        for client in clients:
            client.close()

    def works() -> bool:
        try:
            with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port, timeout=5) as client:
                return client.fetch("/echo").status == 200
        except (OSError, AssertionError):
            return False

    proxy.wait_until(works, 15)
