"""`log.retention`: how long records are kept in files, by type.

Not here: the rotation itself (`netfw.telemetry.record_retention`).
"""

from __future__ import annotations

from collections.abc import Sequence

from netfw.config.log_model import RECORD_TYPES, OutputSection, RetentionSection
from netfw.config.table import Table
from netfw.config.units import parse_duration, parse_size

_SHORTEST = 60.0
_SMALLEST = 1 << 20
_EVERY = 30.0


def read_retention(log: Table, outputs: Sequence[OutputSection]) -> tuple[RetentionSection | None, float | None]:
    """The section inside `log`, None when it is not there, and what it says of the index."""
    if "retention" not in log:
        return None, None
    table = log.table("retention")
    keep = table.take("keep", _age, None)
    types = {kind: table.take(kind, _age) for kind in RECORD_TYPES if kind in table}
    table.may_have(*RECORD_TYPES)
    rotate = table.take("rotate", _age, 86400.0)
    size = table.take("size", _size, None)
    total = table.take("total", _size, None)
    index = table.take("index", _age, None)
    section = RetentionSection(rotate, size, total, keep, types, every=min(_EVERY, rotate / 2))
    if index is not None and log.is_mapping("index") and "keep" in log.peek("index"):
        table.complain("index", "is said by log.index.keep as well; keep one of the two")
    elif index is not None and "index" not in log:
        table.complain("index", "is for an index; write log: {index: {path: FILE}}, or leave it out")
    if keep is None and not types and total is None and index is None and table.is_empty:
        table.complain("", "says nothing; write keep: 14d, or a time for each type of records")
    files = [output for output in outputs if output.path is not None]
    if not files and index is None:
        table.complain("", "is for files of records, and no output is one; leave it out")
    for output in files:
        if not _is_alike(section, output) and not _is_tellable(output):
            table.complain(
                "",
                f"keeps types of records for different times, and those in {output.path} cannot be told apart by then; "
                "give it one type (types: [deny]), format: json with first_alert_match, or one time for all",
            )
    table.close()
    return section, index


def _is_alike(section: RetentionSection, output: OutputSection) -> bool:
    # Whatever its form, of these no file is thinned out.
    return len({section.of(kind) for kind in output.types}) < 2


def _is_tellable(output: OutputSection) -> bool:
    # By what stays in each of its lines.
    forms = [output.form(kind) for kind in output.types]
    return all(
        form.format == "json" and (not form.fields or "first_alert_match" in form.fields) for form in forms
    )


def _age(value: object) -> float:
    seconds = parse_duration(value)
    if seconds < _SHORTEST:
        raise ValueError(f"{value!r} is too short; write 60s or more, as in 14d")
    return seconds


def _size(value: object) -> int:
    size = parse_size(value)
    if size < _SMALLEST:
        raise ValueError(f"{value!r} is too small; write 1MiB or more")
    return size
