"""Reading messages from a stream of bytes, sans I/O: bytes are fed, events are pulled.

In this room: where heads and bodies begin and end, and the caps while that is not yet known. Not here: what a head
says (`heads`, `framing`), chunk lines (`chunked`), sockets, time. RFC 9112, sections 2, 6, 7 and 9.

A reader is in one step at a time, whose `_read_...` returns the next event, or None when it needs more bytes. After a
FramingError it is spent: it raises the same error for ever and takes no more bytes. A reader does not cap what waits
behind a complete message: whoever feeds it watches `buffered`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from netfw.http1.chunked import ChunkedContent
from netfw.http1.diagnosis import line_problem
from netfw.http1.errors import FramingError, IncompleteMessage
from netfw.http1.events import BodyReceived, Event, MessageComplete, RequestHeadReceived, ResponseHeadReceived
from netfw.http1.fields import Fields
from netfw.http1.framing import Framing, FramingKind, request_framing, response_framing
from netfw.http1.grammar import BROKEN_LINE
from netfw.http1.heads import (
    parse_plain_request_head,
    parse_plain_response_head,
    parse_request_head,
    parse_response_head,
)
from netfw.http1.host_field import check_host
from netfw.http1.limits import HeadLimits
from netfw.http1.traits import request_traits, response_traits

_MAX_EMPTY_LINES = 2
"""Before a request line. RFC 9112, section 2.2, asks for at least one: old clients end a body with a stray CRLF."""

_MAX_INTERIM = 16
"""Interim responses before a final one. Nobody needs more; without a bound an origin could send them for ever."""

UNENDING = 1 << 62
"""So many bytes are `unfed` of a body that ends by close."""

_COMPLETE: Final = MessageComplete(Fields.EMPTY)
_ALWAYS_WITHOUT_BODY: Final = frozenset([204, 304])
_SPECIAL_METHODS: Final = frozenset([b"HEAD", b"CONNECT"])
# Looking a member up in its class is a call (Python 3.11).
# What a reader does next. Numbers, and not the functions: those would have to be looked up in their class.
_AT_HEAD: Final = 0
_UNASKED: Final = 1
_IN_LENGTH: Final = 2
_IN_CHUNKS: Final = 3
_UNTIL_CLOSE: Final = 4
_AT_END: Final = 5
_STOPPED: Final = 6
_STEP_NAMES = ("read_head", "read_unasked", "read_length", "read_chunked", "read_until_close", "finish", "stopped")
_NONE: Final = FramingKind.NONE
_LENGTH: Final = FramingKind.LENGTH
_CHUNKED: Final = FramingKind.CHUNKED


class MessageReader:
    """What both directions share: the buffer, the search for the end of a head, the bodies. Not made by itself."""

    __slots__ = ("_limits", "_data", "_at", "_searched", "_eof", "_starved", "_error", "_left", "_chunks", "_step")

    _what: ClassVar[str]

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        # What was fed and not yet read is `_data[_at:]`. It is a bytearray only while several feeds are collected,
        # so that many small ones do not copy it again and again.
        self._data: bytes | bytearray = b""
        self._at = 0
        self._searched = 0
        self._eof = False
        self._starved = False
        self._error: FramingError | None = None
        self._left = 0
        self._chunks: ChunkedContent | None = None
        self._step = _STOPPED

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer. They are looked at in `next_event`."""
        self._starved = False
        if self._error is not None:
            return
        if self._at >= len(self._data):
            self._data = data
            self._at = 0
            self._searched = 0
        elif isinstance(self._data, bytearray):
            self._data += data
        else:
            unread = bytearray(self._data[self._at :] if self._at else self._data)
            unread += data
            self._searched = max(0, self._searched - self._at)
            self._data = unread
            self._at = 0

    def feed_eof(self) -> None:
        """The peer has closed its side.

        Raises IncompleteMessage in the middle of a message: at once when every event has been pulled, else `next_event`
        does once they have. A body that ends by close is completed by the next `next_event`.
        """
        self._eof = True
        if self._starved and self._error is None:
            self._starve()

    def next_event(self) -> Event | None:
        """The next event, or None when more bytes are needed, or nothing more is to be read for now."""
        if self._error is not None:
            raise self._error
        step = self._step
        try:
            if step == _AT_HEAD:
                return self._read_head()
            if step == _IN_LENGTH:
                return self._read_length()
            if step == _AT_END:
                return self._finish()
            if step == _IN_CHUNKS:
                return self._read_chunked()
            if step == _UNTIL_CLOSE:
                return self._read_until_close()
            return self._read_unasked() if step == _UNASKED else None
        except FramingError as error:
            self._spoil(error)
            raise

    def ends_here(self) -> bool:
        """Whether the message is complete with what was pulled; then it is over, and no MessageComplete comes for it.

        For whoever would pull once more only to hear that. A message that ends by close, or in chunks, never ends here.
        """
        if self._step != _AT_END:
            return False
        self._finish()
        return True

    @property
    def unfed(self) -> int:
        """How many bytes of the body are still to be fed, once all that were fed have been read.

        0 where that is not known: within chunks, and while bytes wait to be read.
        """
        if self._at < len(self._data) or self._error is not None:
            return 0
        if self._step == _IN_LENGTH:
            return self._left
        return UNENDING if self._step == _UNTIL_CLOSE else 0

    def pass_over(self, count: int) -> None:
        """So many bytes of the body went by and are not fed. Raises RuntimeError for more than are `unfed`."""
        if count > self.unfed:
            raise RuntimeError(f"{count} bytes cannot have gone by {self!r}")
        self._starved = True
        if self._step == _IN_LENGTH:
            self._left -= count
            if not self._left:
                self._step = _AT_END

    def remaining(self) -> bytes:
        """Take the bytes that were fed and not read, for whoever speaks on this connection from now on."""
        unread = bytes(self._data[self._at :] if self._at else self._data)
        self._data = b""
        self._at = 0
        return unread

    @property
    def buffered(self) -> int:
        """How many bytes were fed and not read."""
        return len(self._data) - self._at

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {_STEP_NAMES[self._step]}, buffered {self.buffered}>"

    # Want of bytes, and the end.

    def _starve(self) -> Event | None:
        """More bytes are needed: None for the caller, or the error when no more will come."""
        self._starved = True
        if self._eof and self._is_within_message():
            error = IncompleteMessage(f"the connection was closed in the middle of a {self._what}")
            self._spoil(error)
            raise error
        return None

    def _is_within_message(self) -> bool:
        return self._step != _STOPPED and self._step != _UNTIL_CLOSE

    def _spoil(self, error: FramingError) -> None:
        self._error = error
        self._data = b""
        self._at = 0

    # Heads.

    def _head_end(self) -> int:
        """The index behind the empty line that ends the head at `_at`, or 0 when it has not come yet."""
        start = self._at
        found = self._data.find(b"\r\n\r\n", max(start, self._searched))
        if found < 0:
            self._judge_unfinished_head(start)
            return 0
        if found + 4 - start > self._limits.head_size:
            raise self._head_too_large(start)
        return found + 4

    def _judge_unfinished_head(self, start: int) -> None:
        """Refuse at once what no further byte can mend, TLS sent to a plain port for instance."""
        data = self._data
        if len(data) - start >= self._limits.head_size:
            raise self._head_too_large(start)
        broken = BROKEN_LINE.search(data, max(start, self._searched))
        if broken is not None:
            raise line_problem(bytes(broken.group())) or FramingError("a line of the head is broken")
        self._searched = max(start, len(data) - 3)

    def _head_too_large(self, start: int) -> FramingError:
        return FramingError(f"the head is larger than {self._limits.head_size} octets", 431)

    # Bodies.

    def _begin_body(self, framing: Framing, fields: Fields) -> None:
        kind = framing.kind
        if kind is _NONE:
            self._step = _AT_END
        elif kind is _LENGTH:
            self._left = framing.length
            self._step = _IN_LENGTH if framing.length else _AT_END
        elif kind is _CHUNKED:
            self._chunks = ChunkedContent(self._limits, fields)
            self._step = _IN_CHUNKS
        else:
            self._step = _UNTIL_CLOSE

    def _whole(self) -> bytes:
        """The buffer as bytes."""
        data = self._data
        if isinstance(data, bytearray):
            self._data = data = bytes(data)
        return data

    def _take(self, count: int) -> bytes:
        """Up to `count` octets of content; the very object that was fed when it lies wholly within the body."""
        data = self._whole()
        start = self._at
        if start == 0 and len(data) <= count:
            self._data = b""
            return data
        taken = data[start : start + count]
        self._at = start + len(taken)
        return taken

    def _read_length(self) -> Event | None:
        if self._at >= len(self._data):
            return self._starve()
        taken = self._take(self._left)
        self._left -= len(taken)
        if not self._left:
            self._step = _AT_END
        return BodyReceived(taken)

    def _read_chunked(self) -> Event | None:
        chunks = self._chunks
        assert chunks is not None, "a chunked body has its decoder"
        if not chunks.is_complete():
            content, self._at = chunks.read(self._whole(), self._at)
            if content:
                return BodyReceived(content)
            if not chunks.is_complete():
                return self._starve()
        self._finish()
        self._chunks = None
        trailers = chunks.trailers
        return MessageComplete(trailers) if trailers is not None and trailers.lines else _COMPLETE

    def _read_until_close(self) -> Event | None:
        if self._at < len(self._data):
            return BodyReceived(self._take(len(self._data)))
        if self._eof:
            return self._finish()
        return self._starve()

    def _finish(self) -> Event:
        self._step = _STOPPED
        return _COMPLETE

    def _read_head(self) -> Event | None:
        raise NotImplementedError

    def _read_unasked(self) -> Event | None:
        raise NotImplementedError


class RequestReader(MessageReader):
    """Reads requests. After MessageComplete it stands still until `start_next`, so that answers keep their order."""

    __slots__ = ("_empty_lines",)

    _what = "request"

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits)
        self._empty_lines = 0
        self._step = _AT_HEAD

    def start_next(self) -> None:
        """Go on to the next request. Only after MessageComplete."""
        if self._error is None and self._step != _STOPPED:
            raise RuntimeError("the request before is not complete")
        self._empty_lines = 0
        self._step = _AT_HEAD

    def _read_head(self) -> Event | None:
        if self._at >= len(self._data):
            return self._starve()
        if self._data[self._at] == 0x0D and not self._skip_empty_lines():
            return self._starve()
        data = self._data
        start = self._at
        # A second look at an unfinished head would start from its beginning again, so there is only a first.
        plain = None
        if isinstance(data, bytes) and self._searched <= start:
            plain = parse_plain_request_head(data, start, self._limits)
        if plain is not None:
            head, end = plain
        else:
            end = self._head_end()
            if not end:
                return self._starve()
            head = parse_request_head(self._whole(), start, end, self._limits)
        traits = request_traits(head)
        framing = traits.framing if head.method != b"CONNECT" else request_framing(head)
        if not traits.has_plain_host:
            check_host(head)
        self._at = end
        self._begin_body(framing, head.fields)
        return RequestHeadReceived(head, framing)

    def _skip_empty_lines(self) -> bool:
        """Step over empty lines before a request line; whether there is anything else to read."""
        data = self._data
        while data.startswith(b"\r\n", self._at):
            self._empty_lines += 1
            if self._empty_lines > _MAX_EMPTY_LINES:
                raise FramingError(f"more than {_MAX_EMPTY_LINES} empty lines before a request")
            self._at += 2
        return len(data) > self._at and data[self._at :] != b"\r"

    def _is_within_message(self) -> bool:
        if self._step == _AT_HEAD:
            return self.buffered > 0
        return super()._is_within_message()

    def _head_too_large(self, start: int) -> FramingError:
        size = self._limits.head_size
        if self._data.find(b"\r\n", start, start + size) < 0:
            return FramingError(f"the request line is longer than {size} octets", 414)
        return super()._head_too_large(start)


class ResponseReader(MessageReader):
    """Reads the responses to requests that were announced by `expect`, one at a time.

    After a 101, and after a 2xx to CONNECT, it reads no more and reports no MessageComplete: `remaining` has what the
    other protocol sent already.
    """

    __slots__ = ("_method", "_interim")

    _what = "response"

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits)
        self._method = b""
        self._interim = 0
        self._step = _UNASKED

    def expect(self, request_method: bytes) -> None:
        """A request of this method is being sent; its response is next.

        Raises FramingError when bytes came before it: they answer nothing (response queue poisoning).
        """
        if self._error is not None:
            raise self._error
        if self._step != _UNASKED:
            raise RuntimeError("the response before is not complete")
        if self._at < len(self._data):
            self.next_event()
        self._starved = True
        self._method = request_method
        self._interim = 0
        self._step = _AT_HEAD

    def _read_unasked(self) -> Event | None:
        if self._at < len(self._data):
            raise FramingError("bytes came that answer no request")
        self._starved = True
        return None

    def _read_head(self) -> Event | None:
        if self._at >= len(self._data):
            return self._starve()
        data = self._data
        start = self._at
        plain = None
        if isinstance(data, bytes) and self._searched <= start:
            plain = parse_plain_response_head(data, start, self._limits)
        if plain is not None:
            head, end = plain
        else:
            end = self._head_end()
            if not end:
                return self._starve()
            head = parse_response_head(self._whole(), start, end, self._limits)
        self._at = end
        status = head.status
        if status in _ALWAYS_WITHOUT_BODY or self._method in _SPECIAL_METHODS or status < 200:
            framing = response_framing(head, self._method)
        else:
            framing = response_traits(head).framing
        if status == 101 or (self._method == b"CONNECT" and 200 <= status < 300):
            self._step = _STOPPED
        elif status < 200:
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise FramingError(f"more than {_MAX_INTERIM} interim responses")
        else:
            self._begin_body(framing, head.fields)
        return ResponseHeadReceived(head, framing)

    def _finish(self) -> Event:
        self._step = _UNASKED
        return _COMPLETE

    def _is_within_message(self) -> bool:
        return self._step != _UNASKED and super()._is_within_message()
