"""An origin that says exactly the bytes of a script, breaks off where the script says so, and keeps what it was sent.

For tests of the wire. An origin that keeps to the rules is `origins.HttpOrigin`.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path

WAIT = 20.0


class OriginConnection:
    """One accepted connection. Every wait ends after `WAIT` seconds with TimeoutError."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._received = bytearray()
        self.ended: str | None = None
        self.done = threading.Event()
        self._used = 0
        sock.settimeout(WAIT)

    @property
    def received(self) -> bytes:
        """All that came."""
        return bytes(self._received)

    def _more(self) -> bool:
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionError as error:
            self.ended = type(error).__name__
            return False
        except ssl.SSLError as error:
            self.ended = type(error).__name__
            return False
        if not data:
            self.ended = "end"
            return False
        self._received += data
        return True

    def read_until(self, marker: bytes) -> bytes:
        """The unread bytes up to and with `marker`; what came, when the peer ended first."""
        while (at := self._received.find(marker, self._used)) < 0:
            if not self._more():
                return self.take()
        end = at + len(marker)
        taken, self._used = bytes(self._received[self._used : end]), end
        return taken

    def read_head(self) -> bytes:
        """The unread bytes up to the empty line."""
        return self.read_until(b"\r\n\r\n")

    def read_exactly(self, size: int) -> bytes:
        """The next `size` bytes; fewer when the peer ended first."""
        while len(self._received) - self._used < size:
            if not self._more():
                return self.take()
        start = self._used
        self._used += size
        return bytes(self._received[start : self._used])

    def read_to_end(self) -> bytes:
        """All until the peer ends or resets."""
        while self._more():
            pass
        return self.take()

    def take(self) -> bytes:
        """What came and was not read yet."""
        taken, self._used = bytes(self._received[self._used :]), len(self._received)
        return taken

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.sock.sendall(data)

    def finish(self) -> None:
        """End our sending side only (FIN)."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close with FIN; on TLS with close_notify first."""
        if isinstance(self.sock, ssl.SSLSocket):
            try:
                self.sock.settimeout(0)
                self.sock.unwrap()
            except (OSError, ValueError):
                pass
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def truncate(self) -> None:
        """FIN without close_notify."""
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if isinstance(self.sock, ssl.SSLSocket):
            socket.socket(fileno=self.sock.detach()).close()
        else:
            self.sock.close()


Script = Callable[[OriginConnection], None]


def only_listen(connection: OriginConnection) -> None:
    """The script that records and never answers."""
    connection.read_to_end()
    connection.close()


class ScriptedOrigin:
    """Runs `script` on each accepted connection, each on its own thread. A context manager."""

    def __init__(
        self, script: Script = only_listen, *, tls: tuple[Path, Path] | None = None, address: str = "127.0.0.1"
    ) -> None:
        self.script = script
        self.connections: list[OriginConnection] = []
        self.errors: list[BaseException] = []
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls[0], tls[1])
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, 0), family=family, backlog=128)
        self._listening.settimeout(0.1)
        self.port: int = self._listening.getsockname()[1]
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def received(self) -> bytes:
        """What all connections were sent, one after the other."""
        return b"".join(connection.received for connection in self.connections)

    def start(self) -> ScriptedOrigin:
        """Begin to accept."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop accepting and break what is open."""
        self._stopping = True
        self._thread.join(5)
        self._listening.close()
        for connection in self.connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.done.wait(5)

    def __enter__(self) -> ScriptedOrigin:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_for_connection(self, number: int = 1, timeout: float = WAIT) -> OriginConnection:
        """The `number`th connection, once it was accepted."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.connections) >= number, timeout):
                raise TimeoutError(f"connection {number} did not come")
            return self.connections[number - 1]

    def _accept(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self._listening.accept()
            except TimeoutError:
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock: socket.socket) -> None:
        connection = OriginConnection(sock)
        with self._changed:
            self.connections.append(connection)
            self._changed.notify_all()
        try:
            if self._context is not None:
                connection.sock = self._context.wrap_socket(sock, server_side=True)
                connection.sock.settimeout(WAIT)
            self.script(connection)
        except Exception as error:  # a test reads them; a thread has nobody to raise to
            self.errors.append(error)
        finally:
            connection.done.set()
            try:
                connection.sock.close()
            except OSError:
                pass
