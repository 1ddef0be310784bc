"""Load from a process of its own: idle tunnels that are held, and requests at a steady rate that are timed. For tests.

In this room: the client and the origin of both, in one event loop. Run by `python -m netfw.testing.load PROXY_PORT`;
one JSON object a line comes in and goes out (see `Commands`). Not here: slow and hostile clients (slowhttptest), and
what is asserted (tests/integration/test_soak.py).

Latency is counted from the moment at which a request was due, not from when a connection was free for it: a proxy that
stalls is not asked less often.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import time
from collections import deque
from typing import Any

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
BIG = 300_000
"""More than the kernel takes for a client whose window is small."""
_TICK = 0.005
_AT_ONCE = 100


class Origin(asyncio.Protocol):
    """Answers requests, large ones for /big; what is no request is sent back as it came: the end of a tunnel."""

    def connection_made(self, transport: Any) -> None:
        """Nothing is said first."""
        self.transport = transport
        self.buffer = b""
        self.echoes = False

    def data_received(self, data: bytes) -> None:
        """Requests, with a length if with a body, or anything else."""
        if self.echoes:
            self.transport.write(data)
            return
        if not self.buffer and data[:1] == b"\x16":
            self.echoes = True
            return
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)", head)
            size = int(length[1]) if length is not None else 0
            if len(rest) < size:
                return
            self.buffer = rest[size:]
            if b"/big" in head.partition(b"\r\n")[0]:
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG))
            else:
                self.transport.write(ANSWER)


class Requester(asyncio.Protocol):
    """One kept connection through the proxy, one request at a time."""

    def __init__(self, load: Requests) -> None:
        self.load = load
        self.due: float | None = None
        self.received = b""

    def connection_made(self, transport: Any) -> None:
        """Ready for the first one."""
        self.transport = transport
        self.load.is_free(self)

    def send(self, due: float) -> None:
        """Ask."""
        self.due = due
        self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        """The answer, which is known."""
        self.received += data
        if not self.received.endswith(b"\r\n\r\nok"):
            return
        if not self.received.startswith(b"HTTP/1.1 200 "):
            self.load.errors.append(self.received[:200].decode("latin-1"))
        assert self.due is not None
        self.load.latencies.append(time.perf_counter() - self.due)
        self.due, self.received = None, b""
        self.load.is_free(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Not before the end."""
        if not self.load.over:
            self.load.errors.append(f"the connection ended: {error!r} {self.received[:200]!r}")


class Requests:
    """So many a second, over so many connections, for so many seconds."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.latencies: list[float] = []
        self.errors: list[str] = []
        self.over = False
        # All of them in turn: one that is left alone is closed by the proxy when its idle time is over.
        self._free: deque[Requester] = deque()
        self._due: deque[float] = deque()

    def is_free(self, requester: Requester) -> None:
        """It takes the next one that is due."""
        if self._due:
            requester.send(self._due.popleft())
        else:
            self._free.append(requester)

    async def run(
        self, proxy: tuple[str, int], *, rate: int, seconds: float, connections: int, source: str
    ) -> dict[str, Any]:
        """What came of it."""
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: Requester(self), *proxy, local_addr=(source, 0))
            for _ in range(connections)
        ]
        begun = time.perf_counter()
        asked = 0
        while (now := time.perf_counter()) < begun + seconds:
            while asked < (now - begun) * rate:
                due = begun + asked / rate
                asked += 1
                if self._free:
                    self._free.popleft().send(due)
                else:
                    self._due.append(due)
            await asyncio.sleep(_TICK)
        for _ in range(3000):
            if len(self.latencies) >= asked or self.errors:
                break
            await asyncio.sleep(0.01)
        self.over = True
        for transport, _ in made:
            transport.close()
        latencies = sorted(self.latencies) or [0.0]

        def percentile(share: float) -> float:
            return round(1000 * latencies[min(len(latencies) - 1, int(len(latencies) * share))], 2)

        return {
            "asked": asked,
            "answered": len(self.latencies),
            "errors": self.errors[:10],
            "p50_ms": percentile(0.5),
            "p99_ms": percentile(0.99),
            "max_ms": percentile(1.0),
        }


class Tunnels:
    """Opened, left alone, and asked for an echo at the end."""

    def __init__(self, proxy: tuple[str, int], authority: bytes) -> None:
        self._proxy = proxy
        self._authority = authority
        self._streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._hello = _hello()

    async def open(self, count: int, source: str) -> dict[str, Any]:
        """So many more."""
        errors: list[str] = []
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one() -> None:
            async with gate:
                try:
                    reader, writer = await asyncio.open_connection(*self._proxy, local_addr=(source, 0))
                    writer.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (self._authority, self._authority))
                    head = await reader.readuntil(b"\r\n\r\n")
                    if not head.startswith(b"HTTP/1.1 200 "):
                        errors.append(head.decode("latin-1"))
                        return
                    writer.write(self._hello)
                    self._streams.append((reader, writer))
                except (OSError, EOFError) as error:
                    errors.append(repr(error))

        await asyncio.gather(*[one() for _ in range(count)])
        return {"open": len(self._streams), "errors": errors[:10]}

    async def echo(self) -> dict[str, Any]:
        """Each of them still carries what it is given, both ways."""
        alive = 0
        for _, writer in self._streams:
            writer.write(b"still there?")
        for reader, _ in self._streams:
            try:
                async with asyncio.timeout(30):
                    alive += await reader.readexactly(12) == b"still there?"
            except (OSError, EOFError, TimeoutError):
                continue
        return {"alive": alive}


def _hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="origin.test")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class Commands:
    """`{"do": "tunnels", "count": N}`, `{"do": "echo"}`, `{"do": "requests", "rate": R, "seconds": S}`."""

    def __init__(self, proxy_port: int, origin_port: int) -> None:
        self._proxy = ("127.0.0.1", proxy_port)
        self._authority = b"origin.test:%d" % origin_port
        self._tunnels = Tunnels(self._proxy, self._authority)

    async def carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        """One of them."""
        source = command.get("source", "127.0.0.2")
        match command["do"]:
            case "tunnels":
                return await self._tunnels.open(command["count"], source)
            case "echo":
                return await self._tunnels.echo()
            case "requests":
                request = b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\nUser-Agent: load\r\n\r\n"
                requests = Requests(request % (self._authority, self._authority))
                return await requests.run(
                    self._proxy,
                    rate=command["rate"],
                    seconds=command["seconds"],
                    connections=command.get("connections", 50),
                    source=source,
                )
        raise ValueError(command)


async def main(proxy_port: int) -> None:
    """Until the input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Origin, "127.0.0.1", 0, backlog=4096)
    origin_port = server.sockets[0].getsockname()[1]
    commands = Commands(proxy_port, origin_port)
    _say({"origin_port": origin_port})
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        _say(await commands.carry_out(json.loads(line)))


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
