"""Clients behind a load balancer: the real server, real sockets, PROXY headers of both versions."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_headers import binary, endpoint, extension, line, local
from netfw.testing.proxy_process import ProxyProcess, condition, policy, rule
from netfw.testing.wire_client import WireClient

BALANCER = "127.0.9.1"
CLIENT = "198.51.100.7"
VPCE = "vpce-08d2bf15fac5001c9"
CHECKSUM = extension(0x03, b"abcd")


def rules() -> dict[str, Any]:
    """One rule for each way to know a client; everybody else is denied."""
    return policy(
        pre_dns="DENY",
        groups={
            "clients": {
                "PreDNS": [
                    rule("by-address", "ALLOW", condition("request:SourceIp", "IpAddress", f"{CLIENT}/32")),
                    rule("by-endpoint", "ALLOW", condition("request:SourceVpce", "StringEquals", VPCE)),
                    rule("by-account", "ALLOW", condition("request:SourceAccount", "StringEquals", "111122223333")),
                    rule("by-network", "ALLOW", condition("request:SourceVpc", "StringEquals", "vpc-0b")),
                    rule("by-identity", "ALLOW", condition("request:ClientIdentity", "StringEquals", "build")),
                ]
            }
        },
    )


SOURCES = [
    {"vpce": "vpce-0a", "account": "111122223333"},
    {"cidr": "2001:db8:b::/48", "vpc": "vpc-0b", "vpce": "vpce-0b"},
    {"cidr": "198.51.100.32/27", "identity": "build"},
]


@pytest.fixture(scope="module")
def behind(proxy_maker: Callable[..., ProxyProcess], certificates: Any) -> Iterator[ProxyProcess]:
    """A plain and a TLS listener, both behind the same load balancer."""

    def listener(name: str, kind: str, **more: str) -> dict[str, Any]:
        clients = ["198.51.100.0/24", "2001:db8::/32", "127.0.0.1/32"]
        door = {"address": "127.0.0.1", "port": 0, "clients": clients, "proxy_protocol": {"from": [BALANCER]}}
        return {"name": name, "type": kind, **door, **more}

    certificate, key = map(str, certificates.listener)
    listeners = [listener("plain", "HTTP"), listener("tls", "HTTPS", certificate=certificate, private_key=key)]
    with proxy_maker("behind", rules(), listeners=listeners, sources=SOURCES) as proxy:
        yield proxy


def of(port: int) -> Callable[[dict[str, Any]], bool]:
    """The records of the client with this port in its header."""
    return lambda record: (record["client_src_ip"], record["client_src_port"]) == (CLIENT, port)


def head(origin: HttpOrigin) -> bytes:
    """A request."""
    authority = f"origin.test:{origin.port}"
    return f"GET http://{authority}/echo/x HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("header", "status", "by"),
    [
        (line(CLIENT), 200, "by-address"),
        (binary(CLIENT), 200, "by-address"),
        (binary("::ffff:" + CLIENT), 200, "by-address"),
        (line("198.51.100.8"), 403, "default"),
        (binary("198.51.100.8", extensions=CHECKSUM), 403, "default"),
        (binary("198.51.100.8", extensions=endpoint(VPCE)), 200, "by-endpoint"),
        (binary("198.51.100.8", extensions=CHECKSUM + endpoint("vpce-0a")), 200, "by-account"),
        (binary("198.51.100.8", extensions=endpoint("vpce-0c")), 403, "default"),
        (line("2001:db8:b::1"), 200, "by-network"),
        (binary("2001:db8:b::1", extensions=endpoint("vpce-0c")), 403, "default"),
        (line("198.51.100.33"), 200, "by-identity"),
    ],
)
def test_rules_and_records(header: bytes, status: int, by: str, behind: ProxyProcess, origin: HttpOrigin) -> None:
    """What decides, and what is written down, is the client in the header."""
    before = len(behind.records())
    with WireClient(behind.port(), source=BALANCER) as client:
        client.send(header + head(origin))
        assert client.read_response().status == status
    record = behind.wait_for_records(lambda record: record["client_src_port"] == 40000, since=before)[0]
    assert record["client_src_ip"] in (CLIENT, "198.51.100.8", "198.51.100.33", "2001:db8:b::1")
    assert record["client_src_port"] == 40000
    assert by in json.dumps(record.get("all_matches", "default"))
    if b"vpce" in header:
        assert record["src_vpce"].encode() in header


@pytest.mark.parametrize("header", [line(CLIENT), binary(CLIENT, extensions=endpoint(VPCE))])
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.9.2"])
def test_spoofing(header: bytes, source: str, behind: ProxyProcess, origin: HttpOrigin) -> None:
    """From an address that is not the load balancer's a header changes nothing: 400, or nothing for a stranger."""
    with WireClient(behind.port(), source=source) as client:
        try:
            client.send(header + head(origin))
            answer = client.read_to_end()
        except ConnectionError:
            answer = b""
    assert answer.startswith(b"HTTP/1.1 400 ") if source == "127.0.0.1" else answer == b""


@pytest.mark.parametrize("source", ["127.0.0.1", BALANCER])
def test_without_a_header(source: str, behind: ProxyProcess, origin: HttpOrigin) -> None:
    """A client of its own is served; what comes from the load balancer must have one."""
    with WireClient(behind.port(), source=source) as client:
        client.send(head(origin))
        if source == BALANCER:
            try:
                assert client.read_to_end() == b""
            except ConnectionResetError:
                pass
            assert 'reason="proxy_header"' in behind.admin("/metrics")[1].decode()
        else:
            assert client.read_response().status == 403


def test_a_stranger_in_a_header(behind: ProxyProcess, origin: HttpOrigin) -> None:
    """`clients` goes by the header."""
    with WireClient(behind.port(), source=BALANCER) as client:
        client.send(line("203.0.113.1"))
        assert client.read_to_end() == b""


def test_a_health_check(behind: ProxyProcess) -> None:
    """Closed in peace."""
    with WireClient(behind.port(), source=BALANCER) as client:
        client.send(local())
        assert client.read_to_end() == b""


@pytest.mark.parametrize("header", [line(CLIENT, 40004), binary(CLIENT, 40004, extensions=endpoint(VPCE))])
def test_every_split(header: bytes, behind: ProxyProcess, origin: HttpOrigin) -> None:
    """Wherever the segments end."""
    for size in range(1, len(header)):
        with WireClient(behind.port(), source=BALANCER) as client:
            client.send(header[:size])
            client.send(header[size:] + head(origin))
            assert client.read_response().status == 200


@pytest.mark.parametrize(
    ("header", "port"), [(line(CLIENT, 40001), 40001), (binary(CLIENT, 40002, extensions=endpoint(VPCE)), 40002)]
)
def test_tls_behind_a_header(
    header: bytes, port: int, behind: ProxyProcess, origin: HttpOrigin, certificates: Any
) -> None:
    """The handshake follows the header."""
    with WireClient(behind.port("tls"), source=BALANCER) as client:
        client.send(header)
        client.start_tls(certificates.listener_ca, "proxy.test")
        client.send(head(origin))
        assert client.read_response().status == 200
    assert behind.wait_for_record(of(port))["listener"] == "tls"


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 27, 28, 29, 40])
def test_a_hello_in_the_header_s_segment(cut: int, behind: ProxyProcess, certificates: Any) -> None:
    """Header and ClientHello as one run of bytes, cut anywhere: the handshake comes to its end."""
    context = ssl.create_default_context(cafile=str(certificates.listener_ca))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    inner = context.wrap_bio(incoming, outgoing, server_hostname="proxy.test")
    with pytest.raises(ssl.SSLWantReadError):
        inner.do_handshake()
    data = binary(CLIENT) + outgoing.read()
    with WireClient(behind.port("tls"), source=BALANCER) as client:
        for piece in filter(None, (data[:cut], data[cut:])):
            client.send(piece)
        while True:
            try:
                inner.do_handshake()
                break
            except ssl.SSLWantReadError:
                assert client.more()
                incoming.write(client.buffer)
                client.buffer = b""
    assert inner.getpeercert()


def test_workers(make_proxy: Callable[..., ProxyProcess], origin: HttpOrigin) -> None:
    """What is configured reaches the processes that serve."""
    door = {"name": "plain", "type": "HTTP", "address": "127.0.0.1", "port": 0, "clients": ["198.51.100.0/24"]}
    listeners = [{**door, "proxy_protocol": {"from": [BALANCER]}}]
    proxy = make_proxy(rules(), listeners=listeners, sources=SOURCES, workers=1)
    with WireClient(proxy.port(), source=BALANCER) as client:
        client.send(binary("198.51.100.8", extensions=endpoint("vpce-0a")) + head(origin))
        assert client.read_response().status == 200
    record = proxy.wait_for_record(bool)
    assert (record["src_vpce"], record["vpce_account_id"]) == ("vpce-0a", "111122223333")


def test_a_tunnel_is_its_clients(behind: ProxyProcess, tls_origin: HttpOrigin, certificates: Any) -> None:
    """CONNECT too."""
    with WireClient(behind.port(), source=BALANCER) as client:
        client.send(binary(CLIENT, 40003))
        assert client.connect(f"origin.test:{tls_origin.port}").status == 200
        client.start_tls(certificates.origin_ca, "origin.test")
        assert client.ask("GET", "/echo/x", f"origin.test:{tls_origin.port}").status == 200
    assert behind.wait_for_record(of(40003))["dest_port"] == tls_origin.port
