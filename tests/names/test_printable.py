"""Text that somebody else chose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.names.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, größer, 日本", "plain, größer, 日本"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31mred\x1b[0m\x07\x7f", "\\x1b[31mred\\x1b[0m\\x07\\x7f"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_shown(text: str, shown: str) -> None:
    """Nothing that a terminal acts on, and no character that hides another."""
    assert printable(text) == shown


@given(st.text())
def test_always_printable(text: str) -> None:
    """Whatever it is, and what is printable stays."""
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
