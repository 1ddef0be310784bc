"""Replays the mix of a HAR file, or of netfw's own records, through proxies, and tells the CPU that each request cost.

In this room: reading a mix (what was asked, how much went either way, whether it was TLS), a generator that asks it
over kept connections, and an origin that answers with as many octets as there were. Hosts become `origin.test`:
what costs a proxy is how much, by which method and over how many connections, not whose site it was. Not here:
starting proxies (the harness).
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from netfw.testing.pki import TestAuthority

AT_ONCE = 16
WINDOW = 2.0
"""Seconds of one window of load."""
LARGEST = 8 << 20
"""Octets: larger bodies are replayed as this many, or one of them would be the whole window."""
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Asked:
    """One request of the mix."""

    method: str
    tls: bool
    path: int
    """How long path and query were."""
    sent: int
    received: int
    target: str = ""
    """What is asked for, where it is not just so long a path."""


def read(file: Path) -> list[Asked]:
    """The mix; raises SystemExit where the file is neither kind."""
    text = file.read_text()
    try:
        document = json.loads(text)
        entries = document["log"]["entries"]
    except (ValueError, KeyError, TypeError):
        found = [_of_record(json.loads(line)) for line in text.splitlines() if line.strip()]
    else:
        found = [_of_har(entry) for entry in entries]
    mix = [each for each in found if each is not None]
    if not mix:
        raise SystemExit(f"{file} has no request: neither a HAR file nor records of exchanges")
    return mix


def _of_har(entry: dict[str, Any]) -> Asked | None:
    request, response = entry["request"], entry["response"]
    url = urlsplit(request["url"])
    if url.scheme not in ("http", "https"):
        return None
    return Asked(
        request["method"], url.scheme == "https", len(url.path) + len(url.query) + 1,
        max(0, request.get("bodySize") or 0), min(LARGEST, max(0, response.get("bodySize") or 0)),
    )  # fmt: skip


def _of_record(record: dict[str, Any]) -> Asked | None:
    if record.get("kind") != "exchange" or record.get("http_method") in (None, "CONNECT"):
        return None
    url = record.get("url") or {}
    tls = record.get("tls") or {}
    path = len(url.get("path") or "/") + len(url.get("query") or "")
    # Heads are counted in the records' octets; most of what is small is head.
    body = 0 if record["http_method"] in ("GET", "HEAD") else int(record.get("bytes_in") or 0)
    received = min(LARGEST, max(0, int(record.get("bytes_out") or 0) - 300))
    return Asked(record["http_method"], bool(tls.get("intercepted")), path, body, received)


def describe(mix: list[Asked]) -> str:
    """A line about it."""
    tls = sum(each.tls for each in mix) / len(mix)
    sizes = sorted(each.received for each in mix)
    return (
        f"{len(mix)} requests, {tls:.0%} over TLS, answers of {sizes[len(sizes) // 2]} octets in the median, "
        f"{sum(sizes) // len(sizes)} in the mean"
    )


class Origin:
    """Answers any request with as many octets as its X-Size says."""

    def __init__(self, files: tuple[Path, Path]) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*files)
        self.ports = (0, 0)

    async def start(self) -> None:
        """Bind both ports."""
        servers = [await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls) for tls in (None, self._tls)]
        self.ports = (servers[0].sockets[0].getsockname()[1], servers[1].sockets[0].getsockname()[1])
        self.servers = servers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_number(head, b"content-length"))
                size = _number(head, b"x-size")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % size)
                if not head.startswith(b"HEAD "):
                    writer.write(bytes(size))
                await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):  # cancelled: the run is over
            writer.close()


def _number(head: bytes, name: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(name + b": "):
            return int(line.partition(b": ")[2])
    return 0


class Client:
    """One connection outside of TLS and one inside, each kept as long as it lasts."""

    def __init__(self, port: int, ports: tuple[int, int], trust: ssl.SSLContext) -> None:
        self._port = port
        self._ports = ports
        self._trust = trust
        self._open: dict[bool, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self.failed = 0

    async def ask(self, asked: Asked) -> None:
        """One request and its whole answer."""
        try:
            reader, writer = self._open.get(asked.tls) or await self._connect(asked.tls)
            authority = f"origin.test:{self._ports[asked.tls]}"
            path = asked.target or "/" + "p" * max(0, asked.path - 1)
            target = ("" if asked.tls else f"http://{authority}") + path
            size = f"Content-Length: {asked.sent}\r\n" if asked.sent else ""
            head = f"{asked.method} {target} HTTP/1.1\r\nHost: {authority}\r\nX-Size: {asked.received}\r\n{size}\r\n"
            writer.write(head.encode() + bytes(asked.sent))
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise EOFError(answer)
            left = 0 if asked.method == "HEAD" else _number(answer, b"content-length")
            while left:
                left -= len(await reader.readexactly(min(left, 1 << 16)))
            self._open[asked.tls] = reader, writer
        except (OSError, EOFError):
            self.failed += 1
            self._open.pop(asked.tls, None)

    async def _connect(self, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        if tls:
            authority = b"origin.test:%d" % self._ports[True]
            writer.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer.partition(b"\r\n")[0]:
                raise EOFError(answer)
            await writer.start_tls(self._trust, server_hostname="origin.test")
        return reader, writer

    def close(self) -> None:
        """Both."""
        for _, writer in self._open.values():
            writer.transport.abort()


async def window(port: int, ports: tuple[int, int], trust: ssl.SSLContext, mix: list[Asked]) -> tuple[int, int]:
    """Load for WINDOW seconds: how many were answered, and how many failed."""
    end = time.monotonic() + WINDOW
    clients = [Client(port, ports, trust) for _ in range(AT_ONCE)]
    answered = 0

    async def go_on(client: Client, at: int) -> None:
        nonlocal answered
        while time.monotonic() < end:
            before = client.failed
            await client.ask(mix[at % len(mix)])
            answered += client.failed == before
            at += AT_ONCE

    await asyncio.gather(*[go_on(client, number) for number, client in enumerate(clients)])
    for client in clients:
        client.close()
    return answered, sum(client.failed for client in clients)


def compare(bench: Any, peers: list[str], file: Path, rounds: int) -> None:
    """Replay through each peer in turns, and print what a request cost each."""
    mix = read(file)
    print(describe(mix))
    with tempfile.TemporaryDirectory(prefix="replay-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)
        authority = TestAuthority("Replay root")
        certificate, key = authority.issue("origin.test")
        files = directory / "origin.pem", directory / "origin.key"
        for path, content in zip(files, (certificate, key), strict=True):
            path.write_bytes(content)
        (directory / "trust.pem").write_bytes(authority.certificate_pem)
        trust = ssl.create_default_context(cafile=str(directory / "trust.pem"))
        trust.load_verify_locations(f"{bench.PKI}/mitm-rsa.crt")
        trust.load_verify_locations(f"{bench.PKI}/mitm-ec.crt")
        first = bench.PORT
        running = []
        for number, peer_name in enumerate(peers):
            bench.PORT = first + number
            peer = bench.Peer(peer_name, "mitm" if any(each.tls for each in mix) else "plain", "pin")
            peer.env["TRUST"] = str(directory / "trust.pem")
            peer.ready = _listens(bench)
            stack.enter_context(peer)
            running.append((peer_name, bench.PORT, peer))
        stack.callback(setattr, bench, "PORT", first)
        figures = asyncio.run(_turns(bench, running, files, trust, mix, rounds))
    base = statistics.median(figures[peers[0]])
    for peer_name, values in figures.items():
        middle = statistics.median(values)
        print(f"{peer_name:16} {middle:9.1f} µs of CPU a request (least {min(values):.1f})   ratio {middle / base:.2f}")


async def _turns(
    bench: Any, running: list[Any], files: tuple[Path, Path], trust: ssl.SSLContext, mix: list[Asked], rounds: int
) -> dict[str, list[float]]:
    origin = Origin(files)
    await origin.start()
    os.sched_setaffinity(0, running[0][2].load_cores)
    figures: dict[str, list[float]] = {name: [] for name, _, _ in running}
    for number in range(-1, rounds):
        for name, port, peer in running if number % 2 else reversed(running):
            before = cpu(bench, peer)
            answered, failed = await window(port, origin.ports, trust, mix)
            used = cpu(bench, peer) - before
            if failed or not answered:
                raise SystemExit(f"{name}: {failed} requests failed, {answered} were answered")
            if number >= 0:
                figures[name].append(1e6 * used / answered)
    return figures


def cpu(bench: Any, peer: Any) -> float:
    """Seconds that the peer's processes have used."""
    total = 0
    for pid in bench.tree(peer.proc.pid):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / _TICK


def _listens(bench: Any) -> Any:
    port = bench.PORT

    def ready(limit: float) -> bool:
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if bench.port_open(port):
                return True
            time.sleep(0.05)
        return False

    return ready
