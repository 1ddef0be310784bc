"""Bytes that could be read in two ways are answered 400 and closed; nothing of them or behind them goes anywhere."""

from __future__ import annotations

import re
from typing import Any

import pytest

from netfw.testing.proxy_process import ProxyProcess
from netfw.testing.scripted_origin import ScriptedOrigin
from netfw.testing.wire_client import RoutedClient, WireClient

# {T}: the target's prefix (empty inside a tunnel), {H}: the authority, {GET} and {POST}: a request line and the Host
# field. Every other line end is written out.
BAD_REQUESTS = {
    "length and chunked": "{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "{POST}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "two different lengths": "{POST}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "list of lengths": "{POST}Content-Length: 3, 3\r\n\r\nabc",
    "length with sign": "{POST}Content-Length: +3\r\n\r\nabc",
    "length with underscore": "{POST}Content-Length: 1_0\r\n\r\n0123456789",
    "length with vertical tab": "{POST}Content-Length: 3\x0b\r\n\r\nabc",
    "length in hexadecimal": "{POST}Content-Length: 0x3\r\n\r\nabc",
    "negative length": "{POST}Content-Length: -1\r\n\r\n",
    "huge length": "{POST}Content-Length: 99999999999999999999\r\n\r\n",
    "empty length": "{POST}Content-Length:\r\n\r\n",
    "unknown coding": "{POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": "{POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": "{POST}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "chunked in two lines": "{POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and identity": "{POST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked with vertical tab": "{POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked on 1.0": "POST {T}/ HTTP/1.0\r\nHost: {H}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": "{POST}Content-Length : 3\r\n\r\nabc",
    "space before name": "GET {T}/ HTTP/1.1\r\n Host: {H}\r\n\r\n",
    "folded line": "{GET}X: a\r\n b\r\n\r\n",
    "bare line feeds": "GET {T}/ HTTP/1.1\nHost: {H}\n\n",
    "one bare line feed": "GET {T}/ HTTP/1.1\r\nHost: {H}\nX: y\r\n\r\n",
    "bare carriage return": "{GET}X: a\rb\r\n\r\n",
    "NUL in a value": "{GET}X: a\x00b\r\n\r\n",
    "control in a value": "{GET}X: a\x08b\r\n\r\n",
    "line without a colon": "{GET}nonsense\r\n\r\n",
    "empty name": "{GET}: value\r\n\r\n",
    "name with a space": "{GET}X Y: z\r\n\r\n",
    "name with a slash": "{GET}X/Y: z\r\n\r\n",
    "no Host": "GET {T}/ HTTP/1.1\r\nX: y\r\n\r\n",
    "two Hosts": "{GET}Host: {H}\r\n\r\n",
    "Host with a comma": "GET {T}/ HTTP/1.1\r\nHost: {H}, other.test\r\n\r\n",
    "Host with userinfo": "GET {T}/ HTTP/1.1\r\nHost: me@{H}\r\n\r\n",
    "two spaces": "GET  {T}/ HTTP/1.1\r\nHost: {H}\r\n\r\n",
    "tab for space": "GET\t{T}/ HTTP/1.1\r\nHost: {H}\r\n\r\n",
    "space in the target": "GET {T}/a b HTTP/1.1\r\nHost: {H}\r\n\r\n",
    "fragment": "GET {T}/#part HTTP/1.1\r\nHost: {H}\r\n\r\n",
    "eight-bit target": "GET {T}/\xe4 HTTP/1.1\r\nHost: {H}\r\n\r\n",
    "lower-case version": "GET {T}/ http/1.1\r\nHost: {H}\r\n\r\n",
    "version 1.2": "GET {T}/ HTTP/1.2\r\nHost: {H}\r\n\r\n",
    "version 2.0": "GET {T}/ HTTP/2.0\r\nHost: {H}\r\n\r\n",
    "version with plus": "GET {T}/ HTTP/+1.1\r\nHost: {H}\r\n\r\n",
    "no version": "GET {T}/\r\n\r\n",
    "method with a colon": "GE:T {T}/ HTTP/1.1\r\nHost: {H}\r\n\r\n",
    "long field": "{GET}X: " + "x" * 70_000 + "\r\n\r\n",
    "many fields": "{GET}" + "X: y\r\n" * 200 + "\r\n",
}
# After these the head is in order, and goes to the origin; what follows must not.
BAD_BODIES = {
    "chunk size with sign": "+3\r\nabc\r\n0\r\n\r\n",
    "chunk size with underscore": "1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "chunk size in 0x": "0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size with space": "3 \r\nabc\r\n0\r\n\r\n",
    "chunk size too long": "00000000000000000000000000003\r\nabc\r\n0\r\n\r\n",
    "huge chunk size": "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "no size": "\r\nabc\r\n0\r\n\r\n",
    "bare line feed after the size": "3\nabc\r\n0\r\n\r\n",
    "wrong chunk end": "3\r\nabcXY0\r\n\r\n",
    "chunk end without CR": "3\r\nabc\n0\r\n\r\n",
    "extension with a line feed": "3;a=\nb\r\nabc\r\n0\r\n\r\n",
    "long extension": "3;" + "a" * 5000 + "\r\nabc\r\n0\r\n\r\n",
    "length in the trailers": "3\r\nabc\r\n0\r\nContent-Length: 7\r\n\r\n",
    "bad trailer": "3\r\nabc\r\n0\r\nX Y: z\r\n\r\n",
    "long trailers": "3\r\nabc\r\n0\r\n" + "X: y\r\n" * 9000 + "\r\n",
}  # fmt: skip
BAD_TARGETS = [
    "http://user:pass@origin.test:{port}/", "http://origin.test:{port}#x/", "http://origin.test:0/",
    "http://origin.test:65536/", "http://origin.test:+80/", "http://origin.test:8_0/", "http://origin.test:/",
    "http:///path", "http://", "http:origin.test/", "http:/origin.test/", "http://origin.te%73t:{port}/",
    "http://origin.test\\@other.test/", "http://[origin.test]:{port}/", "http://[::1%25lo]:{port}/",
    "http://origin..test:{port}/", "http://.origin.test:{port}/", "http://-a.test:{port}/", "http://*.test:{port}/",
    "http://\xf6rigin.test:{port}/", "http://0x7f.1:{port}/", "http://2130706433:{port}/", "http://127.1:{port}/",
    "http://0177.0.0.1:{port}/", "//origin.test:{port}/", "origin.test:{port}",
]  # fmt: skip
WAYS = ("absolute", "tunnel", "tls")
STATUS_LINE = re.compile(rb"HTTP/1\.1 \d{3} ")
REFUSED = (b"HTTP/1.1 400 ", b"HTTP/1.1 413 ", b"HTTP/1.1 431 ", b"HTTP/1.1 501 ", b"HTTP/1.1 505 ")
# A tunnel whose first bytes are no method and a space carries neither TLS nor HTTP: it is closed without a word.
NOT_HTTP = ("tab for space", "method with a colon", "no version")


def exchange(client: WireClient, data: bytes) -> bytes:
    """Send it and read all that comes until the proxy ends the connection."""
    client.send(data)
    try:
        return client.read_to_end()
    except ConnectionError:
        return client.buffer


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", BAD_REQUESTS)
def test_bad_heads(way: str, bad: str, intercepting: ProxyProcess, certificates: Any) -> None:
    """One refusal, then the end; neither the request nor the one behind it reaches the origin."""
    tls = certificates.origin if way == "tls" else None
    with ScriptedOrigin(tls=tls) as origin:
        with RoutedClient(
            intercepting.port(), way, "origin.test", origin.port, trust=certificates.intercept[0]
        ) as client:
            request = BAD_REQUESTS[bad]
            for method in ("GET", "POST"):
                request = request.replace(f"{{{method}}}", f"{method} {{T}}/ HTTP/1.1\r\nHost: {{H}}\r\n")
            request = request.replace("{T}", client.prefix).replace("{H}", client.authority)
            behind = f"GET {client.prefix}/smuggled HTTP/1.1\r\nHost: {client.authority}\r\n\r\n"
            answer = exchange(client, (request + behind).encode("latin-1"))
        if way == "tunnel" and bad in NOT_HTTP and not answer:
            assert origin.received == b""
            return
        assert answer.startswith(REFUSED), answer
        assert len(STATUS_LINE.findall(answer)) == 1
        assert origin.received == b""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("bad", BAD_BODIES)
def test_bad_bodies(way: str, bad: str, intercepting: ProxyProcess, certificates: Any) -> None:
    """The exchange and both connections end; the request behind it reaches nobody, in no form."""
    tls = certificates.origin if way == "tls" else None
    with ScriptedOrigin(tls=tls) as origin:
        with RoutedClient(
            intercepting.port(), way, "origin.test", origin.port, trust=certificates.intercept[0]
        ) as client:
            head = f"POST {client.prefix}/ HTTP/1.1\r\nHost: {client.authority}\r\nTransfer-Encoding: chunked\r\n\r\n"
            behind = f"GET {client.prefix}/smuggled HTTP/1.1\r\nHost: {client.authority}\r\n\r\n"
            answer = exchange(client, (head + BAD_BODIES[bad] + behind).encode("latin-1"))
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ", b"HTTP/1.1 431 ")), answer
        assert len(STATUS_LINE.findall(answer)) == 1
        for connection in origin.connections:
            assert connection.done.wait(10)
            assert b"smuggled" not in connection.received
            assert not connection.received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("target", BAD_TARGETS)
def test_bad_targets(target: str, intercepting: ProxyProcess) -> None:
    """A target that names no destination beyond doubt is refused, as absolute-form and in CONNECT."""
    with ScriptedOrigin() as origin:
        target = target.format(port=origin.port)
        with WireClient(intercepting.port()) as client:
            answer = exchange(client, f"GET {target} HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode("latin-1"))
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")), answer
        authority = target.removeprefix("http://").rstrip("/")
        if authority != f"origin.test:{origin.port}":
            with WireClient(intercepting.port()) as client:
                answer = exchange(client, f"CONNECT {authority} HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"))
            assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert origin.connections == []


@pytest.mark.parametrize(
    "request_line",
    ["GET https://origin.test/", "GET ftp://origin.test/", "GET gopher://origin.test/", "GET file:///etc/passwd"],
)
def test_other_schemes(request_line: str, intercepting: ProxyProcess) -> None:
    """Only http is asked for outside a tunnel."""
    with WireClient(intercepting.port()) as client:
        answer = exchange(client, f"{request_line} HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_connect_with_a_body(field: str, passing: ProxyProcess) -> None:
    """CONNECT has no body: a framing field on it is refused."""
    with ScriptedOrigin() as origin, WireClient(passing.port()) as client:
        answer = exchange(
            client, f"CONNECT origin.test:{origin.port} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\nhello".encode()
        )
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert origin.connections == []


@pytest.mark.parametrize(
    "first", [b"\x00\x01\x02", b"SSH-2.0-client\r\n", b"\x16\x03\x01\xff\xff", b"\r\n\r\nGET /", b"\x80\x2e\x01"]
)
@pytest.mark.parametrize("proxy_name", ["passing", "intercepting"])
def test_a_tunnel_of_something_else(first: bytes, proxy_name: str, request: pytest.FixtureRequest) -> None:
    """What is neither TLS nor HTTP is not carried: the tunnel ends and the origin gets no byte."""
    proxy: ProxyProcess = request.getfixturevalue(proxy_name)
    with ScriptedOrigin() as origin, WireClient(proxy.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == 200
        client.send(first)
        client.finish()
        try:
            client.read_to_end()
        except ConnectionError:
            pass
        assert origin.received == b""
