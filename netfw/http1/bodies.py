"""Printing bodies: content in, wire bytes out, with chunk lines of our own.

In this room: one printer for each framing. Not here: reading bodies (`reader`, `chunked`), choosing the framing
(`framing`, `forwarding.outgoing_framing`). RFC 9112, sections 6 and 7.

Parts are returned as a list so that content is never copied: hand them to `writeSequence`.
"""

from __future__ import annotations

from typing import ClassVar, Final, Protocol

from netfw.http1.errors import IncompleteBody
from netfw.http1.fields import Fields
from netfw.http1.framing import Framing, FramingKind

# Enum members by name of the module: looking one up in its class costs more than the comparison (Python 3.11).
_LENGTH: Final = FramingKind.LENGTH
_NONE: Final = FramingKind.NONE
_CHUNKED: Final = FramingKind.CHUNKED
_UNTIL_CLOSE: Final = FramingKind.UNTIL_CLOSE


class BodyPrinter(Protocol):
    """Prints one body. `data` any number of times, then `end` once. `is_bare`: content goes out as
    it is, and may go by without being seen here: `pass_over` counts it.
    """

    is_bare: ClassVar[bool]

    def data(self, content: bytes) -> list[bytes]:
        """The wire bytes of some content; an empty list for none."""

    def end(self, trailers: Fields) -> list[bytes]:
        """The wire bytes of the end. Trailers are dropped where the framing cannot carry them."""


class LengthPrinter:
    """Content-Length: exactly that many octets, or IncompleteBody. With 0 it prints the body that is none."""

    __slots__ = ("_left",)

    is_bare: ClassVar[bool] = True

    def __init__(self, length: int) -> None:
        self._left = length

    def data(self, content: bytes) -> list[bytes]:
        """Pass content on as it is. Raises IncompleteBody before an octet too many is printed."""
        left = self._left - len(content)
        if left < 0:
            raise IncompleteBody("more content than Content-Length promised")
        self._left = left
        return [content] if content else []

    def pass_over(self, count: int) -> None:
        """Count content that goes by. Raises IncompleteBody before an octet too many goes out."""
        left = self._left - count
        if left < 0:
            raise IncompleteBody("more content than Content-Length promised")
        self._left = left

    def end(self, trailers: Fields) -> list[bytes]:
        """Print nothing. Raises IncompleteBody when octets are missing."""
        if self._left:
            raise IncompleteBody(f"the content ended {self._left} octets before its Content-Length")
        return []


class ChunkedPrinter:
    """Transfer-Encoding: chunked, a chunk for each piece of content, no extensions."""

    __slots__ = ()

    is_bare: ClassVar[bool] = False

    def data(self, content: bytes) -> list[bytes]:
        """Print one chunk. Nothing for no content: an empty chunk would be the last one."""
        return [b"%x\r\n" % len(content), content, b"\r\n"] if content else []

    def end(self, trailers: Fields) -> list[bytes]:
        """Print the last chunk and the trailer section."""
        if not trailers.lines:
            return [b"0\r\n\r\n"]
        printed = b"\r\n".join([b"0", *map(b": ".join, trailers.lines), b"", b""])
        if printed.count(b"\n") != len(trailers.lines) + 2 or printed.count(b"\r") != len(trailers.lines) + 2:
            raise ValueError("a trailer section with a line end inside a line is not printed")
        return [printed]


class UntilClosePrinter:
    """Content as it is; the caller closes the connection after `end`."""

    __slots__ = ()

    is_bare: ClassVar[bool] = True

    def data(self, content: bytes) -> list[bytes]:
        """Pass content on as it is."""
        return [content] if content else []

    def pass_over(self, count: int) -> None:
        """Any amount of content may go by."""

    def end(self, trailers: Fields) -> list[bytes]:
        """Print nothing."""
        return []


_NO_BODY = LengthPrinter(0)
_CHUNKS = ChunkedPrinter()
_TO_THE_END = UntilClosePrinter()


def body_printer(framing: Framing) -> BodyPrinter:
    """The printer for a body of this framing."""
    kind = framing.kind
    # A printer without anything to count down has no state, so one serves all.
    if kind is _LENGTH:
        return LengthPrinter(framing.length) if framing.length else _NO_BODY
    if kind is _NONE:
        return _NO_BODY
    if kind is _CHUNKED:
        return _CHUNKS
    if kind is _UNTIL_CLOSE:
        return _TO_THE_END
    raise ValueError(f"a framing of no kind: {framing!r}")
