"""A TCP relay on loopback before a server that keeps what it has: the relay is killed, and the server is away.

For tests. Here: `Relay`. Not here: the server.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

_CHUNK = 65536


class Relay:
    """Relays to 127.0.0.1:`target`; at the same port after each `start`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._port = 0
        self._listener: socket.socket | None = None
        self._sockets: list[socket.socket] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(32)
        self._port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def kill(self) -> None:
        """Stop listening, and cut every connection."""
        listener, self._listener = self._listener, None
        sockets, self._sockets = self._sockets, []
        for sock in [*([listener] if listener is not None else []), *sockets]:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def __enter__(self) -> Relay:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._sockets += [client, server]
            if self._listener is not listener:
                self.kill()
                return
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
