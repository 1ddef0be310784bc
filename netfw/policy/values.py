"""Condition values: from the text of the document to what is compared, and what is wrong with a text.

Text and patterns of keys that carry the peer's bytes become bytes (UTF-8), host names are held to their canonical form,
numbers and dates are exact, addresses become ranges of integers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Union

from netfw.names.host import HostError, host_from_text
from netfw.names.printable import printable
from netfw.policy.globs import has_wildcard
from netfw.policy.keys import Key, Kind
from netfw.policy.operators import Comparison, Family, Operator


class ValueProblem(ValueError):
    """A value that its key or operator cannot take; the text says why and what to write."""


@dataclass(frozen=True, slots=True)
class AddressRange:
    """The addresses of a network as integers, both ends included."""

    version: int
    first: int
    last: int


Value = Union[str, bytes, int, Decimal, bool, AddressRange]

# C0 and C1 controls, line separators, what turns the direction of text round, halves of surrogate pairs.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_EPOCH = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?",
    re.ASCII,
)
_NETWORK = re.compile(r"[0-9A-Fa-f.:]{2,45}(?:/[0-9]{1,3})?", re.ASCII)
_DOMAIN_PATTERN = re.compile(r"[a-z0-9_.:*?-]+", re.ASCII)


def unfit_characters(text: str) -> bool:
    """Whether the text holds what no text of a policy may hold: control characters, also those of direction."""
    return _UNFIT.search(text) is not None


def parse_value(key: Key, operator: Operator, text: str) -> Value:
    """The value to compare with. Raises ValueProblem."""
    if not text:
        raise ValueProblem("a value must not be empty")
    if unfit_characters(text):
        raise ValueProblem("a value must not hold control characters")
    family = operator.family
    if family is Family.STRING:
        return _parse_string(key, operator, text)
    if family is Family.NUMERIC:
        return parse_number(text)
    if family is Family.DATE:
        return parse_date(text)
    if family is Family.ADDRESS:
        return _parse_network(text)
    if text not in ("true", "false"):
        raise ValueProblem(f'{quoted(text)} is neither "true" nor "false"')
    return text == "true"


def trusted_value(key: Key, operator: Operator, text: str) -> Value:
    """As `parse_value`, for a value that went through it before."""
    if key.kind is Kind.DOMAIN and operator.family is Family.STRING:
        return text
    if operator.family is Family.ADDRESS:
        return _trusted_network(text)
    return parse_value(key, operator, text)


def _trusted_network(text: str) -> AddressRange:
    """An IPv4 network without `ipaddress`, which takes ten times as long over it."""
    if ":" in text:
        return _parse_network(text)
    address, _, prefix = text.partition("/")
    one, two, three, four = address.split(".")
    first = int(one) << 24 | int(two) << 16 | int(three) << 8 | int(four)
    return AddressRange(4, first, first + (1 << 32 - int(prefix or "32")) - 1)


def _parse_string(key: Key, operator: Operator, text: str) -> str | bytes:
    if key.kind is Kind.DOMAIN:
        return parse_domain_pattern(text, patterns=operator.comparison is Comparison.LIKE)
    if not key.wire:
        return text.lower() if operator.comparison is Comparison.EQUALS_IGNORE_CASE else text
    encoded = text.encode("utf-8")
    return encoded.lower() if operator.comparison is Comparison.EQUALS_IGNORE_CASE else encoded


def parse_domain_pattern(text: str, *, patterns: bool) -> str:
    """A host name, `.x` for `x` and all below it, or (where `patterns`) anything with `*` and `?`.

    Names have to be in canonical form already: a rule that is spelt in another way would be read in another way too.
    """
    if not has_wildcard(text):
        return _canonical(text, text[1:], ".") if text.startswith(".") else _canonical(text, text, "")
    if not patterns:
        raise ValueProblem(f"{quoted(text)} holds a wildcard, which only StringLike and StringNotLike read")
    if text.startswith("*.") and not has_wildcard(text[2:]):
        return _canonical(text, text[2:], "*.")
    canonical = text.lower().rstrip(".") or text
    if _DOMAIN_PATTERN.fullmatch(canonical) is None:
        raise ValueProblem(f"{quoted(text)} is not a pattern of host names: write A-labels, `*` and `?`")
    if canonical != text:
        raise ValueProblem(f"{quoted(text)} is not in canonical form: write {canonical}")
    return text


def _canonical(text: str, name: str, prefix: str) -> str:
    try:
        host = host_from_text(name)
    except HostError as error:
        raise ValueProblem(f"{quoted(text)} is not a host name: {error}") from None
    if prefix and host.is_address:
        raise ValueProblem(f"{quoted(text)}: an address has no subdomains; write {host.text}")
    if host.text != name:
        raise ValueProblem(f"{quoted(text)} is not in canonical form: write {prefix}{host.text}")
    return text


def parse_number(text: str) -> int | Decimal:
    """An integer or a decimal number. Raises ValueProblem."""
    if _NUMBER.fullmatch(text) is None:
        raise ValueProblem(f"{quoted(text)} is not a number: write an integer or a decimal such as 8000 or 0.5")
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else number


def parse_date(text: str) -> int | Decimal:
    """Seconds since the epoch; a date without a zone is UTC, a date without a time is its midnight."""
    if re.fullmatch(r"(?:19|20)[0-9]{6}", text):
        raise ValueProblem(f"{quoted(text)} could be a date or seconds since the epoch: write 2026-01-31 or 1769817600")
    if _EPOCH.fullmatch(text) is not None:
        number = Decimal(text)
        return int(number) if number == number.to_integral_value() else number
    problem = f"{quoted(text)} is not a date: write 2026-01-31T16:05:00Z or seconds since the epoch"
    if _DATE.fullmatch(text) is None:
        raise ValueProblem(problem)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueProblem(problem) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole + Decimal(moment.microsecond) / 1_000_000 if moment.microsecond else whole


def _parse_network(text: str) -> AddressRange:
    problem = f"{quoted(text)} is not an address or a network: write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"
    if _NETWORK.fullmatch(text) is None:
        raise ValueProblem(problem)
    try:
        network: IPv4Network | IPv6Network = ip_network(text, strict=False)
    except ValueError:
        raise ValueProblem(problem) from None
    first = int(network.network_address)
    address_text = text.partition("/")[0]
    if "/" in text and int(ip_network(address_text).network_address) != first:
        raise ValueProblem(f"{quoted(text)} has bits behind its prefix: write {network}")
    if network.version == 6 and first >> 32 == 0xFFFF and network.prefixlen >= 96:
        raise ValueProblem(f"{quoted(text)} is an IPv4 network in IPv6 dress: write the IPv4 network")
    return AddressRange(network.version, first, first + network.num_addresses - 1)


def quoted(text: str) -> str:
    """A text of the document for a message: in quotes, printable, of bounded length."""
    return f'"{printable(text if len(text) <= 80 else text[:77] + "...")}"'
