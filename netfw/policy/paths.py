"""The normal form of paths and queries (RFC 3986, section 6.2.2): what an origin may read in what a client wrote.

Percent-encoded unreserved characters are decoded, hexadecimal digits are upper case, dot segments are resolved. Nothing
else is changed: `%2F` stays apart from `/`, empty segments stay.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def _replace(found: re.Match[bytes]) -> bytes:
    octet = int(found[1], 16)
    return bytes((octet,)) if octet in _UNRESERVED else found[0].upper()


def normal_query(query: bytes) -> bytes:
    """The query with its escapes in normal form."""
    return _ESCAPE.sub(_replace, query) if b"%" in query else query


def normal_path(path: bytes) -> bytes:
    """The path with its escapes in normal form and without dot segments; a path in normal form comes back as it is."""
    if b"%" in path:
        path = _ESCAPE.sub(_replace, path)
    if b"/." not in path or not path.startswith(b"/"):
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
