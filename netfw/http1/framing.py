"""How long a message body is: one decision, made on the head, with every ambiguity refused.

In this room: `Framing` and the tables of RFC 9112, section 6.3, for requests and responses. Not here: reading bodies
(`reader`), printing them (`bodies`), the Host check (`host_field`).

Stricter than the RFC, which lets a recipient repair some of these: Content-Length beside Transfer-Encoding, a repeated
Content-Length even if equal, any Transfer-Encoding but exactly `chunked`, Transfer-Encoding in HTTP/1.0, and names that
programs behind CGI or WSGI take for these two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from netfw.http1.errors import FramingError, safe_repr
from netfw.http1.fields import Fields
from netfw.http1.grammar import CONTENT_LENGTH, TOKEN
from netfw.http1.heads import HTTP_1_1, RequestHead, ResponseHead, Version


class FramingKind(Enum):
    """The four ways a body can end."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


# Not frozen, for the reason given in `netfw.http1.heads`.
@dataclass(slots=True)
class Framing:
    """Where the body ends. `Framing.NONE`, `.CHUNKED` and `.UNTIL_CLOSE` are the only values of their kinds."""

    kind: FramingKind
    length: int = 0

    NONE: ClassVar[Framing]
    CHUNKED: ClassVar[Framing]
    UNTIL_CLOSE: ClassVar[Framing]
    EMPTY: ClassVar[Framing]
    """Content-Length: 0, said aloud."""

    @staticmethod
    def of_length(length: int) -> Framing:
        """The framing by Content-Length."""
        return Framing(FramingKind.LENGTH, length) if length else Framing.EMPTY


Framing.NONE = Framing(FramingKind.NONE)
Framing.CHUNKED = Framing(FramingKind.CHUNKED)
Framing.UNTIL_CLOSE = Framing(FramingKind.UNTIL_CLOSE)
Framing.EMPTY = Framing(FramingKind.LENGTH, 0)

# To whom header names become variables (CGI, WSGI, PHP) these are the fields that they look like.
_LOOK_ALIKES = frozenset([b"content_length", b"transfer_encoding"])
_FRAMING_FIELDS = frozenset([b"content-length", b"transfer-encoding"]) | _LOOK_ALIKES


def request_declaration(head: RequestHead) -> Framing:
    """What the fields of a request say of its body, whatever the method. Raises FramingError, see `request_framing`."""
    return _declared(head.fields, head.version) if head.fields.has_any(_FRAMING_FIELDS) else Framing.NONE


def response_declaration(head: ResponseHead) -> Framing:
    """What the fields of a response say of its body, if it has one. Raises FramingError as `request_framing` does."""
    return _declared(head.fields, head.version) if head.fields.has_any(_FRAMING_FIELDS) else Framing.UNTIL_CLOSE


def request_framing(head: RequestHead) -> Framing:
    """The framing of a request. Raises FramingError where there is more than one way to read it."""
    framing = request_declaration(head)
    # WinINet and what is built on it say `Content-Length: 0` in a CONNECT, which cannot be misread; anything else can.
    if head.method == b"CONNECT" and framing is not Framing.NONE:
        if framing != Framing.EMPTY:
            raise FramingError("CONNECT has no content, yet the request declares some")
        return Framing.NONE
    return framing


def response_framing(head: ResponseHead, request_method: bytes) -> Framing:
    """The framing of the response to a request of this method. Raises FramingError as `request_framing` does."""
    status = head.status
    if request_method == b"CONNECT" and 200 <= status < 300:
        # RFC 9110, section 9.3.6: both fields are to be ignored; what follows is the tunnel.
        return Framing.NONE
    framing = response_declaration(head)
    if status < 200 or status == 204 or status == 304 or request_method == b"HEAD":
        return Framing.NONE
    return framing


def _declared(fields: Fields, version: Version) -> Framing:
    if fields.has_any(_LOOK_ALIKES):
        raise FramingError("a field's name has an underscore where a framing field has a hyphen")
    coding = fields.joined(b"transfer-encoding")
    if coding is None:
        return Framing.of_length(content_length(fields) or 0)
    if fields.has(b"content-length"):
        raise FramingError("both Content-Length and Transfer-Encoding are present")
    if version != HTTP_1_1:
        raise FramingError("Transfer-Encoding in an HTTP/1.0 message")
    if coding.lower() != b"chunked" or len(fields.get_all(b"transfer-encoding")) != 1:
        raise _coding_problem(coding)
    return Framing.CHUNKED


def content_length(fields: Fields) -> int | None:
    """The number in Content-Length, or None when there is no such field. Raises FramingError."""
    values = fields.get_all(b"content-length")
    if not values:
        return None
    if len(values) > 1:
        raise FramingError("Content-Length is repeated")
    if CONTENT_LENGTH.fullmatch(values[0]) is None:
        raise FramingError(f"Content-Length {safe_repr(values[0])} is not a number of 1 to 18 digits")
    return int(values[0])


def _coding_problem(coding: bytes) -> FramingError:
    codings = [element.strip(b" \t") for element in coding.lower().split(b",")]
    if not all(TOKEN.fullmatch(element) for element in codings):
        return FramingError(f"Transfer-Encoding {safe_repr(coding)} is not a list of tokens")
    if b"chunked" in codings[:-1]:
        return FramingError("chunked is not the last transfer coding, or stands there twice")
    return FramingError(f"the transfer coding {safe_repr(coding)} is not implemented, only chunked is", 501)
