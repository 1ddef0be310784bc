"""The chunked transfer coding, taken off: RFC 9112, section 7.1.

In this room: chunk lines, chunk ends, where the trailer section is. Not here: the buffer (`reader`), which trailers may
pass (`trailers`). A loop, not a recursion; sizes are read by pattern and never by `int` alone.

Content of several chunks that are buffered together is handed on in one piece: chunk borders mean nothing, and what is
behind us should not pay for a sender that loves small chunks.
"""

from __future__ import annotations

from netfw.http1.diagnosis import line_problem
from netfw.http1.errors import FramingError, safe_repr
from netfw.http1.fields import Fields
from netfw.http1.grammar import BROKEN_LINE, CHUNK_LINE, NEXT_CHUNK
from netfw.http1.limits import HeadLimits
from netfw.http1.trailers import parse_trailers

_MAX_EXTENSION_EXCESS = 16384
"""Octets of chunk extensions beyond 16 a chunk and the content itself, after Go's answer to CVE-2023-39326."""

_PLAIN_LINE = 15
"""The longest chunk line without an extension: a size of fifteen digits."""


class ChunkedContent:
    """The state of one chunked body between reads."""

    __slots__ = ("_limits", "_message_fields", "_left", "_at_chunk_end", "_in_trailers", "_excess", "trailers")

    def __init__(self, limits: HeadLimits, message_fields: Fields) -> None:
        self._limits = limits
        self._message_fields = message_fields
        self._left = 0
        self._at_chunk_end = False
        self._in_trailers = False
        self._excess = 0
        self.trailers: Fields | None = None
        """What of the trailer section may pass; None until the body is complete."""

    def is_complete(self) -> bool:
        """Whether the trailer section has ended. Asked anew after every step, so a call and not a comparison."""
        return self.trailers is not None

    def read(self, data: bytes, at: int) -> tuple[bytes, int]:
        """Take what can be taken of `data[at:]`; return the content and the index behind what was taken.

        Raises FramingError, but only when there was no content in front of what is wrong.
        """
        pieces: list[bytes] = []
        try:
            while not self.is_complete():
                if self._left and self._limits.chunk_line >= _PLAIN_LINE:
                    at = self._read_plain_chunks(data, at, pieces)
                if self._left:
                    # The very object where it is all content: compiled code would copy it.
                    piece = data if at == 0 and len(data) <= self._left else data[at : at + self._left]
                    if not piece:
                        break
                    pieces.append(piece)
                    at += len(piece)
                    self._left -= len(piece)
                    if self._left:
                        break
                    self._at_chunk_end = True
                taken = self._read_trailers(data, at) if self._in_trailers else self._read_line(data, at)
                if not taken:
                    break
                at += taken
        except FramingError:
            if not pieces:
                raise
            # The next read stands before the same octets and raises it again.
        if not pieces:
            return b"", at
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), at

    def _read_plain_chunks(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Take whole chunks as long as a chunk line without extensions follows each: the loop for the usual body."""
        left = self._left
        while True:
            end = at + left
            match = NEXT_CHUNK.match(data, end)
            if match is None:
                break
            pieces.append(data[at:end])
            at = match.end()
            left = int(match[1], 16)
            if not left:
                self._in_trailers = True
                break
        self._left = left
        return at

    def _read_line(self, data: bytes, at: int) -> int:
        """Read the end of the chunk before and the next chunk line; return the octets taken, 0 for want of more."""
        start = at
        if self._at_chunk_end:
            if data[at : at + 2] != b"\r\n":
                # CVE-2025-43859 and others: these two octets must be looked at.
                if len(data) - at >= 2 or data[at:] not in (b"", b"\r"):
                    raise FramingError("a chunk does not end in CRLF where its size says")
                return 0
            at += 2
        match = CHUNK_LINE.match(data, at)
        if match is None:
            self._judge_unfinished_line(data, at)
            return 0
        digits, extensions = match.groups()
        end = match.end()
        if end - at - 2 > self._limits.chunk_line:
            raise FramingError(f"a chunk line is longer than {self._limits.chunk_line} octets")
        size = int(digits, 16)
        if extensions:
            self._excess = max(0, self._excess + len(extensions) - 16 - size)
            if self._excess > _MAX_EXTENSION_EXCESS:
                raise FramingError("the body has more chunk extensions than content")
        self._at_chunk_end = False
        self._left = size
        self._in_trailers = not size
        return end - start

    def _judge_unfinished_line(self, data: bytes, at: int) -> None:
        """Refuse a line that is wrong already; say nothing of one that may still become right."""
        line_end = data.find(b"\r\n", at)
        if line_end >= 0:
            line = data[at:line_end]
            raise line_problem(line) or FramingError(f"the chunk line {safe_repr(line)} is malformed")
        broken = BROKEN_LINE.search(data, at)
        if broken is not None:
            raise line_problem(broken.group()) or FramingError("a chunk line is malformed")
        # The last octet may be the CR of the line's end.
        if len(data) - at - 1 > self._limits.chunk_line:
            raise FramingError(f"a chunk line is longer than {self._limits.chunk_line} octets")

    def _read_trailers(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self.trailers = Fields.EMPTY
            return 2
        found = data.find(b"\r\n\r\n", at)
        size = found + 4 - at if found >= 0 else len(data) - at
        if size > self._limits.trailer_size or (found < 0 and size >= self._limits.trailer_size):
            raise FramingError(f"the trailer section is larger than {self._limits.trailer_size} octets", 431)
        if found < 0:
            broken = BROKEN_LINE.search(data, at)
            if broken is not None:
                raise line_problem(broken.group()) or FramingError("the trailer section is malformed")
            return 0
        self.trailers = parse_trailers(data, at, found + 4, self._message_fields, self._limits)
        return size
