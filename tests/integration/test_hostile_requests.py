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
