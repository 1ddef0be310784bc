"""Sorted tables that find everything a text or an address falls under with one bisection.

Both rest on nesting: of two literal heads of a text one is the head of the other, and of two networks that share an
address one contains the other. So each entry knows its parent, and a lookup climbs from the nearest entry upwards.
`finish` is a generator, so that a large table is put in order in slices.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Generic, TypeVar

from netfw.policy.large_table import LargeTable
from netfw.policy.slices import STEP, Slices, emptied, list_of, sort_in_slices

Entry = TypeVar("Entry")


class HeadTable(Generic[Entry]):
    """Literal heads of texts. Give it reversed texts and it is a table of tails."""

    __slots__ = ("_entries", "_heads", "_parents", "_rows")

    def __init__(self) -> None:
        self._entries: LargeTable[bytes, Entry] = LargeTable()
        self._heads: list[bytes] = []
        self._parents: list[int] = []
        self._rows: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def setdefault(self, head: bytes, entry: Entry) -> Entry:
        """The entry of a head, `entry` when it is a new one."""
        return self._entries.setdefault(head, entry)

    def room(self) -> Iterable[None]:
        """Steps that make room for some hundreds of further heads."""
        return self._entries.room()

    def finish(self) -> Slices:
        """Put the table in order; nothing may be added afterwards."""
        self._heads = yield from list_of(self._entries)
        yield from sort_in_slices(self._heads)
        above: list[int] = []
        for place, head in enumerate(self._heads):
            while above and not head.startswith(self._heads[above[-1]]):
                above.pop()
            self._parents.append(above[-1] if above else -1)
            above.append(place)
            self._rows.append(self._entries.of(head)[head])
            if place % STEP == 0:
                yield

    def dismantle(self) -> Slices:
        """Take it apart, when nobody looks anything up any more."""
        yield from self._entries.emptied()
        yield from emptied(self._heads, self._parents, self._rows)

    def find(self, text: bytes) -> list[Entry]:
        """The entries of every head that the text begins with."""
        heads, parents = self._heads, self._parents
        place = bisect_right(heads, text) - 1
        found = []
        while place >= 0:
            if text.startswith(heads[place]):
                found.append(self._rows[place])
            place = parents[place]
        return found


class NetworkTable:
    """Networks of one IP version as ranges of integers that nest or are apart, each with the positions of rules."""

    __slots__ = ("_firsts", "_lasts", "_parents", "_positions", "_ranges")

    def __init__(self) -> None:
        self._ranges: LargeTable[tuple[int, int], list[int]] = LargeTable()
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._parents: list[int] = []
        self._positions: list[list[int]] = []

    def __len__(self) -> int:
        return len(self._ranges)

    def add(self, first: int, last: int, position: int) -> None:
        """Note that the rule at `position` names this network. Positions come in ascending order."""
        add_position(self._ranges.setdefault((first, -last), []), position)

    def room(self) -> Iterable[None]:
        """Steps that make room for some hundreds of further networks."""
        return self._ranges.room()

    def finish(self) -> Slices:
        """Put the table in order; nothing may be added afterwards."""
        order = yield from list_of(self._ranges)
        yield from sort_in_slices(order)
        above: list[int] = []
        for place, network in enumerate(order):
            first, minus_last = network
            while above and self._lasts[above[-1]] < first:
                above.pop()
            self._firsts.append(first)
            self._lasts.append(-minus_last)
            self._parents.append(above[-1] if above else -1)
            self._positions.append(self._ranges.of(network)[network])
            above.append(place)
            if place % STEP == 0:
                yield
        yield from emptied(order)

    def dismantle(self) -> Slices:
        """Take it apart, when nobody looks anything up any more."""
        yield from self._ranges.emptied()
        yield from emptied(self._firsts, self._lasts, self._parents, self._positions)

    def find(self, number: int, found: list[list[int]]) -> None:
        """Append the positions of every network that holds the address."""
        place = bisect_right(self._firsts, number) - 1
        lasts, parents = self._lasts, self._parents
        while place >= 0:
            if number <= lasts[place]:
                found.append(self._positions[place])
            place = parents[place]


def add_position(positions: list[int], position: int) -> None:
    """Append a position once."""
    if not positions or positions[-1] != position:
        positions.append(position)
