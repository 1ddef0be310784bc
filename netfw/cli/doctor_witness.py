"""A relay on loopback that stands before the proxy and sees whether a tool asks it: `netfw doctor`'s witness.

A tool that ignores the proxy may reach the URL by itself, and would look well. Here: bytes both ways, and the first
line of each. Not here: what it says about a tool (`netfw.kit.probes`).
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 30.0
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r\n]")
_PIECE = 1 << 16


class Witness:
    """Relays from `port` to the proxy until it is closed. A context manager."""

    def __init__(self, proxy: tuple[str, int]) -> None:
        self._proxy = proxy
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._lock = threading.Lock()
        self._asked = False
        self._answered: int | None = None
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Witness:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # A close alone would leave accept() waiting.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(CONNECT_SECONDS)

    def forget(self) -> None:
        """Before another tool is tried."""
        with self._lock:
            self._asked, self._answered = False, None

    def saw(self) -> tuple[bool, int | None]:
        """Whether the proxy was asked for anything, and the status of its first answer."""
        with self._lock:
            return self._asked, self._answered

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                proxy = socket.create_connection(self._proxy, CONNECT_SECONDS)
            except OSError:
                return
            with proxy:
                for side in (client, proxy):
                    side.settimeout(IDLE_SECONDS)
                back = threading.Thread(target=self._relay, args=(proxy, client, True), daemon=True)
                back.start()
                self._relay(client, proxy, False)
                back.join()

    def _relay(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        first = True
        try:
            while piece := source.recv(_PIECE):
                if first:
                    self._note(piece, is_answer)
                    first = False
                sink.sendall(piece)
        except OSError:
            pass
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _note(self, piece: bytes, is_answer: bool) -> None:
        with self._lock:
            if not is_answer:
                self._asked = True
            elif self._answered is None:
                found = _STATUS.match(piece)
                self._answered = int(found[1]) if found else None
