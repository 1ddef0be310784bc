"""A reload takes new certificates, keys and lists: new connections get them, open ones notice nothing."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from netfw.testing.origins import HttpOrigin
from netfw.testing.pki import TestAuthority
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.revocation import make_crl
from netfw.testing.wire_client import RoutedClient, WireClient
from netfw.x509.reading import certificates_from_pem

WORKERS = [0, 2]


def netfw(*arguments: str) -> str:
    """The command, as an operator types it."""
    done = subprocess.run(
        [sys.executable, "-m", "netfw.cli.main", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def reload(proxy: ProxyProcess) -> dict[str, Any]:
    """What `netfw reload` is told."""
    _status, body = proxy.admin("/reload", "POST", 120.0)
    report: dict[str, Any] = json.loads(body)
    return report


class Visitors:
    """Clients that trust what is in `trust`, each asking over and over: over one connection, or over a new one each."""

    def __init__(self, proxy: ProxyProcess, origin: HttpOrigin, trust: Path, count: int = 4) -> None:
        self._proxy, self._origin, self._trust = proxy, origin, trust
        self._over = threading.Event()
        self.done = [0] * count
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int) -> None:
        kept = 10**9 if number % 2 else 1
        hosts = ("origin.test", "other.test")
        try:
            while not self._over.is_set():
                host = hosts[number // 2 % 2]
                with RoutedClient(self._proxy.port(), "tls", host, self._origin.port, trust=self._trust) as client:
                    for _ in range(kept):
                        if client.fetch("/echo/x").status != 200:
                            raise AssertionError("not 200")
                        self.done[number] += 1
                        time.sleep(0.02)  # the machine is others' too
                        if self._over.is_set():
                            break
        except Exception as error:
            self.wrong.append(repr(error))

    def go_on(self, proxy: ProxyProcess, rounds: int = 3) -> None:
        """Until each has been answered so many times more."""
        wanted = [done + rounds for done in self.done]
        proxy.wait_until(
            lambda: bool(self.wrong) or all(a >= b for a, b in zip(self.done, wanted, strict=True)), timeout=60
        )
        assert self.wrong == []


def issuer_of(proxy: ProxyProcess, origin: HttpOrigin, trust: Path, host: str = "origin.test") -> x509.Name:
    """Who signed the leaf that a new connection gets."""
    with RoutedClient(proxy.port(), "tls", host, origin.port, trust=trust) as client:
        return x509.load_der_x509_certificate(client.sock.getpeercert(True)).issuer  # type: ignore[attr-defined]


@pytest.mark.parametrize("workers", WORKERS)
def test_rotation_under_load(workers: int, make_proxy: Any, tls_origin: HttpOrigin, tmp_path: Path) -> None:
    """No request of a client that trusts both fails, on kept connections and new ones; new leaves are the new CA's."""
    certificate, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    places = ["--certificate", str(certificate), "--private-key", str(key)]
    netfw("ca", "init", *places, "--name", "First CA")
    ca = {"certificate": str(certificate), "private_key": str(key)}
    proxy = make_proxy(policy(), tls_intercept={"mode": "ENABLED", "ca": ca}, workers=workers)
    netfw("ca", "rotate", *places, "--name", "Second CA")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + (tmp_path / "ca.next.pem").read_bytes())
    first, second = (found.subject for found in certificates_from_pem(both.read_bytes()))
    assert issuer_of(proxy, tls_origin, both) == first
    with Visitors(proxy, tls_origin, both) as visitors:
        visitors.go_on(proxy)
        netfw("ca", "rotate", *places, "--switch")
        report = reload(proxy)
        assert report["ok"], report
        visitors.go_on(proxy)
        proxy.wait_until(lambda: issuer_of(proxy, tls_origin, both) == second, timeout=60)
        visitors.go_on(proxy)
    assert visitors.wrong == []
    for host in ("origin.test", "other.test"):
        for _ in range(4):
            assert issuer_of(proxy, tls_origin, both, host) == second
    with WireClient(proxy.port()) as client:
        assert client.ask("GET", "/ca.pem", "proxy").body.count(b"BEGIN") == 1


@pytest.mark.parametrize("workers", WORKERS)
def test_files_that_do_not_fit_change_nothing(
    workers: int, make_proxy: Any, tls_origin: HttpOrigin, tmp_path: Path
) -> None:
    """A key without its certificate is refused, and the former CA goes on, with the former policy."""
    certificate, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    netfw("ca", "init", "--certificate", str(certificate), "--private-key", str(key))
    trust = tmp_path / "trust.pem"
    shutil.copy(certificate, trust)
    ca = {"certificate": str(certificate), "private_key": str(key)}
    proxy = make_proxy(policy(), tls_intercept={"mode": "ENABLED", "ca": ca}, workers=workers)
    before = issuer_of(proxy, tls_origin, trust)
    certificate.write_bytes(TestAuthority("Another").certificate_pem)
    report = reload(proxy)
    assert not report["ok"] and "does not belong" in " ".join(report["problems"])
    assert report["generation"] == 1
    assert issuer_of(proxy, tls_origin, trust, "other.test") == before


def shown(port: int) -> bytes:
    """The certificate that a listener shows now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 20) as sock, context.wrap_socket(sock) as tls:
        return tls.getpeercert(True) or b""


@pytest.mark.parametrize("workers", WORKERS)
def test_a_listeners_certificate_is_renewed(
    workers: int, make_proxy: Any, origin: HttpOrigin, certificates: Any, tmp_path: Path
) -> None:
    """A connection that is open goes on; the next one is shown the new certificate, by every worker."""
    authority = TestAuthority("Listener's")

    def write(*names: str) -> bytes:
        pem, key = authority.issue(*names)
        (tmp_path / "cert.pem").write_bytes(pem)
        (tmp_path / "cert.key").write_bytes(key)
        return ssl.PEM_cert_to_DER_cert(pem.decode())

    first = write("proxy.test")
    listener = {
        "name": "plain", "type": "HTTPS", "address": "127.0.0.1", "port": 0, "clients": ["127.0.0.0/8"],
        "certificate": str(tmp_path / "cert.pem"), "private_key": str(tmp_path / "cert.key"),
    }  # fmt: skip
    proxy = make_proxy(policy(), listeners=[listener], workers=workers)
    assert shown(proxy.port()) == first
    with WireClient(proxy.port()) as client:
        client.start_tls(None, None)
        target = f"http://127.0.0.1:{origin.port}/echo/x"
        assert client.ask("GET", target, f"127.0.0.1:{origin.port}").status == 200
        second = write("proxy.test")
        assert reload(proxy)["ok"]
        proxy.wait_until(lambda: all(shown(proxy.port()) == second for _ in range(8)), timeout=60)
        assert client.ask("GET", target, f"127.0.0.1:{origin.port}").status == 200
        (tmp_path / "cert.key").write_bytes(b"nothing")
        report = reload(proxy)
        assert not report["ok"] and str(tmp_path / "cert.key") in report["problems"][0]
        assert shown(proxy.port()) == second
        assert client.ask("GET", target, f"127.0.0.1:{origin.port}").status == 200


@pytest.mark.parametrize("workers", WORKERS)
def test_a_list_of_revoked_origins_is_renewed(workers: int, make_proxy: Any, certificates: Any, tmp_path: Path) -> None:
    """Also for an origin whose verified connection waits to be used again, and whose session would resume."""
    crl = tmp_path / "origins.crl"
    crl.write_bytes(make_crl(certificates.origins))
    pair = certificates.issue(certificates.origins, "revoked-later", "origin.test")
    proxy = make_proxy(
        policy(), intercept=True, workers=workers,
        upstream={"trust": str(certificates.origin_ca), "crl_files": str(crl)},
    )  # fmt: skip
    with HttpOrigin(tls=pair) as origin:
        trust = certificates.intercept[0]

        def visit() -> int:
            with RoutedClient(proxy.port(), "tls", "origin.test", origin.port, trust=trust) as client:
                return client.fetch("/echo/x").status

        assert [visit() for _ in range(4)] == [200] * 4
        (certificate,) = certificates_from_pem(pair[0].read_bytes())
        crl.write_bytes(make_crl(certificates.origins, certificate))
        assert reload(proxy)["ok"]
        proxy.wait_until(lambda: visit() == 502, timeout=60)
        assert [visit() for _ in range(6)] == [502] * 6


@pytest.mark.parametrize("workers", WORKERS)
def test_the_list_of_our_ca_is_served(workers: int, make_proxy: Any, tmp_path: Path) -> None:
    """404 until there is one; then as DER, once the proxy was told."""
    certificate, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    places = ["--certificate", str(certificate), "--private-key", str(key)]
    netfw("ca", "init", *places)
    proxy = make_proxy(
        policy(),
        tls_intercept={"mode": "ENABLED", "ca": {"certificate": str(certificate), "private_key": str(key)}},
        workers=workers,
    )

    def page() -> Any:
        with WireClient(proxy.port()) as client:
            return client.ask("GET", "/ca.crl", "proxy")

    assert page().status == 404
    netfw("ca", "revoke", "1f", *places)
    netfw("ca", "crl", *places)
    assert reload(proxy)["ok"]
    proxy.wait_until(lambda: page().status == 200, timeout=60)
    answer = page()
    assert answer.single("Content-Type") == "application/pkix-crl"
    (entry,) = x509.load_der_x509_crl(answer.body)
    assert entry.serial_number == 0x1F


@pytest.mark.parametrize("workers", WORKERS)
def test_what_ends_soon_is_told(workers: int, make_proxy: Any, tmp_path: Path) -> None:
    """In the log, and among the metrics, once and not by every worker."""
    authority = TestAuthority("Short", not_after=datetime.now(UTC) + timedelta(days=20))
    certificate, key = tmp_path / "ca.pem", tmp_path / "ca.key"
    certificate.write_bytes(authority.certificate_pem)
    key.write_bytes(authority.key_pem)
    key.chmod(0o600)
    ca = {"certificate": str(certificate), "private_key": str(key)}
    proxy = make_proxy(policy(), tls_intercept={"mode": "ENABLED", "ca": ca}, workers=workers)
    proxy.wait_until(lambda: "the certificate of ca ends in 19 days" in proxy.log)
    _status, metrics = proxy.admin("/metrics")
    lines = dict(line.rsplit(" ", 1) for line in metrics.decode().splitlines() if "days_left{" in line)
    assert 19 < float(lines['netfw_certificate_days_left{certificate="ca"}']) < 20
    assert 'netfw_certificate_days_left{certificate="listener tls"}' in lines
