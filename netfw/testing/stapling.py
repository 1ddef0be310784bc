"""A TLS origin that shows and staples whatever a test gives it, and keeps what it was sent.

Python's ssl module cannot staple.

By pyOpenSSL over blocking sockets, a thread a connection. Not in here: making the staples (`revocation`).
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from OpenSSL import SSL, crypto

WAIT = 20.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class StaplingOrigin:
    """Answers each request with 200. `received`: the bytes of all requests. A context manager.

    `client_ca`: clients are asked for a certificate of it, and `clients` has what they showed, as DER.
    """

    def __init__(
        self,
        tls: tuple[Path, Path],
        staple: bytes = b"",
        *,
        ciphers: str = "DEFAULT",
        maximum: int = 0,
        client_ca: Path | None = None,
    ) -> None:
        self.staple = staple
        self.received = b""
        self.asked = 0
        """How many clients asked for a staple."""
        self.handshakes = 0
        self.clients: list[bytes] = []
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        # Weak keys and signatures must reach the client under test.
        self._context.set_cipher_list(f"{ciphers}:@SECLEVEL=0".encode())
        if maximum:
            self._context.set_min_proto_version(SSL.TLS1_VERSION)
            self._context.set_max_proto_version(maximum)
        if client_ca is not None:
            self._context.load_verify_locations(str(client_ca))
            self._context.set_verify(SSL.VERIFY_PEER, lambda *found: bool(found[-1]))
        self._context.use_certificate_chain_file(str(tls[0]))
        self._context.use_privatekey_file(str(tls[1]))
        self._context.set_ocsp_server_callback(self._give)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listening.settimeout(0.1)
        self.port: int = self._listening.getsockname()[1]
        self._stopping = False
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> StaplingOrigin:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join(5)
        self._listening.close()

    def _give(self, _connection: SSL.Connection, _data: object) -> bytes:
        self.asked += 1
        return self.staple

    def _accept(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self._listening.accept()
            except TimeoutError:
                continue
            # pyOpenSSL wants a socket that blocks by itself: one with a time-out does not, to OpenSSL.
            sock.settimeout(None)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        connection = SSL.Connection(self._context, sock)
        connection.set_accept_state()
        try:
            connection.do_handshake()
            self.handshakes += 1
            shown = connection.get_peer_certificate()
            if shown is not None:
                self.clients.append(crypto.dump_certificate(crypto.FILETYPE_ASN1, shown))
            head = b""
            while True:
                data = connection.recv(65536)
                self.received += data
                head += data
                if head.endswith(b"\r\n\r\n"):
                    connection.sendall(ANSWER)
                    head = b""
        except SSL.Error:
            pass  # the client left, or refused us: what it sent is what counts
        finally:
            sock.close()
