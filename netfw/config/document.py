"""A YAML or JSON file as plain Python data, read with suspicion.

In this room: size cap, UTF-8, and a YAML construction of our own over PyYAML's event stream. There is no object
construction at all, so nothing but dict, list, str, int, float, bool and None can come out. Refused, with line and
column: aliases and anchors (a few lines can expand to gigabytes), tags, duplicate keys, keys that are not text,
several documents, nesting deeper than 64. Plain scalars follow the core schema of YAML 1.2.2 (section 10.3.2), less
its octal and hexadecimal forms: `NO`, `on`, `2026-12-01` and `12:30` stay text, as they look.
Not here: what the data mean (`config.sections`, `netfw.policy.load`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from netfw.config.errors import ConfigErrors, Problem

SIZE_LIMIT = 16 * 1024 * 1024
JSON_SIZE_LIMIT = 64 * 1024 * 1024
"""JSON is read a hundred times faster: room for some 300,000 rules."""
DEPTH_LIMIT = 64

_INTEGER = re.compile(r"[-+]?[0-9]{1,30}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}

# libyaml reads ten times as fast; PyYAML may have been built without it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_document(path: Path) -> Any:
    """Return what the file holds; `.json` is read as JSON, everything else as YAML. Raises ConfigErrors."""
    text = read_text(path)
    if path.suffix == ".json":
        return parse_json(text, str(path))
    return parse_yaml(text, str(path))


def read_text(path: Path) -> str:
    """Return a file's text: UTF-8 without NUL, at most 16 MiB, of JSON 64 MiB. Raises ConfigErrors."""
    limit = JSON_SIZE_LIMIT if path.suffix == ".json" else SIZE_LIMIT
    source = str(path)
    try:
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise _refusal(source, f"cannot be read: {error.strerror or error}") from None
    if len(content) > limit:
        raise _refusal(source, f"is larger than {limit // (1024 * 1024)} MiB; split it or take out what is unused")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refusal(source, "is not UTF-8 text; save it as UTF-8", line) from None
    nul = text.find("\0")
    if nul >= 0:
        raise _refusal(source, "holds a NUL character; is it a text file?", text.count("\n", 0, nul) + 1)
    return text


def parse_json(text: str, source: str) -> Any:
    """Return the JSON text's data. Duplicate keys, NaN and nesting deeper than the cap are refused."""
    try:
        document = json.loads(text, object_pairs_hook=_unique_pairs, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _refusal(source, f"is not JSON: {error.msg} (column {error.colno})", error.lineno) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise _refusal(source, f"is not JSON that can be used: {reason}") from None
    if _depth_exceeds(document, DEPTH_LIMIT):
        raise _refusal(source, f"is nested deeper than {DEPTH_LIMIT} levels")
    return document


def parse_yaml(text: str, source: str) -> Any:
    """Return the YAML text's data; an empty text gives None. Raises ConfigErrors with line and column."""
    try:
        return _Construction(text, {}).document()
    except yaml.YAMLError as error:
        raise ConfigErrors([_yaml_problem(error, source)]) from None


def locate(text: str, paths: set[str]) -> dict[str, int]:
    """Return the line of each path (`listeners[1].port`), or of the nearest thing above it that the text holds.

    Reads the text again, which only a refusal pays for. Also used on JSON, which is near enough to YAML.
    """
    lines: dict[str, int] = {}
    try:
        _Construction(text, lines).document()
    except yaml.YAMLError:
        return {}
    found = {}
    for path in paths:
        nearest = path
        while nearest and nearest not in lines:
            nearest = nearest[: max(nearest.rfind("["), nearest.rfind("."), 0)]
        if nearest:
            found[path] = lines[nearest]
    return found


class _Construction:
    """One pass over the events of one document; fills `lines` with the line of each key's value."""

    def __init__(self, text: str, lines: dict[str, int]) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._lines = lines

    def document(self) -> Any:
        next(self._events)  # the start of the stream
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        document = self._node(next(self._events), "", 0)
        next(self._events)  # the end of the document
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _at(event, "a second document begins here (---); write one document a file")
        return document

    def _node(self, event: Any, path: str, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            raise _at(event, f"the alias *{event.anchor} is not accepted; write the value out")
        if event.anchor is not None:
            raise _at(event, f"the anchor &{event.anchor} is not accepted; write the value out where it is used")
        if event.tag is not None and event.tag != "!":
            raise _at(event, f"the tag {event.tag} is not accepted; leave it out")
        if path:
            self._lines.setdefault(path, _line(event))
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if depth >= DEPTH_LIMIT:
            raise _at(event, f"nested deeper than {DEPTH_LIMIT} levels")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth + 1)
        return self._mapping(path, depth + 1)

    def _sequence(self, path: str, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._node(event, f"{path}[{len(values)}]", depth))
        return values

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent)):
                raise _at(event, "a key must be text")
            self._node(event, "", depth)
            # Of `80: ...` and `true: ...` the spelling is what was meant.
            key = str(getattr(event, "value", ""))
            if key in values:
                raise _at(event, f"the key {key!r} is here a second time; keep one of the two")
            inner = f"{path}.{key}" if path else key
            self._lines.setdefault(inner, _line(event))
            values[key] = self._node(next(self._events), inner, depth)
        return values


def _scalar(event: Any) -> Any:
    text = event.value
    if not event.implicit[0]:
        return text  # quoted, or a block scalar
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        # `010` is ten to YAML 1.2 and eight to YAML 1.1: as text it is refused by whoever wants a number.
        return text if re.fullmatch(r"[-+]?0[0-9]+", text) else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _at(event: Any, message: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=message, problem_mark=event.start_mark)


def _yaml_problem(error: yaml.YAMLError, source: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    message = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    context = getattr(error, "context", None)
    if context:
        message = f"{message} ({context})"
    if "cannot start any token" in message:
        message += "; indent with spaces, and quote text that begins with @, %, ` or a tab"
    if mark is None:
        return Problem("", message, source=source)
    return Problem("", f"{message} (column {mark.column + 1})", line=mark.line + 1, source=source)


def _refusal(source: str, message: str, line: int | None = None) -> ConfigErrors:
    return ConfigErrors([Problem("", message, line=line, source=source)])


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {key!r} is there twice; keep one of the two")
        values[key] = value
    return values


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a JSON number")


def _depth_exceeds(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit + 1):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True
