"""Long work over many rules or values as generators that yield after every little of it, and its ends.

Whoever serves connections runs them a few milliseconds at a time (`transport.slices`); whoever keeps nobody waiting
runs them at once. No step may take longer than some two milliseconds, however many rules there are: not making, nor
growing, nor freeing what there is of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")

STEP = 50
"""Rules, values or patterns between two yields: some tenths of a millisecond of work."""

_RUN = 1024

Slices = Generator[Any, None, None]
"""What yields True says that its next step is a long one, which had better have a slice to itself."""
Building = Generator[Any, None, T]
"""Slices that return what was built."""

_GROWTH = tuple((2 << power) // 3 for power in range(14, 28))
_MANY = 20_000
APART = 10_000


def finished(work: Building[T]) -> T:
    """What the work returns, at once."""
    while True:
        try:
            next(work)
        except StopIteration as stopped:
            built: T = stopped.value
            return built


def portions(items: Iterable[T], size: int = STEP) -> Iterator[list[T]]:
    """The items in order, so many at a time: for loops that yield after each."""
    rest = iter(items)
    while portion := list(islice(rest, size)):
        yield portion


def set_of(items: Iterable[T]) -> Building[set[T]]:
    """A set that grows by and by: hashing 100,000 texts at once takes ten milliseconds."""
    members: set[T] = set()
    for portion in portions(items):
        members.update(portion)
        yield
    return members


def keep_apart(table: dict[Any, Any] | set[Any]) -> None:
    """Of two tables that get the same number of texts, let this one grow at another step than the other: once it has
    `APART` entries it gets some more, that no text is equal to.
    """
    if len(table) == APART:
        table.update(dict.fromkeys(range(8 * STEP), []))


def grows_soon(*sizes: int) -> bool:
    """Whether a dict of one of these sizes is moved to a larger place by the next entries: that takes four milliseconds
    at 87,381 entries. CPython does it when two thirds of a power of two are taken.
    """
    return any(size > _MANY and _GROWTH[bisect_left(_GROWTH, size)] - size <= 2 * STEP for size in sizes)


def sort_in_slices(items: list[Any]) -> Slices:
    """Sort a list in place: short runs by themselves, then merged."""
    runs: list[Sequence[Any]] = []
    for run in portions(items, _RUN):
        run.sort()
        runs.append(run)
        yield
    if len(runs) < 2:
        items[:] = runs[0] if runs else []
        return
    items.clear()
    merged = merge(*runs)
    while portion := list(islice(merged, 4 * STEP)):
        items += portion
        yield


def emptied(*containers: Any) -> Slices:
    """Take everything out of lists, sets and dicts, a little at a time, so that nobody frees all of it at once."""
    for container in containers:
        if isinstance(container, list):
            while container:
                del container[-STEP:]
                yield
        else:
            take = container.popitem if isinstance(container, dict) else container.pop
            while container:
                for _ in range(min(STEP, len(container))):
                    take()
                yield
