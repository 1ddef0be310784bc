"""Looking fields up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.http1.errors import FramingError
from netfw.http1.fields import Fields

PLAIN = Fields([(b"Host", b"a"), (b"ACCEPT", b"b")])
REPEATED = Fields([(b"Via", b"1"), (b"Host", b"a"), (b"VIA", b"2"), (b"Connection", b"Close, ,TE , x-Y")])


def test_lookup_by_lower_case_name():
    """Names are compared without case; values come as they were sent."""
    assert PLAIN.get_all(b"host") == [b"a"]
    assert PLAIN.get_all(b"via") == []
    assert PLAIN.single(b"accept") == b"b"
    assert PLAIN.single(b"via") is None
    assert PLAIN.joined(b"accept") == b"b"
    assert PLAIN.joined(b"via") is None
    assert PLAIN.has(b"host")
    assert not PLAIN.has(b"via")
    assert PLAIN.has_any(frozenset([b"x", b"host"]))
    assert not PLAIN.has_any(frozenset([b"x"]))
    assert list(PLAIN.names()) == [b"host", b"accept"]


def test_repeated_fields():
    """All values of a repeated field are there, in order; `single` refuses them."""
    assert REPEATED.get_all(b"via") == [b"1", b"2"]
    assert REPEATED.joined(b"via") == b"1, 2"
    assert REPEATED.single(b"host") == b"a"
    assert REPEATED.get_all(b"host") == [b"a"]
    assert REPEATED.get_all(b"x") == []
    assert REPEATED.joined(b"x") is None
    assert REPEATED.single(b"x") is None
    with pytest.raises(FramingError):
        REPEATED.single(b"via")
    assert list(REPEATED.names()) == [b"via", b"host", b"connection"]


def test_tokens():
    """List elements in lower case, white space and empty elements gone, over all lines."""
    assert REPEATED.tokens(b"connection") == [b"close", b"te", b"x-y"]
    assert Fields([(b"A", b"x,"), (b"a", b",Y")]).tokens(b"a") == [b"x", b"y"]
    assert PLAIN.tokens(b"connection") == []


def test_without():
    """Leaving out drops every line of a name and keeps the order; with nothing to drop it is the same object."""
    assert REPEATED.without(frozenset([b"via"])).lines == [(b"Host", b"a"), (b"Connection", b"Close, ,TE , x-Y")]
    assert PLAIN.without(frozenset([b"via"])) is PLAIN
    assert PLAIN.without(frozenset([b"host"])).lines == [(b"ACCEPT", b"b")]


def test_sequence():
    """Fields have a length, an order, equality and a hash; repr shows names only, since values may be secrets."""
    assert len(REPEATED) == 4
    assert list(PLAIN) == PLAIN.lines
    assert Fields(iter(PLAIN.lines)) == PLAIN
    assert hash(Fields(PLAIN.lines)) == hash(PLAIN)
    assert PLAIN != REPEATED
    assert PLAIN.lines != PLAIN
    assert len(Fields.EMPTY) == 0
    assert repr(PLAIN) == "<Fields b'Host, ACCEPT'>"


@given(st.lists(st.tuples(st.sampled_from([b"A", b"a", b"B", b"b", b"C"]), st.binary(max_size=3)), max_size=8))
def test_lookups_agree_with_a_plain_search(lines):
    """With and without repeats, the index says what a search through the lines says."""
    fields = Fields(lines)
    for name in (b"a", b"b", b"c", b"d"):
        values = [value for key, value in lines if key.lower() == name]
        assert fields.get_all(name) == values
        assert fields.has(name) == bool(values)
        assert fields.joined(name) == (b", ".join(values) if values else None)
        assert list(fields.lowered()) == [(key.lower(), (key, value)) for key, value in lines]
        assert fields.without(frozenset([name])).lines == [line for line in lines if line[0].lower() != name]
