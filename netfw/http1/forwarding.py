"""What an intermediary changes in a head before it passes on: RFC 9110, section 7.6, and RFC 9112, sections 3.2 and 6.

In this room: hop-by-hop fields, Via, Host, Max-Forwards, our own framing field, persistence. Not here: how long a body
is (`framing`), printing (`heads`, `bodies`), whether a message may pass at all (policy).

Heads that leave are made of parsed parts: fields that frame are never copied, only printed anew.
"""

from __future__ import annotations

from typing import Final

from netfw.http1.errors import FramingError, safe_repr
from netfw.http1.fields import FieldLine, Fields
from netfw.http1.framing import Framing, FramingKind
from netfw.http1.grammar import CONTENT_LENGTH, VIA_RECEIVED_BY
from netfw.http1.heads import HTTP_1_0, HTTP_1_1, RequestHead, ResponseHead, Version
from netfw.http1.target import RequestTarget
from netfw.http1.traits import request_traits, response_traits
from netfw.names.authority import Authority

_HOP_BY_HOP = frozenset(
    b"""
    connection keep-alive proxy-connection proxy-authenticate proxy-authorization proxy-authentication-info
    te transfer-encoding content-length upgrade http2-settings
    """.split()
)
# `Proxy` becomes HTTP_PROXY in a CGI environment (httpoxy, CVE-2016-1000111).
_DROPPED_FROM_REQUEST = _HOP_BY_HOP | {b"host", b"proxy"}
_DROPPED_FROM_RESPONSE = _HOP_BY_HOP

# Connection may not nominate fields that are meant for all recipients (RFC 9110, section 7.6.1). A client that does so
# all the same wants a field gone that somebody between it and the origin relies on.
_NOT_BY_NOMINATION = frozenset(
    b"""
    host via forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port x-real-ip
    authorization cookie set-cookie www-authenticate origin referer user-agent location date
    cache-control pragma expires age etag last-modified vary expect max-forwards trailer
    range accept-ranges if-match if-none-match if-modified-since if-unmodified-since if-range
    strict-transport-security access-control-allow-origin access-control-allow-credentials
    """.split()
)
_PLAIN_OPTIONS = frozenset([b"close", b"keep-alive", b"Keep-Alive", b"Close"])
FORWARD_LIMITED = frozenset([b"OPTIONS", b"TRACE"])
"""The methods that Max-Forwards is about."""
_MAX_FORWARDS_DIGITS = 9
# Octets by number: looking for bytes of length one in bytes raises and drops a TypeError first.
_LF: Final = 10
_CR: Final = 13
_NUL: Final = 0

_VERSION_TEXT = {HTTP_1_0: b"1.0 ", HTTP_1_1: b"1.1 "}
_CHUNKED_LINE: FieldLine = (b"Transfer-Encoding", b"chunked")
_CLOSE: FieldLine = (b"Connection", b"close")
_KEEP_ALIVE: FieldLine = (b"Connection", b"keep-alive")
# Enum members by name of the module: looking one up in its class costs more than the comparison (Python 3.11).
_LENGTH: Final = FramingKind.LENGTH
_NONE: Final = FramingKind.NONE
_CHUNKED: Final = FramingKind.CHUNKED
_UNTIL_CLOSE: Final = FramingKind.UNTIL_CLOSE


def forward_request(
    head: RequestHead,
    target: RequestTarget,
    *,
    authority: Authority,
    via: bytes,
    framing: Framing,
    default_port: int | None = None,
    close: bool = False,
    upgrade: bytes | None = None,
) -> RequestHead:
    """The head to send to the origin: origin-form, version 1.1, Host from `authority` whatever the client said.

    Args:
        via: our pseudonym, empty for no Via.
        framing: what the body printer will use; the one framing field is printed by it.
        default_port: the port that Host leaves out; by default that of the target's scheme, else 80.
        close: whether to ask the origin to close.
        upgrade: the protocols to upgrade to, if that is forwarded; otherwise no upgrade is.

    Raises ValueError for Max-Forwards 0: see `max_forwards`.
    """
    before, kept, after = _request_lines(head, target, authority, via, framing, default_port, close, upgrade)
    return RequestHead(head.method, target.origin_form, HTTP_1_1, Fields([*before, *kept, *after]))


def print_forwarded_request(
    head: RequestHead,
    target: RequestTarget,
    *,
    authority: Authority,
    via: bytes,
    framing: Framing,
    default_port: int | None = None,
    upgrade: bytes | None = None,
) -> bytes:
    """The bytes of what `forward_request` gives, without making it: what was printed of the same fields before is used
    again.
    """
    traits = request_traits(head)
    start = b"".join([head.method, b" ", target.origin_form, b" HTTP/1.1"])
    if framing is traits.framing and not upgrade and head.method not in FORWARD_LIMITED:
        if default_port is None:
            default_port = _default_port(target)
        rest = traits.forwarded.get(via)
        if rest is None:
            _, kept, after = _request_lines(head, target, authority, via, framing, default_port, False, None)
            rest = traits.forwarded[via] = _rest(kept, after)
        return _assemble([start, b"Host: " + authority.host_field(default_port)], rest)
    before, kept, after = _request_lines(head, target, authority, via, framing, default_port, False, upgrade)
    return _assemble([start, *map(b": ".join, before)], _rest(kept, after))


def _default_port(target: RequestTarget) -> int:
    return 443 if target.scheme == b"https" else 80


def _request_lines(
    head: RequestHead,
    target: RequestTarget,
    authority: Authority,
    via: bytes,
    framing: Framing,
    default_port: int | None,
    close: bool,
    upgrade: bytes | None,
) -> tuple[list[FieldLine], list[FieldLine], list[FieldLine]]:
    """The lines before and after those that are passed on as they came."""
    fields = head.fields
    if default_port is None:
        default_port = _default_port(target)
    before: list[FieldLine] = [(b"Host", authority.host_field(default_port))]
    kept = None
    if head.method in FORWARD_LIMITED and fields.has(b"max-forwards"):
        left = max_forwards(head)
        if not left:
            raise ValueError("a request with Max-Forwards 0 is answered here and not forwarded")
        before.append((b"Max-Forwards", b"%d" % (left - 1)))
        kept = _kept(fields, _dropped(fields, _DROPPED_FROM_REQUEST) | {b"max-forwards"})
    if kept is None:
        kept = _kept(fields, _dropped(fields, _DROPPED_FROM_REQUEST))
    after: list[FieldLine] = []
    if via:
        after.append((b"Via", _VERSION_TEXT[head.version] + via))
    kind = framing.kind
    if kind is _LENGTH:
        after.append((b"Content-Length", b"%d" % framing.length))
    elif kind is _CHUNKED:
        after.append(_CHUNKED_LINE)
    options = [b"close"] if close else []
    if fields.has(b"te") and _accepts_trailers(fields):
        options.append(b"TE")
        after.append((b"TE", b"trailers"))
    if upgrade:
        options.append(b"Upgrade")
        after.append((b"Upgrade", upgrade))
    if options:
        after.append((b"Connection", b", ".join(options)))
    return before, kept, after


def _kept(fields: Fields, dropped: frozenset[bytes]) -> list[FieldLine]:
    """The lines that are passed on as they came."""
    return [line for name, line in fields.lowered() if name not in dropped]


def _print_lines(lines: list[FieldLine]) -> bytes:
    """The lines with their ends. Raises ValueError rather than print what would be more lines, or end the section."""
    if not lines:
        return b""
    printed = b"\r\n".join([*map(b": ".join, lines), b""])
    count = len(lines)
    if printed.count(b"\n") != count or printed.count(b"\r") != count or _NUL in printed:
        raise ValueError("a field line with a line end or NUL inside is not printed")
    return printed


def _rest(kept: list[FieldLine], after: list[FieldLine]) -> bytes:
    """The head from the lines that are passed on to its empty line."""
    return _print_lines([*kept, *after]) + b"\r\n"


def _assemble(first_lines: list[bytes], rest: bytes) -> bytes:
    """A head of its first lines and the rest. Raises ValueError where a line would be more than one."""
    for line in first_lines:
        if _LF in line or _CR in line or _NUL in line:
            raise ValueError("a head with a line end or NUL inside a line is not printed")
    return b"\r\n".join([*first_lines, rest])


def outgoing_framing(framing: Framing, client_version: Version) -> Framing:
    """The framing towards the client of a body that came with `framing` from the origin.

    Give the result to both `forward_response` and `body_printer`. An HTTP/1.0 client gets no chunks, and a 1.1 client
    gets chunks where the origin ended by closing, so that its connection can stay.
    """
    if client_version == HTTP_1_0:
        return Framing.UNTIL_CLOSE if framing.kind is _CHUNKED else framing
    return Framing.CHUNKED if framing.kind is _UNTIL_CLOSE else framing


def forward_response(
    head: ResponseHead,
    *,
    via: bytes,
    framing: Framing,
    client_version: Version,
    close: bool = False,
    upgrade: bytes | None = None,
) -> ResponseHead:
    """The head to send to the client, with version 1.1 whatever the origin spoke.

    Args:
        via: our pseudonym, empty for no Via.
        framing: the result of `outgoing_framing`, which the body printer gets too.
        client_version: the version of the request; a 1.0 client is told when its connection stays.
        close: whether we close after this response. It is said by itself where the body ends by closing.
        upgrade: the protocol switched to, for a 101; no Connection field is printed for other interim responses.

    Raises ValueError for chunks towards an HTTP/1.0 client.
    """
    kept, after = _response_lines(head, via, framing, client_version, close, upgrade)
    return ResponseHead(HTTP_1_1, head.status, head.reason, Fields([*kept, *after]))


def print_forwarded_response(
    head: ResponseHead,
    *,
    via: bytes,
    framing: Framing,
    client_version: Version,
    close: bool = False,
    upgrade: bytes | None = None,
) -> bytes:
    """The bytes of what `forward_response` gives, as `print_forwarded_request` for requests."""
    traits = response_traits(head)
    start = b"HTTP/1.1 %d %b" % (head.status, head.reason)
    if framing is traits.framing and not upgrade and head.status >= 200:
        key = (via, close, client_version)
        rest = traits.forwarded.get(key)
        if rest is None:
            rest = traits.forwarded[key] = _rest(*_response_lines(head, via, framing, client_version, close, None))
        return _assemble([start], rest)
    return _assemble([start], _rest(*_response_lines(head, via, framing, client_version, close, upgrade)))


def _response_lines(
    head: ResponseHead, via: bytes, framing: Framing, client_version: Version, close: bool, upgrade: bytes | None
) -> tuple[list[FieldLine], list[FieldLine]]:
    fields = head.fields
    kind = framing.kind
    status = head.status
    kept = None
    if kind is _NONE and status >= 200 and status != 204 and fields.has(b"content-length"):
        # HEAD and 304: the length of what GET would have brought, which is news and not framing.
        length = fields.single(b"content-length") or b""
        if CONTENT_LENGTH.fullmatch(length) is not None and not fields.has(b"transfer-encoding"):
            kept = _kept(fields, _dropped(fields, _DROPPED_FROM_RESPONSE) - {b"content-length"})
    if kept is None:
        kept = _kept(fields, _dropped(fields, _DROPPED_FROM_RESPONSE))
    after: list[FieldLine] = []
    if via:
        after.append((b"Via", _VERSION_TEXT[head.version] + via))
    if kind is _LENGTH:
        after.append((b"Content-Length", b"%d" % framing.length))
    elif kind is _CHUNKED:
        if client_version == HTTP_1_0:
            raise ValueError("an HTTP/1.0 client reads no chunks; take the framing from outgoing_framing")
        after.append(_CHUNKED_LINE)
    if upgrade:
        after.append((b"Upgrade", upgrade))
        after.append((b"Connection", b"Upgrade"))
    elif status >= 200:
        if close or kind is _UNTIL_CLOSE:
            after.append(_CLOSE)
        elif client_version == HTTP_1_0:
            after.append(_KEEP_ALIVE)
    return kept, after


def _dropped(fields: Fields, always: frozenset[bytes]) -> frozenset[bytes]:
    """The names to leave out: ours, and what the sender's Connection field nominates and may nominate."""
    options = fields.joined(b"connection")
    if options is None or options in _PLAIN_OPTIONS:
        return always
    nominated = [
        name
        for name in fields.tokens(b"connection")
        if name not in _NOT_BY_NOMINATION and not name.startswith(b"content-")
    ]
    return always.union(nominated)


def _accepts_trailers(fields: Fields) -> bool:
    return any(element.partition(b";")[0].rstrip(b" \t") == b"trailers" for element in fields.tokens(b"te"))


def via_contains(fields: Fields, pseudonym: bytes) -> bool:
    """Whether this message has been through the proxy of this pseudonym (RFC 9110, section 7.6.3)."""
    value = fields.joined(b"via")
    if value is None:
        return False
    wanted = pseudonym.lower()
    return any(match.group(1) == wanted for match in VIA_RECEIVED_BY.finditer(value.lower()))


def max_forwards(head: RequestHead) -> int | None:
    """How often a TRACE or OPTIONS request may still be forwarded, or None for no limit (RFC 9110, section 7.6.2).

    At 0 the proxy answers itself. `forward_request` counts down. Raises FramingError when the value is no number.
    """
    if head.method not in FORWARD_LIMITED:
        return None
    value = head.fields.single(b"max-forwards")
    if value is None:
        return None
    if not value.isdigit() or len(value) > _MAX_FORWARDS_DIGITS:
        raise FramingError(f"Max-Forwards {safe_repr(value)} is not a number of 1 to {_MAX_FORWARDS_DIGITS} digits")
    return int(value)
