"""A real DNS server for tests: UDP and TCP on one loopback port, answers from a zone, a log of every question.

Here: sockets, threads, the log, the command line. What is answered, and the zone's format: `dns_zone`. Standard library
only, and in threads of its own, so that it serves tests with and without a reactor.

In a process of its own (it prints its port, then serves until it is killed, or with `--until-eof` until its standard
input ends):

    python -m netfw.testing.dns_server --zone zone.json --port 0 --log questions.jsonl

The zone file is read again when it has changed. The log has one JSON object a line for each question that came:
`{"name": "www.example.test", "type": "A", "transport": "udp", "edns": true, "id": 4711, "port": 40000}`: a name that is
not in it was never asked.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import struct
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from netfw.testing.dns_zone import Question, Reply, Zone, ZoneAnswers, parse_question

# The answers of "other_address" come from here; Linux routes all of 127.0.0.0/8 to the loopback interface.
OTHER_ADDRESS = "127.0.0.99"


class DnsServer:
    """The server, in this process. Use it as a context manager, or call `start` and `stop`.

    `zone` is a dict (see `dns_zone`), or the path of a JSON file that is read again when it changes. `questions` is
    every question that came, in order; `log` a file that gets them too.
    """

    def __init__(
        self, zone: Zone | Path | str, *, address: str = "127.0.0.1", port: int = 0, log: Path | str | None = None
    ) -> None:
        self._file = None if isinstance(zone, dict) else Path(zone)
        self._stamp: tuple[int, int] | None = None
        self.answers = ZoneAnswers(zone if isinstance(zone, dict) else {})
        self.questions: list[Question] = []
        self.address = address
        self.port = port
        self._log = open(log, "a", encoding="ascii") if log else None  # noqa: SIM115 - closed in stop()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._timers: set[threading.Timer] = set()

    def start(self) -> DnsServer:
        """Bind, and serve from now on."""
        self._udp, self._tcp = _bind_both(self.address, self.port)
        self.port = self._udp.getsockname()[1]
        self._read_file()
        for serve in (self._serve_udp, self._serve_tcp):
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def stop(self) -> None:
        """Close the sockets and end the threads. Answers that are still delayed are dropped."""
        self._stopping.set()
        with self._lock:
            timers = list(self._timers)
        for timer in timers:
            timer.cancel()
        # A close alone does not wake a thread that waits in recvfrom or accept.
        with contextlib.suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError), socket.socket(self._udp.family, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.address, self.port))
        for thread in self._threads:
            thread.join(5)
        self._udp.close()
        self._tcp.close()
        if self._log:
            self._log.close()

    def __enter__(self) -> DnsServer:
        return self.start()

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    def asked(self, name: str, type_: str | None = None) -> int:
        """How often a name was asked for (of one type)."""
        with self._lock:
            return sum(1 for q in self.questions if q.name == name.lower() and type_ in (None, q.type))

    def _serve_udp(self) -> None:
        while not self._stopping.is_set():
            try:
                data, client = self._udp.recvfrom(4096)
            except OSError:
                # An ICMP answer to something sent before; the socket itself is well unless we are stopping.
                continue
            reply = self._take(data, "udp", client[1])
            if reply is not None:
                self._later(reply.delay, self._send_udp, reply, client)

    def _send_udp(self, reply: Reply, client: tuple[Any, ...]) -> None:
        for message, way in reply.messages:
            with contextlib.suppress(OSError):
                if not way:
                    self._udp.sendto(message, client)
                    continue
                with socket.socket(self._udp.family, socket.SOCK_DGRAM) as other:
                    other.bind((OTHER_ADDRESS, self.port) if way == "other_address" else (self.address, 0))
                    other.sendto(message, client)

    def _serve_tcp(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, client = self._tcp.accept()
            except OSError:
                continue
            threading.Thread(target=self._serve_connection, args=(connection, client[1]), daemon=True).start()

    def _serve_connection(self, connection: socket.socket, port: int) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            stream = connection.makefile("rb")
            while len(length := stream.read(2)) == 2:
                reply = self._take(stream.read(struct.unpack("!H", length)[0]), "tcp", port)
                if reply is None or self._stopping.wait(reply.delay) or reply.tcp == "refuse":
                    return
                for message, _ in reply.messages:
                    self._send_tcp(connection, message, reply.tcp)

    def _send_tcp(self, connection: socket.socket, message: bytes, way: str) -> None:
        framed = struct.pack("!H", len(message)) + message
        match way:
            case "silence":
                self._stopping.wait(30)
            case "garbage":
                connection.sendall(b"\xff" * 4096)
            case "cut":
                connection.sendall(framed[:-1])
                connection.shutdown(socket.SHUT_RDWR)
            case "slow":
                for at in range(len(framed)):
                    connection.sendall(framed[at : at + 1])
                    self._stopping.wait(0.001)
            case _:
                connection.sendall(framed)

    def _take(self, data: bytes, transport: str, port: int) -> Reply | None:
        question = parse_question(data, transport, port)
        if question is None:
            return None
        with self._lock:
            self.questions.append(question)
            if self._log:
                print(json.dumps(asdict(question)), file=self._log, flush=True)
            self._read_file()
            return self.answers.reply_to(question)

    def _later(self, delay: float, function: Any, *arguments: Any) -> None:
        if not delay:
            function(*arguments)
            return
        timer = threading.Timer(delay, function, arguments)
        timer.daemon = True
        with self._lock:
            self._timers = {running for running in self._timers if running.is_alive()} | {timer}
        timer.start()

    def _read_file(self) -> None:
        if self._file is None:
            return
        status = self._file.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp == self._stamp:
            return
        # A file that is being written is not JSON yet: the old zone serves until it is.
        with contextlib.suppress(ValueError):
            self.answers.zone = json.loads(self._file.read_text("utf-8"))
            self._stamp = stamp


def _bind_both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for attempt in range(20):
        tcp = socket.socket(family, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            tcp.bind((address, port))
            udp.bind((address, tcp.getsockname()[1]))
            tcp.listen(128)
            return udp, tcp
        except OSError:
            # The kernel chose a TCP port whose UDP twin is taken.
            tcp.close()
            udp.close()
            if port or attempt == 19:
                raise
    raise AssertionError("unreachable")


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m netfw.testing.dns_server")
    parser.add_argument("--zone", required=True, type=Path)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    chosen = parser.parse_args(arguments)
    with DnsServer(chosen.zone, address=chosen.address, port=chosen.port, log=chosen.log) as server:
        print(server.port, flush=True)  # noqa: T201 - the caller reads it
        if chosen.until_eof:
            sys.stdin.read()
        else:
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()


if __name__ == "__main__":
    main()
