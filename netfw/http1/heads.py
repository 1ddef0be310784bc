"""Heads: a request line or status line with its header section; parsing whole heads and printing them.

In this room: RequestHead, ResponseHead, bytes to head, head to bytes. Not here: finding the end of a head in a stream
(`reader`), what a refused head did wrong (`diagnosis`), what a target means (`target`). RFC 9112, sections 3, 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from netfw.http1.diagnosis import request_head_problem, response_head_problem
from netfw.http1.errors import FramingError
from netfw.http1.fields import FieldLine, Fields
from netfw.http1.grammar import FIELD, PLAIN_FIELDS, REQUEST_HEAD, REQUEST_LINE, RESPONSE_HEAD, STATUS_LINE
from netfw.http1.limits import HeadLimits

Version = tuple[int, int]
HTTP_1_0: Final[Version] = (1, 0)
HTTP_1_1: Final[Version] = (1, 1)
_VERSIONS = {b"0": HTTP_1_0, b"1": HTTP_1_1}
_VERSION_BYTES = {HTTP_1_0: b"HTTP/1.0", HTTP_1_1: b"HTTP/1.1"}


# A program sends the same fields with every request, and an origin with every answer to it: the fields of a few recent
# heads are kept whole, as HTTP/2's table of fields does it. Never those that hold secrets.
_MOST_KEPT = 512
_LONGEST_KEPT = 1024
_NEVER_KEPT = frozenset([b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key"])
_recent: Final[dict[bytes, Fields]] = {}
"""By their lines as they came: only what `PLAIN_FIELDS` lets through."""


# Heads are plain slotted dataclasses and not frozen ones: freezing quadruples the cost of making one, and one is made
# for every message. Nobody writes to them; use `dataclasses.replace`. And their `__init__` is written out: one that
# `dataclass` makes is Python, compiled or not.
@dataclass(slots=True, init=False)
class RequestHead:
    """A request line and its fields. The method is any token, in its own case."""

    method: bytes
    target: bytes
    version: Version
    fields: Fields

    def __init__(self, method: bytes, target: bytes, version: Version, fields: Fields) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.fields = fields


@dataclass(slots=True, init=False)
class ResponseHead:
    """A status line and its fields. The status is 100 to 999."""

    version: Version
    status: int
    reason: bytes
    fields: Fields

    def __init__(self, version: Version, status: int, reason: bytes, fields: Fields) -> None:
        self.version = version
        self.status = status
        self.reason = reason
        self.fields = fields


def parse_plain_request_head(data: bytes, start: int, limits: HeadLimits) -> tuple[RequestHead, int] | None:
    """The head at `start` and the index behind it if it is there, whole and plain; None says: look closer."""
    line = REQUEST_LINE.match(data, start)
    if line is None:
        return None
    found = _plain_fields(data, start, line.end(), limits)
    if found is None:
        return None
    method, target, minor = line.groups()
    fields, end = found
    return RequestHead(method, target, HTTP_1_1 if minor == b"1" else HTTP_1_0, fields), end


def parse_request_head(data: bytes, start: int, end: int, limits: HeadLimits) -> RequestHead:
    """Parse `data[start:end]`, which ends in its first empty line. Raises FramingError."""
    match = REQUEST_HEAD.match(data, start, end)
    if match is None:
        raise request_head_problem(data[start:end])
    method, target, minor, block = match.groups()
    return RequestHead(method, target, _VERSIONS[minor], parse_fields(block, limits))


def parse_plain_response_head(data: bytes, start: int, limits: HeadLimits) -> tuple[ResponseHead, int] | None:
    """The head at `start` and the index behind it if it is there, whole and plain; None says: look closer."""
    line = STATUS_LINE.match(data, start)
    if line is None:
        return None
    found = _plain_fields(data, start, line.end(), limits)
    if found is None:
        return None
    minor, status, reason = line.groups()
    fields, end = found
    # The pattern let exactly three ASCII digits through: int() has no leniency left to show.
    return ResponseHead(HTTP_1_1 if minor == b"1" else HTTP_1_0, int(status), reason or b"", fields), end


def parse_response_head(data: bytes, start: int, end: int, limits: HeadLimits) -> ResponseHead:
    """Parse `data[start:end]`, which ends in its first empty line. Raises FramingError."""
    match = RESPONSE_HEAD.match(data, start, end)
    if match is None:
        raise response_head_problem(data[start:end])
    minor, status, reason, block = match.groups()
    return ResponseHead(_VERSIONS[minor], int(status), reason or b"", parse_fields(block, limits))


def parse_fields(block: bytes, limits: HeadLimits) -> Fields:
    """Cut field lines that a pattern of `grammar` has judged. Raises FramingError when there are too many."""
    return _counted(Fields([(name, value.rstrip(b" \t")) for name, value in FIELD.findall(block)]), limits)


def _plain_fields(data: bytes, start: int, at: int, limits: HeadLimits) -> tuple[Fields, int] | None:
    """The fields from `at` and the index behind the empty line, where all of it is there and plain. `start`: where the
    head begins.
    """
    # Field lines that are kept were judged when they came first, and the empty line ends them now as then.
    empty_line = data.find(b"\r\n\r\n", at - 2)
    if empty_line < 0 or empty_line + 4 - start > limits.head_size:
        return None
    block = data[at : empty_line + 2]
    fields = _recent.get(block)
    if fields is None:
        if PLAIN_FIELDS.match(data, at) is None:
            return None
        fields = Fields(FIELD.findall(block))
        if len(block) <= _LONGEST_KEPT and not fields.has_any(_NEVER_KEPT):
            if len(_recent) >= _MOST_KEPT:
                _recent.clear()
            _recent[block] = fields
    return _counted(fields, limits), empty_line + 4


def _counted(fields: Fields, limits: HeadLimits) -> Fields:
    if len(fields.lines) > limits.head_fields:
        raise FramingError(f"more than {limits.head_fields} fields", 431)
    return fields


def print_request_head(head: RequestHead) -> bytes:
    """The bytes of this head. Raises ValueError rather than print what would be more than one head."""
    start = b"%b %b %b" % (head.method, head.target, _VERSION_BYTES[head.version])
    return _print(start, head.fields.lines)


def print_response_head(head: ResponseHead) -> bytes:
    """The bytes of this head. Raises ValueError rather than print what would be more than one head."""
    start = b"%b %d %b" % (_VERSION_BYTES[head.version], head.status, head.reason)
    return _print(start, head.fields.lines)


def _print(start: bytes, lines: list[FieldLine]) -> bytes:
    printed = b"\r\n".join([start, *map(b": ".join, lines), b"", b""])
    # What was parsed cannot fail here. What we made ourselves (a reason, a value from configuration) must not either,
    # but a slip there would split the message, and three scans cost next to nothing.
    expected = len(lines) + 2
    if printed.count(b"\n") != expected or printed.count(b"\r") != expected or b"\0" in printed:
        raise ValueError("a head with a line end or NUL inside a line is not printed")
    return printed
