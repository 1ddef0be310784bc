"""Frozen dataclasses to what JSON can say, and back by their annotations. PURE.

In this room: `to_plain` and `from_plain` for dataclasses of None, bool, int, float, str, Enum, paths, IP addresses and
networks, tuples, frozen sets, mappings and unions of those. Not here: which dataclasses travel (`messages`,
`snapshot`), and bytes on a wire. Nothing is ever built that the annotation does not name: unlike pickle, the other side
chooses values only.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Reader = Callable[[Any], Any]

_SCALARS = (type(None), bool, int, float, str)
_WRITTEN_AS_TEXT = (Path, IPv4Address, IPv6Address, IPv4Network, IPv6Network)


class PlainError(ValueError):
    """The data is not what the annotation says."""


def to_plain(value: object) -> Any:
    """What JSON can say of this value. Raises TypeError for what it cannot."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, _WRITTEN_AS_TEXT):
        return str(value)
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [item if type(item) is str else to_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(map(to_plain, value))
    if isinstance(value, Mapping):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    raise TypeError(f"a {type(value).__name__} has no plain form")


def from_plain(kind: type[T], data: object) -> T:
    """The value of this type that the data describes. Raises PlainError."""
    of_type: Any = kind
    made: T = reader_of(of_type)(data)
    return made


@lru_cache(maxsize=512)
def reader_of(kind: Any) -> Reader:
    """What reads this type; the work on annotations is done once."""
    if kind is Any:
        return lambda data: data
    if kind is None or kind is type(None):
        return _reader(lambda data: data is None, "nothing")
    if kind is bool:
        return _reader(lambda data: isinstance(data, bool), "true or false")
    if kind is int:
        return _reader(lambda data: type(data) is int, "a whole number")
    if kind is float:
        return _reader(lambda data: type(data) in (int, float), "a number")
    if kind is str:
        return _reader(lambda data: type(data) is str, "text")
    if kind is bytes:  # never in JSON: whoever has them from elsewhere puts them in
        return _reader(lambda data: type(data) is bytes, "bytes")
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union(arguments)
    if origin is tuple:
        return _tuple(arguments)
    if origin is frozenset:
        member = reader_of(arguments[0])
        return lambda data: frozenset([member(item) for item in _listed(data)])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(arguments)
    if isinstance(kind, type) and issubclass(kind, Enum | Path | IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        return _from_text(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind)
    raise TypeError(f"{kind!r} cannot be read from plain data")


def _reader(fits: Callable[[Any], bool], wanted: str) -> Reader:
    def read(data: Any) -> Any:
        if not fits(data):
            raise PlainError(f"{wanted} was expected, not a {type(data).__name__}")
        return data

    return read


def _from_text(kind: Callable[[str], Any]) -> Reader:
    def read(data: Any) -> Any:
        if type(data) is not str:
            raise PlainError(f"text was expected, not a {type(data).__name__}")
        try:
            return kind(data)
        except ValueError as error:
            raise PlainError(str(error)) from None

    return read


def _union(members: tuple[Any, ...]) -> Reader:
    readers = [reader_of(member) for member in members]

    def read(data: Any) -> Any:
        for reader in readers:
            try:
                return reader(data)
            except PlainError:
                continue
        raise PlainError(f"a {type(data).__name__} is none of the {len(readers)} types that were expected")

    return read


def _tuple(members: tuple[Any, ...]) -> Reader:
    if len(members) == 2 and members[1] is Ellipsis:
        reader = reader_of(members[0])
        return lambda data: tuple([reader(item) for item in _listed(data)])
    readers = [reader_of(member) for member in members]

    def read(data: Any) -> Any:
        if len(_listed(data)) != len(readers):
            raise PlainError(f"{len(readers)} elements were expected, not {len(data)}")
        return tuple([reader(item) for reader, item in zip(readers, data, strict=True)])

    return read


def _listed(data: Any) -> list[Any]:
    if type(data) is not list:
        raise PlainError(f"a list was expected, not a {type(data).__name__}")
    return data


def _mapping(members: tuple[Any, ...]) -> Reader:
    key, value = (reader_of(member) for member in members)

    def read(data: Any) -> Any:
        if type(data) is not dict:
            raise PlainError(f"a mapping was expected, not a {type(data).__name__}")
        return {key(name): value(item) for name, item in data.items()}

    return read


def _dataclass(kind: type[Any]) -> Reader:
    hints = get_type_hints(kind)
    readers = {field.name: reader_of(hints[field.name]) for field in fields(kind)}

    def read(data: Any) -> Any:
        if type(data) is not dict or data.keys() != readers.keys():
            raise PlainError(f"the fields of {kind.__name__} were expected")
        return kind(**{name: reader(data[name]) for name, reader in readers.items()})

    return read
