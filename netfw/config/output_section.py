"""`log.outputs`: one place after the other where records go, and what each gets of them.

A setting of what is recorded may stand in four places: in `log`, in `log.TYPE`, in an output, and in an output's TYPE.
The later one of these wins, setting by setting; treatments are put together field by field. Not here: `log` itself
(`config.log_section`), and what the settings do (`telemetry.record_shape`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netfw.config import values
from netfw.config.delivery_section import DELIVERIES, read_delivery
from netfw.config.format_rules import delimiter, format_name, format_problems
from netfw.config.log_model import RECORD_TYPES, OutputSection, RecordForm
from netfw.config.nearest import nearest
from netfw.config.syslog_section import read_syslog
from netfw.config.table import Table
from netfw.telemetry.record_fields import COLUMN_FORMATS, FIELD_NAMES, HASHED, MANDATORY

_TREATMENTS = ("keep", "mask", "drop", "hash")
_QUEUE = (100, 1_000_000)
_MEMBERS = ("format", "fields", "delimiter", "sample", "treat")
_JOURNAL = "journal"

Given = Mapping[str, Any]
"""What the file says at one place: some of format, fields, delimiter, sample and treatments."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is said of records: of all, and of those of each type."""

    of_all: Given = field(default_factory=dict)
    by_type: Mapping[str, Given] = field(default_factory=dict)

    @property
    def treatments(self) -> Mapping[str, str]:
        """Of all records."""
        return merged(self.of_all).treatments

    def says(self, member: str) -> bool:
        """Whether this setting is given, here or for a type."""
        return any(member in given for given in (self.of_all, *self.by_type.values()))

    def forms(self, *closer: Wanted) -> dict[str, RecordForm]:
        """The forms by type, where what is said closer wins."""
        found = {}
        for kind in RECORD_TYPES:
            given = [part for wanted in (self, *closer) for part in (wanted.of_all, wanted.by_type.get(kind, {}))]
            form = merged(*given)
            if form != RecordForm():
                found[kind] = form
        return found


def merged(*given: Given) -> RecordForm:
    """One form of what is said at several places, the last of which wins."""
    members: dict[str, Any] = {}
    treatments: dict[str, str] = {}
    for part in given:
        members |= {name: value for name, value in part.items() if name != "treat"}
        treatments |= part.get("treat", {})
    kept = {name: treatment for name, treatment in treatments.items() if treatment != "keep"}
    return RecordForm(**members, treatments=kept)


class OutputReader:
    """Reads outputs by what `log` says of all of them (`general`). `hashes`: somebody asked for tokens."""

    def __init__(self, log: Table, directory: Path) -> None:
        self._directory = directory
        self.hashes = False
        self.general = self._wanted(log)

    def read(self, table: Table) -> OutputSection:
        """One entry of the list."""
        name = table.take("name", _name)
        path = table.take("path", values.path(self._directory), None)
        stdout = table.take("stdout", values.boolean, False)
        syslog = read_syslog(table, self._directory)
        delivery = read_delivery(table, self._directory)
        places = [key for key in ("path", "stdout", "syslog", *DELIVERIES) if key in table]
        if len(places) > 1:
            table.complain("", f"has both {places[0]} and {places[1]}; make it two outputs")
        elif not places:
            table.complain(
                "", "leads nowhere; write path: FILE, stdout: true, syslog: tls://HOST:6514 or http: https://HOST/PATH"
            )
        elif "stdout" in places and not stdout and not table.has_problem("stdout"):
            table.complain("stdout", "false leads nowhere; leave the output out")
        types = table.take_list("types", values.word(*RECORD_TYPES), RECORD_TYPES, single=True)
        if table.is_empty_list("types"):
            table.complain("types", f"is empty: the output would get nothing; write some of {', '.join(RECORD_TYPES)}")
        queue = table.take("queue", values.count(*_QUEUE), 10_000)
        wanted = self._wanted(table)
        forms = self.general.forms(wanted)
        if wanted.says("delimiter") and not any(form.format in COLUMN_FORMATS for form in forms.values()):
            shown = " or ".join(COLUMN_FORMATS)
            table.complain("delimiter", f"stands between columns; write format: {shown}, or leave it out")
        table.close()
        return OutputSection(name, path, syslog, types, forms, queue, table.path, delivery)

    def _wanted(self, table: Table) -> Wanted:
        by_type = {}
        table.may_have(*RECORD_TYPES)
        for kind in RECORD_TYPES:
            # `dns: true` says that there are such records, and nothing of them.
            if kind in table and not table.is_boolean(kind):
                inner = table.table(kind)
                by_type[kind] = self._given(inner, kind)
                inner.close()
        return Wanted(self._given(table, None), by_type)

    def _given(self, table: Table, kind: str | None) -> Given:
        given: dict[str, Any] = {}
        table.may_have(*_MEMBERS)
        if "format" in table:
            given["format"] = table.take("format", format_name, "json")
        if "delimiter" in table:
            given["delimiter"] = table.take("delimiter", delimiter, "\t")
        if "fields" in table:
            given["fields"] = table.take_list("fields", _field, single=True)
            if table.is_empty_list("fields"):
                table.complain("fields", "is empty; name some, or leave it out for all of them")
        if "sample" in table:
            sample = table.take("sample", _share, 1.0)
            if kind is None:
                table.complain("sample", "is for one type of records; write it under allow, alert or dns")
            elif kind in ("deny", "audit"):
                table.complain("sample", f"{'denials' if kind == 'deny' else 'audit records'} are never sampled; "
                               "leave it out")  # fmt: skip
            given["sample"] = sample
        if "treat" in table:
            given["treat"] = self._treatments(table)
        return given

    def _treatments(self, table: Table) -> dict[str, str]:
        inner = table.table("treat", wanted="fields and what becomes of each")
        found = {}
        for name in inner.names:
            treatment = inner.take(name, values.word(*_TREATMENTS), "keep")
            problem = _untreatable(name, treatment)
            if problem is not None:
                inner.complain(name, problem)
            found[name] = treatment
        self.hashes = self.hashes or "hash" in found.values()
        inner.close()
        return found


def refuse_doubles(log: Table, outputs: Sequence[OutputSection]) -> None:
    """Two outputs of one name would count as one; two that write one file would double its records."""
    for position, output in enumerate(outputs):
        for earlier in outputs[:position]:
            if output.name is not None and output.name == earlier.name:
                log.complain("outputs", f"{output.name!r} is the name of two outputs; give each its own")
            if output.path is not None and output.path == earlier.path:
                log.complain("outputs", f"{output.path} is the file of two outputs; keep one of them")
            spool = output.delivery.spool.path if output.delivery is not None else None
            if spool is not None and earlier.delivery is not None and spool == earlier.delivery.spool.path:
                log.complain("outputs", f"{spool} is the spool of two outputs; give each its own")
            if output.is_stdout and earlier.is_stdout and None not in (output.name, earlier.name):
                log.complain("outputs", f"{earlier.name} and {output.name} are both standard output; keep one of them")


def refuse_formats(log: Table, outputs: Sequence[OutputSection]) -> None:
    """What a kind of output cannot have, in whichever of the four places it was said."""
    for output in outputs:
        place = output.place.removeprefix(log.path).lstrip(".")
        for setting, problem in format_problems(output):
            log.complain(f"{place}.{setting}".lstrip("."), problem)


def _name(value: object) -> str:
    name = values.name(value)
    if name == _JOURNAL:
        raise ValueError(f"{name!r} is what feeds the index; choose another name")
    return name


def _field(value: object) -> str:
    if isinstance(value, str) and value in FIELD_NAMES:
        return value
    raise ValueError(_unknown(value))


def _unknown(value: object) -> str:
    guess = nearest(value, FIELD_NAMES) if isinstance(value, str) else None
    hint = f"did you mean {guess}?" if guess else "docs/records.md lists them"
    return f"{value!r} is no field of records; {hint}"


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is not a share; write a number from 0 to 1, such as 0.1 for every tenth")
    return float(value)


def _untreatable(name: str, treatment: str) -> str | None:
    if name not in FIELD_NAMES:
        return _unknown(name)
    if treatment != "keep" and name in MANDATORY:
        return "stays in every record: without it nobody finds the record again"
    if treatment in ("mask", "hash") and name not in HASHED:
        return f"is not a text, and cannot become {'a mask' if treatment == 'mask' else 'a token'}; write keep or drop"
    return None
