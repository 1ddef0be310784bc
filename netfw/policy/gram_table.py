"""Literals anywhere in a text: which of thousands may be there is found by the few octets that each is hung up by.

* `SampleTable`, for literals of five octets or more: at every second place four octets of the text are taken as a
  number. Those at the first or those at the second octet of a sample are among them, wherever it stands. That is a
  fraction of the work of going through the text octet by octet.
* `GramTable`, for shorter ones: every three octets in a row.
* `PairTable`, where there is nothing better: every two.

Each literal is hung up where the fewest others are, so that hardly anything is verified in vain. Not here: what a
pattern's literals are, and verifying it (`glob_index`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from struct import Struct
from typing import Generic, TypeVar

from netfw.policy.large_table import LargeTable
from netfw.policy.slices import Slices, emptied

Entry = TypeVar("Entry")
Place = tuple[int, ...]
"""Keys of a table under which an entry is to be found."""

_WIDTH = 4
SHORTEST_SAMPLE = _WIDTH + 1
GRAM = 3
PAIR = 2

_READY = 256
_FOURS = [Struct(f"={count}I").unpack_from for count in range(_READY)]
"""What takes so many numbers of four octets out of a text: faster than a memoryview, which is left for long texts."""
_TWOS = [Struct(f"={count}H").unpack_from for count in range(_READY)]

_LETTERS = b"etaoinsrhldcumpfgwybvkxjqz"
_USUAL = [max(26 - _LETTERS.find(octet), 1) if octet in _LETTERS else 8 for octet in range(256)]
"""How often an octet is met in texts, roughly: letters by their frequency in English."""
_LEAST_USUAL = min(_USUAL) ** 2


class SampleTable(Generic[Entry]):
    """Entries by two numbers of four octets each, of which a text that has the literal has one at an even place."""

    __slots__ = ("_samples",)

    def __init__(self) -> None:
        self._samples: LargeTable[int, list[Entry]] = LargeTable()

    def __len__(self) -> int:
        return len(self._samples)

    def room(self) -> Iterable[None]:
        """Steps that make room for some hundreds of further entries."""
        return self._samples.room()

    def best(self, pieces: Iterable[bytes]) -> tuple[int, Place] | None:
        """(how many others are there already, where) of the emptiest place for any of these literals."""
        best: tuple[int, Place] | None = None
        samples = self._samples
        for piece in pieces:
            numbers = _every_four(piece)
            loads = [len(samples.get(number) or ()) for number in numbers]
            fuller = [*map(max, loads, loads[1:])]
            others = min(fuller)
            if best is None or others < best[0]:
                place = len(fuller) - 1 - fuller[::-1].index(others)  # the end of a literal tells most of it
                best = others, tuple({*numbers[place : place + 2]})
                if not others:
                    return best
        return best

    def add(self, place: Place, _pieces: Iterable[bytes], entry: Entry) -> None:
        """Hang it up at a place that `best` gave."""
        for number in place:
            self._samples.setdefault(number, []).append(entry)

    def find(self, raw: bytes) -> list[list[Entry]]:
        """Those that a text may match, some of them more than once."""
        size = len(raw)
        if size < SHORTEST_SAMPLE:
            return []
        count, rest = size // _WIDTH, (size - 2) // _WIDTH
        numbers: Iterable[int]
        if count < _READY:
            numbers = _FOURS[count](raw) + _FOURS[rest](raw, 2)
        else:
            view = memoryview(raw)
            numbers = {*view[: count * _WIDTH].cast("I"), *view[2 : 2 + rest * _WIDTH].cast("I")}
        if self._samples.count > 1:
            return self._samples.of_any(numbers)
        samples = self._samples.parts[0]
        met = samples.keys() & numbers
        return [samples[number] for number in met] if met else []

    def dismantle(self) -> Slices:
        """Take it apart, when nobody looks anything up any more."""
        yield from self._samples.emptied()


class GramTable(Generic[Entry]):
    """Entries by three octets that stand next to each other in the literal."""

    __slots__ = ("_grams", "_known")

    def __init__(self) -> None:
        self._grams: dict[Place, list[Entry]] = {}
        self._known: set[Place] = set()  # the keys once more: a set is intersected faster than they are

    def __len__(self) -> int:
        return len(self._grams)

    def best(self, pieces: Iterable[bytes]) -> tuple[int, Place] | None:
        """(how many others are there already, where) of the emptiest place for any of these literals."""
        grams = self._grams
        return min(
            [
                (len(grams.get(gram, ())), gram)
                for piece in pieces
                for gram in zip(piece, piece[1:], piece[2:], strict=False)
            ],
            default=None,
        )

    def add(self, place: Place, _pieces: Iterable[bytes], entry: Entry) -> None:
        """Hang it up at a place that `best` gave."""
        self._grams.setdefault(place, []).append(entry)
        self._known.add(place)

    def find(self, raw: bytes) -> list[list[Entry]]:
        """Those that a text may match."""
        # In one go: most texts have none of them, and to ask for that first costs as much as this.
        met = self._known.intersection(zip(raw, raw[1:], raw[2:]))  # noqa: B905  # the slices are shorter
        return [self._grams[gram] for gram in met] if met else []

    def dismantle(self) -> Slices:
        """Take it apart, when nobody looks anything up any more."""
        yield from emptied(self._grams, self._known)


class PairTable(Generic[Entry]):
    """Entries by two octets, each with another of its literals, which has to be there as well."""

    __slots__ = ("_pairs",)

    def __init__(self) -> None:
        self._pairs: dict[int, list[tuple[str, Entry]]] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def best(self, pieces: Iterable[bytes]) -> tuple[int, Place] | None:
        """(how many others are there already, where) of the place that is met least for any of these literals.

        What is usual in texts counts as if more were there.
        """
        pairs = self._pairs
        return min(
            [
                ((1 + len(pairs.get(_number(pair), ()))) * _usual(pair) // _LEAST_USUAL - 1, (_number(pair),))
                for piece in pieces
                for pair in _pairs_of(piece)
            ],
            default=None,
        )

    def add(self, place: Place, pieces: Iterable[bytes], entry: Entry) -> None:
        """Hang up what has these literals at a place that `best` gave."""
        (number,) = place
        # As text of one character an octet: looking into that takes a third of the time.
        others = [piece for piece in pieces if len(piece) >= PAIR and _number(piece) != number]
        other = min(others, key=lambda piece: min(map(_usual, _pairs_of(piece))), default=b"")
        self._pairs.setdefault(number, []).append((other.decode("latin-1"), entry))

    def find(self, raw: bytes) -> list[list[Entry]]:
        """Those that a text may match."""
        size = len(raw)
        if size < PAIR:
            return []
        count, rest = size // PAIR, (size - 1) // PAIR
        numbers: Iterable[int]
        if count < _READY:
            numbers = _TWOS[count](raw) + _TWOS[rest](raw, 1)
        else:
            view = memoryview(raw)
            numbers = {*view[: count * PAIR].cast("H"), *view[1 : 1 + rest * PAIR].cast("H")}
        pairs, text = self._pairs, raw.decode("latin-1")
        return [[entry for number in pairs.keys() & numbers for other, entry in pairs[number] if other in text]]

    def dismantle(self) -> Slices:
        """Take it apart, when nobody looks anything up any more."""
        yield from emptied(self._pairs)


def _every_four(piece: bytes) -> list[int]:
    """The numbers of all four octets that stand next to each other, in order."""
    size = len(piece)
    if size // _WIDTH >= _READY:
        return [_number(piece[place : place + _WIDTH]) for place in range(size - _WIDTH + 1)]
    numbers = [0] * (size - _WIDTH + 1)
    for start in range(_WIDTH):
        numbers[start::_WIDTH] = _FOURS[(size - start) // _WIDTH](piece, start)
    return numbers


def _number(octets: bytes) -> int:
    # As a text's octets are read.
    return int.from_bytes(octets, sys.byteorder)


def _pairs_of(piece: bytes) -> list[bytes]:
    return [piece[place : place + PAIR] for place in range(len(piece) - 1)]


def _usual(pair: bytes) -> int:
    return _USUAL[pair[0]] * _USUAL[pair[1]]
