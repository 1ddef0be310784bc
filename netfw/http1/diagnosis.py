"""Why a head was refused: runs only after the pattern of a whole head said no, so it may be slow and talkative.

In this room: from the bytes of a refused head to one FramingError that tells a person what is wrong. It never accepts
anything: whatever it cannot name is still an error.
"""

from __future__ import annotations

import re

from netfw.http1.errors import FramingError, safe_repr
from netfw.http1.grammar import TOKEN

_VERSION = re.compile(rb"HTTP/([0-9])\.([0-9])")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def request_head_problem(head: bytes) -> FramingError:
    """The reason why these bytes, empty line included, are no request head."""
    lines = head.split(b"\r\n")
    problem = line_problem(lines[0]) or _request_line_problem(lines[0])
    if problem is not None:
        return problem
    return _fields_problem(lines[1:-2]) or FramingError("the request head is malformed")


def response_head_problem(head: bytes) -> FramingError:
    """The reason why these bytes, empty line included, are no response head."""
    lines = head.split(b"\r\n")
    problem = line_problem(lines[0]) or _status_line_problem(lines[0])
    if problem is not None:
        return problem
    return _fields_problem(lines[1:-2]) or FramingError("the response head is malformed")


def trailer_problem(section: bytes) -> FramingError:
    """The reason why these bytes, empty line included, are no trailer section."""
    return _fields_problem(section.split(b"\r\n")[:-2]) or FramingError("the trailer section is malformed")


def line_problem(line: bytes) -> FramingError | None:
    """What is wrong with the octets of a line, whatever its meaning."""
    found = _CONTROL.search(line)
    if found is None:
        return None
    octet = found.group()
    if octet == b"\n":
        return FramingError("a line ends in a bare LF; lines end in CRLF")
    if octet == b"\r":
        return FramingError("there is a bare CR within a line")
    return FramingError(f"there is a control octet, 0x{octet[0]:02x}, in the head")


def _request_line_problem(line: bytes) -> FramingError | None:
    parts = line.split(b" ")
    if len(parts) == 2 and parts[1].startswith(b"/"):
        return FramingError("the request line has no HTTP version (HTTP/0.9 is not spoken)", 505)
    if len(parts) != 3:
        return FramingError("the request line is not method, target and version with single spaces between")
    method, target, version = parts
    if TOKEN.fullmatch(method) is None:
        return FramingError(f"the method {safe_repr(method)} is not a token")
    if b"#" in target:
        return FramingError("the request target has a fragment")
    if not target.isascii():
        return FramingError("the request target has octets that are not ASCII; they must be percent-encoded")
    if not target or b"\t" in target:
        return FramingError("the request target is empty or has white space")
    return _version_problem(version)


def _status_line_problem(line: bytes) -> FramingError | None:
    version, _, rest = line.partition(b" ")
    problem = _version_problem(version)
    if problem is not None:
        return problem
    status, _, _ = rest.partition(b" ")
    if len(status) != 3 or not status.isdigit() or status[0:1] == b"0":
        return FramingError(f"the status {safe_repr(status)} is not a number from 100 to 999")
    return None


def _version_problem(version: bytes) -> FramingError | None:
    if version in (b"HTTP/1.1", b"HTTP/1.0"):
        return None
    if _VERSION.fullmatch(version) is not None:
        return FramingError(f"HTTP version {safe_repr(version[5:])} is not spoken here, only 1.0 and 1.1", 505)
    return FramingError(f"{safe_repr(version)} is not an HTTP version")


def _fields_problem(lines: list[bytes]) -> FramingError | None:
    for line in lines:
        problem = line_problem(line) or _field_line_problem(line)
        if problem is not None:
            return problem
    return None


def _field_line_problem(line: bytes) -> FramingError | None:
    if line[:1] in (b" ", b"\t"):
        return FramingError("a field line begins with white space (obs-fold is not accepted)")
    name, colon, _ = line.partition(b":")
    if not colon:
        return FramingError(f"the field line {safe_repr(line)} has no colon")
    if not name:
        return FramingError("a field has an empty name")
    if name[-1:] in (b" ", b"\t"):
        return FramingError(f"there is white space between the field name {safe_repr(name)} and its colon")
    if TOKEN.fullmatch(name) is None:
        return FramingError(f"the field name {safe_repr(name)} is not a token")
    return None
