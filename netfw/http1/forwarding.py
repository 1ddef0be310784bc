"""What an intermediary changes in a head before it passes on: RFC 9110, section 7.6, and RFC 9112, sections 3.2 and 6.

In this room: hop-by-hop fields, Via, Host, Max-Forwards, our own framing field, persistence. Not here: how long a body
is (`framing`), printing (`heads`, `bodies`), whether a message may pass at all (policy).

Heads that leave are made of parsed parts: fields that frame are never copied, only printed anew.
"""

from __future__ import annotations

from netfw.http1.errors import FramingError, safe_repr
from netfw.http1.fields import FieldLine, Fields
from netfw.http1.framing import Framing, FramingKind
from netfw.http1.grammar import CONTENT_LENGTH, VIA_RECEIVED_BY
from netfw.http1.heads import HTTP_1_0, HTTP_1_1, RequestHead, ResponseHead, Version
from netfw.http1.target import RequestTarget
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
_FORWARD_LIMITED = frozenset([b"OPTIONS", b"TRACE"])
_MAX_FORWARDS_DIGITS = 9

_VERSION_TEXT = {HTTP_1_0: b"1.0 ", HTTP_1_1: b"1.1 "}
_CHUNKED_LINE: FieldLine = (b"Transfer-Encoding", b"chunked")
_CLOSE: FieldLine = (b"Connection", b"close")
_KEEP_ALIVE: FieldLine = (b"Connection", b"keep-alive")


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
    fields = head.fields
    if default_port is None:
        default_port = 443 if target.scheme == b"https" else 80
    dropped = _dropped(fields, _DROPPED_FROM_REQUEST)
    lines: list[FieldLine] = [(b"Host", authority.host_field(default_port))]
    if head.method in _FORWARD_LIMITED and fields.has(b"max-forwards"):
        left = max_forwards(head)
        if not left:
            raise ValueError("a request with Max-Forwards 0 is answered here and not forwarded")
        dropped |= {b"max-forwards"}
        lines.append((b"Max-Forwards", b"%d" % (left - 1)))
    lines += [line for name, line in fields.lowered() if name not in dropped]
    if via:
        lines.append((b"Via", _VERSION_TEXT[head.version] + via))
    kind = framing.kind
    if kind is FramingKind.LENGTH:
        lines.append((b"Content-Length", b"%d" % framing.length))
    elif kind is FramingKind.CHUNKED:
        lines.append(_CHUNKED_LINE)
    options = [b"close"] if close else []
    if fields.has(b"te") and _accepts_trailers(fields):
        options.append(b"TE")
        lines.append((b"TE", b"trailers"))
    if upgrade:
        options.append(b"Upgrade")
        lines.append((b"Upgrade", upgrade))
    if options:
        lines.append((b"Connection", b", ".join(options)))
    return RequestHead(head.method, target.origin_form, HTTP_1_1, Fields(lines))


def outgoing_framing(framing: Framing, client_version: Version) -> Framing:
    """The framing towards the client of a body that came with `framing` from the origin.

    Give the result to both `forward_response` and `body_printer`. An HTTP/1.0 client gets no chunks, and a 1.1 client
    gets chunks where the origin ended by closing, so that its connection can stay.
    """
    if client_version == HTTP_1_0:
        return Framing.UNTIL_CLOSE if framing.kind is FramingKind.CHUNKED else framing
    return Framing.CHUNKED if framing.kind is FramingKind.UNTIL_CLOSE else framing


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
    fields = head.fields
    kind = framing.kind
    status = head.status
    dropped = _dropped(fields, _DROPPED_FROM_RESPONSE)
    if kind is FramingKind.NONE and status >= 200 and status != 204 and fields.has(b"content-length"):
        # HEAD and 304: the length of what GET would have brought, which is news and not framing.
        length = fields.single(b"content-length") or b""
        if CONTENT_LENGTH.fullmatch(length) is not None and not fields.has(b"transfer-encoding"):
            dropped -= {b"content-length"}
    lines = [line for name, line in fields.lowered() if name not in dropped]
    if via:
        lines.append((b"Via", _VERSION_TEXT[head.version] + via))
    if kind is FramingKind.LENGTH:
        lines.append((b"Content-Length", b"%d" % framing.length))
    elif kind is FramingKind.CHUNKED:
        if client_version == HTTP_1_0:
            raise ValueError("an HTTP/1.0 client reads no chunks; take the framing from outgoing_framing")
        lines.append(_CHUNKED_LINE)
    if upgrade:
        lines.append((b"Upgrade", upgrade))
        lines.append((b"Connection", b"Upgrade"))
    elif status >= 200:
        if close or kind is FramingKind.UNTIL_CLOSE:
            lines.append(_CLOSE)
        elif client_version == HTTP_1_0:
            lines.append(_KEEP_ALIVE)
    return ResponseHead(HTTP_1_1, status, head.reason, Fields(lines))


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


def keeps_connection(head: RequestHead | ResponseHead) -> bool:
    """Whether the sender of this head wants the connection kept (RFC 9112, section 9.3)."""
    if not head.fields.has(b"connection"):
        return head.version == HTTP_1_1
    options = head.fields.tokens(b"connection")
    if b"close" in options:
        return False
    return head.version == HTTP_1_1 or b"keep-alive" in options


def wanted_upgrade(head: RequestHead | ResponseHead) -> bytes | None:
    """The value of Upgrade, lower case, where Connection nominates it in HTTP/1.1 (RFC 9110, 7.8), else None."""
    fields = head.fields
    if not fields.has(b"upgrade") or head.version != HTTP_1_1 or b"upgrade" not in fields.tokens(b"connection"):
        return None
    return b", ".join(fields.tokens(b"upgrade")) or None


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
    if head.method not in _FORWARD_LIMITED:
        return None
    value = head.fields.single(b"max-forwards")
    if value is None:
        return None
    if not value.isdigit() or len(value) > _MAX_FORWARDS_DIGITS:
        raise FramingError(f"Max-Forwards {safe_repr(value)} is not a number of 1 to {_MAX_FORWARDS_DIGITS} digits")
    return int(value)
