"""What hostile clients send: exactly what the origin gets of it, what the client is told, and one clean record of it.

The table is `tests/corpus/hostile/requests.toml`; ClientHellos, which are built, stand here.
"""

from __future__ import annotations

import re
import socket
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.proxy_process import ProxyProcess, domain_rule, policy
from netfw.testing.record_tail import RecordTail
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import WireClient

CORPUS = Path(__file__).parents[1] / "corpus" / "hostile"
CASES: dict[str, dict[str, Any]] = tomllib.loads((CORPUS / "requests.toml").read_text())
REPEATED = re.compile(r"<([^<>]{1,10})\*(\d+)>")
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [ -~]*\r\n")
RULES = policy(groups={"base": {"PreDNS": [domain_rule("no-denied", "DENY", "denied.test")]}})
NAME = "netfw-test"
ACCESS_DENIED = b"\x15\x03\x03\x00\x02\x02\x31"  # the TLS alert


def answer_all(connection: OriginConnection) -> None:
    """Answer each request that is whole; no request is longer than its head says."""
    while head := connection.read_head():
        if not head.endswith(b"\r\n\r\n"):
            return
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
        if length is not None:
            connection.read_exactly(int(length[1]))
        elif b"\r\nTransfer-Encoding:" in head:
            while (line := connection.read_until(b"\r\n")) != b"0\r\n":
                if not line.endswith(b"\r\n"):
                    return
            while (line := connection.read_until(b"\r\n")) != b"\r\n":
                if not line.endswith(b"\r\n"):
                    return
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def origin() -> Iterator[ScriptedOrigin]:
    """One plain origin for the whole table."""
    with ScriptedOrigin(answer_all) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """One proxy for the whole table. Every exchange gets a connection of its own to the origin."""
    with proxy_maker("hostile-requests", RULES, limits={"idle_upstream_connections": 0}) as process:
        yield process
        clean = all(32 <= byte < 127 or byte in (9, 10) for byte in process.log_path.read_bytes())
        assert clean, "a control octet of a peer is in the program's log"


@pytest.fixture(scope="module")
def intercepting_proxy(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """The same with interception."""
    with proxy_maker("hostile-hellos", RULES, intercept=True, limits={"idle_upstream_connections": 0}) as process:
        yield process


def printed(text: str, origin: ScriptedOrigin) -> bytes:
    """The octets that a string of the table stands for."""
    for method in ("GET", "POST"):
        text = text.replace(f"{{{method}}}", f"{method} http://{{A}}/ HTTP/1.1\r\nHost: {{A}}\r\n")
    text = text.replace("{A}", f"origin.test:{origin.port}").replace("{P}", str(origin.port))
    text = text.replace("{NN}", NAME.upper()).replace("{N}", NAME)
    return REPEATED.sub(lambda match: match[1] * int(match[2]), text).encode("latin-1")


def connections_since(origin: ScriptedOrigin, since: int) -> list[OriginConnection]:
    """The connections that came after the first `since`. One of our own marks their end: they are accepted in order."""
    with socket.create_connection(("127.0.0.1", origin.port)) as marker:
        marker.sendall(b"that was all")
        deadline = time.monotonic() + 10
        while not any(connection.received == b"that was all" for connection in origin.connections[since:]):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    connections = [c for c in origin.connections[since:] if c.received != b"that was all"]
    for connection in origin.connections[since:]:
        assert connection.done.wait(10)
    return connections


def everything(client: WireClient) -> bytes:
    """All that comes until the proxy ends the connection."""
    try:
        return client.read_to_end()
    except ConnectionError:
        return client.buffer


@pytest.mark.parametrize("name", CASES)
def test_hostile_requests(name: str, proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    """The origin receives exactly what the table says, the client its status and the end, the log one clean record."""
    case = CASES[name]
    tail, since = RecordTail(proxy), len(origin.connections)
    pieces = [case["send"]] if isinstance(case["send"], str) else case["send"]
    with WireClient(proxy.port()) as client:
        if case.get("in") == "plain":
            assert client.connect(f"origin.test:{origin.port}").status == 200
        for piece in pieces[:-1]:
            client.send(printed(piece, origin))
            client.sock.settimeout(0.05)
            with pytest.raises(TimeoutError):
                client.sock.recv(1)
            client.sock.settimeout(20)
        client.send(printed(pieces[-1], origin))
        wanted = case["status"] if isinstance(case["status"], list) else [case["status"]]
        count = case.get("records", 1)
        if "origin" in case and "Connection: close" not in pieces[-1] and case.get("also") != 400:
            answer = b""
            for _ in range(count):
                response = client.read_response()
                answer += response.head
                assert response.body == b"ok"
            assert client.buffer == b""
        else:
            answer = everything(client)
    statuses = [int(status) for status in STATUS_LINE.findall(answer)]
    if wanted == [0]:
        assert answer in (b"", ACCESS_DENIED)
    else:
        assert statuses[:1] and statuses[0] in wanted, answer
        assert statuses[1:] == ([case["also"]] if "also" in case else []), answer
    records = tail.take(count)
    if statuses:
        assert records[-1]["http_status_code"] == statuses[-1]
    connections = connections_since(origin, since)
    received = b"".join(connection.received for connection in connections)
    assert received == (printed(case["origin"], origin) if "origin" in case else b"")
    assert b"hunter2" not in b"".join(str(record).encode() for record in records)
    if "origin" not in case and case.get("in") is None:
        assert len(connections) == case.get("dialled", 0)


def test_the_table_is_large() -> None:
    """It does not shrink unseen."""
    assert len(CASES) >= 150


# -- ClientHellos -----------------------------------------------------------------------------------------------------


def vector(size: int, data: bytes) -> bytes:
    """`data` behind its length in `size` octets."""
    return len(data).to_bytes(size, "big") + data


def extension(number: int, data: bytes) -> bytes:
    """One extension."""
    return number.to_bytes(2, "big") + vector(2, data)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    """The server_name extension with any number of names."""
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names)))


OTHERS = (
    extension(10, vector(2, b"\x00\x1d"))
    + extension(13, vector(2, b"\x04\x03\x08\x04"))
    + extension(43, vector(1, b"\x03\x04"))
    + extension(51, vector(2, b"\x00\x1d" + vector(2, b"\x09" + bytes(31))))
)


def hello(
    extensions: bytes | None = None, *, version: bytes = b"\x03\x03", suites: bytes = b"\x13\x01", behind: bytes = b""
) -> bytes:
    """A handshake message: a ClientHello."""
    if extensions is None:
        extensions = server_name(b"origin.test") + OTHERS
    body = version + bytes(range(32)) + vector(1, bytes(32)) + vector(2, suites) + vector(1, b"\x00")
    return b"\x01" + vector(3, body + vector(2, extensions) + behind)


def records(message: bytes, size: int = 1 << 14, kind: int = 22) -> bytes:
    """The message in TLS records of `size` octets."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(bytes([kind]) + b"\x03\x01" + vector(2, piece) for piece in pieces)


def named(*names: bytes, kind: int = 0) -> bytes:
    """A whole flight with these server names."""
    return records(hello(server_name(*names, kind=kind) + OTHERS))


WHOLE = records(hello())
# What the tunnel's name allows, in a form that other readers may trip over: the origin gets every octet as it was sent.
LAWFUL_HELLOS = {
    "as usual": WHOLE,
    "name in capitals": named(b"ORIGIN.Test"),
    "in records of one octet": records(hello(), 1),
    "in records of a hundred octets": records(hello(), 100),
    "split inside the name": records(hello()[:90], 4096) + records(hello()[90:], 4096),
    "GREASE": records(hello(extension(0x0A0A, b"") + server_name(b"origin.test") + extension(0xFAFA, b"x") + OTHERS)),
    "early data behind it": WHOLE + records(bytes(100), kind=23),
    "padding of 8000 octets": records(hello(server_name(b"origin.test") + OTHERS + extension(21, bytes(8000)))),
}
# Nothing of these may reach anybody.
HOSTILE_HELLOS = {
    "another name": named(b"other.test"),
    "a name below": named(b"www.origin.test"),
    "a name above": named(b"test"),
    "the name twice": named(b"origin.test", b"origin.test"),
    "another name second": named(b"origin.test", b"other.test"),
    "no name in the list": named(),
    "empty name": named(b""),
    "name of another type": named(b"origin.test", kind=1),
    "name with NUL": named(b"origin.test\x00.other.test"),
    "name with NUL at its end": named(b"origin.test\x00"),
    "name with a space": named(b"origin.test "),
    "name with CRLF": named(b"origin.test\r\nX: y"),
    "name with ESC": named(b"\x1b[2Jorigin.test"),
    "name with bidirectional override": named("origin.test\u202emoc.live".encode()),
    "name of U-labels": named("\u00f6rigin.test".encode()),
    "name in Latin-1": named(b"\xf6rigin.test"),
    "name with a port": named(b"origin.test:443"),
    "name with a slash": named(b"origin.test/"),
    "name with an at sign": named(b"x@origin.test"),
    "name in brackets": named(b"[origin.test]"),
    "name with an asterisk": named(b"*.test"),
    "name with a comma": named(b"origin.test,other.test"),
    "name with two final dots": named(b"origin.test.."),
    "name of 300 octets": named(b"a." * 148 + b"test"),
    "an address": named(b"127.0.0.1"),
    "an IPv6 address": named(b"::1"),
    "an address in one number": named(b"2130706433"),
    "extension twice": records(hello(server_name(b"origin.test") + server_name(b"origin.test") + OTHERS)),
    "another name in a second extension": records(
        hello(server_name(b"origin.test") + OTHERS + server_name(b"other.test"))
    ),
    "list longer than its extension": records(hello(extension(0, b"\x00\x20\x00\x00\x0borigin.test") + OTHERS)),
    "list shorter than its extension": records(hello(extension(0, b"\x00\x05\x00\x00\x0borigin.test") + OTHERS)),
    "octets behind the list": records(
        hello(extension(0, vector(2, b"\x00" + vector(2, b"origin.test")) + b"xx") + OTHERS)
    ),
    "octets behind the extensions": records(hello(behind=b"\x00")),
    "octets behind the message": records(hello() + b"\x00"),
    "a second message": records(hello() + hello(server_name(b"other.test") + OTHERS)),
    "extension without end": records(hello(server_name(b"origin.test") + b"\x00\x2b\x7f\xff\x00")),
    "no suites": records(hello(suites=b"")),
    "odd suites": records(hello(suites=b"\x13")),
    "version 2.0": records(hello(version=b"\x02\x00")),
    "version 4.0": records(hello(version=b"\x04\x00")),
    "a message of 16 MiB": b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(1 << 14),
    "an empty record": b"\x16\x03\x01\x00\x00" + WHOLE,
    "a record too long": b"\x16\x03\x01\x40\x01" + bytes(0x4001),
    "a record of another version": b"\x16\x02\x00" + WHOLE[3:],
    "another record in the middle": WHOLE[:5].replace(WHOLE[3:5], b"\x00\x10")
    + WHOLE[5:21]
    + b"\x15\x03\x01\x00\x02\x01\x00"
    + WHOLE[21:],
    "a ServerHello": records(b"\x02" + hello()[1:]),
    "a HelloRequest first": records(b"\x00\x00\x00\x00" + hello()),
    "a change of cipher first": b"\x14\x03\x01\x00\x01\x01" + WHOLE,
    "an alert first": b"\x15\x03\x01\x00\x02\x01\x00" + WHOLE,
    "a heartbeat": b"\x18\x03\x02\x00\x03\x01\x40\x00",
    "SSL 2 with TLS inside": b"\x80\x2e\x01\x03\x01" + bytes(43),
    "DTLS": b"\x16\xfe\xfd" + bytes(8) + vector(2, hello()),
    "QUIC": b"\xc3\x00\x00\x00\x01\x08" + bytes(40),
}


@pytest.mark.parametrize("name", LAWFUL_HELLOS)
def test_lawful_hellos_pass_untouched(name: str, proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    """The origin receives exactly the client's octets, and the record tells the canonical name."""
    tail, since = RecordTail(proxy), len(origin.connections)
    with WireClient(proxy.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == 200
        client.send(LAWFUL_HELLOS[name])
        while not any(c.received == LAWFUL_HELLOS[name] for c in origin.connections[since:]):
            time.sleep(0.005)
    (record,) = tail.take(1)
    assert (record["kind"], record["tls"]["sni"], record["bytes_in"] > 100) == ("tunnel", "origin.test", True)
    assert b"".join(c.received for c in connections_since(origin, since)) == LAWFUL_HELLOS[name]


@pytest.mark.parametrize("proxy_name", ["proxy", "intercepting_proxy"])
@pytest.mark.parametrize("name", HOSTILE_HELLOS)
def test_hostile_hellos(name: str, proxy_name: str, origin: ScriptedOrigin, request: pytest.FixtureRequest) -> None:
    """The origin receives nothing, the client at most an alert, and the record is a denial or an error."""
    proxy: ProxyProcess = request.getfixturevalue(proxy_name)
    tail, since = RecordTail(proxy), len(origin.connections)
    with WireClient(proxy.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == 200
        client.send(HOSTILE_HELLOS[name])
        answer = everything(client)
    assert answer == b"" or (answer[:1] == b"\x15" and len(answer) == 7)
    (record,) = tail.take(1)
    assert record["error"]["fault"] in ("client", "policy")
    assert record["kind"] in ("connect", "tunnel")
    assert b"".join(c.received for c in connections_since(origin, since)) == b""


def test_every_octet_of_a_hello_flipped(proxy: ProxyProcess, origin: ScriptedOrigin) -> None:
    """A damaged ClientHello reaches the origin whole, or not at all: never in part, never with another name."""
    base = named(b"origin.test")
    for at in range(0, len(base), 4):
        damaged = base[:at] + bytes([base[at] ^ 0x20]) + base[at + 1 :]
        since = len(origin.connections)
        with WireClient(proxy.port()) as client:
            assert client.connect(f"origin.test:{origin.port}").status == 200
            client.send(damaged)
            client.finish()
            everything(client)
        received = b"".join(c.received for c in connections_since(origin, since))
        assert received in (b"", damaged), at
        assert b"origin.test" in received.lower() or not received
