"""One authority on every side."""

from __future__ import annotations

import pytest

from netfw.config.model import NameCheck
from netfw.errors import MisdirectedRequest
from netfw.http1.fields import Fields
from netfw.http1.heads import RequestHead
from netfw.names.authority import Authority, parse_authority
from netfw.proxy.binding import (
    compare_server_name,
    misdirected_request,
    misdirected_tunnel,
    other_authority,
    server_name,
)
from netfw.tls.client_hello import ClientHello

NAME = parse_authority(b"example.com:443")
ADDRESS = parse_authority(b"192.0.2.1:443")
IPV6 = parse_authority(b"[2001:db8::1]:8443")


def hello(server_name: bytes | None) -> ClientHello:
    return ClientHello(server_name=server_name, host=None, alpn=(), versions=(), has_ech=False, has_early_data=False)


def head(*hosts: bytes) -> RequestHead:
    return RequestHead(b"GET", b"/", (1, 1), Fields([(b"Host", host) for host in hosts]))


def check(authority: Authority, name: bytes | None) -> NameCheck | None:
    return compare_server_name(authority, server_name(authority, hello(name)))


@pytest.mark.parametrize("name", [b"example.com", b"EXAMPLE.com", b"example.com."])
def test_the_same_name(name):
    """In any spelling of it."""
    assert server_name(NAME, hello(name)).text == "example.com"
    assert check(NAME, name) is None


@pytest.mark.parametrize(
    "name", [b"evil.com", b"www.example.com", b"example.co", b"example.com.evil.com", b"192.0.2.1", b"xn--ls8h.la"]
)
def test_another_name(name):
    """Does not agree, and what is said of it is 421."""
    assert check(NAME, name) is NameCheck.CONNECT_SNI
    said = misdirected_tunnel(NAME, server_name(NAME, hello(name)))
    assert (said.status, said.message) == (
        421, f"the tunnel to example.com:443 carries the server name {name.decode()}",
    )  # fmt: skip


@pytest.mark.parametrize("name", [b"", b"a b", b"\xff\xfe", b"<script>", b"a..b", b"[example.com]", b"example.com:443"])
def test_what_is_no_name(name):
    """Refused; what the client wrote is not in the message."""
    with pytest.raises(MisdirectedRequest) as caught:
        server_name(NAME, hello(name))
    assert "<" not in caught.value.message


def test_no_name():
    """Fine where there can be none; what is said of it elsewhere names the setting."""
    assert check(ADDRESS, None) is check(IPV6, None) is None
    assert check(NAME, None) is NameCheck.MISSING_SNI
    said = misdirected_tunnel(NAME, None)
    assert said.status == 421
    assert "example.com:443 carries a ClientHello without a server name" in said.message
    assert "consistency.missing_sni" in said.message


def test_a_name_towards_an_address():
    """The address was allowed, not the name."""
    assert check(ADDRESS, b"example.com") is NameCheck.CONNECT_SNI


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (NAME, b"example.com"), (NAME, b"example.com:443"), (NAME, b"Example.COM."), (ADDRESS, b"192.0.2.1"),
        (IPV6, b"[2001:db8::1]:8443"), (IPV6, b"[2001:DB8:0::1]:8443"), (IPV6, b"[2001:db8::1]"),
        (parse_authority(b"example.com:8443"), b"example.com"),
        (parse_authority(b"example.com:8443"), b"example.com:8443"),
    ],
)  # fmt: skip
def test_hosts_that_agree(authority, host):
    """Also one without a port that is not the scheme's: some clients leave it out, and the name is the tunnel's."""
    assert other_authority(authority, 443, head(host)) is None


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (NAME, b"evil.com"), (NAME, b"example.com:80"), (NAME, b"example.com:8443"), (NAME, b"192.0.2.1"),
        (ADDRESS, b"192.0.2.2"), (parse_authority(b"example.com:8443"), b"example.com:443"),
        (IPV6, b"[2001:db8::1]:443"), (IPV6, b"[2001:db8::2]"),
    ],
)  # fmt: skip
def test_hosts_that_disagree(authority, host):
    """The other authority comes back, with the port that is meant, and what is said of it is 421."""
    named = other_authority(authority, 443, head(host))
    assert named == parse_authority(host, 443)
    said = misdirected_request(authority, named)
    assert (said.status, said.message) == (421, f"the tunnel to {authority} carries a request for {named}")


@pytest.mark.parametrize(
    ("authority", "host"),
    [(NAME, b""), (NAME, b"example.com, evil.com"), (NAME, b"a@example.com"), (NAME, b"<b>"), (IPV6, b"2001:db8::1")],
)
def test_hosts_that_are_none(authority, host):
    """421, and what the client wrote is not in the message."""
    with pytest.raises(MisdirectedRequest) as caught:
        other_authority(authority, 443, head(host))
    assert caught.value.status == 421
    assert "<" not in caught.value.message
    assert "@" not in caught.value.message


def test_no_host():
    """HTTP/1.0: the tunnel's authority is the only name there is."""
    assert other_authority(NAME, 443, head()) is None
