"""Durations and sizes as people write them: `30s`, `5m`, `64KiB`.

PURE. Durations become seconds, sizes become bytes. Not here: which setting wants which (`config.sections`).
Decimal size units (`KB`, `MB`) are refused, since half of their readers take them for binary ones.
"""

from __future__ import annotations

import math
import re

_NUMBER_AND_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?)[ \t]*([A-Za-z]*)", re.ASCII)

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1,
    "B": 1,
    "K": 1 << 10,
    "KiB": 1 << 10,
    "M": 1 << 20,
    "MiB": 1 << 20,
    "G": 1 << 30,
    "GiB": 1 << 30,
}
_DECIMAL = {"KB": "KiB", "kB": "KiB", "kb": "KiB", "k": "KiB", "MB": "MiB", "GB": "GiB"}

LONGEST_DURATION = 366 * 86400.0
LARGEST_SIZE = 1 << 40


class UnitError(ValueError):
    """The text is not a duration or a size; the message says what would be one."""


def parse_duration(value: object) -> float:
    """Return seconds for `30s`, `250ms`, `5m`, `2h`, `1d` or a plain number of seconds.

    At most a year: a longer wait is a typing error rather than a deadline.
    """
    number, unit = _split(value, "a duration like 30s, 250ms, 5m, 2h or 1d")
    factor = _SECONDS.get(unit)
    if factor is None:
        raise UnitError(f"{value!r} has the unknown unit {unit!r}; write ms, s, m, h or d, as in 30s")
    seconds = number * factor
    if seconds > LONGEST_DURATION:
        raise UnitError(f"{value!r} is longer than a year; write at most 366d")
    return seconds


def parse_size(value: object) -> int:
    """Return bytes for `64KiB` (or `64K`), `1MiB`, `512B` or a plain number of bytes."""
    number, unit = _split(value, "a size like 64KiB, 1MiB or 512B")
    factor = _BYTES.get(unit)
    if factor is None:
        binary = _DECIMAL.get(unit)
        if binary is not None:
            raise UnitError(f"{value!r} could mean 1000 or 1024 bytes a step; write {_plain(number)}{binary}")
        raise UnitError(f"{value!r} has the unknown unit {unit!r}; write B, KiB, MiB or GiB, as in 64KiB")
    size = number * factor
    if size != int(size):
        raise UnitError(f"{value!r} is not a whole number of bytes")
    if size > LARGEST_SIZE:
        raise UnitError(f"{value!r} is larger than 1024GiB")
    return int(size)


def _split(value: object, wanted: str) -> tuple[float, str]:
    """Return the number and the unit of what a file held: a number or a text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UnitError(f"{value!r} is not {wanted}")
    if not isinstance(value, str):
        if not math.isfinite(value) or value < 0:
            raise UnitError(f"{value!r} is not {wanted}; it must be a number from 0 up")
        return float(value), ""
    match = _NUMBER_AND_UNIT.fullmatch(value.strip())
    if match is None:
        raise UnitError(f"{value!r} is not {wanted}")
    return float(match[1]), match[2]


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)
