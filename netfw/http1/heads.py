"""Heads: a request line or status line with its header section; parsing whole heads and printing them.

In this room: RequestHead, ResponseHead, bytes to head, head to bytes. Not here: finding the end of a head in a stream
(`reader`), what a refused head did wrong (`diagnosis`), what a target means (`target`). RFC 9112, sections 3, 4 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass

from netfw.http1.diagnosis import request_head_problem, response_head_problem
from netfw.http1.errors import FramingError
from netfw.http1.fields import FieldLine, Fields
from netfw.http1.grammar import FIELD, PLAIN_REQUEST_HEAD, PLAIN_RESPONSE_HEAD, REQUEST_HEAD, RESPONSE_HEAD
from netfw.http1.limits import HeadLimits

Version = tuple[int, int]
HTTP_1_0: Version = (1, 0)
HTTP_1_1: Version = (1, 1)
_VERSIONS = {b"0": HTTP_1_0, b"1": HTTP_1_1}
_VERSION_BYTES = {HTTP_1_0: b"HTTP/1.0", HTTP_1_1: b"HTTP/1.1"}


# A program sends the same fields with every request, and an origin with every answer to it: the fields of a few recent
# heads are kept whole, as HTTP/2's table of fields does it. Never those that hold secrets.
_MOST_KEPT = 512
_LONGEST_KEPT = 1024
_NEVER_KEPT = frozenset([b"authorization", b"proxy-authorization", b"cookie", b"set-cookie", b"x-api-key"])
_recent: dict[bytes, Fields] = {}


# Heads are plain slotted dataclasses and not frozen ones: freezing quadruples the cost of making one, and one is made
# for every message. Nobody writes to them; use `dataclasses.replace`.
@dataclass(slots=True)
class RequestHead:
    """A request line and its fields. The method is any token, in its own case."""

    method: bytes
    target: bytes
    version: Version
    fields: Fields


@dataclass(slots=True)
class ResponseHead:
    """A status line and its fields. The status is 100 to 999."""

    version: Version
    status: int
    reason: bytes
    fields: Fields


def parse_plain_request_head(data: bytes, start: int, limits: HeadLimits) -> tuple[RequestHead, int] | None:
    """The head at `start` and the index behind it if it is there, whole and plain; None says: look closer."""
    match = PLAIN_REQUEST_HEAD.match(data, start)
    if match is None or match.end() - start > limits.head_size:
        return None
    method, target, minor, block = match.groups()
    return RequestHead(method, target, _VERSIONS[minor], _cut(block, limits)), match.end()


def parse_request_head(data: bytes, start: int, end: int, limits: HeadLimits) -> RequestHead:
    """Parse `data[start:end]`, which ends in its first empty line. Raises FramingError."""
    match = REQUEST_HEAD.match(data, start, end)
    if match is None:
        raise request_head_problem(data[start:end])
    method, target, minor, block = match.groups()
    return RequestHead(method, target, _VERSIONS[minor], parse_fields(block, limits))


def parse_plain_response_head(data: bytes, start: int, limits: HeadLimits) -> tuple[ResponseHead, int] | None:
    """The head at `start` and the index behind it if it is there, whole and plain; None says: look closer."""
    match = PLAIN_RESPONSE_HEAD.match(data, start)
    if match is None or match.end() - start > limits.head_size:
        return None
    minor, status, reason, block = match.groups()
    # The pattern let exactly three ASCII digits through: int() has no leniency left to show.
    return ResponseHead(_VERSIONS[minor], int(status), reason or b"", _cut(block, limits)), match.end()


def parse_response_head(data: bytes, start: int, end: int, limits: HeadLimits) -> ResponseHead:
    """Parse `data[start:end]`, which ends in its first empty line. Raises FramingError."""
    match = RESPONSE_HEAD.match(data, start, end)
    if match is None:
        raise response_head_problem(data[start:end])
    minor, status, reason, block = match.groups()
    return ResponseHead(_VERSIONS[minor], int(status), reason or b"", parse_fields(block, limits))


def parse_fields(block: bytes, limits: HeadLimits) -> Fields:
    """Cut field lines that a pattern of `grammar` has judged. Raises FramingError when there are too many."""
    return Fields([(name, value.rstrip(b" \t")) for name, value in _cut(block, limits).lines])


def _cut(block: bytes, limits: HeadLimits) -> Fields:
    fields = _recent.get(block)
    if fields is None:
        fields = Fields(FIELD.findall(block))
        if len(block) <= _LONGEST_KEPT and not fields.has_any(_NEVER_KEPT):
            if len(_recent) >= _MOST_KEPT:
                _recent.clear()
            _recent[block] = fields
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
