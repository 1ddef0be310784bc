"""Literals in texts: none that is there is missed, wherever it stands and however long it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.policy.gram_table import GramTable

PIECES = st.binary(min_size=3, max_size=9)


def table_of(pieces: list[bytes]) -> GramTable[bytes]:
    table: GramTable[bytes] = GramTable()
    for piece in pieces:
        table.add((piece[-3], piece[-2], piece[-1]), [piece], piece, lambda gram: sum(gram))
    return table


def found(table: GramTable[bytes], text: bytes) -> set[bytes]:
    return {entry for entries in table.find(text) for entry in entries}


@given(st.lists(PIECES, min_size=1, max_size=6), st.binary(max_size=9), st.binary(max_size=9))
def test_what_is_there_is_found(pieces: list[bytes], before: bytes, behind: bytes) -> None:
    """At any offset, beside pieces of any other length."""
    table = table_of(pieces)
    for piece in pieces:
        assert piece in found(table, before + piece + behind)


@pytest.mark.parametrize("length", [3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("offset", range(9))
def test_every_length_at_every_offset(length: int, offset: int) -> None:
    """Alone in the table; at the very end of the text too, and not in a text that has it backwards."""
    piece = b"abcdefgh"[:length]
    table = table_of([piece])
    assert found(table, b"." * offset + piece) == {piece}
    assert found(table, b"." * offset + piece[::-1]) == set()
    assert found(table, b"") == set()


@given(st.lists(st.binary(min_size=2, max_size=2), min_size=1, max_size=3), st.binary(max_size=9))
def test_pairs(pieces: list[bytes], text: bytes) -> None:
    """All pairs of a pattern have to be in the text, and then it is found."""
    table: GramTable[str] = GramTable()
    table.add_pair(pieces[0], pieces, "entry")
    assert bool(table.find(text) != [[]] and table.find(text)) == all(piece in text for piece in pieces)
    assert table.find(b"".join(pieces)) == [["entry"]]
