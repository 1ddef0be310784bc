"""Long work over many rules or values as generators that yield after every little of it, and its ends.

Whoever serves connections runs them a few milliseconds at a time (`transport.slices`); whoever keeps nobody waiting
runs them at once. No step may take longer than some two milliseconds, however many rules there are: not making, nor
growing (`large_table`), nor freeing what there is of them (`long_tuple`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")

STEP = 50
"""Rules, values or patterns between two yields: some tenths of a millisecond of work."""

_RUN = 512
_SHORT = 512

Slices = Generator[None, None, None]
Building = Generator[None, None, T]
"""Slices that return what was built."""


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


def portions_of_texts(texts: Iterable[str], most: int = STEP, length: int = STEP * _SHORT) -> Iterator[list[str]]:
    """As `portions`, of texts that may be long: with `length` characters a portion is full as well."""
    portion: list[str] = []
    characters = 0
    for text in texts:
        portion.append(text)
        characters += len(text)
        if len(portion) >= most or characters >= length:
            yield portion
            portion, characters = [], 0
    if portion:
        yield portion


def work_for(text: str) -> int:
    """How many short values a value counts for."""
    return 1 + len(text) // _SHORT


def list_of(items: Iterable[T]) -> Building[list[T]]:
    """A list that grows by and by."""
    whole: list[T] = []
    for portion in portions(items, 4 * STEP):
        whole += portion
        yield
    return whole


def sort_in_slices(items: list[Any]) -> Slices:
    """Sort a list in place: short runs by themselves, then merged."""
    runs: list[list[Any]] = []
    for run in portions(items, _RUN):
        run.sort()
        runs.append(run)
        yield
    place = 0
    for portion in portions(merge(*runs), 4 * STEP):
        items[place : place + len(portion)] = portion
        place += len(portion)
        yield
    while runs:
        runs.pop()
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
