"""What hostile origins answer: what the client gets of it, that the next answer is clean, and two clean records.

The table is `tests/corpus/hostile/responses.toml`.
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.pki import TestAuthority
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.record_tail import RecordTail
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient, WireClient, WireResponse

CORPUS = Path(__file__).parents[1] / "corpus" / "hostile"
CASES: dict[str, dict[str, Any]] = tomllib.loads((CORPUS / "responses.toml").read_text())
REPEATED = re.compile(r"<([^<>]{1,90})\*(\d+)>", re.DOTALL)
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")
CLEAN = b"HTTP/1.1 200 OK\r\nX-Clean: yes\r\nContent-Length: 5\r\n\r\nclean"
# Some of each kind also over TLS; what is parsed is the same.
OVER_TLS = ("two lengths", "100 without end", "body behind HEAD", "a second answer", "chunks without an end",
            "a body until the end", "nothing, and a reset", "a body shorter than its length")  # fmt: skip


def printed(text: str) -> bytes:
    """The octets that a string of the table stands for."""
    return REPEATED.sub(lambda match: match[1] * int(match[2]), text).encode("latin-1")


class HostileOrigin(ScriptedOrigin):
    """Answers `/evil` with the case of the day and anything else cleanly."""

    def __init__(self, **how: Any) -> None:
        super().__init__(self._answer, **how)
        self.case: dict[str, Any] = {}

    def _answer(self, connection: OriginConnection) -> None:
        while head := connection.read_head():
            if b" /evil " not in head:
                connection.send(CLEAN)
                continue
            case = self.case
            pieces = [case["send"]] if isinstance(case["send"], str) else case["send"]
            connection.send(printed(pieces[0]))
            for piece in pieces[1:]:
                time.sleep(0.03)  # the proxy has read what came before
                connection.send(printed(piece))
            match case.get("close"):
                case "end":
                    connection.close()
                    return
                case "reset":
                    connection.reset()
                    return


@pytest.fixture(scope="module")
def origin() -> Iterator[HostileOrigin]:
    """In the clear."""
    with HostileOrigin() as server:
        yield server


@pytest.fixture(scope="module")
def tls_origin(certificates: Any) -> Iterator[HostileOrigin]:
    """Over TLS."""
    with HostileOrigin(tls=certificates.origin) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(proxy_maker: Any) -> Iterator[ProxyProcess]:
    """One proxy for the whole table: connections to origins are kept and used again, as they would be."""
    with proxy_maker("hostile-responses", policy(), intercept=True) as process:
        yield process
        clean = all(32 <= byte < 127 or byte in (9, 10) for byte in process.log_path.read_bytes())
        assert clean, "a control octet of a peer is in the program's log"


def played(client: RoutedClient, method: str) -> tuple[WireResponse | None, bytes, bool]:
    """The answer to `/evil`, all its octets, and whether it came whole."""
    seen = bytearray()
    receive = client.sock.recv

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(sock, name)

        def recv(self, size: int) -> bytes:
            data = receive(size)
            seen.extend(data)
            return data

    sock, client.sock = client.sock, Watched()  # type: ignore[assignment]  # a socket but for recv
    pieces: list[bytes] = []
    head: WireResponse | None = None
    read_head = client.read_head

    def keep_head() -> WireResponse:
        nonlocal head
        head = read_head()
        return head

    client.read_head = keep_head  # type: ignore[method-assign]
    try:
        response = client.read_response(method, pieces.append)
        response.body = b"".join(pieces)
        return response, bytes(seen), response.ended != "close"
    except (AssertionError, OSError):
        if head is not None:
            head.body = b"".join(pieces) + client.buffer
        return head, bytes(seen), False
    finally:
        client.sock, client.read_head = sock, read_head  # type: ignore[method-assign]


def check(case: dict[str, Any], client: RoutedClient, proxy: ProxyProcess, port: int) -> None:
    """Play one case."""
    tail = RecordTail(proxy)
    method, fields = case.get("method", "GET"), case.get("fields", "")
    client.send(f"{method} {client.prefix}/evil HTTP/1.1\r\nHost: {client.authority}\r\n{fields}\r\n".encode())
    response, seen, whole = played(client, method)
    refused = case["status"] == 502
    breaks_off = case.get("body", "").endswith("...")
    assert response is not None or (breaks_off and case.get("close") == "reset"), seen
    absent = [b"evil"] if refused else [case["absent"].encode()] if "absent" in case else []
    for octets in absent:
        assert octets not in seen, seen[:2000]
    assert case.get("present", "").encode() in seen
    statuses = [int(status) for status in STATUS_LINE.findall(seen)]
    if response is not None:
        assert statuses == [*[statuses[0]] * case.get("interim", 0), case["status"]], seen
    if breaks_off:
        assert not whole
        assert b"0\r\n\r\n" not in seen[-7:]
        if response is not None and case["body"] != "...":
            assert printed(case["body"][:-3])[:1] in response.body
    elif response is not None and not refused:
        assert whole
        assert response.body == printed(case["body"])
    if refused:
        assert response is not None
        assert "error=" in (response.single("Proxy-Status") or "")
    (record,) = tail.take(1)
    assert record["http_status_code"] == case["status"] or response is None
    assert ("error" in record) == (refused or breaks_off), record
    if "error" in record:
        assert record["error"]["fault"] == "origin"


def check_clean_after(client: RoutedClient, proxy: ProxyProcess, make: Any) -> None:
    """The next request gets its own answer, on the same connection where that is still open, and on another."""
    tail = RecordTail(proxy)
    count = 1
    try:
        assert client.fetch("/clean").body == b"clean"
        count = 2
    except (AssertionError, OSError):
        assert client.buffer == b""
    with make() as other:
        answer = other.fetch("/clean")
        assert (answer.body, answer.single("X-Clean"), other.buffer) == (b"clean", "yes", b"")
    assert all("error" not in record for record in tail.take(count))


@pytest.mark.parametrize("name", CASES)
def test_hostile_responses(name: str, proxy: ProxyProcess, origin: HostileOrigin) -> None:
    """Status and body are the table's, nothing else of the origin's octets passes, the next answer is clean."""
    origin.case = CASES[name]

    def make() -> RoutedClient:
        return RoutedClient(proxy.port(), "absolute", "origin.test", origin.port)

    with make() as client:
        check(CASES[name], client, proxy, origin.port)
        check_clean_after(client, proxy, make)


@pytest.mark.parametrize("name", OVER_TLS)
def test_hostile_responses_over_tls(
    name: str, proxy: ProxyProcess, tls_origin: HostileOrigin, certificates: Any
) -> None:
    """The same inside an intercepted tunnel."""
    tls_origin.case = CASES[name]

    def make() -> RoutedClient:
        return RoutedClient(proxy.port(), "tls", "origin.test", tls_origin.port, trust=certificates.intercept[0])

    with make() as client:
        check(CASES[name], client, proxy, tls_origin.port)
        check_clean_after(client, proxy, make)


def test_a_status_line_in_a_status_line(proxy: ProxyProcess, origin: HostileOrigin) -> None:
    """Two answers to two pipelined requests stay in their order although the origin sends both at once."""
    answers = [f"HTTP/1.1 200 OK\r\nContent-Length: {len(word)}\r\n\r\n{word}" for word in ("first", "evil")]
    origin.case = {"send": "".join(answers)}
    with WireClient(proxy.port()) as client:
        head = f"Host: origin.test:{origin.port}\r\n\r\n"
        url = f"http://origin.test:{origin.port}"
        client.send(f"GET {url}/evil HTTP/1.1\r\n{head}GET {url}/clean HTTP/1.1\r\n{head}".encode())
        assert client.read_response().body == b"first"
        assert client.read_response().body == b"clean"


def test_the_table_is_large() -> None:
    """It does not shrink unseen."""
    assert len(CASES) >= 80


def test_a_certificate_is_not_shown_to_the_client(proxy: ProxyProcess, certificates: Any) -> None:
    """What an untrusted certificate says of itself comes back in no page, and is in the record as data."""
    authority = TestAuthority(common_name="<script>alert(1)</script>")
    files = certificates.issue(authority, "scripted", "origin.test")
    with HostileOrigin(tls=files) as origin:
        tail = RecordTail(proxy)
        trust = certificates.intercept[0]
        with RoutedClient(proxy.port(), "tls", "origin.test", origin.port, trust=trust) as client:
            response = client.fetch("/")
        assert response.status == 502
        assert b"script" not in response.head + response.body
        assert (response.single("Content-Type") or "").startswith("text/plain")
        tail.take(1)
        assert origin.received == b""
