"""The system's resolvers."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.transport.resolv_conf import MAX_SERVERS, parse_resolv_conf, read_resolv_conf


def servers(text):
    return [(str(address), port) for address, port in parse_resolv_conf(text).servers]


def test_nameservers():
    """Servers of both families in the file's order, zones kept, repeats once, port 53."""
    text = (
        "# nameserver 192.0.2.9\n;nameserver 192.0.2.8\nnameserver 192.0.2.53\nnameserver\t2001:db8::53\n"
        "nameserver fe80::1%eth0\nnameserver 192.0.2.53\nnameserver dns.example\n"
        "nameserver\nsearch nameserver 192.0.2.7\n"
    )
    assert servers(text) == [("192.0.2.53", 53), ("2001:db8::53", 53), ("fe80::1%eth0", 53)]


@pytest.mark.parametrize("text", ["", "search example.test\n", "nameserver none\n"])
def test_no_nameserver(text):
    """Without a server it is the one on this machine."""
    assert servers(text) == [("127.0.0.1", 53)]


def test_many_nameservers():
    """No more than MAX_SERVERS are taken."""
    assert len(servers("".join(f"nameserver 192.0.2.{index}\n" for index in range(30)))) == MAX_SERVERS


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("options timeout:3", 3.0),
        ("options rotate timeout:3 attempts:1", 3.0),
        ("options timeout:0", 1.0),
        ("options timeout:99", 30.0),
        ("options timeout:" + "9" * 400, 30.0),
        ("options timeout:x", None),
        ("options timeout:-1", None),
        ("options timeout", None),
        ("options", None),
        ("timeout:3", None),
    ],
)
def test_timeout(line, expected):
    """The time-out is read from the options and kept within bounds."""
    assert parse_resolv_conf(line + "\n").timeout == expected


@given(st.text(max_size=200))
def test_any_text(text):
    """No text makes the reader raise, and there is always a server."""
    assert parse_resolv_conf("nameserver " + text).servers


def test_file(tmp_path):
    """The file is read; one that cannot be read is like an empty one."""
    path = tmp_path / "resolv.conf"
    path.write_bytes(b"nameserver 192.0.2.53\n# \xff\n")
    assert read_resolv_conf(path).servers == ((ip_address("192.0.2.53"), 53),)
    assert read_resolv_conf(tmp_path / "none").servers == ((ip_address("127.0.0.1"), 53),)
