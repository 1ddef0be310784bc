"""Which Host field values name this machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.admin.resource import is_local_host


@pytest.mark.parametrize(
    "value", [b"localhost", b"Localhost.:1", b"127.0.0.1", b"127.255.0.1:65535", b"[::1]", b"[::1]:80"]
)
def test_local(value: bytes) -> None:
    """Names and literals of loopback."""
    assert is_local_host(value)


@pytest.mark.parametrize(
    "value",
    [b"", b":80", b"localhost:", b"localhost:123456", b"localhost\n", b"localhost/", b"[localhost]", b"::1", b"[::2]"]
    + [b"[::ffff:8.8.8.8]", b"127.1", b"0x7f.0.0.1", b"localhost,evil", b"evil#localhost", b"\xff", b"127.0.0.01"],
)
def test_not_local(value: bytes) -> None:
    """Everything else, odd spellings of loopback too."""
    assert not is_local_host(value)


@given(st.binary(max_size=60))
def test_never_fails(value: bytes) -> None:
    """Any bytes get a yes or a no."""
    assert is_local_host(value) in (True, False)
