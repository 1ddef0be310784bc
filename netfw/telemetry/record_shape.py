"""What somebody gets of records: which fields, changed how, in which form, and how many of them. PURE.

A record is of one or more types: `allow` or `deny` by its final action, `alert` besides if an ALERT rule matched,
`audit` for what was done by command, and `dns` for an answer of the DNS. Not here: which records are asked for
(`record_choice`), and a shape for each type (`record_printer`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from zlib import crc32

from netfw.config.log_model import RECORD_TYPES
from netfw.telemetry.record_columns import Columns
from netfw.telemetry.record_fields import AWS_DEFAULT, COLUMN_FORMATS, MANDATORY
from netfw.telemetry.record_privacy import treated
from netfw.telemetry.record_schemas import ecs_text, ocsf_text
from netfw.telemetry.record_text import FORMS, Record, is_alert

TYPES = RECORD_TYPES
SAMPLED = frozenset(["allow", "dns"])
_FORMS: dict[str, Callable[[Record], str | None]] = {**FORMS, "ecs": ecs_text, "ocsf": ocsf_text}
_WHOLE = 1 << 32


class Shape:
    """`form`: one of `OUTPUT_FORMATS`. `fields`: those kept, empty for all that the form has. `delimiter`: between
    columns, where it has some. `sample`: the share that is kept of records all of whose types are `sampled`, which
    denials never are. `treatments` by field. `token`: what makes tokens.
    """

    def __init__(
        self,
        *,
        form: str = "json",
        fields: tuple[str, ...] = (),
        delimiter: str = "\t",
        sample: float = 1.0,
        sampled: frozenset[str] = SAMPLED,
        treatments: Mapping[str, str] | None = None,
        token: Callable[[str], str] | None = None,
    ) -> None:
        is_columns = form in COLUMN_FORMATS
        self._form = Columns(form, fields, delimiter).text if is_columns else _FORMS[form]
        chosen = () if is_columns else fields or (AWS_DEFAULT if form == "aws" else ())
        self._fields = frozenset((*chosen, *MANDATORY)) if chosen else None
        self._below = int(sample * _WHOLE)
        self._sample = sample
        self._sampled = sampled - {"deny", "audit"}
        self._treatments = dict(treatments or {})
        self._token = token

    def text(self, record: Mapping[str, Any]) -> str | None:
        """The line for this record, without its end; None where there is none."""
        shown = dict(record)
        if self._below < _WHOLE and types_of(record) <= self._sampled:
            # By the id: the same records wherever they are sampled.
            found = record.get("id") or f"{record.get('started')} {record.get('dest_domain')}"
            if crc32(str(found).encode("utf-8", "replace")) >= self._below:
                return None
            shown["sample_rate"] = self._sample
        if self._treatments:
            shown = treated(shown, self._treatments, self._token)
        if self._fields is not None:
            shown = _selected(shown, self._fields)
        return self._form(shown)


def types_of(record: Record) -> frozenset[str]:
    """Which types a record is of."""
    kind = record.get("kind")
    if kind in ("audit", "dns"):
        return frozenset([str(kind)])
    # What says neither is treated as what must not get lost.
    action = "allow" if record.get("final_action") == "allow" else "deny"
    return frozenset([action, "alert"] if is_alert(record) else [action])


def _selected(record: Record, fields: frozenset[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in record.items():
        if name in fields:
            found[name] = value
        elif isinstance(value, dict):
            inner = {key: member for key, member in value.items() if f"{name}.{key}" in fields}
            if inner:
                found[name] = inner
    return found
