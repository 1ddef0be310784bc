"""Requests at a fixed rate through a proxy, and how long each took.

    python benchmarks/paced.py PROXY_PORT ORIGIN_PORT --rate 1000 --seconds 3 --trust FILE [--tls]

Asks `origin.test` for /1k over kept connections in turn, and prints the times in milliseconds as JSON. A time counts
from when the request was due, so what waits behind a slow answer is slow as well. One loop over
plain sockets: streams of asyncio would themselves be what is measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import select
import socket
import ssl
import time
from collections import deque

AT_ONCE = 32
"""Connections."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Asking:
    """One connection, and what is asked on it."""

    def __init__(self, port: int, origin: int, trust: ssl.SSLContext, tls: bool) -> None:
        authority = f"origin.test:{origin}".encode()
        self.sock: socket.socket = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock.sendall(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += self._more(self.sock.recv(4096))
            if b" 200 " not in answer.partition(b"\r\n")[0]:
                raise SystemExit(f"no tunnel: {answer[:200]!r}")
            self.sock = trust.wrap_socket(self.sock, server_hostname="origin.test")
        start = b"" if tls else b"http://" + authority
        self.request = b"GET %b/1k HTTP/1.1\r\nHost: %b\r\n\r\n" % (start, authority)
        self.waiting: deque[float] = deque()
        self.buffer = b""

    def ask(self) -> None:
        """The first one, waited for."""
        self.sock.sendall(self.request)
        self.waiting.append(0.0)
        while self.waiting:
            self.receive([])

    def send(self, due: float) -> None:
        """The next one, unless another is under way: then it waits for that one's answer."""
        self.waiting.append(due)
        if len(self.waiting) == 1:
            self.sock.sendall(self.request)

    def receive(self, taken: list[float]) -> None:
        """What has come; a whole answer's time is added to `taken`."""
        try:
            self.buffer += self._more(self.sock.recv(65536))
        except ssl.SSLWantReadError:
            return
        head, mark, body = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or length is None:
            raise SystemExit(f"not the answer: {head[:200]!r}")
        if len(body) < int(length[1]):
            return
        self.buffer = b""
        taken.append((time.monotonic() - self.waiting.popleft()) * 1000)
        if self.waiting:
            self.sock.sendall(self.request)

    @staticmethod
    def _more(data: bytes) -> bytes:
        if not data:
            raise SystemExit("the proxy has closed a connection")
        return data


def times(port: int, origin: int, trust: ssl.SSLContext, tls: bool, rate: float, seconds: float) -> list[float]:
    """Milliseconds, one for each request. Raises SystemExit where one fails."""
    connections = [Asking(port, origin, trust, tls) for _ in range(AT_ONCE)]
    for connection in connections:  # connecting is not the question
        connection.ask()
        connection.sock.setblocking(False)
    by_socket = {connection.sock: connection for connection in connections}
    gc.disable()
    taken: list[float] = []
    begin = time.monotonic()
    sent, count = 0, int(rate * seconds)
    while len(taken) < count:
        now = time.monotonic()
        while sent < count and (due := begin + sent / rate) <= now:
            connections[sent % AT_ONCE].send(due)
            sent += 1
        wait = begin + sent / rate - time.monotonic() if sent < count else 10.0
        # Not epoll: its time-outs are whole milliseconds.
        ready = select.select(by_socket, [], [], max(0.0, wait))[0]
        if not ready and sent == count:
            raise SystemExit(f"{count - len(taken)} answers have not come")
        for sock in ready:
            by_socket[sock].receive(taken)
    return taken


def main() -> None:
    """The command line above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("origin", type=int)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--trust", required=True, help="what signs the certificates, PEM")
    parser.add_argument("--tls", action="store_true", help="inside TLS")
    wanted = parser.parse_args()
    trust = ssl.create_default_context(cafile=wanted.trust)
    taken = times(wanted.port, wanted.origin, trust, wanted.tls, wanted.rate, wanted.seconds)
    print(json.dumps([round(each, 3) for each in taken]))


if __name__ == "__main__":
    main()
