"""CONNECT and its oddities, and what the listeners answer to who asks them for something else."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from netfw.testing.origins import HttpOrigin, pattern
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import WireClient

# -- CONNECT ----------------------------------------------------------------------------------------------------------


def test_connect_of_old_python(intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any) -> None:
    """`CONNECT host:port HTTP/1.0` without any field opens a tunnel."""
    with WireClient(intercepting.port()) as client:
        client.send(f"CONNECT origin.test:{tls_origin.port} HTTP/1.0\r\n\r\n".encode())
        assert client.read_response("CONNECT").status == 200
        client.start_tls(certificates.intercept[0], "origin.test")
        assert client.ask("GET", "/echo", f"origin.test:{tls_origin.port}").status == 200


@pytest.mark.parametrize(
    "fields", ["Connection: close\r\n", "Proxy-Connection: keep-alive\r\n", "Content-Length: 0\r\n", ""]
)
def test_connect_with_connection_fields(
    fields: str, intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """`Connection: close`, `Content-Length: 0` and a Host without its port do not end the tunnel."""
    with WireClient(intercepting.port()) as client:
        client.send(f"CONNECT origin.test:{tls_origin.port} HTTP/1.1\r\nHost: origin.test\r\n{fields}\r\n".encode())
        assert client.read_response("CONNECT").status == 200
        client.start_tls(certificates.intercept[0], "origin.test")
        for _ in range(3):
            assert client.ask("GET", "/echo", f"origin.test:{tls_origin.port}").status == 200


@pytest.mark.parametrize(
    ("offered", "chosen"), [((), None), (("http/1.1",), "http/1.1"), (("h2", "http/1.1"), "http/1.1")]
)
def test_alpn_inside_the_tunnel(
    offered: tuple[str, ...], chosen: str | None, intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """Only http/1.1 is ever chosen, and nothing where nothing was offered."""
    with WireClient(intercepting.port()) as client:
        assert client.connect(f"origin.test:{tls_origin.port}").status == 200
        tls = client.start_tls(certificates.intercept[0], "origin.test", alpn=offered)
        assert tls.selected_alpn_protocol() == chosen
        assert client.ask("GET", "/echo", f"origin.test:{tls_origin.port}").status == 200


@pytest.mark.parametrize("proxy_name", ["passing", "intercepting"])
def test_early_bytes_behind_connect(
    proxy_name: str, request: pytest.FixtureRequest, certificates: Any, tls_origin: HttpOrigin
) -> None:
    """A ClientHello that comes in one packet with the CONNECT is kept for the tunnel."""
    proxy: ProxyProcess = request.getfixturevalue(proxy_name)
    trust = certificates.intercept[0] if proxy_name == "intercepting" else certificates.origin_ca
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=str(trust)).wrap_bio(incoming, outgoing, server_hostname="origin.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with WireClient(proxy.port()) as client:
        assert client.connect(f"origin.test:{tls_origin.port}", early=outgoing.read()).status == 200
        incoming.write(client.buffer)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.sock.sendall(outgoing.read())
                incoming.write(client.sock.recv(65536))
        tls.write(f"GET /echo HTTP/1.1\r\nHost: origin.test:{tls_origin.port}\r\n\r\n".encode())
        client.sock.sendall(outgoing.read())
        answer = b""
        while b"\r\n\r\n" not in answer:
            try:
                answer += tls.read()
            except ssl.SSLWantReadError:
                incoming.write(client.sock.recv(65536))
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_early_plain_request_behind_connect(intercepting: ProxyProcess, origin: HttpOrigin) -> None:
    """Plain HTTP right behind the CONNECT goes through the phases like any request inside a tunnel."""
    with WireClient(intercepting.port()) as client:
        host = f"origin.test:{origin.port}"
        early = f"GET /forbidden HTTP/1.1\r\nHost: {host}\r\n\r\nGET /echo HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        assert client.connect(host, early=early).status == 200
        assert client.read_response().status == 403
        assert client.read_response().status == 200


def test_half_close_of_an_opaque_tunnel(passing: ProxyProcess, certificates: Any) -> None:
    """A client that ends its side still gets all that the origin has to say."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="origin.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    payload = b"".join(pattern(3_000_000))

    def script(connection: OriginConnection) -> None:
        connection.read_to_end()
        connection.send(payload)
        connection.close()

    with ScriptedOrigin(script) as origin, WireClient(passing.port()) as client:
        assert client.connect(f"origin.test:{origin.port}").status == 200
        client.send(hello)
        client.finish()
        assert client.read_to_end() == payload
        assert origin.received == hello


# -- the listeners ----------------------------------------------------------------------------------------------------


def test_tls_on_the_http_port(
    passing: ProxyProcess, intercepting: ProxyProcess, origin: HttpOrigin, certificates: Any
) -> None:
    """TLS to the HTTP port works where the proxy has a CA to make a certificate with; elsewhere it is refused."""
    with WireClient(passing.port()) as client, pytest.raises(OSError):
        client.start_tls(None, None)
    with WireClient(intercepting.port()) as client:
        client.start_tls(certificates.intercept[0], "127.0.0.1")
        assert client.ask("GET", f"http://origin.test:{origin.port}/echo", "origin.test").status == 200


def test_plain_http_on_the_https_port(passing: ProxyProcess) -> None:
    """It is told what it did wrong."""
    with WireClient(passing.port("tls")) as client:
        response = client.ask("GET", "http://origin.test/", "origin.test")
        assert response.status == 400
        assert b"https://" in response.body
        assert client.ends() == "end"


@pytest.mark.parametrize("listener", ["plain", "tls"])
def test_own_pages(listener: str, intercepting: ProxyProcess, passing: ProxyProcess, certificates: Any) -> None:
    """`GET /` says what this is; `/ca.pem` is the CA's certificate, where there is one; nothing else is there."""

    def get(proxy: ProxyProcess, path: str) -> tuple[int, bytes]:
        with WireClient(proxy.port(listener)) as client:
            if listener == "tls":
                client.start_tls(certificates.listener_ca, "127.0.0.1")
            response = client.ask("GET", path, "127.0.0.1")
            return response.status, response.body

    status, page = get(intercepting, "/")
    assert status == 200
    assert b"proxy" in page
    assert get(intercepting, "/ca.pem") == (200, certificates.intercept[0].read_bytes())
    assert get(passing, "/ca.pem")[0] == 404
    assert get(passing, "/etc/passwd")[0] == 404


def test_a_stranger_is_closed(make_proxy: Any) -> None:
    """Who is not in `clients` gets no byte."""
    listeners = [{"name": "plain", "type": "HTTP", "address": "127.0.0.1", "port": 0, "clients": ["127.0.0.1/32"]}]
    proxy = make_proxy(policy(), listeners=listeners)
    with WireClient(proxy.port(), source="127.0.0.9") as stranger:
        assert stranger.ends() in ("end", "reset")
    with WireClient(proxy.port()) as client:
        assert client.ask("GET", "/", "127.0.0.1").status == 200


def test_a_slow_head_is_timed_out(make_proxy: Any) -> None:
    """A head that does not come to its end gets 408, a connection that says nothing is closed."""
    proxy = make_proxy(policy(), timeouts={"drain": "1s", "head": "1s"})
    with WireClient(proxy.port()) as client:
        client.send(b"GET http://origin.test/ HTTP/1.1\r\n")
        assert client.read_response().status == 408
        assert client.ends() == "end"
    with WireClient(proxy.port()) as client:
        assert client.ends() == "end"
