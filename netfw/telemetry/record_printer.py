"""What one output gets of a record: by its types, in the form and with the fields that are set for them. PURE.

Runs on the output's thread, for each record, so it begins with the line and not with what the line was made of. A
record of two types goes out once: what is set for denials holds before what is set for alerts, and that before what is
set for what was let pass. Not here: what a shape does (`record_shape`), and who calls this (`record_log`).
"""

from __future__ import annotations

import json
from collections.abc import Callable

from netfw.config.log_model import RECORD_TYPES, OutputSection, RecordForm
from netfw.telemetry.record_shape import Shape, types_of
from netfw.telemetry.record_text import Record

Finish = Callable[[str, Record], "bytes | None"]
"""From the text and its record to what the destination gets: a line, a message with a header; None: nothing."""

# Who comes first says what becomes of a record of several types.
_PRECEDENCE = ("audit", "dns", "deny", "alert", "allow")


def as_line(text: str, _record: Record) -> bytes:
    """The text alone, with its end."""
    return text.encode("utf-8", "backslashreplace") + b"\n"


class RecordPrinter:
    """`output` says which records and what of them; `tokens` makes tokens of values."""

    def __init__(self, output: OutputSection, tokens: Callable[[str], str], finish: Finish = as_line) -> None:
        self._types = frozenset(output.types)
        self._shapes = {kind: _shape(output.form(kind), kind, tokens) for kind in RECORD_TYPES}
        self._finish = finish

    def __call__(self, line: bytes) -> bytes | None:
        """What the destination gets for this record's line; None where it gets nothing."""
        record = json.loads(line)
        types = types_of(record)
        if self._types.isdisjoint(types):
            return None
        first = next(kind for kind in _PRECEDENCE if kind in types)
        text = self._shapes[first].text(record)
        return None if text is None else self._finish(text, record)


def _shape(form: RecordForm, kind: str, tokens: Callable[[str], str]) -> Shape:
    # A record that is governed as an alert was let pass as well.
    sampled = frozenset([kind, "allow"]) if kind == "alert" else frozenset([kind])
    return Shape(
        form=form.format,
        fields=form.fields,
        delimiter=form.delimiter,
        sample=form.sample,
        sampled=sampled,
        treatments=form.treatments,
        token=tokens,
    )
