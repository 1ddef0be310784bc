"""What the listener answers to who asks the proxy itself."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from netfw.names.authority import Authority, parse_authority
from netfw.proxy.own_pages import OwnPages
from netfw.testing.conversation import Conversation

PEM = b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"


def pages(certificate: bytes | None = PEM, hostname: str | None = None) -> OwnPages:
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
    assert (answer.status, answer.body) == (200, PEM)
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
