"""Immutable sequences in parts: rules and values by the hundred thousand, of which nothing is made or freed at once.

To make a tuple of 100,000 texts, or to let it go, touches every one of them: that takes five milliseconds, in which no
connection is served. A `LongTuple` is put together of the parts in which its items came, and let go part by part. What
would fit into one part is a plain tuple.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import Any, TypeVar, overload

from netfw.policy.slices import portions

T = TypeVar("T")

PART = 128


class LongTuple(Sequence[T]):
    """Equal to a tuple of the same items."""

    __slots__ = ("_ends", "parts")

    def __init__(self, parts: Iterable[tuple[T, ...]]) -> None:
        self.parts = tuple(parts)
        self._ends = tuple(accumulate(map(len, self.parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self.parts)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...
    def __getitem__(self, place: int | slice) -> T | tuple[T, ...]:
        if isinstance(place, slice):
            return tuple(islice(self, *place.indices(len(self)))) if (place.step or 1) > 0 else tuple(self)[place]
        place = range(len(self))[place]
        number = bisect_right(self._ends, place)
        return self.parts[number][place - self._ends[number]]  # counted from its end

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (LongTuple, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(map(_same, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


def _same(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


def put_together(parts: Sequence[tuple[T, ...]]) -> Sequence[T]:
    """The items of these parts."""
    return LongTuple(parts) if sum(map(len, parts)) > PART else tuple(chain.from_iterable(parts))


def in_parts(items: Iterable[T]) -> Sequence[T]:
    """The items, where nobody is kept waiting."""
    return put_together([tuple(portion) for portion in portions(items, PART)])


def parts_of(items: Sequence[T]) -> Sequence[Sequence[T]]:
    """What has to be let go one after the other."""
    return items.parts if isinstance(items, LongTuple) else (items,)
