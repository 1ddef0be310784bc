"""The head of a request to a parent proxy: absolute-form, with what this proxy proves itself by (RFC 9112, 3.2.2).

PURE. Not here: what an intermediary changes in any head (`forwarding`).
"""

from __future__ import annotations

from netfw.http1.forwarding import print_forwarded_request
from netfw.http1.framing import Framing
from netfw.http1.heads import RequestHead
from netfw.http1.target import RequestTarget
from netfw.names.authority import Authority


def print_parent_request(
    head: RequestHead,
    target: RequestTarget,
    *,
    authority: Authority,
    via: bytes,
    framing: Framing,
    authorization: bytes | None,
) -> bytes:
    """The bytes of a request for `http://authority/...`. `authorization`: the value of Proxy-Authorization, None for
    none; what the client sent in its place was for this proxy, and is dropped. Raises ValueError for what is not one
    line.
    """
    printed = print_forwarded_request(head, target, authority=authority, via=via, framing=framing, default_port=80)
    _, _, rest = printed.partition(b"\r\n")
    # An asterisk is said by leaving the path out (RFC 9112, section 3.2.4).
    path = b"" if target.path == b"*" else target.origin_form
    start = b"%b http://%b%b HTTP/1.1\r\n" % (head.method, authority.host_field(80), path)
    if authorization is None:
        return start + rest
    if b"\r" in authorization or b"\n" in authorization or b"\0" in authorization:
        raise ValueError("credentials with a line end or NUL inside are not printed")
    return b"%bProxy-Authorization: %b\r\n%b" % (start, authorization, rest)
