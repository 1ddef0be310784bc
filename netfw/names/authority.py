"""Host and port together, the way requests name a destination. No default port is ever guessed silently.

In this room: `Authority` and `parse_authority`. Not here: the host itself (`names.host`), which port a scheme implies
(the caller says).

RFC 3986, section 3.2, without userinfo (RFC 9110, section 4.2.4, lets a recipient refuse it, and we do); RFC 9110,
section 7.2 (Host); RFC 9112, section 3.2.3 (authority-form).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from netfw.names.host import Host, HostError, parse_host

# The host here is only cut out; `parse_host` judges it.
_SPLIT = re.compile(rb"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_MAX_WIRE = 262
"""A name of 254 octets with its final dot, brackets never longer, a colon, five digits and a little air."""


class AuthorityError(ValueError):
    """The bytes are no host and port."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Where a request goes: a canonical host and a port from 1 to 65535."""

    host: Host
    port: int
    _text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made once: an authority lives in the parser's cache and is printed for every request.
        object.__setattr__(self, "_text", f"{self.host.bracketed}:{self.port}")

    def __str__(self) -> str:
        return self._text

    def to_bytes(self) -> bytes:
        """`host:port`, as in authority-form."""
        return self._text.encode("ascii")

    def host_field(self, default_port: int | None) -> bytes:
        """The value of a Host field: the port is left out when it is the default of the scheme."""
        if self.port == default_port:
            return self.host.bracketed.encode("ascii")
        return self._text.encode("ascii")


@lru_cache(maxsize=4096)
def parse_authority(raw: bytes, default_port: int | None = None) -> Authority:
    """Parse `host`, `host:port`, `[v6]` or `[v6]:port`. Without `default_port` the port is required.

    Raises AuthorityError; the message never repeats the bytes. Results are remembered, refusals are not.
    """
    if len(raw) > _MAX_WIRE:
        raise AuthorityError("the authority is too long")
    match = _SPLIT.fullmatch(raw)
    if match is None:
        raise AuthorityError(_problem(raw))
    raw_host, digits = match.groups()
    try:
        host = parse_host(raw_host)
    except HostError as error:
        raise AuthorityError(str(error)) from None
    if digits is None:
        if default_port is None:
            raise AuthorityError("the port is missing")
        return Authority(host, default_port)
    port = int(digits)
    if not 1 <= port <= 65535:
        raise AuthorityError("the port is not between 1 and 65535")
    return Authority(host, port)


def _problem(raw: bytes) -> str:
    if b"@" in raw:
        return "the authority has userinfo, which is not accepted"
    if raw.count(b":") > 1 and not raw.startswith(b"["):
        return "the authority has more than one colon; an IPv6 address stands in brackets"
    return "the authority is not host:port with a port of one to five digits"
