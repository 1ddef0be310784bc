"""The kinds of shapes that the control API's requests and responses are made of, and reading a value against one. PURE.

In this room: text, numbers, moments, lists and structures with their bounds, and one pass that finds everything that is
wrong with a value. Not here: which shapes there are (`resource_shapes`), how they travel (`json_protocol`), and what
a rule may say (`policy.validate`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from netfw.names.printable import printable

_SHOWN = 80
_YEAR_10000 = 253_402_300_800


@dataclass(frozen=True, slots=True)
class Text:
    """`pattern` holds for the whole text, `hint` says the same to a person. Lengths count characters.

    `own_most` is a bound of ours where the vendor has none.
    """

    name: str
    least: int | None = None
    most: int | None = None
    pattern: str | None = None
    words: tuple[str, ...] = ()
    hint: str = ""
    own_most: int | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number. `own_least` and `own_most` are bounds of ours where the vendor has none."""

    name: str
    least: int | None = None
    most: int | None = None
    own_least: int | None = None
    own_most: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Seconds since the epoch."""

    name: str


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    name: str


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object that another reader judges: a policy. Only operations of ours have one."""

    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    """`own_least`: at least so many, where the vendor's model does not say so."""

    name: str
    item: Shape
    least: int | None = None
    most: int | None = None
    own_least: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """`required` by the vendor's model; `demanded` by us although the model leaves it open.

    `extension`: ours, unknown to the vendor's model.
    """

    name: str
    shape: Shape
    required: bool = False
    demanded: bool = False
    extension: bool = False


@dataclass(frozen=True, slots=True)
class Structure:
    """`exception` and `fault` (ours, so 5xx) are set for errors."""

    name: str
    members: tuple[Member, ...]
    exception: bool = False
    fault: bool = False


Shape = Union[Text, Number, Moment, Flag, Document, ListOf, Structure]


class ShapeProblems(Exception):
    """A value that does not have its shape. `problems` has a text each, in the order of the shape's members."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_structure(shape: Structure, value: Mapping[str, Any]) -> dict[str, Any]:
    """The value, without members that are null. Raises ShapeProblems with everything that is wrong."""
    problems: list[str] = []
    read = _structure(shape, value, "", problems)
    if problems:
        raise ShapeProblems(problems)
    return read


def _read(shape: Shape, value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(shape, Text):
        return _text(shape, value, path, problems)
    if isinstance(shape, Number):
        return _number(shape, value, path, problems)
    if isinstance(shape, Moment):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _YEAR_10000:
            problems.append(f"{path}: a time is a number of seconds since the epoch")
        return value
    if isinstance(shape, Flag):
        if not isinstance(value, bool):
            problems.append(f"{path}: true or false is wanted, not {_kind(value)}")
        return value
    if isinstance(shape, Document):
        if not isinstance(value, dict):
            problems.append(f"{path}: an object is wanted, not {_kind(value)}")
        return value
    if isinstance(shape, ListOf):
        return _list(shape, value, path, problems)
    return _structure(shape, value, path, problems)


def _text(shape: Text, value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, str):
        problems.append(f"{path}: text is wanted, not {_kind(value)}")
        return value
    most = shape.most if shape.most is not None else shape.own_most
    if shape.words:
        if value not in shape.words:
            problems.append(f"{path}: {shown(value)} is not one of {', '.join(shape.words)}")
    elif shape.least is not None and len(value) < shape.least:
        problems.append(f"{path}: it must not be empty" if shape.least == 1 else f"{path}: it is too short")
    elif most is not None and len(value) > most:
        problems.append(f"{path}: it has {len(value)} characters, at most {most} are allowed")
    elif shape.pattern is not None and re.fullmatch(shape.pattern, value, re.ASCII) is None:
        hint = f": {shape.hint}" if shape.hint else ""
        problems.append(f"{path}: {shown(value)} does not match {shape.pattern}{hint}")
    elif any("\ud800" <= one <= "\udfff" for one in value):
        problems.append(f"{path}: half of a surrogate pair is no character")
    return value


def _number(shape: Number, value: Any, path: str, problems: list[str]) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        problems.append(f"{path}: a whole number is wanted, not {_kind(value)}")
        return value
    least = shape.least if shape.least is not None else shape.own_least
    most = shape.most if shape.most is not None else shape.own_most
    if (least is not None and value < least) or (most is not None and value > most):
        bounds = f"from {least} to {most}" if most is not None else f"{least} or more"
        problems.append(f"{path}: {shown(str(value))} is out of bounds: write a number {bounds}")
    return value


def _list(shape: ListOf, value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, list):
        problems.append(f"{path}: a list is wanted, not {_kind(value)}")
        return value
    least = shape.least if shape.least is not None else shape.own_least
    if least is not None and len(value) < least:
        problems.append(f"{path}: at least {least} is wanted, and there is none")
    if shape.most is not None and len(value) > shape.most:
        problems.append(f"{path}: there are {len(value)}, at most {shape.most} are allowed")
        return value
    return [_read(shape.item, item, f"{path}[{index}]", problems) for index, item in enumerate(value)]


def _structure(shape: Structure, value: Any, path: str, problems: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        problems.append(f"{path or shape.name}: an object is wanted, not {_kind(value)}")
        return {}
    read: dict[str, Any] = {}
    for member in shape.members:
        inner = f"{path}.{member.name}" if path else member.name
        found = value.get(member.name)
        if found is not None:
            read[member.name] = _read(member.shape, found, inner, problems)
        elif member.required or member.demanded:
            problems.append(f"{inner}: it is missing")
    known = {member.name for member in shape.members}
    for name in value:
        if name not in known:
            problems.append(f"{path or shape.name}: unknown member {shown(name)}; known are {', '.join(sorted(known))}")
    return read


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def shown(text: str) -> str:
    """A text of the request for a message: in quotes, printable, of bounded length."""
    cut = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return f'"{printable(cut)}"'
