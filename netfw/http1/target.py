"""The request target: which of the four forms it has, and what it names. RFC 9112, section 3.2.

In this room: cutting a target into scheme, authority, path and query. Not here: normalising a path for rules (policy),
whether Host agrees (the proxy's binding), which schemes are served (only their syntax and default ports are known).

Refused: userinfo, fragments, backslashes, white space and everything beyond ASCII, a percent sign that begins no pair
of hexadecimal digits. Browsers do send a bare backslash or percent sign in a query (the URL standard lets them):
`lenient_query=True` passes those two, in the query only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from netfw.http1.errors import FramingError, safe_repr
from netfw.http1.grammar import SCHEME, TARGET_OCTETS, TARGET_PARTS, TARGET_REST
from netfw.names.authority import Authority, AuthorityError, parse_authority


class TargetForm(Enum):
    """The four forms of RFC 9112, sections 3.2.1 to 3.2.4."""

    ORIGIN = "origin-form"
    ABSOLUTE = "absolute-form"
    AUTHORITY = "authority-form"
    ASTERISK = "asterisk-form"


DEFAULT_PORTS: Final = {b"http": 80, b"https": 443}
_ABSOLUTE: Final = TargetForm.ABSOLUTE
_ORIGIN: Final = TargetForm.ORIGIN


@dataclass(slots=True, init=False)
class RequestTarget:
    """A request target, taken apart.

    `scheme` (lower case) and `authority` are there in absolute-form, `authority` alone in authority-form. `path` is
    empty in authority-form and `*` where the request is about the server as a whole; `query` is None without a `?`.
    """

    form: TargetForm
    scheme: bytes | None
    authority: Authority | None
    path: bytes
    query: bytes | None

    def __init__(
        self, form: TargetForm, scheme: bytes | None, authority: Authority | None, path: bytes, query: bytes | None
    ) -> None:
        self.form = form
        self.scheme = scheme
        self.authority = authority
        self.path = path
        self.query = query

    @property
    def origin_form(self) -> bytes:
        """What is sent to the origin: path and query, or `*` (RFC 9112, sections 3.2.1 and 3.2.4)."""
        return self.path if self.query is None else b"%b?%b" % (self.path, self.query)


def parse_target(method: bytes, target: bytes, *, lenient_query: bool = False) -> RequestTarget:
    """Take the target of a request apart. Raises FramingError; 501 for a scheme other than http and https."""
    if method == b"CONNECT":
        try:
            return RequestTarget(TargetForm.AUTHORITY, None, parse_authority(target), b"", None)
        except AuthorityError as error:
            raise FramingError(f"the target of CONNECT is not a valid authority: {error}") from None
    if target.startswith(b"/"):
        path, query = _path_and_query(target, lenient_query)
        return RequestTarget(_ORIGIN, None, None, path, query)
    if target == b"*":
        if method != b"OPTIONS":
            raise FramingError("only OPTIONS has the target *")
        return RequestTarget(TargetForm.ASTERISK, None, None, target, None)
    return _absolute(method, target, lenient_query)


def _absolute(method: bytes, target: bytes, lenient_query: bool) -> RequestTarget:
    match = TARGET_PARTS.fullmatch(target)
    if match is None:
        raise _absolute_problem(target)
    scheme, raw_authority, path, query = match.groups()
    scheme = scheme.lower()
    default_port = DEFAULT_PORTS.get(scheme)
    if default_port is None:
        raise FramingError(f"the scheme {safe_repr(scheme)} is not served", 501)
    if query and not lenient_query and TARGET_REST.fullmatch(query) is None:
        raise _octet_problem(query)
    try:
        authority = parse_authority(raw_authority, default_port)
    except AuthorityError as error:
        raise FramingError(f"the authority of the request target is not valid: {error}") from None
    if not path:
        # RFC 9112, section 3.2.4: the last proxy turns OPTIONS of an empty path into the asterisk-form.
        path = b"*" if method == b"OPTIONS" and query is None else b"/"
    return RequestTarget(_ABSOLUTE, scheme, authority, path, query)


def _absolute_problem(target: bytes) -> FramingError:
    scheme = SCHEME.match(target)
    if scheme is None:
        return FramingError(f"the request target {safe_repr(target)} has none of the four forms")
    return _octet_problem(target[scheme.end() :])


def _path_and_query(rest: bytes, lenient_query: bool) -> tuple[bytes, bytes | None]:
    path, mark, query = rest.partition(b"?")
    pattern = TARGET_OCTETS if lenient_query else TARGET_REST
    if TARGET_REST.fullmatch(path) is None or pattern.fullmatch(query) is None:
        raise _octet_problem(rest)
    return path, query if mark else None


def _octet_problem(rest: bytes) -> FramingError:
    if TARGET_OCTETS.fullmatch(rest) is None:
        return FramingError("the request target has a fragment, or an octet that must be percent-encoded")
    if b"\\" in rest:
        return FramingError("the request target has a backslash")
    return FramingError("the request target has a percent sign without two hexadecimal digits")
