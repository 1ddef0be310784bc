"""Big bodies in constant memory, and many requests over kept connections with everything random and nothing left.

The normal suite moves enough to see memory grow and connections leak; with `-m soak` the same tests run at full size.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.origins import BLOCK, HttpOrigin, pattern
from netfw.testing.proxy_process import ProxyProcess
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient

MIB = 1 << 20
GROWTH = 32 * MIB
READER_RATE = 200e6  # bytes a second: a reader slower than the origin, so that backpressure is felt
# (way, which proxy): a plain forwarded body, a passed-through tunnel, an intercepted one
PATHS = {"forwarded": "absolute", "passed-through": "tls", "intercepted": "tls"}
SIZES = [pytest.param(128 * MIB, id="128MiB"), pytest.param(2048 * MIB, id="2GiB", marks=pytest.mark.soak)]


@pytest.fixture(params=list(PATHS))
def path(request: pytest.FixtureRequest, certificates: Any, origin: HttpOrigin, tls_origin: HttpOrigin) -> Any:
    """(proxy, open): `open()` gives a client to the origin on this path."""
    name = request.param
    proxy: ProxyProcess = request.getfixturevalue("intercepting" if name == "intercepted" else "passing")
    server = origin if name == "forwarded" else tls_origin
    trust: Path = certificates.intercept[0] if name == "intercepted" else certificates.origin_ca

    def connect() -> RoutedClient:
        return RoutedClient(proxy.port(), PATHS[name], "origin.test", server.port, trust=trust, timeout=60)

    return proxy, connect


class Watch:
    """The proxy's resident memory, looked at while something runs."""

    def __init__(self, proxy: ProxyProcess) -> None:
        self.proxy = proxy
        self.before = self.highest = proxy.rss()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.highest = max(self.highest, self.proxy.rss())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        """How far above its beginning it ever was."""
        return self.highest - self.before


class Checker:
    """A sink that compares what comes with the pattern, and reads no faster than a rate."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.size = 0
        self.begun = time.monotonic()

    def __call__(self, piece: bytes) -> None:
        offset = self.size % len(BLOCK)
        end = offset + len(piece)
        wanted = BLOCK[offset:end] if end <= len(BLOCK) else BLOCK[offset:] + BLOCK[: end - len(BLOCK)]
        assert piece == wanted, f"a byte is wrong after {self.size}"
        self.size += len(piece)
        ahead = self.size / self.rate - (time.monotonic() - self.begun)
        if ahead > 0.002:
            time.sleep(ahead)


def warm(connect: Any) -> None:
    """What a first use allocates for good is no growth."""
    with connect() as client:
        client.fetch("/bytes/3000000")
        client.fetch("/upload", method="POST", body=bytes(3_000_000))


@pytest.mark.parametrize("size", SIZES)
def test_download(size: int, path: Any) -> None:
    """Every byte is right and the proxy's memory stays level though the client reads slower than the origin sends."""
    proxy, connect = path
    warm(connect)
    with Watch(proxy) as watch, connect() as client:
        checker = Checker(READER_RATE)
        response = client.fetch(f"/bytes/{size}", sink=checker)
        assert (response.status, checker.size) == (200, size)
    assert watch.growth < GROWTH


@pytest.mark.parametrize("size", SIZES)
def test_upload(size: int, path: Any) -> None:
    """The same in the other direction: the origin counts and hashes."""
    proxy, connect = path
    warm(connect)
    digest = hashlib.sha256()
    with Watch(proxy) as watch, connect() as client:
        head = f"POST {client.prefix}/upload HTTP/1.1\r\nHost: {client.authority}\r\nContent-Length: {size}\r\n\r\n"
        client.send(head.encode())
        for piece in pattern(size):
            digest.update(piece)
            client.send(piece)
        answer = json.loads(client.read_response("POST").body)
    assert (answer["size"], answer["sha256"]) == (size, digest.hexdigest())
    assert watch.growth < GROWTH


def test_a_reader_that_stops(path: Any) -> None:
    """A client that does not read holds up the origin, not memory; when it goes on it gets every byte."""
    proxy, connect = path
    warm(connect)
    size = 64 * MIB
    with Watch(proxy) as watch, connect() as client:
        client.send(f"GET {client.prefix}/bytes/{size} HTTP/1.1\r\nHost: {client.authority}\r\n\r\n".encode())
        client.read_head()
        received = proxy_input_stands_still(proxy)
        assert received < size
        assert watch.growth < GROWTH
        checker = Checker(1e12)
        checker(client.buffer)
        while checker.size < size:
            checker(client.sock.recv(MIB))


def proxy_input_stands_still(proxy: ProxyProcess) -> int:
    """Wait until the proxy reads no more from anybody; gives the bytes that it has read in its life."""

    def read_so_far() -> int:
        fields = dict(line.split(": ") for line in Path(f"/proc/{proxy.pid}/io").read_text().splitlines())
        return int(fields["rchar"])

    before = last = read_so_far()
    still_since = time.monotonic()
    deadline = time.monotonic() + 20
    while time.monotonic() - still_since < 0.5:
        assert time.monotonic() < deadline, "the proxy goes on reading although nobody takes it"
        time.sleep(0.05)
        now = read_so_far()
        if now - last > 4096:
            still_since, last = time.monotonic(), now
    return last - before


# -- many requests ----------------------------------------------------------------------------------------------------

CONNECTIONS = 100
KEPT_PIPES = 64
"""See `netfw.transport.pipes.PipePool`: each has two ends."""
REQUESTS = [pytest.param(2_000, id="2000"), pytest.param(10_000, id="10000", marks=pytest.mark.soak)]


def random_script(connection: OriginConnection) -> None:
    """Answers /SIZE/FRAMING/END: Content-Length or chunks, whole or broken off in the middle."""
    dice = random.Random(id(connection))
    while head := connection.read_head():
        line = head.split(b"\r\n")[0].split(b" ")[1]
        size, framing, end = line.rsplit(b"/", 3)[-3:]
        total = int(size)
        if b"content-length: " in head.lower():
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            connection.read_exactly(length)
        stop_at = total // 2 if end != b"whole" else total
        body = b"".join(pattern(stop_at))
        if framing == b"length":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
            connection.send(body)
        else:
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            at = 0
            while at < len(body):
                piece = body[at : at + dice.choice([1, 7, 100, 4096, 20000])]
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                at += len(piece)
            if end == b"whole":
                connection.send(b"0\r\n\r\n")
        if end == b"close":
            connection.close()
            return
        if end == b"reset":
            connection.reset()
            return


class Worker(threading.Thread):
    """Makes requests on one kept connection, makes a new one when that one ends, and notes what went wrong."""

    def __init__(self, connect: Any, count: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.connect = connect
        self.count = count
        self.dice = random.Random(seed)
        self.wrong: list[str] = []
        self.done = 0

    def run(self) -> None:
        """All requests."""
        client: RoutedClient | None = None
        for _ in range(self.count):
            try:
                if client is None:
                    client = self.connect()
                if not self._request(client):
                    client = None
                self.done += 1
            except Exception as error:  # the test reads it; a thread has nobody to raise to
                self.wrong.append(repr(error)[:500])
                client = None
        if client is not None:
            client.close()

    def _request(self, client: RoutedClient) -> bool:
        """One request; False when the connection is used up."""
        dice = self.dice
        size = dice.choice([0, 1, 100, 5_000, 70_000, 300_000])
        framing = dice.choice(["length", "chunked"])
        # Ending behind a whole answer would leave a stale connection, on which the next POST may rightly fail.
        end = dice.choices(["whole", "close", "reset"], [20, 1, 1])[0] if size > 1 else "whole"
        body = bytes(dice.choice([0, 0, 10, 20_000]))
        leaves = dice.random() < 0.05
        lines = [
            f"{'POST' if body else 'GET'} {client.prefix}/{size}/{framing}/{end} HTTP/1.1",
            f"Host: {client.authority}",
        ]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        client.send("\r\n".join([*lines, "", ""]).encode() + body)
        if leaves:
            client.reset() if dice.random() < 0.5 else client.close()
            return False
        wanted = b"".join(pattern(size))
        try:
            response = client.read_response()
        except (AssertionError, OSError):
            assert end != "whole", f"a whole answer of {size} ({framing}) did not come whole"
            client.close()
            return False
        # An origin that broke off before a byte of its answer was passed on is told as 502.
        if response.status == 502:
            assert end != "whole"
            return response.single("Connection") != "close"
        assert end == "whole", f"{response.head!r} for {size} {framing} {end}"
        assert response.body == wanted
        return response.single("Connection") != "close"


@pytest.fixture
def settled(intercepting: ProxyProcess) -> Iterator[None]:
    """After the test the proxy has as many open descriptors as before it, but for idle connections to origins and the
    empty pipes that it keeps.
    """

    def in_use() -> tuple[int, int]:
        """Pipes, and all else."""
        status = intercepting.status()
        files = intercepting.open_files()
        for row in status.get("workers", ()):
            files += intercepting.open_files(row["pid"])
        pipes = sum(file.startswith("pipe:") for file in files)
        return pipes, len(files) - pipes - int(status["upstream_idle"])

    intercepting.wait_until(lambda: intercepting.status()["connections"] == 0, 15)
    pipes, others = in_use()
    most = pipes + 2 * KEPT_PIPES * max(1, len(intercepting.status().get("workers", ())))
    yield
    intercepting.wait_until(lambda: intercepting.status()["connections"] == 0, 15)
    intercepting.wait_until(lambda: in_use()[1] <= others, 15)
    intercepting.wait_until(lambda: in_use()[0] <= most, 15)


@pytest.mark.parametrize("count", REQUESTS)
@pytest.mark.parametrize("way", ["absolute", "tls"])
def test_many_requests(way: str, count: int, intercepting: ProxyProcess, certificates: Any, settled: None) -> None:
    """Over a hundred kept connections every response byte is right whoever breaks off, and nothing is left."""
    tls = certificates.origin if way == "tls" else None
    since = len(intercepting.records())
    with ScriptedOrigin(random_script, tls=tls) as origin:

        def connect() -> RoutedClient:
            return RoutedClient(
                intercepting.port(), way, "origin.test", origin.port, trust=certificates.intercept[0], timeout=60
            )

        workers = [Worker(connect, count // CONNECTIONS, seed) for seed in range(CONNECTIONS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(300)
        assert [problem for worker in workers for problem in worker.wrong] == []
        assert sum(worker.done for worker in workers) == count
    records = intercepting.wait_for_records(lambda r: r["kind"] == "exchange", count * 9 // 10, since=since, timeout=30)
    assert len({record["id"] for record in records}) == len(records)
