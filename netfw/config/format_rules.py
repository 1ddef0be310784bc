"""Which format goes to which kind of output, and what columns ask of an output that has them. PURE.

Not here: reading the settings (`config.output_section`), and what the formats are (`telemetry.record_columns`,
`telemetry.record_text`, `telemetry.record_schemas`).
"""

from __future__ import annotations

from collections.abc import Iterator

from netfw.config import values
from netfw.config.delivery_model import AwsService
from netfw.config.log_model import EXCHANGE_TYPES, OutputSection
from netfw.telemetry.record_fields import COLUMN_FORMATS, OUTPUT_FORMATS

_ONLY_AT = {"w3c": AwsService.S3, "raw": AwsService.FIREHOSE}
_WHITESPACE = ("\t", " ")
_LONGEST = 5
_word = values.word(*OUTPUT_FORMATS)
_UNFIT = frozenset('\\"-')


def format_name(value: object) -> str:
    """The value of `format`. Raises ValueError."""
    if value == "parquet":
        raise ValueError(
            "'parquet' needs a library that Debian 12 has no package of; write w3c or plain for columns, or json or "
            "aws, of which Athena, Glue and Firehose's own conversion make Parquet"
        )
    return _word(value)


def delimiter(value: object) -> str:
    """The value of `delimiter`. Raises ValueError: what stands in escapes, or for no value, cannot separate."""
    if value == "\\t":
        raise ValueError("'\\t' without quotes is a backslash and a letter; write \"\\t\", in double quotes")
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST or not all(map(_separates, value)):
        raise ValueError(
            f'{value!r} cannot stand between columns; write 1 to {_LONGEST} signs such as "\\t", " ", "," or '
            '"||", no letters, digits, quotes, hyphens or backslashes'
        )
    return value


def _separates(sign: str) -> bool:
    return sign == "\t" or (" " <= sign <= "~" and not sign.isalnum() and sign not in _UNFIT)


def format_problems(output: OutputSection) -> Iterator[tuple[str, str]]:
    """What is wrong with the formats of this output: a setting and a sentence each."""
    delivery = output.delivery
    if delivery is not None and delivery.otlp is not None:
        if any(form.format != "json" for form in output.forms.values()):
            yield "format", "is json for OTLP, whose messages are made of a record's fields; write format: json"
        return
    service = delivery.aws.service if delivery is not None and delivery.aws is not None else None
    forms = [output.form(kind) for kind in EXCHANGE_TYPES if kind in output.types]
    columns = [form for form in forms if form.format in COLUMN_FORMATS]
    for name in sorted({form.format for form in columns}):
        only = _ONLY_AT.get(name)
        if only is not None and only is not service:
            yield "format", f"{name!r} is for {only.value} alone; write plain, or make it an output to {only.value}"
    if columns and len({(form.format, form.fields, form.delimiter) for form in forms}) > 1:
        yield "format", "differs by type (or fields or delimiter): columns could not be told apart; make it two outputs"
    if any(form.format == "w3c" and form.delimiter not in _WHITESPACE for form in columns):
        yield "delimiter", 'is whitespace in w3c, by its definition; write "\\t" or " ", or format: plain'
