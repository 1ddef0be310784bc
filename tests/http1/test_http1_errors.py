"""What errors show of a peer's bytes."""

from hypothesis import given
from hypothesis import strategies as st

from netfw.http1.errors import FramingError, IncompleteBody, IncompleteMessage, safe_repr


@given(st.binary(max_size=200))
def test_safe_repr_is_short_printable_ascii(data):
    """At most 40 characters, no octet of the peer unescaped but printable ASCII."""
    shown = safe_repr(data)
    assert len(shown) <= 40
    assert shown.isascii()
    assert shown.isprintable()
    assert shown[0] == shown[-1]


def test_safe_repr_by_example():
    """Short bytes are shown whole, long ones by their beginning."""
    assert safe_repr(b"abc") == "'abc'"
    assert safe_repr(b"a\r\n\x1b\xff") == r"'a\r\n\x1b\xff'"
    assert safe_repr(b"it's") == '"it\'s"'
    assert safe_repr(b"a" * 100) == "'" + "a" * 35 + "...'"


def test_one_tree():
    """Every error of the package is a FramingError with a message and a status."""
    assert FramingError("x").status_hint == 400
    assert FramingError("x", 431).status_hint == 431
    assert str(FramingError("x")) == FramingError("x").message == "x"
    assert isinstance(IncompleteMessage("x"), FramingError)
    assert isinstance(IncompleteBody("x"), FramingError)
