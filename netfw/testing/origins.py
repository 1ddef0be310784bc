"""Real origin servers on loopback: HTTP/1.1 over TCP or TLS, run by threads.

In the room: `HttpOrigin`, which answers by path (the table `PATHS` at the end). Not in it: servers that break the rules
on purpose (`scripted_origin`), certificates (`pki`), names (`dns_server`). Framing here follows RFC 9112 by
`http.server`'s means, which are good enough for an end and never for an intermediary.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BLOCK = bytes(range(256)) * 4096
"""The 1 MiB that /bytes repeats: a client can compute what it must get."""

WAIT = 60.0
"""How long a handler waits for a gate before it gives up, in seconds."""


def pattern(size: int, start: int = 0) -> Iterator[bytes]:
    """The bytes of /bytes/SIZE from offset `start`, in pieces of at most 1 MiB."""
    position = start
    while position < size:
        offset = position % len(BLOCK)
        piece = BLOCK[offset : offset + size - position]
        yield piece
        position += len(piece)


@dataclass
class SeenRequest:
    """What reached the origin. `fields` keeps order and repeats; `size` and `sha256` are the content's."""

    method: str
    target: str
    version: str
    fields: list[tuple[str, str]]
    size: int = 0
    sha256: str = ""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = False

    def single(self, name: str) -> str | None:
        """The one value of a field; None when absent, AssertionError when repeated."""
        values = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(values) < 2, values
        return values[0] if values else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024
    origin: HttpOrigin

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of our own name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]  # both are text and int here

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that leaves is no news; anything else is kept for the test to read."""
        import sys

        error = sys.exc_info()[1]
        if not isinstance(error, (OSError, ssl.SSLError, TimeoutError)):
            self.origin.errors.append(repr(error))

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The TLS handshake happens here, on the connection's own thread."""
        self.origin.count_connection()
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.origin.context is not None:
            request.settimeout(WAIT)
            request = self.origin.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)
        if isinstance(request, ssl.SSLSocket):
            self._say_goodbye(request)

    @staticmethod
    def _say_goodbye(request: ssl.SSLSocket) -> None:
        """close_notify without waiting for the peer's: a strict peer takes its absence for truncation."""
        try:
            request.settimeout(0)
            request.unwrap()
        except (OSError, ValueError):
            pass
        try:
            request.settimeout(5)
            request.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        request.close()


class HttpOrigin:
    """An origin server; `tls` is (certificate chain file, key file). A context manager."""

    def __init__(self, *, tls: tuple[Path, Path] | None = None, address: str = "127.0.0.1", port: int = 0) -> None:
        self.context: ssl.SSLContext | None = None
        if tls is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(tls[0], tls[1])
            self.context.set_alpn_protocols(["http/1.1"])
        self.requests: list[SeenRequest] = []
        self.errors: list[str] = []
        self.connections = 0
        self.files: dict[str, tuple[str, bytes]] = {}
        self.applications: dict[str, Callable[[OriginHandler, bytes], None]] = {}
        self._gates: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._server = _Server((address, port), OriginHandler)
        self._server.origin = self
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def start(self) -> HttpOrigin:
        """Begin to accept."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop accepting; threads of open connections end with their peers."""
        for gate in list(self._gates.values()):
            gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> HttpOrigin:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def gate(self, name: str) -> threading.Event:
        """The event that a request with ?gate=NAME waits for."""
        with self._lock:
            return self._gates.setdefault(name, threading.Event())

    def count_connection(self) -> None:
        """One more accepted connection."""
        with self._lock:
            self.connections += 1

    def seen(self, path_prefix: str) -> list[SeenRequest]:
        """The requests whose target begins so."""
        return [request for request in list(self.requests) if request.target.startswith(path_prefix)]

    def serve_file(self, path: str, content: bytes, content_type: str = "application/octet-stream") -> None:
        """Answer GET `path` with these bytes."""
        self.files[path] = (content_type, content)


class OriginHandler(BaseHTTPRequestHandler):
    """One connection to an `HttpOrigin`."""

    protocol_version = "HTTP/1.1"
    server_version = "origin"
    sys_version = ""
    timeout = WAIT
    server: _Server
    seen: SeenRequest

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are in `HttpOrigin.requests`; nothing is printed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._dispatch
        raise AttributeError(name)

    def handle_expect_100(self) -> bool:
        """100 is sent by the paths that read a body, so that /early can refuse to."""
        return True

    def _dispatch(self) -> None:
        parts = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.seen = SeenRequest(self.command, self.path, self.request_version, list(self.headers.items()))
        self.server.origin.requests.append(self.seen)
        segments = parts.path.strip("/").split("/")
        name = segments[0]
        for prefix, application in self.server.origin.applications.items():
            if parts.path.startswith(prefix):
                application(self, b"".join(self.body()))
                return
        if parts.path in self.server.origin.files:
            content_type, content = self.server.origin.files[parts.path]
            self.read_body()
            self.answer(200, content, content_type)
            return
        action = PATHS.get(name)
        if action is None:
            self.read_body()
            self.answer(404, b"no such path\n", "text/plain")
            return
        action(self, segments[1:])

    # reading

    def body(self) -> Iterator[bytes]:
        """The request's content, piece by piece; what came is counted and hashed into `seen`."""
        digest = hashlib.sha256()
        if (self.headers.get("Expect") or "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        for piece in self._raw_body():
            digest.update(piece)
            self.seen.size += len(piece)
            yield piece
        self.seen.sha256 = digest.hexdigest()
        self.seen.complete = True

    def _raw_body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while True:
                size = int(self.rfile.readline(1024).split(b";")[0], 16)
                if size == 0:
                    break
                yield from self._exactly(size)
                assert self.rfile.readline(8) == b"\r\n"
            while (line := self.rfile.readline(65536)) not in (b"\r\n", b""):
                key, _, value = line.decode("latin-1").partition(":")
                self.seen.trailers.append((key, value.strip()))
        else:
            yield from self._exactly(int(self.headers.get("Content-Length") or 0))

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.rfile.read1(min(size, 1 << 18))  # type: ignore[attr-defined]  # rfile is a BufferedReader
            if not piece:
                raise ConnectionError("the request ended before its body")
            size -= len(piece)
            yield piece

    def read_body(self) -> bytes:
        """All of the content; for paths whose bodies are small."""
        return b"".join(self.body())

    # answering

    def answer(self, status: int, content: bytes, content_type: str, extra: dict[str, str] | None = None) -> None:
        """A whole response with Content-Length."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if status not in (204, 304) and status >= 200:
            self.send_header("Content-Length", str(len(content)))
        for key, value in (extra or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(content)

    def begin_chunked(self, content_type: str, extra: dict[str, str] | None = None) -> None:
        """The head of a chunked response."""
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        for key, value in (extra or {}).items():
            self.send_header(key, value)
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        """One chunk; empty data ends the body without trailers."""
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def await_gate(self) -> None:
        """Wait for ?gate=NAME, when the request names one."""
        if "gate" in self.query and not self.server.origin.gate(self.query["gate"]).wait(WAIT):
            raise TimeoutError("nobody opened the gate")


def _echo(handler: OriginHandler, _: list[str]) -> None:
    content = handler.read_body()
    handler.await_gate()
    answer = {
        "method": handler.command,
        "target": handler.path,
        "fields": handler.seen.fields,
        "trailers": handler.seen.trailers,
        "body": content.decode("latin-1"),
        "tls": isinstance(handler.connection, ssl.SSLSocket),
    }
    extra = {"X-Origin": "echo"}
    if handler.query.get("type"):
        extra["X-Type"] = handler.query["type"]
    handler.answer(200, json.dumps(answer).encode(), handler.query.get("type", "application/json"), extra)


def _bytes(handler: OriginHandler, rest: list[str]) -> None:
    handler.read_body()
    size = int(rest[0])
    handler.send_response(200)
    handler.send_header("Content-Type", "application/octet-stream")
    handler.send_header("Content-Length", str(size))
    handler.end_headers()
    if handler.command != "HEAD":
        for piece in pattern(size):
            handler.wfile.write(piece)


def _chunked(handler: OriginHandler, rest: list[str]) -> None:
    """/chunked/SIZE/PIECE: the pattern in chunks of PIECE bytes."""
    handler.read_body()
    size, piece = int(rest[0]), int(rest[1])
    handler.begin_chunked("application/octet-stream")
    for start in range(0, size, piece):
        handler.chunk(b"".join(pattern(min(size, start + piece), start)))
    handler.chunk(b"")


def _trailers(handler: OriginHandler, _: list[str]) -> None:
    handler.read_body()
    handler.begin_chunked("text/plain", {"Trailer": "X-Checksum"})
    handler.chunk(b"content with trailers\n")
    handler.wfile.write(b"0\r\nX-Checksum: 1f2e3d\r\n\r\n")


def _sse(handler: OriginHandler, _: list[str]) -> None:
    handler.read_body()
    handler.begin_chunked("text/event-stream", {"Cache-Control": "no-cache"})
    handler.chunk(b"data: first\n\n")
    handler.await_gate()
    handler.chunk(b"data: second\n\n")
    handler.chunk(b"")


def _upload(handler: OriginHandler, _: list[str]) -> None:
    for _piece in handler.body():
        pass
    answer = {"size": handler.seen.size, "sha256": handler.seen.sha256, "trailers": handler.seen.trailers}
    handler.answer(200, json.dumps(answer).encode(), "application/json")


def _status(handler: OriginHandler, rest: list[str]) -> None:
    handler.read_body()
    handler.answer(int(rest[0]), b"status %s\n" % rest[0].encode(), "text/plain")


def _close_delimited(handler: OriginHandler, _: list[str]) -> None:
    handler.read_body()
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(b"until the connection closes\n")
    handler.close_connection = True


def _early(handler: OriginHandler, _: list[str]) -> None:
    """Answers before it reads the body, then reads what still comes, so that its answer is not lost in a reset."""
    handler.answer(413, b"too much for me\n", "text/plain", {"Connection": "close"})
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.settimeout(5)
    try:
        while handler.rfile.read1(1 << 18):  # type: ignore[attr-defined]  # rfile is a BufferedReader
            pass
    except (OSError, ValueError):
        pass


def _slow(handler: OriginHandler, _: list[str]) -> None:
    """Waits for its gate before the head."""
    handler.read_body()
    handler.await_gate()
    handler.answer(200, b"at last\n", "text/plain")


def _interim(handler: OriginHandler, _: list[str]) -> None:
    """A 103 before the answer."""
    handler.read_body()
    handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    handler.answer(200, b"after the hints\n", "text/plain")


def _websocket(handler: OriginHandler, _: list[str]) -> None:
    """RFC 6455: echoes every message, answers close with close."""
    key = handler.headers["Sec-WebSocket-Key"]
    if key is None or (handler.headers.get("Upgrade") or "").lower() != "websocket":
        handler.answer(426, b"websocket only\n", "text/plain", {"Upgrade": "websocket"})
        return
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    handler.send_response_only(101)
    handler.send_header("Upgrade", "websocket")
    handler.send_header("Connection", "Upgrade")
    handler.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
    handler.end_headers()
    handler.close_connection = True
    while True:
        opcode, payload = _read_frame(handler.rfile)
        if opcode == 9:
            opcode = 10
        size = len(payload)
        long = size > 65535
        length = bytes([size]) if size < 126 else struct.pack("!BQ" if long else "!BH", 126 + long, size)
        handler.wfile.write(bytes([0x80 | opcode]) + length + payload)
        if opcode == 8:
            return


def _read_frame(stream: Any) -> tuple[int, bytes]:
    first, second = stream.read(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(stream.read(2 if size == 126 else 8), "big")
    mask = stream.read(4)
    data = stream.read(size)
    repeated = (mask * (size // 4 + 1))[:size]
    return first & 0x0F, (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


PATHS: dict[str, Callable[[OriginHandler, list[str]], None]] = {
    "echo": _echo,
    "bytes": _bytes,
    "chunked": _chunked,
    "trailers": _trailers,
    "sse": _sse,
    "upload": _upload,
    "status": _status,
    "close-delimited": _close_delimited,
    "early": _early,
    "slow": _slow,
    "interim": _interim,
    "ws": _websocket,
}
