"""What a tunnel that is passed through costs: real sockets, a real reactor, a child process that is client and origin.

    python benchmarks/micro/tunnel_path.py [--profile | --operations]

A tunnel is CONNECT, 200, a ClientHello, as many flights as a TLS 1.3 handshake and one small response take, and both
ends. Prints CPU microseconds of the proxy's process a tunnel, or where its Python calls are, or its operations of the
interpreter by function, which are the same however busy the machine is. For a tool that counts something (callgrind,
`strace -c`), run it for two values of `--count` and take the difference.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import socket
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from twisted.internet.epollreactor import EPollReactor

from benchmarks.micro.exchange_path import configuration_of
from netfw.service.assembly import assemble

AT_ONCE = 16
NAME = "origin.example"
# What the two ends say once the ClientHello is through: sizes of a TLS 1.3 handshake and a GET of 1 KiB.
FLIGHTS = (("origin", 1400), ("client", 80), ("client", 170), ("origin", 510), ("origin", 1300))


def client_hello() -> bytes:
    """What OpenSSL says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=NAME).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def read(sock: socket.socket, size: int) -> None:
    while size:
        got = len(sock.recv(size))
        if not got:
            raise ConnectionError("the tunnel ended too early")
        size -= got


def batch(port: int, listening: socket.socket, hello: bytes, count: int) -> None:
    """So many tunnels, all of them a step at a time."""
    target = b"%s:%d" % (NAME.encode(), listening.getsockname()[1])
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for client in clients:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(b"CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1.0\r\n\r\n" % (target, target))
    for client in clients:
        answer = client.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"no tunnel: {answer!r}")
        client.sendall(hello)
    origins = [listening.accept()[0] for _ in range(count)]
    for origin in origins:
        read(origin, len(hello))
    # Which client an origin has is of no concern: all of them say the same.
    sides = {"client": clients, "origin": origins}
    others = {"client": origins, "origin": clients}
    for who, size in FLIGHTS:
        for sock in sides[who]:
            sock.sendall(b"x" * size)
        for sock in others[who]:
            read(sock, size)
    for client in clients:
        client.close()
    for origin in origins:
        if origin.recv(1):
            raise ConnectionError("something behind the end")
        origin.close()


def play(port: int, listening: socket.socket, orders: Any, done: Any) -> None:
    """The child: for each number that is read, so many tunnels, then a line."""
    hello = client_hello()
    for order in orders:
        left = int(order)
        while left:
            batch(port, listening, hello, min(left, AT_ONCE))
            left -= min(left, AT_ONCE)
        done.write(b"done\n")


class Child:
    """The other process: `run` asks for tunnels, and turns the reactor until they are through."""

    def __init__(self, port: int, listening: socket.socket) -> None:
        order_in, order_out = os.pipe()
        done_in, done_out = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                os.close(order_out)
                play(port, listening, os.fdopen(order_in), os.fdopen(done_out, "wb", buffering=0))
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        os.close(order_in)
        os.close(done_out)
        listening.close()
        self.orders, self.done = order_out, done_in

    def run(self, reactor: Any, count: int) -> None:
        os.write(self.orders, b"%d\n" % count)
        os.set_blocking(self.done, False)
        while True:
            reactor.runUntilCurrent()
            reactor.doIteration(reactor.timeout())
            try:
                if os.read(self.done, 100):
                    return
                raise SystemExit("the client and origin broke")
            except BlockingIOError:
                pass

    def end(self) -> None:
        os.close(self.orders)
        os.waitpid(self.pid, 0)


def count_operations(run: Callable[[int], None], count: int) -> None:
    """Print how many operations of the interpreter a tunnel takes, function by function."""
    operations: Counter[CodeType] = Counter()
    calls: Counter[CodeType] = Counter()

    def in_frame(frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode":
            operations[frame.f_code] += 1
        return in_frame

    def on_call(frame: FrameType, _: str, __: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        calls[frame.f_code] += 1
        return in_frame

    sys.settrace(on_call)
    run(count)
    sys.settrace(None)
    for code, number in operations.most_common(120):
        place = f"{Path(code.co_filename).name}:{code.co_firstlineno}"
        print(f"{number / count:8.1f} {calls[code] / count:6.2f} {code.co_qualname} {place}")
    print(f"{operations.total() / count:.0f} operations and {calls.total() / count:.0f} Python calls a tunnel")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", action="store_true", help="where the Python calls of a tunnel are")
    parser.add_argument("--operations", action="store_true", help="how many operations, by function (Python 3.11)")
    parser.add_argument("--tunnels", type=int, default=2000)
    parser.add_argument("--count", type=int, help="make just so many, for a tool that counts")
    arguments = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    child = Child(port, listening)
    with tempfile.TemporaryDirectory() as name:
        reactor: Any = EPollReactor()
        configuration = configuration_of(
            Path(name), port=port, hosts=f"127.0.0.1 {NAME}\n", guard={"allow": ["127.0.0.0/8"]}
        )
        service: Any = assemble(configuration, reactor)
        service.privilegedStartService()
        service.startService()
        reactor.startRunning(installSignalHandlers=False)
        service.path.settle()
        if arguments.count:
            child.run(reactor, arguments.count)
        elif arguments.profile:
            child.run(reactor, 200)
            profiler = cProfile.Profile()
            profiler.runcall(child.run, reactor, arguments.tunnels)
            stats = pstats.Stats(profiler)
            calls = stats.total_calls / arguments.tunnels  # type: ignore[attr-defined]
            stats.sort_stats("tottime").print_stats(120)
            print(f"{calls:.0f} calls a tunnel, those of C included")
        elif arguments.operations:
            child.run(reactor, 200)
            count_operations(lambda count: child.run(reactor, count), 200)
        else:
            child.run(reactor, 200)
            spent = []
            for _ in range(5):
                begun = time.process_time()
                child.run(reactor, arguments.tunnels)
                spent.append((time.process_time() - begun) / arguments.tunnels * 1e6)
            print(f"{min(spent):.0f} us a tunnel (best of 5 times {arguments.tunnels})")
        service.stopService()
        child.end()


if __name__ == "__main__":
    main()
