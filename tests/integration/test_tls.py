"""TLS at both ends: what a client sees of our certificates, which versions are spoken, addresses as hosts."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import WORKERS, ProxyProcess, policy
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient, WireClient


@pytest.fixture
def ca(certificates: Any) -> Path:
    """The interception CA's certificate."""
    path: Path = certificates.intercept[0]
    return path


def strict(ca: Path) -> ssl.SSLContext:
    """As strict as Python 3.13's default."""
    context = ssl.create_default_context(cafile=str(ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def test_the_leaf_satisfies_strict_verifiers(intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path) -> None:
    """X509_STRICT accepts it; it names the host and nothing else and does not live long."""
    with WireClient(intercepting.port()) as client:
        assert client.connect(f"origin.test:{tls_origin.port}").status == 200
        tls = client.start_tls(ca, "origin.test", context=strict(ca))
        leaf = x509.load_der_x509_certificate(tls.getpeercert(True) or b"")
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(names) == [x509.DNSName("origin.test")]
        shown = tls.getpeercert() or {}
        begins, ends = (ssl.cert_time_to_seconds(str(shown[key])) for key in ("notBefore", "notAfter"))
        assert ends - begins < 31 * 86400
        assert client.ask("GET", "/echo", f"origin.test:{tls_origin.port}").status == 200


def test_one_host_keeps_its_leaf(intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path) -> None:
    """A second connection to a host shows the same certificate, another host another one; each process has its own."""
    seen = []
    for host in (*["origin.test"] * 5, "other.test"):
        with RoutedClient(intercepting.port(), "tls", host, tls_origin.port, trust=ca) as client:
            seen.append(client.sock.getpeercert(True))  # type: ignore[attr-defined]  # it is an SSLSocket now
    assert len(set(seen[:5])) <= max(1, WORKERS)
    assert seen[5] not in seen[:5]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_spoken(version: ssl.TLSVersion, intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path) -> None:
    """TLS 1.2 and 1.3 work, and the record says which it was."""
    since = len(intercepting.records())
    context = strict(ca)
    context.minimum_version = context.maximum_version = version
    with WireClient(intercepting.port()) as client:
        assert client.connect(f"origin.test:{tls_origin.port}").status == 200
        client.start_tls(ca, "origin.test", context=context)
        assert client.ask("GET", "/echo", f"origin.test:{tls_origin.port}").status == 200
    record = intercepting.wait_for_record(lambda r: r.get("http_method") == "GET", since=since)
    assert record["tls"]["client_version"] == version.name.replace("TLSv1_", "TLSv1.")


def test_old_versions_are_refused(intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path) -> None:
    """TLS 1.1 gets an alert; nothing of the client reaches the origin."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with WireClient(intercepting.port()) as client:
        assert client.connect(f"origin.test:{tls_origin.port}").status == 200
        with pytest.raises(OSError):
            client.start_tls(ca, "origin.test", context=context)


def test_a_client_that_offers_only_h2(intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path) -> None:
    """h2 is never chosen: the handshake fails or goes on without ALPN."""
    with WireClient(intercepting.port()) as client:
        assert client.connect(f"origin.test:{tls_origin.port}").status == 200
        try:
            tls = client.start_tls(ca, "origin.test", alpn=("h2",))
        except ssl.SSLError:
            return
        assert tls.selected_alpn_protocol() is None


@pytest.mark.parametrize("intercept", [False, True])
def test_address_as_host(
    intercept: bool, intercepting: ProxyProcess, passing: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """https://127.0.0.1/ works in both modes; our leaf then names the address."""
    proxy = intercepting if intercept else passing
    trust = certificates.intercept[0] if intercept else certificates.origin_ca
    with RoutedClient(proxy.port(), "tls", "127.0.0.1", tls_origin.port, trust=trust) as client:
        assert client.fetch("/echo").status == 200


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
@pytest.mark.parametrize("way", ["absolute", "tunnel"])
def test_ipv6_literal(way: str, make_proxy: Any) -> None:
    """An IPv6 literal is reached and recorded without brackets."""
    proxy = make_proxy(policy(), guard={"allow": ["::1/128"]})

    def script(connection: OriginConnection) -> None:
        while connection.read_head():
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with ScriptedOrigin(script, address="::1") as origin:
        with RoutedClient(proxy.port(), way, "[::1]", origin.port) as client:
            assert client.fetch("/").status == 200
        assert f"host: [::1]:{origin.port}".encode() in origin.received.lower()
    record = proxy.wait_for_record(lambda r: r.get("http_method") == "GET")
    assert (record["dest_ip"], record["dest_domain"]) == ("::1", "::1")


def test_the_second_address_is_tried(make_proxy: Any, dns: DnsServer) -> None:
    """A name whose first address refuses is reached at its next (RFC 8305)."""
    dns.answers.zone["fallback.test"] = {"A": ["127.0.0.7", "127.0.0.1"], "AAAA": []}
    proxy = make_proxy(policy())
    with HttpOrigin() as origin, RoutedClient(proxy.port(), "absolute", "fallback.test", origin.port) as client:
        assert client.fetch("/echo").status == 200
    assert proxy.wait_for_record(lambda r: r.get("dest_ip") == "127.0.0.1")["http_status_code"] == 200


def test_an_alias_is_in_the_record(passing: ProxyProcess, origin: HttpOrigin) -> None:
    """The name asked for decides; the CNAMEs that led to the address are told."""
    since = len(passing.records())
    with RoutedClient(passing.port(), "absolute", "moved.test", origin.port) as client:
        assert dict(json.loads(client.fetch("/echo").body)["fields"])["Host"] == f"moved.test:{origin.port}"
    record = passing.wait_for_record(lambda r: r.get("dest_domain") == "moved.test.", since=since)
    assert "origin.test" in " ".join(record["dns"]["chain"])


def test_a_bypassed_host_is_passed_through(make_proxy: Any, tls_origin: HttpOrigin, certificates: Any) -> None:
    """Beside intercepted hosts, one under `bypass` shows its own certificate and leaves a tunnel record."""
    ca = {"certificate": str(certificates.intercept[0]), "private_key": str(certificates.intercept[1])}
    proxy = make_proxy(policy(), tls_intercept={"mode": "ENABLED", "ca": ca, "bypass": ["other.test"]})
    with RoutedClient(proxy.port(), "tls", "other.test", tls_origin.port, trust=certificates.origin_ca) as client:
        assert client.fetch("/echo").status == 200
    with RoutedClient(proxy.port(), "tls", "origin.test", tls_origin.port, trust=certificates.intercept[0]) as client:
        assert client.fetch("/echo").status == 200
    assert proxy.wait_for_record(lambda r: r["kind"] == "tunnel")["dest_domain"] == "other.test."
    assert proxy.wait_for_record(lambda r: r["kind"] == "exchange")["dest_domain"] == "origin.test."
