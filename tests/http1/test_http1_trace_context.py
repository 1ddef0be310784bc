"""netfw.http1.trace_context: the examples and the rules of W3C Trace Context, 3.2.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.http1.trace_context import is_traceparent

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = b"00f067aa0ba902b7"
PLAIN = b"00-" + TRACE + b"-" + PARENT + b"-01"


@pytest.mark.parametrize(
    "value", [PLAIN, PLAIN[:-2] + b"00", b"01" + PLAIN[2:], b"cc" + PLAIN[2:] + b"-what-the-future-will-be-like"]
)
def test_well_formed(value: bytes) -> None:
    """This version, and those to come with or without more behind."""
    assert is_traceparent(value)


@pytest.mark.parametrize(
    "value",
    [
        b"", b"00", PLAIN[:-1], PLAIN + b"1", PLAIN + b"-more", PLAIN + b"\n", b" " + PLAIN, PLAIN.upper(),
        b"ff" + PLAIN[2:], b"0" + PLAIN, b"01" + PLAIN[2:] + b"more", b"01" + PLAIN[2:] + b"-a b",
        PLAIN.replace(TRACE, b"0" * 32), PLAIN.replace(PARENT, b"0" * 16), PLAIN.replace(b"4bf9", b"4bg9"),
        PLAIN.replace(b"-", b"_"), PLAIN + b", " + PLAIN,
    ],
)  # fmt: skip
def test_malformed(value: bytes) -> None:
    """A restart of the trace is what others do then; we take no note of it."""
    assert not is_traceparent(value)


HEX = "0123456789abcdef"


@given(
    st.text(HEX, min_size=32, max_size=32), st.text(HEX, min_size=16, max_size=16), st.text(HEX, min_size=2, max_size=2)
)
def test_ids_of_zeros_are_none(trace: str, parent: str, flags: str) -> None:
    """Any other digits are ids."""
    value = f"00-{trace}-{parent}-{flags}".encode()
    assert is_traceparent(value) == (trace.strip("0") != "" and parent.strip("0") != "")


@given(st.binary(max_size=70))
def test_any_bytes(value: bytes) -> None:
    """Never an error, and nothing short is one."""
    assert is_traceparent(value) is (len(value) >= 55 and is_traceparent(value))
