"""Trailer sections: parsed as strictly as heads, and thinned before anybody sees them.

RFC 9110, section 6.5.1: fields that frame, route, authorise, modify requests, control responses or describe the
content's format do not belong in trailers. Framing fields raise, since only an attack has them there; the others, and
whatever is hop-by-hop or named by the message's own Connection field, are dropped.
"""

from __future__ import annotations

from netfw.http1.diagnosis import trailer_problem
from netfw.http1.errors import FramingError
from netfw.http1.fields import Fields
from netfw.http1.grammar import TRAILER_SECTION
from netfw.http1.heads import parse_fields
from netfw.http1.limits import HeadLimits

_FRAMING = frozenset([b"content-length", b"transfer-encoding"])

_DROPPED = frozenset(
    b"""
    host via forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip location proxy
    authorization cookie set-cookie www-authenticate proxy-authorization proxy-authenticate authentication-info
    proxy-authentication-info
    connection keep-alive proxy-connection te trailer upgrade http2-settings
    cache-control expect max-forwards pragma range if-match if-none-match if-modified-since if-unmodified-since if-range
    age date expires retry-after vary warning
    content-encoding content-type content-range content-location content-language content-disposition
    """.split()
)


def parse_trailers(data: bytes, start: int, end: int, message_fields: Fields, limits: HeadLimits) -> Fields:
    """Parse `data[start:end]`, which ends in its first empty line. Raises FramingError."""
    match = TRAILER_SECTION.match(data, start, end)
    if match is None or match.end() != end:
        raise trailer_problem(data[start:end])
    trailers = parse_fields(match.group(1), limits)
    if trailers.has_any(_FRAMING):
        raise FramingError("the trailer section has a field that frames messages")
    dropped = _DROPPED
    if message_fields.has(b"connection"):
        dropped = dropped.union(message_fields.tokens(b"connection"))
    return trailers.without(dropped)
