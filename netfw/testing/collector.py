"""A real HTTP server that collects batches of records: it can be killed, come back, refuse and be slow. For tests.

Here: `Collector`, over TLS too. Not here: what is in the batches.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the server says; `extra` are more fields."""

    status: int = 200
    body: bytes = b"{}"
    extra: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Posted:
    """A request: its body is without its coding."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def lines(self) -> list[bytes]:
        """The body's lines, with their ends."""
        return self.body.splitlines(keepends=True)


Respond = Callable[[Posted], "Answer | None"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever is killed in the middle of a request has nothing to print."""


class Collector:
    """`respond` answers each request; None: the connection is closed without a word. What was answered with 2xx is in
    `taken`, everything in `posted`; `clients` are the ports that connections came from.
    """

    def __init__(self, respond: Respond = lambda _: Answer(), *, tls: ssl.SSLContext | None = None) -> None:
        self.respond = respond
        self.taken: list[Posted] = []
        self.posted: list[Posted] = []
        self.clients: set[int] = set()
        self._tls = tls
        self._server: _Server | None = None
        self._connections: set[socket.socket] = set()
        self._port = 0

    @property
    def port(self) -> int:
        """The same after each `start`."""
        return self._port

    def url(self, path: str = "/records", host: str = "127.0.0.1") -> str:
        """Where it is."""
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}{path}"

    @property
    def records(self) -> list[bytes]:
        """All lines of what was taken, in the order in which it was."""
        return [line for posted in self.taken for line in posted.lines]

    def start(self) -> Collector:
        """Listen, at the former port if there was one."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def setup(self) -> None:
                super().setup()
                collector._connections.add(self.connection)
                collector.clients.add(self.client_address[1])

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                posted = Posted(self.path, headers, body, monotonic())
                collector.posted.append(posted)
                answer = collector.respond(posted)
                if answer is None:
                    self.close_connection = True
                    return
                if 200 <= answer.status < 300:
                    collector.taken.append(posted)
                self.send_response(answer.status)
                for name, value in answer.extra:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

        self._server = _Server(("127.0.0.1", self._port), Handler)
        if self._tls is not None:
            # Handshakes are made by whoever serves the connection: one that hangs holds up nobody.
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def kill(self) -> None:
        """Close the listening socket and reset every connection."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        connections, self._connections = self._connections, set()
        for connection in connections:
            try:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self) -> Collector:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


def server_tls(certificate: Path, private_key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """A server's context; with `client_ca` clients must have a certificate of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private_key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
