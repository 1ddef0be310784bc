"""Records to a syslog server over real sockets: whole messages, each once, whatever becomes of the connection."""

from __future__ import annotations

import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from netfw.config.log_model import SyslogSection, SyslogTransport
from netfw.interfaces import IRecordDestination
from netfw.telemetry.record_log import RecordLog
from netfw.telemetry.record_secrets import RecordSecretsProblem, _context
from netfw.telemetry.syslog_destination import SyslogDestination
from netfw.testing.pki import TestAuthority

COUNTED = re.compile(rb"(\d+) ")


def until(condition: Callable[[], bool]) -> None:
    end = monotonic() + 20.0
    while not condition():
        assert monotonic() < end, "it did not happen in time"
        sleep(0.002)


def frames(count: int, size: int = 20) -> list[bytes]:
    return [b"%d %b" % (size, b"%d " % number + b"x" * (size - len(b"%d " % number))) for number in range(count)]


def parsed(data: bytes) -> list[bytes]:
    """Messages of a stream with octet counting, strictly; half a one at the end is left out."""
    found, at = [], 0
    while (count := COUNTED.match(data, at)) is not None and count.end() + int(count[1]) <= len(data):
        at = count.end() + int(count[1])
        found.append(data[count.end() : at])
    assert count is not None or at == len(data) or data[at:].isdigit()
    return found


class StreamServer:
    """Accepts, one connection after the other, and keeps what each brought."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None = None) -> None:
        self.sock = sock
        self.context = context
        self.got: list[bytearray] = []
        self.reset_after: int | None = None
        self.ended = 0
        sock.listen(8)
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.sock.getsockname()[1])

    def _run(self) -> None:
        while True:
            try:
                connection: Any = self.sock.accept()[0]
            except OSError:
                return
            try:
                if self.context is not None:
                    connection = self.context.wrap_socket(connection, server_side=True)
                data = bytearray()
                self.got.append(data)
                while piece := connection.recv(65536):
                    data += piece
                    if self.reset_after is not None and len(data) >= self.reset_after:
                        self.reset_after = None
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        break
            except OSError:
                pass
            connection.close()
            self.ended += 1

    def messages(self) -> list[bytes]:
        return [message for data in self.got for message in parsed(bytes(data))]


@pytest.fixture
def server() -> Iterator[StreamServer]:
    sock = socket.create_server(("127.0.0.1", 0))
    yield StreamServer(sock)
    sock.close()


def destination(section: SyslogSection, context: ssl.SSLContext | None = None) -> SyslogDestination:
    def current() -> ssl.SSLContext:
        assert context is not None
        return context

    return SyslogDestination(section, current)


def tcp(port: int) -> SyslogSection:
    return SyslogSection(SyslogTransport.TCP, host="127.0.0.1", port=port)


def start(section: SyslogSection, context: ssl.SSLContext | None = None) -> RecordLog:
    log = RecordLog(destination(section, context), gather=0.002, retry=0.01)
    log.start()
    return log


def test_it_is_a_destination() -> None:
    made = destination(tcp(1))
    verifyObject(IRecordDestination, made)
    assert (made.shown, made.is_stream) == ("tcp://127.0.0.1:1", True)


def test_messages_over_tcp_arrive_whole_and_in_order(server: StreamServer) -> None:
    """Also what does not fit into the sockets' buffers at once."""
    log = start(tcp(server.port))
    sent = frames(3000, size=900)
    for one in sent:
        log.write(one)
    assert log.close(20.0)
    until(lambda: len(server.messages()) == 3000)
    assert b"".join(bytes(data) for data in server.got) == b"".join(sent)
    assert (log.written, log.dropped) == (3000, 0)


def test_a_server_that_closes_is_noticed_before_anything_is_lost(server: StreamServer) -> None:
    """It restarts between two records: the next one goes over a new connection."""
    log = start(tcp(server.port))
    log.write(frames(1)[0])
    until(lambda: len(server.messages()) == 1)
    held = server.got[0]
    server.reset_after = len(held)  # with the next byte
    log.write(frames(2)[1])
    until(lambda: len(server.messages()) == 2)
    until(lambda: server.ended == 1)
    for one in frames(12)[2:]:
        log.write(one)
    until(lambda: len(server.messages()) == 12)
    assert log.close(20.0)
    assert len(server.got) == 2
    assert (log.written, log.dropped) == (12, 0)


def test_a_server_that_is_away_gets_what_waited(tmp_path: Path) -> None:
    """Nothing is lost while the queue has room, and the start is none the worse for it."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    log = start(tcp(reserved.getsockname()[1]))
    for one in frames(50):
        log.write(one)
    until(lambda: log.errors >= 2)
    assert (log.written, log.failing, log.queue_length) == (0, True, 50)
    server = StreamServer(reserved)
    until(lambda: log.written == 50)
    assert not log.failing
    assert log.close(20.0)
    until(lambda: len(server.messages()) == 50)
    reserved.close()


def test_a_server_that_does_not_read_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending has an end, and goes on where it was when the server reads again: nothing is lost or comes twice."""
    monkeypatch.setattr("netfw.telemetry.syslog_destination._SEND", 0.1)
    monkeypatch.setattr("netfw.telemetry.syslog_destination._GOODBYE", 0.1)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    log = start(tcp(listening.getsockname()[1]))
    for one in frames(100, size=90_000):
        log.write(one)
    until(lambda: log.errors >= 2)
    assert log.failing and log.written < 100
    server = StreamServer(listening)
    until(lambda: len(server.messages()) == 100)
    until(lambda: log.written == 100)
    assert (len(server.got), log.dropped) == (1, 0)
    assert log.close(20.0)
    listening.close()


def test_closing_does_not_wait_for_a_server_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netfw.telemetry.syslog_destination._SEND", 0.1)
    monkeypatch.setattr("netfw.telemetry.syslog_destination._GOODBYE", 0.1)
    listening = socket.create_server(("127.0.0.1", 0))
    log = start(tcp(listening.getsockname()[1]))
    for one in frames(200, size=90_000):
        log.write(one)
    until(lambda: log.failing)
    assert not log.close(20.0)
    assert log.written + log.dropped == 200
    listening.close()


def certificates(directory: Path, *names: str) -> tuple[ssl.SSLContext, Path]:
    authority = TestAuthority()
    (directory / "ca.pem").write_bytes(authority.certificate_pem)
    chain, key = authority.issue(*names)
    (directory / "chain.pem").write_bytes(chain)
    (directory / "key.pem").write_bytes(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "chain.pem", directory / "key.pem")
    return context, directory / "ca.pem"


def tls(port: int, ca: Path, **more: Any) -> SyslogSection:
    return SyslogSection(SyslogTransport.TLS, host="127.0.0.1", port=port, ca=ca, **more)


def same(path: Path) -> Path:
    return path


def test_messages_over_tls(tmp_path: Path) -> None:
    context, ca = certificates(tmp_path, "127.0.0.1")
    sock = socket.create_server(("127.0.0.1", 0))
    server = StreamServer(sock, context)
    section = tls(server.port, ca)
    log = start(section, _context(section, same))
    for one in frames(2000, size=400):
        log.write(one)
    until(lambda: log.written == 2000)
    assert log.close(20.0)
    until(lambda: len(server.messages()) == 2000)
    assert log.errors == 0
    sock.close()


def test_a_server_with_another_name_gets_nothing(tmp_path: Path) -> None:
    """RFC 5425, section 5.2; `server_name` says what it is called instead."""
    context, ca = certificates(tmp_path, "syslog.example")
    sock = socket.create_server(("127.0.0.1", 0))
    server = StreamServer(sock, context)
    section = tls(server.port, ca)
    log = start(section, _context(section, same))
    log.write(frames(1)[0])
    until(lambda: log.errors >= 1)
    assert not log.close(20.0)
    assert (server.messages(), log.written, log.dropped) == ([], 0, 1)
    section = tls(server.port, ca, server_name="syslog.example")
    log = start(section, _context(section, same))
    log.write(frames(1)[0])
    until(lambda: len(server.messages()) == 1)
    assert log.close(20.0)
    sock.close()


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no")
    with pytest.raises(RecordSecretsProblem, match=r"ca.pem: cannot be used for tls://127.0.0.1:1"):
        _context(tls(1, tmp_path / "ca.pem"), same)


def datagrams(sock: socket.socket, count: int) -> list[bytes]:
    sock.settimeout(20)
    return [sock.recv(1 << 17) for _ in range(count)]


def test_messages_over_udp() -> None:
    """One a datagram, without a frame; one that is too long for any is lost, counted, and holds up nobody."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    section = SyslogSection(SyslogTransport.UDP, host="127.0.0.1", port=sock.getsockname()[1])
    log = start(section)
    for one in (b"first", b"x" * 70_000, b"second"):
        log.write(one)
    assert datagrams(sock, 2) == [b"first", b"second"]
    until(lambda: log.queue_length == 0)
    assert log.close(20.0)
    assert (log.written, log.dropped) == (2, 1)
    sock.close()


def test_a_udp_server_that_is_away_is_noticed() -> None:
    """The kernel hears of it, a record late."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    section = SyslogSection(SyslogTransport.UDP, host="127.0.0.1", port=sock.getsockname()[1])
    sock.close()
    log = start(section)
    log.write(b"lost")
    written = 1

    def is_noticed() -> bool:
        nonlocal written
        log.write(b"refused")
        written += 1
        return log.dropped >= 1

    until(is_noticed)
    log.close(20.0)
    assert log.written + log.dropped == written


@pytest.mark.parametrize("transport", [SyslogTransport.UNIX, SyslogTransport.UNIX_STREAM])
def test_messages_over_a_unix_socket(tmp_path: Path, transport: SyslogTransport) -> None:
    path = tmp_path / "log"
    is_stream = transport is SyslogTransport.UNIX_STREAM
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM)
    sock.bind(str(path))
    log = start(SyslogSection(transport, path=path))
    sent = frames(300)
    if is_stream:
        server = StreamServer(sock)
        for one in sent:
            log.write(one)
        until(lambda: len(server.messages()) == 300)
    else:
        for one in sent:
            log.write(one)
        # More than the kernel queues: who sends waits for who reads.
        assert datagrams(sock, 300) == sent
    assert log.close(20.0)
    assert (log.written, log.dropped) == (300, 0)
    sock.close()


def test_a_unix_socket_that_is_made_anew_is_found(tmp_path: Path) -> None:
    """The syslog daemon restarts: the old socket is refused, the new one is connected to."""
    path = tmp_path / "log"
    section = SyslogSection(SyslogTransport.UNIX, path=path)
    log = start(section)
    log.write(b"before")
    until(lambda: log.errors >= 1)
    for name in (b"first", b"second"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(str(path))
        log.write(name)
        assert name in datagrams(sock, 2 if name == b"first" else 1)
        sock.close()
        path.unlink()
    assert log.close(20.0)
    assert (log.written, log.dropped) == (3, 0)
