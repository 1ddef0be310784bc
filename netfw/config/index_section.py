"""`log.index`: the index of the record file, by which `netfw why` finds an exchange.

Not here: keeping it (`netfw.telemetry.record_index`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netfw.config import values
from netfw.config.model import IndexSection
from netfw.config.table import Table
from netfw.config.units import parse_duration, parse_size

KEEP = 7 * 86400.0
SIZE = 4 << 30
_SHORTEST = 60.0
_SMALLEST = 16 << 20


def read_index(log: Table, records: Sequence[Path | None], directory: Path) -> IndexSection | None:
    """The section inside `log`; None when it is not there. `records`: the files of records."""
    if "index" not in log:
        return None
    table = log.table("index")
    path = table.take("path", values.path(directory), None)
    keep = table.take("keep", _age, KEEP)
    size = table.take("size", _size, SIZE)
    if path is None and not table.has_problem("path"):
        table.complain("path", "is missing; name a file for the index, such as ../var/log/records.index")
    elif path is not None and path in records:
        table.complain("path", f"{path} is the record file itself; name another one")
    table.close()
    return IndexSection(path, keep, size) if path is not None else None


def _age(value: object) -> float:
    seconds = parse_duration(value)
    if seconds < _SHORTEST:
        raise ValueError(f"{value!r} is too short to find anything; write 60s or more, as in 7d")
    return seconds


def _size(value: object) -> int:
    size = parse_size(value)
    if size < _SMALLEST:
        raise ValueError(f"{value!r} is too small for an index; write 16MiB or more")
    return size
