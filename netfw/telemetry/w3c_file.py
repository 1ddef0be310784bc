"""Files in W3C's extended log file format (WD-logfile-960323): directives, and lines of columns under them. PURE.

Each line waits with the names of its columns, since another configuration may have other columns by the time that it is
sent. Not here: a line (`record_columns`), and where files go (`aws_carriers`).
"""

from __future__ import annotations

from collections.abc import Iterable

from netfw import __version__
from netfw.telemetry.record_columns import column_names
from netfw.telemetry.record_printer import Finish
from netfw.telemetry.record_text import Record

# In no column, for it is an escape there.
_BEHIND_NAMES = "\x1f"
_BEGINNING = f"#Version: 1.0\n#Software: netfw {__version__}\n".encode("ascii")


def with_columns(fields: Iterable[str]) -> Finish:
    """Puts the names of its columns before a text."""
    names = " ".join(column_names(fields))

    def finish(text: str, _record: Record) -> bytes:
        return f"{names}{_BEHIND_NAMES}{text}\n".encode("ascii")

    return finish


def w3c_file(records: list[bytes]) -> bytes:
    """A file of lines that `with_columns` made: `#Fields` says which columns follow, again wherever they change. A line
    that was stored in another form is a `#Remark`.
    """
    lines = [_BEGINNING]
    current = None
    for record in records:
        names, behind, text = record.partition(_BEHIND_NAMES.encode())
        if not behind:
            lines.append(b"#Remark: " + record)
            continue
        if names != current:
            current = names
            lines.append(b"#Fields: " + names + b"\n")
        lines.append(text)
    return b"".join(lines)
