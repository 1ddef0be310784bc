r"""Records as columns of text: fields in one order with a delimiter between them, `-` where one has no value. PURE.

One escaping for all who read columns, whether or not they know of quotes: the delimiter, quotes, backslashes and
whatever is not visible ASCII are escapes as C, Python and JavaScript have them (`\t`, `\x2c`, `\u2026`). So a value
never makes a second column or line, nothing has to be quoted, and what was there can be had back from the text.

W3C's extended log file format (WD-logfile-960323) separates by whitespace, tells columns by a `#Fields` directive, and
takes a `#` for the beginning of one. Not here: the directives around it (`aws_carriers`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from netfw.telemetry.record_fields import AWS_DEFAULT, AWS_MANDATORY
from netfw.telemetry.record_text import OURS, Record, compact

ABSENT = "-"
_LITERAL_ABSENT = "\\x2d"
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}
# To a reader of W3C's form a blank ends a column, whichever whitespace we write between them.
_W3C = ' "#'
_QUOTES = '"'


def column_names(fields: Iterable[str]) -> tuple[str, ...]:
    """The columns for these fields, those of the vendor's default where there are none: in their order, behind those
    that are mandatory and were left out.
    """
    chosen = tuple(dict.fromkeys(fields)) or AWS_DEFAULT
    return (*(name for name in AWS_MANDATORY if name not in chosen), *chosen)


class Columns:
    """`form`: one of `record_fields.COLUMN_FORMATS`. `fields`: see `column_names`. `delimiter`: ASCII, none of it a
    letter, a digit, a backslash or a hyphen.
    """

    def __init__(self, form: str, fields: Iterable[str], delimiter: str) -> None:
        self.names = column_names(fields)
        self._delimiter = delimiter
        special = delimiter + (_W3C if form == "w3c" else _QUOTES)
        self._odd = re.compile(f"[^ -~]|[\\\\{re.escape(special)}]")

    def text(self, record: Record) -> str | None:
        """The line for this record, without its end; None for what the vendor's log does not have."""
        if record.get("kind") in OURS:
            return None
        return self._delimiter.join([self._shown(_value(record, name)) for name in self.names])

    def _shown(self, value: Any) -> str:
        if value is None or value == "":
            return ABSENT
        text = value if type(value) is str else str(value) if type(value) is int else compact(value)
        return _LITERAL_ABSENT if text == ABSENT else self._odd.sub(_escape, text)


def _value(record: Record, name: str) -> Any:
    """What stands under this name; a URL in one piece."""
    value = record.get(name)
    if value is None and "." in name:
        outer, _, inner = name.partition(".")
        found = record.get(outer)
        return found.get(inner) if isinstance(found, Mapping) else None
    return _url(value) if name == "url" and isinstance(value, Mapping) else value


def _url(url: Mapping[str, Any]) -> str:
    """Of what is left of it: members may have been dropped."""
    scheme, query = url.get("scheme"), url.get("query")
    start = f"{scheme}://" if scheme else "//" if url.get("authority") else ""
    return f"{start}{url.get('authority') or ''}{url.get('path') or ''}" + (f"?{query}" if query else "")


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    short = _SHORT.get(character)
    if short is not None:
        return short
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
