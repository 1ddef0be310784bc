"""The errors of this package, and the one way to show a peer's bytes in a message.

Every message says what is wrong in our own words. Bytes of the peer appear only through `safe_repr`.
"""

from __future__ import annotations

_SHOWN = 40


class FramingError(ValueError):
    """A message that cannot be parsed, or that two parsers could read in two ways. The connection is over.

    `status_hint` is the status for the client where a request is at fault; for a response the proxy answers 502.
    """

    def __init__(self, message: str, status_hint: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status_hint = status_hint


class IncompleteMessage(FramingError):
    """The peer closed in the middle of a message (RFC 9112, section 8)."""


class IncompleteBody(FramingError):
    """More or fewer octets than Content-Length promised were given to a printer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 502)


def safe_repr(data: bytes) -> str:
    """At most 40 characters of printable ASCII that show the beginning of `data`, quotes included."""
    text = repr(bytes(data[:_SHOWN]))[1:]
    if len(data) <= _SHOWN and len(text) <= _SHOWN:
        return text
    return text[: _SHOWN - 4] + "..." + text[-1]
