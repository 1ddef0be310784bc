"""Whether first bytes may be the beginning of an HTTP request. PURE.

Only asked where a tunnel may carry what is neither TLS nor HTTP: everywhere else what is no TLS is given to the strict
reader, which refuses it. In doubt it is HTTP, so that nothing that an origin could take for a request goes by the
rules. Not here: what is right about a request (`reader`).
"""

from __future__ import annotations

import re

LONGEST_LINE = 8192
"""Of what is still waited for: RFC 9112, section 3, asks for 8000 octets of request line."""
_LONGEST_METHOD = 64

_METHODS = frozenset({
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI", b"PROPFIND",
    b"PROPPATCH", b"MKCOL", b"COPY", b"MOVE", b"LOCK", b"UNLOCK", b"REPORT", b"SEARCH", b"QUERY",
})  # fmt: skip
"""The registered ones that are in use, and that of HTTP/2's preface."""
_WORD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*")
_VERSION = re.compile(rb"HTTP/[0-9]", re.IGNORECASE)


def may_be_http(data: bytes) -> bool | None:
    """What a connection begins with: whether it is to be read as HTTP; None while more bytes are needed."""
    data = data.lstrip(b"\r\n")
    line, ended, _ = data.partition(b"\n")
    if _VERSION.search(line):
        return True
    word = _WORD.match(line)
    assert word is not None  # it may be empty
    method, rest = word[0], line[word.end() :]
    if rest:
        # Some servers take any white space for the one space, and upper case for granted.
        if not rest.startswith((b" ", b"\t", b"\r")):
            return False
        if method.upper() in _METHODS:
            return True
    if ended:
        return method.upper() in _METHODS
    if len(method) > _LONGEST_METHOD or len(line) > LONGEST_LINE:
        return False
    return None
