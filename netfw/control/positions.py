"""Order: inserting at positions, and moving to positions. PURE.

Positions are counted from 0. The order in which a request lists things means nothing: positions do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from netfw.control.refusals import InvalidRequest

Item = TypeVar("Item")


def insert(present: Sequence[Item], added: Sequence[tuple[Item, int | None]], what: str) -> list[Item]:
    """`present` with the added items, each at its position; those without one go to the end, in their order.

    What stands at a position, and all behind it, moves down. Raises `InvalidRequest` for a gap and for a position that
    is asked for twice.
    """
    result = list(present)
    placed = sorted(((position, item) for item, position in added if position is not None), key=lambda pair: pair[0])
    _refuse_twice([f"position {position}" for position, _ in placed], what)
    for position, item in placed:
        if position > len(result):
            raise InvalidRequest(
                f"Insertion position must be continuous: {what} has no position {position}, the next free one is "
                f"{len(result)}"
            )
        result.insert(position, item)
    return result + [item for item, position in added if position is None]


def move(present: Sequence[str], moved: Sequence[tuple[str, int]], what: str) -> list[str]:
    """The names in their new order: each of `moved` at its position, the others around them in their old order.

    Raises `InvalidRequest` for a name that is not there or stands there twice, and for positions likewise.
    """
    names = [name for name, _ in moved]
    known, named = set(present), set(names)
    for name in names:
        if name not in known:
            raise InvalidRequest(f'"{name}" is not in {what}')
    _refuse_twice(names, what)
    _refuse_twice([f"position {position}" for _, position in moved], what)
    result = [name for name in present if name not in named]
    for name, position in sorted(moved, key=lambda pair: pair[1]):
        if position >= len(present):
            raise InvalidRequest(f"{what} has no position {position}, the last one is {len(present) - 1}")
        result.insert(position, name)
    return result


def _refuse_twice(wanted: Sequence[str], what: str) -> None:
    if len(set(wanted)) < len(wanted):
        name, _ = Counter(wanted).most_common(1)[0]
        raise InvalidRequest(f"{name} of {what} stands in the request twice")
