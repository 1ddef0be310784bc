"""One value of a configuration at a time: what a file held becomes what the model holds.

Each function takes the raw value and returns the checked one, or raises ValueError with a message that names the value
and the fix. Not here: which setting wants which (`config.sections`), durations and sizes (`config.units`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, TypeVar, Union

from netfw.config.nearest import nearest

Address = Union[IPv4Address, IPv6Address]
Choice = TypeVar("Choice", bound=Enum)

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?", re.ASCII)
_HELP_URL = re.compile(r"https?://[!#-;=?-\[\]_a-z{}~|@A-Z]+", re.ASCII)


def text(value: object) -> str:
    """A text without control characters."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text; put it in quotes if it is meant as one")
    if not value or not value.isprintable():
        raise ValueError(f"{value!r} is empty or holds control characters")
    return value


def name(value: object) -> str:
    """A name of this configuration's own: letters, digits, `.`, `_` and `-`."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name; write 1 to 128 letters, digits, '.', '_' or '-'")
    return value


def boolean(value: object) -> bool:
    """true or false; YAML 1.1's other spellings are text."""
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def count(minimum: int, maximum: int) -> Callable[[object], int]:
    """A whole number between the two."""

    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
            raise ValueError(f"{value!r} is not a whole number from {minimum} to {maximum}")
        return value

    return parse


def port(value: object) -> int:
    """A TCP port; 0 lets the kernel choose."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise ValueError(f"{value!r} is not a port; write a number from 1 to 65535")
    return value


def address(value: object) -> IPv4Address | IPv6Address:
    """An IP address, without brackets or a zone."""
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return ip_address(value)
    except ValueError:
        hint = "; write 127.0.0.1" if value == "localhost" else "; write one like 127.0.0.1 or ::1"
        raise ValueError(f"{value!r} is not an IP address{hint}") from None


def network(value: object) -> IPv4Network | IPv6Network:
    """A network in CIDR form, or one address."""
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return ip_network(value)
    except ValueError:
        pass
    try:
        wide = ip_network(value, strict=False) if isinstance(value, str) and "%" not in value else None
    except ValueError:
        wide = None
    if wide is not None:
        raise ValueError(f"{value!r} has bits set beyond its prefix; write {wide}")
    raise ValueError(f"{value!r} is not a network; write one like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7")


def address_and_port(default_port: int) -> Callable[[object], tuple[IPv4Address | IPv6Address, int]]:
    """`192.0.2.53`, `192.0.2.53:53`, `2001:db8::53` or `[2001:db8::53]:53`."""

    def parse(value: object) -> tuple[IPv4Address | IPv6Address, int]:
        if isinstance(value, str):
            try:
                return ip_address(value), default_port
            except ValueError:
                pass
            match = re.fullmatch(r"(?:\[([^][%]*)\]|([^:%]*))(?::([0-9]{1,5}))?", value, re.ASCII)
            if match is not None:
                try:
                    found = ip_address(match[1] if match[1] is not None else match[2])
                    number = int(match[3]) if match[3] else default_port
                    if 1 <= number <= 65535:
                        return found, number
                except ValueError:
                    pass
        raise ValueError(f"{value!r} is not an address and port; write one like 192.0.2.53:53 or [2001:db8::53]:53")

    return parse


def one_of(choices: type[Choice]) -> Callable[[object], Choice]:
    """One of an Enum's values, as spelled."""

    def parse(value: object) -> Choice:
        return choices(word(*(choice.value for choice in choices))(value))

    return parse


def word(*words: str) -> Callable[[object], str]:
    """One of these words, as spelled."""

    def parse(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        guess = nearest(value, words) if isinstance(value, str) else None
        raise ValueError(f"{value!r} is not accepted; write {guess or ' or '.join(words)}")

    return parse


def path(directory: Path) -> Callable[[object], Path]:
    """A path, relative to the directory; comes out absolute, without `..`.

    The last component stays a symbolic link if it is one: certificates are renewed by moving such links.
    """

    def parse(value: object) -> Path:
        if not isinstance(value, str) or not value or not value.isprintable():
            raise ValueError(f"{value!r} is not a path")
        if value.startswith("~"):
            raise ValueError(f"{value!r}: the home directory is not looked up; write the whole path")
        joined = directory / value
        # normpath would cross symbolic links wrongly; resolve() follows them as the kernel does.
        return joined.parent.resolve() / joined.name

    return parse


def help_url(value: object) -> str:
    """An http or https URL; `{id}` stands for the exchange's id."""
    if not isinstance(value, str) or not _HELP_URL.fullmatch(value):
        raise ValueError(f"{value!r} is not an http or https URL")
    if re.sub(r"\{id\}", "", value).strip("{}") != re.sub(r"\{id\}", "", value) or re.search(r"\{(?!id\})", value):
        raise ValueError(f"{value!r}: the only placeholder is {{id}}")
    return value


def anything(value: Any) -> Any:
    """Whatever was there: the caller looks at it."""
    return value
