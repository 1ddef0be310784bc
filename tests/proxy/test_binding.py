"""One authority on every side."""

from __future__ import annotations

import pytest

from netfw.errors import MisdirectedRequest
from netfw.http1.fields import Fields
from netfw.http1.heads import RequestHead
from netfw.names.authority import parse_authority
from netfw.proxy.binding import bind_host, bind_server_name
from netfw.tls.client_hello import ClientHello

NAME = parse_authority(b"example.com:443")
ADDRESS = parse_authority(b"192.0.2.1:443")
IPV6 = parse_authority(b"[2001:db8::1]:8443")


def hello(server_name: bytes | None) -> ClientHello:
    return ClientHello(server_name=server_name, host=None, alpn=(), versions=(), has_ech=False, has_early_data=False)


def head(*hosts: bytes) -> RequestHead:
    return RequestHead(b"GET", b"/", (1, 1), Fields([(b"Host", host) for host in hosts]))


@pytest.mark.parametrize("name", [b"example.com", b"EXAMPLE.com", b"example.com."])
@pytest.mark.parametrize("intercepted", [True, False])
def test_the_same_name(name, intercepted):
    """In any spelling of it."""
    assert bind_server_name(NAME, hello(name), intercepted=intercepted) == "example.com"


@pytest.mark.parametrize(
    "name", [b"evil.com", b"www.example.com", b"example.co", b"example.com.evil.com", b"192.0.2.1", b"xn--ls8h.la"]
)
@pytest.mark.parametrize("intercepted", [True, False])
def test_another_name(name, intercepted):
    """Refused, and the message holds canonical names only."""
    with pytest.raises(MisdirectedRequest) as caught:
        bind_server_name(NAME, hello(name), intercepted=intercepted)
    assert caught.value.status == 421


@pytest.mark.parametrize("name", [b"", b"a b", b"\xff\xfe", b"<script>", b"a..b", b"[example.com]", b"example.com:443"])
def test_what_is_no_name(name):
    """Refused; what the client wrote is not in the message."""
    with pytest.raises(MisdirectedRequest) as caught:
        bind_server_name(NAME, hello(name), intercepted=True)
    assert "<" not in caught.value.message


def test_no_name():
    """Fine where the proxy asks for the CONNECT's host itself, or where there is no name at all."""
    assert bind_server_name(NAME, hello(None), intercepted=True) is None
    assert bind_server_name(ADDRESS, hello(None), intercepted=False) is None
    with pytest.raises(MisdirectedRequest, match=r"example\.com:443 carries a ClientHello without a server name"):
        bind_server_name(NAME, hello(None), intercepted=False)


def test_a_name_towards_an_address():
    """The address was allowed, not the name."""
    with pytest.raises(MisdirectedRequest):
        bind_server_name(ADDRESS, hello(b"example.com"), intercepted=False)


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
    bind_host(authority, 443, head(host))


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (NAME, b"evil.com"), (NAME, b"example.com:80"), (NAME, b"example.com:8443"), (NAME, b"192.0.2.1"), (NAME, b""),
        (NAME, b"example.com, evil.com"), (NAME, b"a@example.com"), (NAME, b"<b>"), (ADDRESS, b"192.0.2.2"),
        (parse_authority(b"example.com:8443"), b"example.com:443"), (IPV6, b"[2001:db8::1]:443"),
        (IPV6, b"[2001:db8::2]"), (IPV6, b"2001:db8::1"),
    ],
)  # fmt: skip
def test_hosts_that_disagree(authority, host):
    """421, and what the client wrote is not in the message."""
    with pytest.raises(MisdirectedRequest) as caught:
        bind_host(authority, 443, head(host))
    assert "<" not in caught.value.message
    assert "@" not in caught.value.message


def test_no_host():
    """HTTP/1.0: the tunnel's authority is the only name there is."""
    bind_host(NAME, 443, head())
