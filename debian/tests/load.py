"""The load for tests of an upgrade: requests at a steady rate, each on a connection of its own, and TLS tunnels that
carry a request a second from before the upgrade to after it. Counts what failed: nothing may.
"""

from __future__ import annotations

import http.server
import os
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

RATE = float(os.environ.get("RATE", "200"))
TUNNELS = int(os.environ.get("TUNNELS", "50"))
PROXY = ("127.0.0.1", 3128)
PATIENCE = 60.0
_THREADS = 16


class Origin(http.server.BaseHTTPRequestHandler):
    """Answers every request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


def serve(context: ssl.SSLContext | None) -> int:
    """Start an origin; its port."""
    server = Server(("127.0.0.1", 0), Origin)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def read_response(sock: socket.socket) -> None:
    """One response with the two bytes of the origin; raises when it is anything else."""
    data = b""
    while not data.endswith(b"ok"):
        piece = sock.recv(4096)
        if not piece:
            raise OSError(f"the connection ended after {data!r}")
        data += piece
    if b" 200 " not in data.split(b"\r\n")[0]:
        raise OSError(f"answered {data!r}")


class Tally:
    """What went well, and what did not."""

    def __init__(self) -> None:
        self.requests = 0
        self.inside = 0
        self.failures: list[str] = []
        self.over = threading.Event()

    def note(self, what: str, error: Exception) -> None:
        self.failures.append(f"{what}: {error!r}")


def request(port: int, tally: Tally) -> None:
    """One request on a connection of its own."""
    try:
        with socket.create_connection(PROXY, PATIENCE) as sock:
            where = f"127.0.0.1:{port}"
            sock.sendall(f"GET http://{where}/ HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n".encode())
            read_response(sock)
        tally.requests += 1
    except (OSError, ValueError) as error:
        tally.note("request", error)


def send_requests(port: int, tally: Tally, threads: int, number: int) -> None:
    """This thread's share of the rate."""
    pause = threads / RATE
    due = time.monotonic() + pause * number / threads
    while not tally.over.is_set():
        time.sleep(max(0.0, due - time.monotonic()))
        request(port, tally)
        due = max(due + pause, time.monotonic() - 1.0)


def keep_tunnel(
    port: int, context: ssl.SSLContext, tally: Tally, opened: threading.Semaphore, end: threading.Event
) -> None:
    """A tunnel that carries a request a second until `end`."""
    try:
        with socket.create_connection(PROXY, PATIENCE) as plain:
            plain.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                head += plain.recv(4096) or b"\r\n\r\n"
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise OSError(f"CONNECT was answered {head!r}")
            with context.wrap_socket(plain, server_hostname="localhost") as sock:
                first = True
                while not end.is_set():
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % port)
                    read_response(sock)
                    tally.inside += 1
                    if first:
                        opened.release()
                        first = False
                    end.wait(1.0)
    except (OSError, ValueError) as error:
        tally.note("tunnel", error)
        opened.release()


class Load:
    """`start` returns when all tunnels are open and requests are sent; `end_tunnels` and then `stop` end it."""

    def __init__(self, work: Path) -> None:
        key, certificate = work / "key.pem", work / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_side.load_cert_chain(certificate, key)
        client_side = ssl.create_default_context(cafile=str(certificate))
        plain_port, tls_port = serve(None), serve(server_side)
        self.tally = Tally()
        self._tunnels_end, self._opened = threading.Event(), threading.Semaphore(0)
        self._requests = [
            threading.Thread(target=send_requests, args=(plain_port, self.tally, _THREADS, number), daemon=True)
            for number in range(_THREADS)
        ]
        more = (tls_port, client_side, self.tally, self._opened, self._tunnels_end)
        self._tunnels = [threading.Thread(target=keep_tunnel, args=more, daemon=True) for _ in range(TUNNELS)]
        self._begun = 0.0

    def start(self) -> None:
        """Open the tunnels, then send requests."""
        for thread in self._tunnels:
            thread.start()
        for _ in self._tunnels:
            assert self._opened.acquire(timeout=PATIENCE)
        for thread in self._requests:
            thread.start()
        self._begun = time.monotonic()

    def end_tunnels(self) -> None:
        """Their clients have had enough."""
        self._tunnels_end.set()
        for thread in self._tunnels:
            thread.join(PATIENCE)

    def stop(self) -> str:
        """Send no more; what came of it."""
        took = time.monotonic() - self._begun
        self.tally.over.set()
        for thread in self._requests:
            thread.join(PATIENCE)
        tally = self.tally
        return (
            f"{tally.requests} requests in {took:.0f} s ({tally.requests / took:.0f} a second), {tally.inside} more "
            f"inside {TUNNELS} tunnels; {len(tally.failures)} failed"
        )


def open_up() -> None:
    """Let the proxy reach the origins of this load, and drain for a minute."""
    with open("/etc/netfw/proxy.yaml", "a") as configuration:
        configuration.write('\nguard: {allow: ["127.0.0.0/8"]}\ntimeouts: {drain: 60s}\n')
    rules = Path("/etc/netfw/policy.yaml")
    rules.write_text(rules.read_text().replace("    PreDNS: DENY", "    PreDNS: ALLOW"))
