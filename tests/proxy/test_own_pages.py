"""The proxy's own pages as answers: types, methods, and that nothing of a request comes back."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from netfw.names.authority import Authority, parse_authority
from netfw.proxy.own_pages import OwnPages
from netfw.testing.conversation import Conversation
from netfw.testing.pki import TestAuthority

CA = TestAuthority("Own CA")
TYPES = {
    "/": "text/html; charset=utf-8",
    "/ca.pem": "application/x-pem-file",
    "/ca.der": "application/x-x509-ca-cert",
    "/ca.p12": "application/x-pkcs12",
    "/setup.sh": "text/x-shellscript; charset=utf-8",
    "/proxy.pac": "application/x-ns-proxy-autoconfig",
}


def made(
    hostname: str | None = "Egress.test", address: str = "0.0.0.0", certificate: bytes | None = CA.certificate_pem
) -> OwnPages:
    own = OwnPages(proxy_name="netfw-1", hostname=hostname, ca_certificate=lambda: certificate)
    own.add_own(address, 3128)
    return own


@pytest.mark.parametrize("path", TYPES)
def test_types(path: str) -> None:
    """Each page says what it is, and that no browser shall guess or load anything."""
    answer = made().answer(b"GET", path.encode())
    fields = dict(answer.fields)
    assert answer.status == 200
    assert fields["Content-Type"] == TYPES[path]
    assert fields["X-Content-Type-Options"] == "nosniff"
    assert fields["Content-Security-Policy"] == "default-src 'none'"


def test_other_methods_and_paths() -> None:
    """405 and 404; the path does not come back."""
    assert made().answer(b"POST", b"/").status == 405
    assert made().answer(b"HEAD", b"/ca.pem").status == 200
    missing = made().answer(b"GET", b"/<script>\xff")
    assert missing.status == 404
    assert b"<script>" not in missing.body


def test_without_interception_there_is_no_certificate() -> None:
    """404 with a reason; the script and the PAC are there all the same."""
    own = made(certificate=None)
    for path in (b"/ca.pem", b"/ca.der", b"/ca.p12"):
        assert own.answer(b"GET", path).status == 404
    assert own.answer(b"GET", b"/setup.sh").status == 200


def test_the_private_key_is_never_served() -> None:
    """Even when the configured file has it beside the certificate."""
    own = made(certificate=CA.certificate_pem + CA.key_pem)
    assert own.answer(b"GET", b"/ca.pem").body == CA.certificate_pem
    for path in TYPES:
        assert b"PRIVATE KEY" not in own.answer(b"GET", path.encode()).body


def test_the_name_is_the_configured_one_else_the_address() -> None:
    """A listener on every address has none to show: then clients are not told anything made up."""
    assert b"PROXY egress.test:3128" in made().answer(b"GET", b"/proxy.pac").body
    assert b"PROXY 10.0.0.1:3128" in made(None, "10.0.0.1").answer(b"GET", b"/proxy.pac").body
    for path in (b"/proxy.pac", b"/setup.sh"):
        answer = made(None).answer(b"GET", path)
        assert answer.status == 404
        assert b"proxy.hostname" in answer.body


def test_listeners_with_tls() -> None:
    """They come after the plain ones; one whose kind nobody told is not shown beside another."""
    direct = OwnPages(proxy_name="a", hostname="egress.test", ca_certificate=lambda: None, pac_direct=True)
    direct.add_own("10.0.0.1", 3128, tls=False)
    assert b'"PROXY egress.test:3128; DIRECT"' in direct.answer(b"GET", b"/proxy.pac").body
    own = OwnPages(proxy_name="a", hostname="egress.test", ca_certificate=lambda: None)
    own.add_own("0.0.0.0", 8443, tls=True)
    own.add_own("0.0.0.0", 3128, tls=False)
    assert b'"PROXY egress.test:3128; HTTPS egress.test:8443"' in own.answer(b"GET", b"/proxy.pac").body
    own = made()
    own.add_own("0.0.0.0", 8443)
    assert b'"PROXY egress.test:3128"' in own.answer(b"GET", b"/proxy.pac").body
    assert own.is_own(parse_authority(b"egress.test:8443"))
    assert not own.is_own(parse_authority(b"egress.test:80"))


def test_a_listener_that_is_closed_is_shown_no_more() -> None:
    """Nor is it the proxy itself; another one on that port is."""
    own = made()
    own.add_own("10.0.0.1", 8080, tls=False)
    own.add_own("10.0.0.2", 8080, tls=False)
    own.remove_own("10.0.0.1", 8080)
    assert own.is_own(parse_authority(b"egress.test:8080"))
    assert not own.is_own(parse_authority(b"10.0.0.1:8080"))
    own.remove_own("10.0.0.2", 8080)
    assert not own.is_own(parse_authority(b"egress.test:8080"))
    assert b"8080" not in own.answer(b"GET", b"/proxy.pac").body


def test_pages_are_made_once_and_anew_for_another_ca() -> None:
    """A trust store costs thousands of hashes."""
    current = [CA.certificate_pem]
    own = OwnPages(proxy_name="a", hostname="egress.test", ca_certificate=lambda: current[0])
    own.add_own("0.0.0.0", 3128)
    first = own.answer(b"GET", b"/ca.p12").body
    assert own.answer(b"GET", b"/ca.p12").body is first
    current[0] = TestAuthority("Next CA").certificate_pem
    assert own.answer(b"GET", b"/ca.p12").body != first
    assert own.answer(b"GET", b"/ca.pem").body == current[0]


def pages(certificate: bytes | None = CA.certificate_pem, hostname: str | None = None) -> OwnPages:
    return OwnPages(proxy_name="netfw", hostname=hostname, ca_certificate=lambda: certificate)


def test_the_front_page():
    """It says what this is, and how to trust it where that is needed."""
    answer = pages().answer(b"GET", b"/")
    assert answer.status == 200
    assert b"forward proxy" in answer.body
    assert b"/ca.pem" in answer.body
    assert b"ca.pem" not in pages(None).answer(b"GET", b"/").body


def test_the_certificate():
    """As it is, or 404."""
    answer = pages().answer(b"GET", b"/ca.pem")
    assert (answer.status, answer.body) == (200, CA.certificate_pem)
    assert ("Content-Type", "application/x-pem-file") in answer.fields
    assert pages(None).answer(b"GET", b"/ca.pem").status == 404


@pytest.mark.parametrize("path", [b"/x", b"//", b"/ca.pem/", b"/../etc/passwd", b"*", b"/<script>"])
def test_nothing_else(path):
    """404, and the path does not come back."""
    answer = pages().answer(b"GET", path)
    assert answer.status == 404
    assert b"<" not in answer.body


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"])
def test_methods(method):
    """Only GET and HEAD."""
    answer = pages().answer(method, b"/")
    assert answer.status == 405
    assert ("Allow", "GET, HEAD") in answer.fields


def test_every_page_is_inert():
    """Nobody's browser takes it for something else."""
    for method, path in ((b"GET", b"/"), (b"GET", b"/ca.pem"), (b"GET", b"/x"), (b"PUT", b"/")):
        assert ("X-Content-Type-Options", "nosniff") in pages().answer(method, path).fields


def test_is_own():
    """Listening addresses, and the host name with their ports."""
    own = pages(hostname="Proxy.Example")
    own.add_own("127.0.0.1", 3128)
    assert own.is_own(parse_authority(b"127.0.0.1:3128"))
    assert own.is_own(parse_authority(b"proxy.example:3128"))
    assert not own.is_own(parse_authority(b"proxy.example:80"))
    assert not own.is_own(parse_authority(b"127.0.0.1:80"))
    assert not own.is_own(parse_authority(b"127.0.0.2:3128"))


def test_is_own_ipv6():
    """Literals are compared in their one form."""
    own = pages()
    own.add_own(str(ip_address("::1")), 3128)
    host = parse_authority(b"[0:0::1]:3128")
    assert isinstance(host, Authority)
    assert own.is_own(host)


def test_head_on_the_wire():
    """The length without the body."""
    with Conversation() as play:
        client = play.client()
        client.says(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"Content-Length: " in client.hears_head()
        client.hears_end()
