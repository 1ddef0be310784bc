"""Literals anywhere in a text: which of thousands may be there is found by the few characters that each is hung up by.

A literal of five octets or more is also looked for by a sample. At every second place four octets of the text are taken
as a number: those at its first or those at its second octet are among them, wherever it stands. That is a fraction of
the work, and most texts have none of these numbers; only the others are gone through octet by octet. Where there are
literals of four octets, the sample is taken at every place.
Not here: what a pattern's literals are, and verifying it (`glob_index`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from netfw.policy.slices import Slices, emptied

Entry = TypeVar("Entry")
Gram = tuple[int, int, int]

_WIDTH = 4
_STRIDE = 2


class GramTable(Generic[Entry]):
    """`add` what is hung up by three octets, of a `piece` that begins with them or goes on around them, or by two."""

    __slots__ = ("_long", "_offsets", "_pairs", "_sample", "_short")

    def __init__(self) -> None:
        self._pairs: dict[int, list[tuple[frozenset[int], Entry]]] = {}
        self._short: dict[Gram, list[Entry]] = {}
        self._long: dict[Gram, list[Entry]] = {}
        self._sample: set[int] = set()
        self._offsets = range(0, _WIDTH, _STRIDE)

    def __bool__(self) -> bool:
        return bool(self._pairs or self._short or self._long)

    def add_pair(self, pair: bytes, pieces: Iterable[bytes], entry: Entry) -> None:
        """Hang it up by two octets; the other pairs among its literals have to be there as well."""
        needed = frozenset([_number(piece) for piece in pieces if len(piece) == 2])
        self._pairs.setdefault(_number(pair), []).append((needed, entry))

    def add(self, gram: Gram, piece: bytes, entry: Entry, shared: Callable[[Gram], int]) -> None:
        """Hang it up by three octets; `piece` is one of its literals, and `shared` says by how many a gram is had."""
        if len(piece) < _WIDTH:
            self._short.setdefault(gram, []).append(entry)
            return
        self._long.setdefault(gram, []).append(entry)
        if len(piece) == _WIDTH:
            self._sample.add(_number(piece))
            self._offsets = range(_WIDTH)
            return
        # The part of it that the fewest others have is the one that the fewest texts have.
        start = min(range(len(piece) - _WIDTH), key=lambda place: shared(_gram(piece, place + 1)))
        self._sample.add(_number(piece[start : start + _WIDTH]))
        self._sample.add(_number(piece[start + 1 : start + 1 + _WIDTH]))

    def dismantle(self) -> Slices:
        """Take it apart, when nobody looks anything up any more."""
        yield from emptied(self._pairs, self._short, self._long, self._sample)

    def find(self, raw: bytes) -> list[list[Entry]]:
        """Those that a text may match."""
        found: list[list[Entry]] = []
        if self._long and self._is_sampled(raw):
            found += _with_grams(self._long, raw)
        if self._short:
            found += _with_grams(self._short, raw)
        if self._pairs:
            view, size = memoryview(raw), len(raw)
            there = set(view[: size & ~1].cast("H"))
            if size > 2:
                there.update(view[1 : 1 + (size - 1 & ~1)].cast("H"))
            pairs = self._pairs
            found.append([entry for pair in pairs.keys() & there for needed, entry in pairs[pair] if needed <= there])
        return found

    def _is_sampled(self, raw: bytes) -> bool:
        view, size = memoryview(raw), len(raw)
        misses = self._sample.isdisjoint
        for start in self._offsets:
            if size >= start + _WIDTH and not misses(view[start : start + (size - start & -_WIDTH)].cast("I")):
                return True
        return False


def _with_grams(grams: dict[Gram, list[Entry]], raw: bytes) -> list[list[Entry]]:
    if grams.keys().isdisjoint(zip(raw, raw[1:], raw[2:], strict=False)):
        return []
    return [grams[gram] for gram in grams.keys() & zip(raw, raw[1:], raw[2:], strict=False)]


def _gram(piece: bytes, place: int) -> Gram:
    return piece[place], piece[place + 1], piece[place + 2]


def _number(octets: bytes) -> int:
    # As a cast of the memory reads them.
    return int.from_bytes(octets, sys.byteorder)
