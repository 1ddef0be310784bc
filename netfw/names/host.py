"""One canonical spelling for a host: the only form that policy, DNS, dialling, certificates and logs ever see.

In this room: `Host`, `parse_host` for bytes from the wire, `host_from_text` for configuration. Not here: ports
(`names.authority`), what an address is (`names.address`), domain patterns (`names.domain_form`).

RFC 3986, section 3.2.2 (host), RFC 1123, section 2.1 and RFC 5890, section 2.3.1 (LDH labels), RFC 4291 and RFC 5952
(IPv6 text), RFC 5891 (IDNA, configuration only). What `inet_aton` would take beyond four plain decimals is refused,
because somebody behind us may take it: `127.1`, `0x7f.0.0.1`, `2130706433`, `0177.0.0.1`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import idna

MAX_NAME = 253
"""Octets of a name without its final dot (RFC 1035, section 2.3.4, less the length octets)."""

_MAX_WIRE = MAX_NAME + 1

# `_` is not LDH, but names such as _dmarc.example and my_host.example are looked up and served every day.
_NAME = re.compile(rb"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_DECIMAL_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(_DECIMAL_OCTET + rb"(?:\." + _DECIMAL_OCTET + rb"){3}")
_IPV6 = re.compile(rb"[0-9a-f:.]{2,45}")
# WHATWG URL, "ends in a number": a last label of digits, or 0x and hexadecimal digits, is an attempt at an address.
_ENDS_IN_NUMBER = re.compile(rb"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\Z")
_IDNA_DOTS = re.compile("[.\u3002\uff0e\uff61]")


class HostError(ValueError):
    """The text is no host in any spelling that is accepted."""


@dataclass(frozen=True, slots=True)
class Host:
    """A name or an address in canonical form. Equal hosts are equal texts.

    `text` is lower case, without a final dot, A-labels for internationalised names; for an address the compressed
    text without brackets. Made by `parse_host`, `host_from_text` and `host_of_address` only.
    """

    text: str
    address: IPv4Address | IPv6Address | None = field(default=None, compare=False)

    @property
    def is_address(self) -> bool:
        """Whether this is an IP literal, so that there is nothing to resolve."""
        return self.address is not None

    @property
    def bracketed(self) -> str:
        """The text as it stands in an authority: brackets round IPv6."""
        return f"[{self.text}]" if ":" in self.text else self.text

    def __str__(self) -> str:
        return self.text


def host_of_address(address: IPv4Address | IPv6Address) -> Host:
    """The Host of an address object; a zone is dropped."""
    if isinstance(address, IPv4Address):
        return Host(str(address), address)
    bare = IPv6Address(int(address))
    return Host(_ipv6_text(bare), bare)


@lru_cache(maxsize=4096)
def parse_host(raw: bytes) -> Host:
    """Parse the host of a request target, a Host field or a server name, as it came over the wire.

    IPv6 only in brackets and without a zone. Raises HostError. Results are remembered, refusals are not.
    """
    if not raw:
        raise HostError("the host is empty")
    if len(raw) > _MAX_WIRE:
        raise HostError(f"the host is longer than {MAX_NAME} octets")
    if raw.startswith(b"["):
        if not raw.endswith(b"]"):
            raise HostError("the host has an opening bracket and no closing one")
        return _parse_ipv6(raw[1:-1].lower())
    lowered = raw.lower()
    name = lowered[:-1] if lowered.endswith(b".") else lowered
    if _NAME.fullmatch(name) is None:
        raise HostError(_name_problem(name))
    if len(name) > MAX_NAME:
        raise HostError(f"the host is longer than {MAX_NAME} octets")
    if _ENDS_IN_NUMBER.search(name) is None:
        return Host(name.decode("ascii"))
    if _IPV4.fullmatch(lowered) is None:
        raise HostError("the host looks like an IPv4 address but is not four plain decimal numbers")
    text = lowered.decode("ascii")
    return Host(text, IPv4Address(text))


def _parse_ipv6(lowered: bytes) -> Host:
    if b"%" in lowered:
        raise HostError("an IPv6 address with a zone is not accepted")
    if _IPV6.fullmatch(lowered) is None:
        raise HostError("brackets hold something that is not an IPv6 address")
    try:
        address = IPv6Address(lowered.decode("ascii"))
    except AddressValueError:
        raise HostError("brackets hold something that is not an IPv6 address") from None
    return Host(_ipv6_text(address), address)


def _ipv6_text(address: IPv6Address) -> str:
    # Python 3.13 began to print mapped addresses with dots; one spelling whatever the version.
    number = int(address)
    if number >> 32 == 0xFFFF:
        return f"::ffff:{number >> 16 & 0xFFFF:x}:{number & 0xFFFF:x}"
    return str(address)


def _name_problem(name: bytes) -> str:
    if not name:
        return "the host is empty"
    if not name.isascii():
        return "the host has octets that are not ASCII; internationalised names travel as A-labels (xn--)"
    for label in name.split(b"."):
        if not label:
            return "the host has an empty label"
        if len(label) > 63:
            return "the host has a label of more than 63 octets"
        if label.startswith(b"-") or label.endswith(b"-"):
            return "the host has a label that begins or ends with a hyphen"
    return "the host has a character other than letters, digits, hyphen, underscore and dot"


def host_from_text(text: str) -> Host:
    """Parse a host as a person writes it in configuration: as `parse_host`, and U-labels and bare IPv6 too.

    U-labels become A-labels (IDNA 2008 with UTS 46 mapping). Raises HostError.
    """
    if text.isascii():
        raw = text.encode("ascii")
        if raw.count(b":") > 1 and not raw.startswith(b"["):
            return _parse_ipv6(raw.lower())
        return parse_host(raw)
    labels = [_a_label(label) for label in _IDNA_DOTS.split(text)]
    host = parse_host(b".".join(labels))
    if host.is_address:
        raise HostError("an address is written in ASCII digits")
    return host


def _a_label(label: str) -> bytes:
    # Label by label, since idna refuses the underscore that plain labels may have.
    if label.isascii():
        return label.encode("ascii")
    try:
        return bytes(idna.encode(label, uts46=True, std3_rules=True))
    except (idna.IDNAError, UnicodeError) as error:
        raise HostError(f"not an internationalised label that IDNA 2008 allows: {error}") from None
