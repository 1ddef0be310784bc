"""The PROXY protocol's header, versions 1 and 2: what a load balancer says of the client before the client's own bytes.

PURE: bytes in, facts out. In here: the two forms, read strictly and in any split. Not in here: whose word is taken, and
what becomes of the connection (`proxy.listener`). There is no RFC: HAProxy's proxy-protocol.txt rules both versions,
AWS's documentation of network load balancers the type 0xEA.

Anything that the text leaves to taste is refused: who may say where a client comes from must say it clearly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Union

Address = Union[IPv4Address, IPv6Address]

LARGEST_LINE = 107
"""Version 1, with its CR LF."""
LARGEST_HEADER = 4096
"""Version 2 could have 64 KiB; what load balancers send is below one."""

_LINE_START = b"PROXY "
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED = 16
_VERSION_2 = 2
_LOCAL, _PROXY = 0, 1
_UNSPEC = 0x00
_TCP4, _TCP6 = 0x11, 0x21
_AWS, _AWS_VPCE_ID = 0xEA, 0x01
_VPCE_ID = re.compile(rb"vpce-[0-9a-f]+")
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_TEXT = re.compile(rb"[ -~]*")


class ProxyHeaderError(ValueError):
    """This is no PROXY header that can be used, and more bytes will not make it one."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What the header says. `vpce`: the AWS endpoint's id, where there is one.

    Without addresses (`source` and `destination` None) the connection speaks for its sender: a health check (LOCAL), or
    a client whose address the sender does not know (UNKNOWN, UNSPEC).
    """

    source: Address | None
    source_port: int
    destination: Address | None
    destination_port: int
    vpce: str | None = None


OWN_CONNECTION = ProxyHeader(None, 0, None, 0)
"""A header without addresses."""


class ProxyHeaderReader:
    """Takes bytes as they come, until the header is whole."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        """How many bytes wait for the rest of the header."""
        return len(self._buffer)

    def feed(self, data: bytes) -> tuple[ProxyHeader, bytes] | None:
        """The header and the bytes behind it once it is whole, None before; nothing may be fed after it.

        Raises ProxyHeaderError as soon as these bytes cannot be the beginning of one.
        """
        buffer = self._buffer
        buffer += data
        if not buffer:
            return None
        if buffer[0] == _SIGNATURE[0]:
            size = _binary_size(buffer)
            whole = size is not None and len(buffer) >= size
        else:
            size = _line_size(buffer)
            whole = size is not None
        if not whole:
            return None
        head, rest = bytes(buffer[:size]), bytes(buffer[size:])
        buffer.clear()
        return (_binary(head) if head[0] == _SIGNATURE[0] else _line(head)), rest


def read_proxy_header(data: bytes) -> tuple[ProxyHeader, bytes] | None:
    """The header that these bytes begin with, and the rest; None when more are needed. Raises ProxyHeaderError."""
    return ProxyHeaderReader().feed(data)


# -- version 1


def _line_size(buffer: bytearray) -> int | None:
    start = bytes(buffer[: len(_LINE_START)])
    if not _LINE_START.startswith(start):
        raise ProxyHeaderError("these bytes begin neither version of a PROXY header")
    end = buffer.find(b"\n", 0, LARGEST_LINE)
    if end >= 0:
        return end + 1
    if len(buffer) >= LARGEST_LINE:
        raise ProxyHeaderError(f"no end of the line within {LARGEST_LINE} bytes")
    return None


def _line(line: bytes) -> ProxyHeader:
    if not line.endswith(b"\r\n"):
        raise ProxyHeaderError("the line does not end in CR LF")
    text = line[:-2]
    if not _TEXT.fullmatch(text):
        raise ProxyHeaderError("the line holds bytes that are no printable ASCII")
    if text == b"PROXY UNKNOWN" or text.startswith(b"PROXY UNKNOWN "):
        return OWN_CONNECTION  # what else it says is to be ignored
    words = text.split(b" ")
    if len(words) != 6:
        raise ProxyHeaderError("the line has not six words")
    _, family, source, destination, source_port, destination_port = words
    if family not in (b"TCP4", b"TCP6"):
        raise ProxyHeaderError("the family is none of TCP4, TCP6 and UNKNOWN")
    kind = IPv4Address if family == b"TCP4" else IPv6Address
    return ProxyHeader(_address(kind, source), _port(source_port), _address(kind, destination), _port(destination_port))


def _address(kind: type[IPv4Address] | type[IPv6Address], text: bytes) -> Address:
    if b"%" in text:
        raise ProxyHeaderError("an address has a zone")
    try:
        return kind(text.decode("ascii"))
    except ValueError:
        raise ProxyHeaderError("an address is none of its family") from None


def _port(text: bytes) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ProxyHeaderError("a port is no number from 0 to 65535")
    return int(text)


# -- version 2


def _binary_size(buffer: bytearray) -> int | None:
    start = bytes(buffer[: len(_SIGNATURE)])
    if not _SIGNATURE.startswith(start):
        raise ProxyHeaderError("these bytes begin neither version of a PROXY header")
    if len(buffer) > 12 and (buffer[12] >> 4 != _VERSION_2 or buffer[12] & 15 not in (_LOCAL, _PROXY)):
        raise ProxyHeaderError("the version is not 2, or the command neither LOCAL nor PROXY")
    if len(buffer) > 13 and buffer[12] & 15 == _PROXY and buffer[13] not in (_UNSPEC, _TCP4, _TCP6):
        raise ProxyHeaderError("the family is not TCP over IPv4 or IPv6")
    if len(buffer) < _FIXED:
        return None
    size = _FIXED + int.from_bytes(buffer[14:16], "big")
    if size > LARGEST_HEADER:
        raise ProxyHeaderError(f"the header is larger than {LARGEST_HEADER} bytes")
    return size


def _binary(header: bytes) -> ProxyHeader:
    if header[12] & 15 == _LOCAL or header[13] == _UNSPEC:
        return OWN_CONNECTION  # the rest is to be skipped, whatever it says
    width = 4 if header[13] == _TCP4 else 16
    fields = _FIXED + 2 * width + 4
    if len(header) < fields:
        raise ProxyHeaderError("the addresses do not fit into the header's length")
    kind = IPv4Address if width == 4 else IPv6Address
    source = kind(header[_FIXED : _FIXED + width])
    destination = kind(header[_FIXED + width : _FIXED + 2 * width])
    ports = header[fields - 4 : fields]
    source_port, destination_port = int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")
    return ProxyHeader(source, source_port, destination, destination_port, _vpce(header[fields:]))


def _vpce(extensions: bytes) -> str | None:
    """The endpoint's id. Every other extension is skipped, checksums too: TCP has one."""
    found: str | None = None
    for kind, value in _extensions(extensions):
        if kind != _AWS:
            continue
        if not value:
            raise ProxyHeaderError("AWS's extension is empty")
        if value[0] != _AWS_VPCE_ID:
            continue
        if not _VPCE_ID.fullmatch(value[1:]):
            raise ProxyHeaderError("the endpoint's id is not of the form vpce-0123abcd")
        if found is not None:
            raise ProxyHeaderError("there are two endpoint ids")
        found = value[1:].decode("ascii")
    return found


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(data):
        start = position + 3
        if start > len(data):
            raise ProxyHeaderError("an extension has no length")
        end = start + int.from_bytes(data[position + 1 : start], "big")
        if end > len(data):
            raise ProxyHeaderError("an extension is longer than the header")
        yield data[position], data[start:end]
        position = end
