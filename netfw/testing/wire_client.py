"""A client that sends exactly the bytes it is given and reads answers strictly: for tests of the wire.

Blocking sockets, every wait with a deadline. Its reader knows RFC 9112 only as far as tests need it and raises
AssertionError on anything that is not clean: an unclean answer of the proxy is a finding.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

PIECE = 1 << 18


@dataclass
class WireResponse:
    """One response as it was on the wire. `ended`: how its body ended: "length", "chunked", "close" or "none"."""

    version: str
    status: int
    reason: str
    fields: list[tuple[str, str]]
    head: bytes
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    ended: str = "none"
    interim: list[WireResponse] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def single(self, name: str) -> str | None:
        """The one value of a field; None when absent."""
        values = self.all(name)
        assert len(values) < 2, self.head
        return values[0] if values else None


def parse_fields(lines: list[bytes]) -> list[tuple[str, str]]:
    """Field lines to pairs."""
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        assert colon and name == name.strip() and name, line
        assert not any(byte < 32 and byte != 9 for byte in value), line
        fields.append((name.decode("ascii"), value.strip(b" \t").decode("latin-1")))
    return fields


class WireClient:
    """One connection. A context manager; `sock` may be used directly."""

    def __init__(
        self, port: int, *, address: str = "127.0.0.1", timeout: float = 20.0, source: str | None = None
    ) -> None:
        self.sock: socket.socket = socket.create_connection(
            (address, port), timeout, source_address=(source, 0) if source else None
        )
        self.sock.settimeout(timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # sending

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def finish(self) -> None:
        """End our sending side (FIN)."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close, with close_notify when TLS is on and FIN."""
        if isinstance(self.sock, ssl.SSLSocket):
            try:
                self.sock.settimeout(0)
                self.sock.unwrap()
            except (OSError, ValueError):
                pass
        self.sock.close()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if isinstance(self.sock, ssl.SSLSocket):
            socket.socket(fileno=self.sock.detach()).close()
        else:
            self.sock.close()

    # reading

    def more(self) -> bool:
        """Read once into the buffer; False at the end. A reset raises ConnectionResetError."""
        data = self.sock.recv(PIECE)
        self.buffer += data
        return bool(data)

    def read_until(self, marker: bytes) -> bytes:
        """Bytes up to and with the marker; AssertionError when the connection ends before."""
        while (at := self.buffer.find(marker)) < 0:
            assert self.more(), f"the connection ended after {self.buffer[:2000]!r}"
        end = at + len(marker)
        taken, self.buffer = self.buffer[:end], self.buffer[end:]
        return taken

    def read_exactly(self, size: int) -> bytes:
        """Exactly so many bytes."""
        pieces, missing = [self.buffer[:size]], size - len(self.buffer[:size])
        self.buffer = self.buffer[size:]
        while missing:
            data = self.sock.recv(min(PIECE, missing))
            assert data, f"the connection ended {missing} bytes before the end of {size}"
            pieces.append(data)
            missing -= len(data)
        return b"".join(pieces)

    def read_to_end(self) -> bytes:
        """All until the peer's FIN (close_notify on TLS)."""
        while self.more():
            pass
        taken, self.buffer = self.buffer, b""
        return taken

    def ends(self) -> str:
        """How the peer ends: "end" (FIN or close_notify), "reset", "truncated"; AssertionError if bytes come first."""
        try:
            rest = self.read_to_end()
        except ConnectionError:
            return "reset"
        except ssl.SSLError:
            return "truncated"
        assert rest == b"", rest[:500]
        return "end"

    def read_head(self) -> WireResponse:
        """One response head, interim ones too."""
        head = self.read_until(b"\r\n\r\n")
        lines = head[:-4].split(b"\r\n")
        version, status, reason = lines[0].split(b" ", 2)
        assert version in (b"HTTP/1.1", b"HTTP/1.0"), head
        return WireResponse(version.decode(), int(status), reason.decode("latin-1"), parse_fields(lines[1:]), head)

    def read_response(self, method: str = "GET", sink: Callable[[bytes], None] | None = None) -> WireResponse:
        """The next final response with its body; interim ones are collected in `interim`.

        `sink` takes the body's pieces in place of `body`.
        """
        interim = []
        while (response := self.read_head()).status < 200 and response.status != 101:
            interim.append(response)
        response.interim = interim
        pieces: list[bytes] = []
        self._read_body(response, method, sink or pieces.append)
        response.body = b"".join(pieces)
        return response

    def _read_body(self, response: WireResponse, method: str, sink: Callable[[bytes], None]) -> None:
        coding, length = response.single("Transfer-Encoding"), response.single("Content-Length")
        assert coding is None or length is None, response.head
        tunnel = method == "CONNECT" and response.status // 100 == 2
        if method == "HEAD" or response.status in (101, 204, 304) or tunnel:
            return
        if coding is not None:
            assert coding == "chunked", response.head
            while size := int(self.read_until(b"\r\n").split(b";")[0], 16):
                self._pass_on(size, sink)
                assert self.read_exactly(2) == b"\r\n"
            lines = []
            while (line := self.read_until(b"\r\n")) != b"\r\n":
                lines.append(line[:-2])
            response.trailers = parse_fields(lines)
            response.ended = "chunked"
        elif length is not None:
            self._pass_on(int(length), sink)
            response.ended = "length"
        else:
            sink(self.buffer)
            self.buffer = b""
            while data := self.sock.recv(PIECE):
                sink(data)
            response.ended = "close"

    def _pass_on(self, size: int, sink: Callable[[bytes], None]) -> None:
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        sink(taken)
        missing = size - len(taken)
        while missing:
            data = self.sock.recv(min(PIECE, missing))
            assert data, f"the connection ended {missing} bytes before the end of {size}"
            sink(data)
            missing -= len(data)

    # conversations

    def ask(
        self,
        method: str,
        target: str,
        host: str,
        *fields: str,
        body: bytes = b"",
        sink: Callable[[bytes], None] | None = None,
    ) -> WireResponse:
        """Send one well-formed request and read its answer; Content-Length is added when there is a body."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return self.read_response(method, sink)

    def connect(self, authority: str, early: bytes = b"") -> WireResponse:
        """Send CONNECT (with `early` bytes right behind) and read the answer."""
        self.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode("latin-1") + early)
        return self.read_response("CONNECT")

    def start_tls(
        self,
        trust: Path | None,
        server_name: str | None,
        *,
        alpn: tuple[str, ...] = ("http/1.1",),
        context: ssl.SSLContext | None = None,
    ) -> ssl.SSLSocket:
        """Turn the connection into TLS, verified against the CA file `trust`. Without one nothing is verified."""
        assert not self.buffer, self.buffer
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if trust is None or server_name is None:
                context.check_hostname = False
            if trust is None:
                context.verify_mode = ssl.CERT_NONE
            else:
                context.load_verify_locations(trust)
            if alpn:
                context.set_alpn_protocols(list(alpn))
        self.sock = context.wrap_socket(self.sock, server_hostname=server_name, suppress_ragged_eofs=False)
        return self.sock


class ConnectRefused(AssertionError):
    """CONNECT was not answered with 200; `response` is what came."""

    def __init__(self, response: WireResponse) -> None:
        super().__init__(response.head)
        self.response = response


class RoutedClient(WireClient):
    """A client that reaches HOST:PORT through a proxy in one of four ways.

    "absolute": requests in absolute-form; "tunnel": CONNECT and plain HTTP inside; "tls": CONNECT and TLS inside, which
    must be proven by the CA file `trust` (the proxy's own where it intercepts, the origins' where it passes through).
    """

    def __init__(
        self,
        proxy_port: int,
        way: str,
        host: str,
        port: int,
        *,
        trust: Path | None = None,
        timeout: float = 20.0,
        source: str | None = None,
    ) -> None:
        super().__init__(proxy_port, timeout=timeout, source=source)
        self.authority = f"{host}:{port}"
        self.prefix = f"http://{self.authority}" if way == "absolute" else ""
        if way == "absolute":
            return
        response = self.connect(self.authority)
        if response.status != 200:
            raise ConnectRefused(response)
        if way == "tls":
            self.start_tls(trust, host.strip("[]"))

    def fetch(
        self,
        path: str,
        *fields: str,
        method: str = "GET",
        body: bytes = b"",
        sink: Callable[[bytes], None] | None = None,
    ) -> WireResponse:
        """One request for `path` at the origin, and its answer."""
        return self.ask(method, self.prefix + path, self.authority, *fields, body=body, sink=sink)
