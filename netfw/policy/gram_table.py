"""Literals anywhere in a text: which of thousands may be there is found by the few characters that each is hung up by.

A literal of five octets or more is hung up by a sample of it. At every second place four octets of the text are taken
as a number: those at the first or those at the second octet of the sample are among them, wherever it stands. That is a
fraction of the work of going through the text octet by octet, which is left for literals of three octets. Where many
share each sample of a literal, but not its three octets, that is done for texts that have the sample. Where there are
literals of four octets, numbers are taken at every place.
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
_AS_RARE = 4
"""A sample that so many times as many have is still cheaper than going through the text."""


class GramTable(Generic[Entry]):
    """`add` what is hung up by three octets or by a sample that is as rare, `add_pair` what is hung up by two."""

    __slots__ = ("_always", "_grams", "_offsets", "_pairs", "_samples", "_through")

    def __init__(self) -> None:
        self._pairs: dict[int, list[tuple[int, frozenset[int], Entry]]] = {}
        self._grams: dict[Gram, list[Entry]] = {}
        self._samples: dict[int, list[Entry]] = {}
        self._through: set[int] = set()
        self._always = False
        self._offsets = range(0, _WIDTH, _STRIDE)

    def __bool__(self) -> bool:
        return bool(self._pairs or self._grams or self._samples)

    def add_pair(self, pair: bytes, pieces: Iterable[bytes], entry: Entry) -> None:
        """Hang it up by two octets; the other pairs among its literals have to be there as well."""
        needed = frozenset([_number(piece) for piece in pieces if len(piece) == 2])
        other = next(iter(needed - {_number(pair)}), _number(pair))
        self._pairs.setdefault(_number(pair), []).append((other, needed, entry))

    def add(self, gram: Gram, pieces: Iterable[bytes], entry: Entry, shared: Callable[[Gram], int]) -> None:
        """Hang it up by three octets, or by a sample of one of its literals (`pieces`) that hardly more others have;
        `shared` says by how many a gram is had.
        """
        best: tuple[int, bytes] | None = None
        for piece in pieces:
            if len(piece) == _WIDTH:
                counted = min(shared(_gram(piece, 0)), shared(_gram(piece, 1)))
                best = min(best or (counted, piece), (counted, piece))
            for place in range(len(piece) - _WIDTH):
                # What both numbers of a sample have in common.
                counted = shared(_gram(piece, place + 1))
                if best is None or counted < best[0]:
                    best = counted, piece[place : place + _WIDTH + 1]
        if best is None:
            self._always = True
            self._grams.setdefault(gram, []).append(entry)
            return
        counted, sample = best
        numbers = {_number(sample[:_WIDTH]), _number(sample[-_WIDTH:])}
        if len(sample) == _WIDTH:
            self._offsets = range(_WIDTH)
        if counted > _AS_RARE * shared(gram):
            self._grams.setdefault(gram, []).append(entry)
            self._through |= numbers
            for number in numbers:
                self._samples.setdefault(number, [])
        else:
            for number in numbers:
                self._samples.setdefault(number, []).append(entry)

    def sizes(self) -> tuple[int, ...]:
        """How many entries each of its tables has."""
        return len(self._pairs), len(self._grams), len(self._samples)

    def dismantle(self) -> Slices:
        """Take it apart, when nobody looks anything up any more."""
        yield from emptied(self._pairs, self._grams, self._samples, self._through)

    def find(self, raw: bytes) -> list[list[Entry]]:
        """Those that a text may match, some of them more than once."""
        found: list[list[Entry]] = []
        goes_through = self._always
        if self._samples:
            samples, view, size = self._samples, memoryview(raw), len(raw)
            for start in self._offsets:
                if size >= start + _WIDTH:
                    for number in samples.keys() & view[start : start + (size - start & -_WIDTH)].cast("I"):
                        found.append(samples[number])
                        goes_through = goes_through or number in self._through
        if goes_through:
            grams = self._grams
            # In one go: most texts have none of them, and to ask for that first costs as much as this.
            for gram in grams.keys() & zip(raw, raw[1:], raw[2:], strict=False):
                found.append(grams[gram])
        if self._pairs:
            view, size = memoryview(raw), len(raw)
            there = set(view[: size & ~1].cast("H"))
            if size > 2:
                there.update(view[1 : 1 + (size - 1 & ~1)].cast("H"))
            pairs = self._pairs
            found.append(
                [
                    entry
                    for pair in pairs.keys() & there
                    for other, needed, entry in pairs[pair]
                    if other in there and needed <= there
                ]
            )
        return found


def _gram(piece: bytes, place: int) -> Gram:
    return piece[place], piece[place + 1], piece[place + 2]


def _number(octets: bytes) -> int:
    # As a cast of the memory reads them.
    return int.from_bytes(octets, sys.byteorder)
