"""What is done to single fields before a record leaves: masked, dropped, or replaced by a stable token. PURE.

A token is a keyed hash (HMAC-SHA-256, RFC 2104) of the value: the same value is the same token for as long as the key
is the same, in every field and on every proxy with that key, and without the key nobody can try values out. Its first
part names the key, so that tokens of two keys are not taken for one another.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

from netfw.telemetry.record_values import MASK

LEAST_KEY = 16
"""Octets of a key: what is shorter can be tried out."""
_NAMED = 6
_TOKEN = 24
_KEPT = 4096


def checked_key(content: bytes, where: str) -> bytes:
    """The key in a file. Raises ValueError when it is too short to be one."""
    key = content.strip()
    if len(key) < LEAST_KEY:
        raise ValueError(
            f"{where} has {len(key)} octets; a key needs {LEAST_KEY} or more: openssl rand -hex 32 >{where}"
        )
    return key


class Tokens:
    """Makes tokens with the key in force, in whatever thread. Without a key all values are masked."""

    def __init__(self, key: bytes | None = None) -> None:
        self.renew(key)

    def renew(self, key: bytes | None) -> None:
        """From now on with this key; tokens name it, so they cannot be taken for one another."""
        self._make = token_maker(key) if key is not None else lambda _value: MASK

    def __call__(self, value: str) -> str:
        """The token that stands for this value."""
        return self._make(value)


def token_maker(key: bytes) -> Callable[[str], str]:
    """What makes tokens with this key: `h-KEY-TOKEN`, 24 bits that name the key and 96 of the hash."""
    named = sha256(b"netfw key " + key).hexdigest()[:_NAMED]

    @lru_cache(maxsize=_KEPT)
    def token(value: str) -> str:
        digest = hmac.new(key, value.encode("utf-8", "surrogatepass"), sha256).hexdigest()
        return f"h-{named}-{digest[:_TOKEN]}"

    return token


def treated(
    record: dict[str, Any], treatments: Mapping[str, str], token: Callable[[str], str] | None
) -> dict[str, Any]:
    """The record with each of these fields `mask`ed, `drop`ped or `hash`ed; the argument stays as it is.

    A field that is to be hashed and has no key to do it with is masked: what was to be hidden never goes out.
    """
    result = dict(record)
    for name, treatment in treatments.items():
        outer, _, inner = name.partition(".")
        if outer not in result:
            continue
        if not inner:
            _treat(result, outer, treatment, token)
        elif isinstance(result[outer], dict) and inner in result[outer]:
            # Once more a copy: the inner mapping belongs to the argument.
            result[outer] = dict(result[outer])
            _treat(result[outer], inner, treatment, token)
    return result


def _treat(members: dict[str, Any], name: str, treatment: str, token: Callable[[str], str] | None) -> None:
    value = members[name]
    if treatment == "drop":
        del members[name]
    elif value == "":
        return
    elif treatment == "hash" and token is not None and isinstance(value, str):
        members[name] = token(value)
    else:
        members[name] = MASK
