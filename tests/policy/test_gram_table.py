"""Literals in texts: none that is there is missed, wherever it stands and however long it is or the text."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.policy import large_table
from netfw.policy.gram_table import GRAM, PAIR, SHORTEST_SAMPLE, GramTable, PairTable, SampleTable

TABLES = [(SampleTable, SHORTEST_SAMPLE), (GramTable, GRAM), (PairTable, PAIR)]
IDS = ["samples", "grams", "pairs"]


def table_of(kind: type, pieces: list[bytes]):
    table = kind()
    for piece in pieces:
        others, place = table.best([piece])
        assert others >= 0
        table.add(place, [piece], piece)
    return table


def found(table, text: bytes) -> set[bytes]:
    return {entry for entries in table.find(text) for entry in entries}


@pytest.mark.parametrize(("kind", "shortest"), TABLES, ids=IDS)
@pytest.mark.parametrize("filling", [0, 2000], ids=["short text", "long text"])
def test_what_is_there_is_found(kind: type, shortest: int, filling: int) -> None:
    """At any offset, beside others of any length; a long text is looked through in another way."""

    @given(
        st.lists(st.binary(min_size=shortest, max_size=9), min_size=1, max_size=6),
        st.binary(max_size=9),
        st.binary(max_size=9),
    )
    def finds(pieces: list[bytes], before: bytes, behind: bytes) -> None:
        table = table_of(kind, pieces)
        assert len(table) > 0
        for piece in pieces:
            assert piece in found(table, b"." * filling + before + piece + behind)

    finds()


@pytest.mark.parametrize(("kind", "shortest"), TABLES, ids=IDS)
@pytest.mark.parametrize("offset", range(9))
def test_every_length_at_every_offset(kind: type, shortest: int, offset: int) -> None:
    """Alone in the table; at the very end of the text too, and not in a text that has it backwards."""
    for length in range(shortest, 9):
        piece = b"abcdefgh"[:length]
        table = table_of(kind, [piece])
        assert found(table, b"." * offset + piece) == {piece}
        assert found(table, b"." * offset + piece[::-1]) == set()
        assert found(table, b"") == set()


def test_places_are_shared_by_few() -> None:
    """A thousand literals with the same beginning and end are spread over the numbers that tell them apart."""
    table: SampleTable[bytes] = table_of(SampleTable, [b"secret%dx" % number for number in range(1000)])
    for number in range(0, 1000, 37):
        for offset in range(4):
            assert sum(map(len, table.find(b"/" * offset + b"secret%dx" % number))) <= 4


def test_samples_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many samples are kept in several dicts, so that none grows large at once; all of them are looked at."""
    monkeypatch.setattr(large_table, "PART", 10)
    pieces = [b"piece%d." % number for number in range(40)]
    table = table_of(SampleTable, pieces)
    assert len(list(table.room())) > 0
    for piece in pieces:
        assert piece in found(table, b"/" + piece)
        assert piece in found(table, b"//" + piece + b"." * 2000)


@given(st.lists(st.binary(min_size=2, max_size=3), min_size=1, max_size=3), st.binary(max_size=9))
def test_pairs_of_one_pattern(pieces: list[bytes], text: bytes) -> None:
    """Where all literals of a pattern are it is found; where none is, it is not."""
    table: PairTable[str] = PairTable()
    _, place = table.best(pieces)
    table.add(place, pieces, "entry")
    assert table.find(b"".join(pieces)) == [["entry"]]
    there = [piece for piece in pieces if piece in text]
    if there == pieces or not any(pair in text for piece in pieces for pair in (piece[:2], piece[-2:])):
        assert found(table, text) == ({"entry"} if there else set())


def test_what_texts_hardly_have_is_asked_for_first() -> None:
    """Of several pairs the rarest is where a pattern is hung up, until others are there."""
    table: PairTable[str] = PairTable()
    pieces = [b"er", b"qz", b"jz"]
    places = []
    for _ in range(4):
        _, place = table.best(pieces)
        table.add(place, pieces, "entry")
        places.append(place)
    assert [*dict.fromkeys(places)] == [(int.from_bytes(rare, sys.byteorder),) for rare in (b"qz", b"jz")]
    assert found(table, b"/her/then") == set()
