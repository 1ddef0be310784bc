"""A dict that may get large without ever taking long: in parts, one of which is chosen by the key's hash.

CPython moves a dict of 87,381 entries to a larger place in one go, which takes five milliseconds and more. Here each
part stays small, and where there have to be more parts the entries are moved to them a few at a time. A table of up to
`PART` entries is one dict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Generic, TypeVar

from netfw.policy.slices import STEP, Building, Slices, emptied, portions

K = TypeVar("K")
V = TypeVar("V")

PART = 16_000
"""Entries of a part, about: the last growth of a dict below that takes half a millisecond."""


class LargeTable(Generic[K, V]):
    """Whoever adds entries asks for `room` after every few of them.

    What is looked up often is looked up in place: `parts[hash(key) % count]` has the key if any part has. `count` is
    odd, so that a part's keys still differ in the low bits of their hashes, which the part itself goes by.
    """

    __slots__ = ("count", "parts")

    def __init__(self) -> None:
        self.parts: list[dict[K, V]] = [{}]
        self.count = 1

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[K]:
        return chain.from_iterable(self.parts)

    def items(self) -> Iterator[tuple[K, V]]:
        """All entries, in no order."""
        return chain.from_iterable([part.items() for part in self.parts])

    def of(self, key: K) -> dict[K, V]:
        """The part in which this key is or has to be put."""
        return self.parts[hash(key) % self.count]

    def get(self, key: K) -> V | None:
        """What the key stands for."""
        return self.of(key).get(key)

    def setdefault(self, key: K, value: V) -> V:
        """What the key stands for: `value` if it is a new one."""
        return self.of(key).setdefault(key, value)

    def contains(self) -> Callable[[K], bool]:
        """The quickest test of whether a key is there; nothing may be added afterwards."""
        parts, count = tuple(self.parts), self.count
        if count == 1:
            return parts[0].__contains__
        return lambda key: key in parts[hash(key) % count]

    def of_any(self, keys: Iterable[K]) -> list[V]:
        """What those of the keys stand for that are there, each once."""
        parts, count = self.parts, self.count
        if count == 1:
            return [parts[0][key] for key in parts[0].keys() & keys]
        return [part[key] for key in {*keys} if key in (part := parts[hash(key) % count])]

    def room(self) -> Iterable[None]:
        """Steps that make room for some hundreds of further entries: none, mostly."""
        return self._divide() if len(self) > PART * self.count else ()

    def _divide(self) -> Slices:
        former, self.count = self.parts, 2 * self.count + 1
        self.parts = [{} for _ in range(self.count)]
        for part in former:
            while part:
                for _ in range(min(STEP, len(part))):
                    key, value = part.popitem()
                    self.of(key)[key] = value
                yield

    def emptied(self) -> Slices:
        """Take everything out, when nobody looks anything up any more."""
        return emptied(*self.parts)


def count(table: LargeTable[K, int], key: K) -> None:
    """One more of it."""
    part = table.of(key)
    part[key] = part.get(key, 0) + 1


def members(items: Iterable[K]) -> Building[LargeTable[K, None]]:
    """A table of these keys: hashing 100,000 texts at once takes ten milliseconds."""
    table: LargeTable[K, None] = LargeTable()
    for portion in portions(items):
        for item in portion:
            table.of(item)[item] = None
        yield from table.room()
        yield
    return table
