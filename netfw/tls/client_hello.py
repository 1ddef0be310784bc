"""The ClientHello, read without answering it. PURE: bytes in, facts out.

In here: TLS records into one handshake message, and that message into the names it holds. Not in here: whether they
agree with anything (`proxy.binding`), the handshake itself (`stream`). RFC 8446, sections 4.1.2, 4.2 and 5.1, RFC
6066, section 3 (server name), RFC 7301 (ALPN), RFC 9849 (ECH), RFC 8701 (GREASE).

Every length must fit exactly: a reader that is more forgiving than the origin's reads another name than the origin
does.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from ipaddress import ip_address
from struct import Struct, unpack
from struct import error as StructError
from typing import Final, NamedTuple

from netfw.names.host import Host, HostError, parse_host

LARGEST_HELLO: Final = 1 << 16
"""Of the message. With post-quantum key shares real ones are near 2 KiB; OpenSSL itself stops at 128 KiB."""

_RECORD_HEADER: Final = 5
_MESSAGE_HEADER: Final = 4
_LARGEST_RECORD: Final = 1 << 14
_USUAL_SIZE: Final = 64
"""Of what is remembered with what was read in it: few programs say it, again and again."""
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_ALPN: Final = 16
_EARLY_DATA: Final = 42
_SUPPORTED_VERSIONS: Final = 43
# encrypted_client_hello, and the drafts' encrypted_server_name that came before it
_ENCRYPTED: Final = frozenset((0xFE0D, 0xFFCE))


class HelloProblem(Enum):
    """Why it is refused; a closed set."""

    NOT_TLS = "not_tls"
    SSL2 = "ssl2"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    DUPLICATE_EXTENSION = "duplicate_extension"
    SEVERAL_NAMES = "several_names"
    NOT_A_NAME = "not_a_name"
    ADDRESS = "address"


class ClientHelloError(ValueError):
    """This is no ClientHello that may pass, and more bytes will not make it one."""

    def __init__(self, problem: HelloProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


class ClientHello(NamedTuple):
    """What a client says first.

    `server_name`: as it was sent; `host`: the same in canonical form. `alpn`: in the client's order. `versions`:
    those that it offers, without GREASE; 0x0303 is TLS 1.2. `has_ech`: an encrypted ClientHello is inside, so that
    `server_name` may be a front; browsers that only pretend (RFC 9849, section 6.2) cannot be told apart.
    `has_early_data`: data follow at once.
    """

    server_name: bytes | None
    host: Host | None
    alpn: tuple[bytes, ...]
    versions: tuple[int, ...]
    has_ech: bool
    has_early_data: bool


def read_client_hello(data: bytes) -> ClientHello | None:
    """The ClientHello that these bytes begin with; None when more are needed. Raises ClientHelloError.

    Bytes behind it in records of their own (early data) are left alone. Who gets the bytes piece by piece uses
    `ClientHelloReader`, which reads every byte once.
    """
    return ClientHelloReader().feed(data)


class ClientHelloReader:
    """Takes bytes as they come, in any split over records and segments."""

    __slots__ = ("_header", "_left_in_record", "_message", "_size")

    def __init__(self) -> None:
        self._header = bytearray()  # of the present record, while incomplete
        self._left_in_record = 0
        self._message = bytearray()
        self._size = 0  # of the whole message with its header, once known

    @property
    def size(self) -> int:
        """Octets of the whole message, once its header is known; 0 before."""
        return self._size

    def feed(self, data: bytes) -> ClientHello | None:
        """The ClientHello once it is complete, None before.

        Raises ClientHelloError at the first byte that cannot be right.
        """
        if (
            len(data) > _RECORD_HEADER + _MESSAGE_HEADER
            and not self._message
            and not self._header
            and not self._left_in_record
        ):
            # Nearly always all of it is here, in one record.
            record_type, major, minor, record, message_type, high, message = _headers(data)
            if (
                record_type == _HANDSHAKE
                and major == 3
                and minor <= 4
                and message_type == _CLIENT_HELLO
                and not high
                and message + _MESSAGE_HEADER == record <= _LARGEST_RECORD
                and len(data) >= record + _RECORD_HEADER
            ):
                self._size = record
                return _parse(data[_RECORD_HEADER + _MESSAGE_HEADER : _RECORD_HEADER + record])
        position, end = 0, len(data)
        while position < end:
            if not self._left_in_record:
                position = self._take_record_header(data, position)
                continue
            piece = data[position : position + self._left_in_record]
            position += len(piece)
            self._left_in_record -= len(piece)
            self._message += piece
            self._check_message_header()
            if self._size and len(self._message) >= self._size:
                return _parse(bytes(self._message[_MESSAGE_HEADER:]))
        return None

    def _take_record_header(self, data: bytes, position: int) -> int:
        header = self._header
        missing = _RECORD_HEADER - len(header)
        header += data[position : position + missing]
        if header[0] != _HANDSHAKE:
            # An SSL 2 record: two octets of length with the highest bit set, then CLIENT-HELLO.
            if not self._message and header[0] & 0x80 and (len(header) < 3 or header[2] == _CLIENT_HELLO):
                if len(header) < 3:
                    return position + missing
                raise ClientHelloError(HelloProblem.SSL2, "an SSL 2 ClientHello")
            what = "no TLS handshake" if not self._message else "another record in the middle of the ClientHello"
            raise ClientHelloError(HelloProblem.NOT_TLS, what)
        if len(header) > 1 and header[1] != 3 or len(header) > 2 and header[2] > 4:
            raise ClientHelloError(HelloProblem.NOT_TLS, "no TLS version in a record's header")
        if len(header) == _RECORD_HEADER:
            size = header[3] << 8 | header[4]
            if not 0 < size <= _LARGEST_RECORD:
                raise ClientHelloError(HelloProblem.MALFORMED, f"a handshake record of {size} bytes")
            if self._size and size > self._size - len(self._message):
                raise ClientHelloError(HelloProblem.MALFORMED, "something behind the ClientHello in its record")
            self._left_in_record = size
            header.clear()
        return position + missing

    def _check_message_header(self) -> None:
        message = self._message
        if message[0] != _CLIENT_HELLO:
            raise ClientHelloError(HelloProblem.NOT_TLS, f"handshake message {message[0]} instead of a ClientHello")
        if self._size or len(message) < _MESSAGE_HEADER:
            return
        self._size = _MESSAGE_HEADER + int.from_bytes(message[1:_MESSAGE_HEADER], "big")
        if self._size > LARGEST_HELLO:
            raise ClientHelloError(HelloProblem.TOO_LARGE, f"a ClientHello of {self._size} bytes")
        if len(message) + self._left_in_record > self._size:
            raise ClientHelloError(HelloProblem.MALFORMED, "something behind the ClientHello in its record")


_headers: Final = Struct(">BBBHBBH").unpack_from
_length: Final = Struct(">H").unpack_from
_extension: Final = Struct(">HH").unpack_from


def _malformed(what: str) -> ClientHelloError:
    return ClientHelloError(HelloProblem.MALFORMED, f"the lengths of {what} do not fit")


def _parse(body: bytes) -> ClientHello:
    # Offsets in one piece of bytes: a call for each field made this a sixth of the cost of a tunnel.
    try:
        (version,) = _length(body)
        if version >> 8 != 3:
            raise ClientHelloError(HelloProblem.MALFORMED, f"the ClientHello's version is {version:#06x}")
        session_id = body[34]  # behind version and random: its size
        position = 35 + session_id
        (suites,) = _length(body, position)
        position += 2 + suites
        compressions = body[position]
        position += 1 + compressions
    except (IndexError, StructError):
        raise _malformed("the ClientHello") from None
    if (
        session_id > 32
        or not suites
        or suites % 2
        or position > len(body)
        or 0 not in body[position - compressions : position]
    ):
        raise _malformed("the ClientHello")
    extensions = _extensions(body, position)
    server_name = _server_name(_content(body, extensions[_SERVER_NAME])) if _SERVER_NAME in extensions else None
    return ClientHello(
        server_name,
        _host(server_name) if server_name is not None else None,
        _protocols(_content(body, extensions[_ALPN])) if _ALPN in extensions else (),
        _versions(_content(body, extensions[_SUPPORTED_VERSIONS])) if _SUPPORTED_VERSIONS in extensions else (version,),
        not _ENCRYPTED.isdisjoint(extensions),
        _EARLY_DATA in extensions,
    )


def _only_vector(data: bytes, length_size: int, what: str) -> bytes:
    """What stands behind its own length, and nothing behind that."""
    size = int.from_bytes(data[:length_size], "big")
    if len(data) != length_size + size:
        raise _malformed(what)
    return data[length_size:]


def _extensions(body: bytes, position: int) -> dict[int, int]:
    """Where each extension's content begins; its size stands in the two octets before. They end where `body` does."""
    found: dict[int, int] = {}
    end = len(body)
    if position == end:
        return found
    try:
        (size,) = _length(body, position)
        position += 2
        if position + size != end:
            raise _malformed("the ClientHello")
        while position < end:
            number, size = _extension(body, position)
            if number in found:
                raise ClientHelloError(HelloProblem.DUPLICATE_EXTENSION, f"extension {number} is there twice")
            found[number] = position = position + 4
            position += size
    except StructError:
        raise _malformed("the extensions") from None
    if position != end:
        raise _malformed("the extensions")
    return found


def _content(body: bytes, position: int) -> bytes:
    (size,) = _length(body, position - 2)
    return body[position : position + size]


def _server_name(data: bytes) -> bytes:
    names = _only_vector(data, 2, "the server name")
    if len(names) < 3:
        raise _malformed("the server name")
    kind, name = names[0], names[3:]
    (size,) = _length(names, 1)
    if size > len(name):
        raise _malformed("the server name")
    if size < len(name):
        raise ClientHelloError(HelloProblem.SEVERAL_NAMES, "more than one server name")
    if kind != 0:
        raise ClientHelloError(HelloProblem.NOT_A_NAME, f"a server name of type {kind}")
    return name


@lru_cache(maxsize=4096)
def _host(name: bytes) -> Host:
    text = name.decode("ascii", "replace").strip("[]")
    # What ends in a letter and has no colon is no address: nearly all names.
    if not text[-1:].isalpha() or ":" in text:
        try:
            ip_address(text)
        except ValueError:
            pass
        else:
            raise ClientHelloError(HelloProblem.ADDRESS, "an address as server name")
    try:
        host = parse_host(name)
    except HostError:
        raise ClientHelloError(HelloProblem.NOT_A_NAME, "a server name that is no host name") from None
    if host.is_address:
        raise ClientHelloError(HelloProblem.ADDRESS, "an address as server name")
    return host


def _protocols(data: bytes) -> tuple[bytes, ...]:
    return _usual_protocols(data) if len(data) <= _USUAL_SIZE else _read_protocols(data)


def _read_protocols(data: bytes) -> tuple[bytes, ...]:
    what = "the application protocols"
    data = _only_vector(data, 2, what)
    protocols = []
    position, end = 0, len(data)
    while position < end:
        after = position + 1 + data[position]
        protocol = data[position + 1 : after]
        if after > end or not protocol:
            raise _malformed(what)
        protocols.append(protocol)
        position = after
    if not protocols:
        raise _malformed(what)
    return tuple(protocols)


_usual_protocols: Final = lru_cache(maxsize=256)(_read_protocols)


@lru_cache(maxsize=256)
def _versions(data: bytes) -> tuple[int, ...]:
    data = _only_vector(data, 1, "the versions")
    if not data or len(data) % 2:
        raise _malformed("the versions")
    versions = unpack(f">{len(data) // 2}H", data)
    # GREASE values are 0x0a0a, 0x1a1a, ... 0xfafa.
    return tuple([version for version in versions if version & 0x0F0F != 0x0A0A or version >> 8 != version & 0xFF])
