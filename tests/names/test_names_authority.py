"""What names.authority takes and refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.names.authority import Authority, AuthorityError, parse_authority
from netfw.names.host import Host


@pytest.mark.parametrize(
    ("raw", "default_port", "text"),
    [
        (b"example.com:443", None, "example.com:443"),
        (b"EXAMPLE.com.:443", None, "example.com:443"),
        (b"example.com", 80, "example.com:80"),
        (b"example.com:8080", 80, "example.com:8080"),
        (b"[::1]:443", None, "[::1]:443"),
        (b"[::1]", 443, "[::1]:443"),
        (b"10.0.0.1:1", None, "10.0.0.1:1"),
        (b"a:65535", None, "a:65535"),
        (b"a:00080", None, "a:80"),
    ],
)
def test_accepted(raw, default_port, text):
    """Host and port, with the default only where the caller gave one."""
    authority = parse_authority(raw, default_port)
    assert str(authority) == text
    assert authority.to_bytes() == text.encode()
    assert parse_authority(authority.to_bytes()) == authority


REFUSED = [
    b"",
    b":",
    b":80",
    b"a",
    b"a:",
    b"a:0",
    b"a:65536",
    b"a:99999",
    b"a:000080",
    b"a:123456",
    b"a:+80",
    b"a:-1",
    b"a: 80",
    b"a:80 ",
    b" a:80",
    b"a:8_0",
    b"a:0x50",
    b"a:80\n",
    b"a:http",
    b"a:\xd9\xa1",
    b"a:80:80",
    b"::1:80",
    b"[::1",
    b"[::1]80",
    b"[::1]:",
    b"[a]:80",
    b"user@a:80",
    b"user:pass@a:80",
    b"@a:80",
    b"a:80@b:80",
    b"a/:80",
    b"a:80/",
    b"a\\:80",
    b"a%2e:80",
    b"a#:80",
    b"127.1:80",
    b"0x7f.1:80",
    b"[::1%lo]:80",
    b"a" * 300 + b":80",
]


@pytest.mark.parametrize("raw", REFUSED, ids=[repr(raw)[:30] for raw in REFUSED])
def test_refused(raw):
    """Everything else is an AuthorityError."""
    with pytest.raises(AuthorityError):
        parse_authority(raw)


@pytest.mark.parametrize("raw", [b"a:", b":80", b"", b"a:0", b"[::1]:", b"user@a"])
def test_a_default_port_excuses_only_a_port_that_is_absent(raw):
    """An empty or a bad port is refused although there is a default."""
    with pytest.raises(AuthorityError):
        parse_authority(raw, 80)


def test_host_field():
    """Host leaves out the default port and nothing else."""
    assert Authority(Host("a.example"), 80).host_field(80) == b"a.example"
    assert Authority(Host("a.example"), 80).host_field(443) == b"a.example:80"
    assert Authority(Host("a.example"), 80).host_field(None) == b"a.example:80"
    assert parse_authority(b"[::1]:443").host_field(443) == b"[::1]"
    assert parse_authority(b"[::1]:443").host_field(80) == b"[::1]:443"


def test_authorities_are_keys():
    """Equal authorities are one key."""
    assert len({parse_authority(b"A:80"), parse_authority(b"a.:80"), parse_authority(b"a", 80)}) == 1


@given(st.binary(max_size=40) | st.from_regex(rb"[a0.:\[\]@-]{1,20}", fullmatch=True))
def test_any_bytes_are_an_authority_or_an_error(raw):
    """No bytes fail in another way, and what is accepted is stable."""
    try:
        authority = parse_authority(raw, 80)
    except AuthorityError:
        return
    assert parse_authority(authority.to_bytes()) == authority
