"""The Host field as a condition for reading on: RFC 9112, section 3.2.

In this room: is Host there as it must be, and is it an authority. Not here: whether it agrees with the target or with
a tunnel (the proxy's binding), and which of them counts (always the target).
"""

from __future__ import annotations

from netfw.http1.errors import FramingError
from netfw.http1.heads import HTTP_1_1, RequestHead
from netfw.names.authority import Authority, AuthorityError, parse_authority


def check_host(head: RequestHead, default_port: int = 80) -> Authority | None:
    """Refuse a request without a valid Host field; return what the field names, if anything.

    HTTP/1.1 asks for exactly one. CONNECT is let off, in either version: its target says it all, and clients in
    daily use send none. An empty value is valid where the target URI has no authority: `OPTIONS *`.
    """
    value = head.fields.single(b"host")
    if value is None:
        if head.version == HTTP_1_1 and head.method != b"CONNECT":
            raise FramingError("an HTTP/1.1 request without Host")
        return None
    if not value:
        if head.target == b"*":
            return None
        raise FramingError("Host is empty")
    try:
        return parse_authority(value, default_port)
    except AuthorityError as error:
        raise FramingError(f"Host is not a valid authority: {error}") from None
