"""A long tuple is a tuple to whoever reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.policy.long_tuple import PART, LongTuple, in_parts, parts_of, put_together

PARTS = st.lists(st.lists(st.integers(0, 9), max_size=5).map(tuple), max_size=8)


@given(PARTS, st.slices(30))
def test_it_is_a_tuple(parts, some):
    """Length, items, places, slices, equality and hash are a tuple's, whatever the parts were."""
    plain = tuple(item for part in parts for item in part)
    long = LongTuple(parts)
    assert len(long) == len(plain)
    assert list(long) == list(plain)
    assert [long[place] for place in range(-len(plain), len(plain))] == [*plain, *plain]
    assert long[some] == plain[some]
    assert (long == plain, plain == long, hash(long), repr(long)) == (True, True, hash(plain), repr(plain))
    assert long == LongTuple([plain])
    assert long != (*plain, 1)
    assert long != list(plain)
    assert bool(long) is bool(plain)
    for place in (len(plain), -len(plain) - 1):
        with pytest.raises(IndexError):
            long[place]


def test_what_is_short_is_a_tuple():
    """And only what is long is kept in parts, none of them large."""
    assert type(in_parts(range(PART))) is tuple
    assert type(put_together([(1,), (2, 3)])) is tuple
    assert put_together([]) == ()
    long = in_parts(iter(range(10 * PART + 1)))
    assert long == tuple(range(10 * PART + 1))
    assert max(map(len, parts_of(long))) == PART
    assert parts_of((1, 2)) == ((1, 2),)
