"""The ClientHello, read without answering it. PURE: bytes in, facts out.

In here: TLS records into one handshake message, and that message into the names it holds. Not in here: whether they
agree with anything (`proxy.binding`), the handshake itself (`stream`). RFC 8446, sections 4.1.2, 4.2 and 5.1, RFC
6066, section 3 (server name), RFC 7301 (ALPN), RFC 9849 (ECH), RFC 8701 (GREASE).

Every length must fit exactly: a reader that is more forgiving than the origin's reads another name than the origin
does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from netfw.names.host import Host, HostError, parse_host

LARGEST_HELLO = 1 << 16
"""Of the message. With post-quantum key shares real ones are near 2 KiB; OpenSSL itself stops at 128 KiB."""

_RECORD_HEADER = 5
_MESSAGE_HEADER = 4
_LARGEST_RECORD = 1 << 14
_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS, _EARLY_DATA = 0, 16, 43, 42
# encrypted_client_hello, and the drafts' encrypted_server_name that came before it
_ENCRYPTED = frozenset((0xFE0D, 0xFFCE))


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


@dataclass(frozen=True, slots=True)
class ClientHello:
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


class _Cursor:
    """Takes exact lengths from bytes; what does not fit is malformed."""

    __slots__ = ("data", "position", "what")

    def __init__(self, data: bytes, what: str) -> None:
        self.data = data
        self.what = what
        self.position = 0

    def take(self, size: int) -> bytes:
        piece = self.data[self.position : self.position + size]
        if len(piece) != size:
            raise self.malformed()
        self.position += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_size: int) -> bytes:
        """Bytes behind their own length."""
        return self.take(self.number(length_size))

    def end(self) -> None:
        if not self.is_done:
            raise self.malformed()

    @property
    def is_done(self) -> bool:
        return self.position == len(self.data)

    def malformed(self) -> ClientHelloError:
        return ClientHelloError(HelloProblem.MALFORMED, f"the lengths of {self.what} do not fit")


def _parse(body: bytes) -> ClientHello:
    cursor = _Cursor(body, "the ClientHello")
    version = cursor.number(2)
    if version >> 8 != 3:
        raise ClientHelloError(HelloProblem.MALFORMED, f"the ClientHello's version is {version:#06x}")
    cursor.take(32)  # random
    session_id, suites, compressions = cursor.vector(1), cursor.vector(2), cursor.vector(1)
    if len(session_id) > 32 or not suites or len(suites) % 2 or 0 not in compressions:
        raise cursor.malformed()
    extensions = {} if cursor.is_done else _extensions(cursor.vector(2))
    cursor.end()
    server_name = _server_name(extensions[_SERVER_NAME]) if _SERVER_NAME in extensions else None
    return ClientHello(
        server_name=server_name,
        host=_host(server_name) if server_name is not None else None,
        alpn=_protocols(extensions[_ALPN]) if _ALPN in extensions else (),
        versions=_versions(extensions[_SUPPORTED_VERSIONS]) if _SUPPORTED_VERSIONS in extensions else (version,),
        has_ech=not _ENCRYPTED.isdisjoint(extensions),
        has_early_data=_EARLY_DATA in extensions,
    )


def _extensions(data: bytes) -> dict[int, bytes]:
    cursor = _Cursor(data, "the extensions")
    found: dict[int, bytes] = {}
    while not cursor.is_done:
        number = cursor.number(2)
        if number in found:
            raise ClientHelloError(HelloProblem.DUPLICATE_EXTENSION, f"extension {number} is there twice")
        found[number] = cursor.vector(2)
    return found


def _server_name(data: bytes) -> bytes:
    outer = _Cursor(data, "the server name")
    names = _Cursor(outer.vector(2), "the server name")
    outer.end()
    kind, name = names.number(1), names.vector(2)
    if not names.is_done:
        raise ClientHelloError(HelloProblem.SEVERAL_NAMES, "more than one server name")
    if kind != 0:
        raise ClientHelloError(HelloProblem.NOT_A_NAME, f"a server name of type {kind}")
    return name


def _host(name: bytes) -> Host:
    text = name.decode("ascii", "replace")
    try:
        ip_address(text.strip("[]"))
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
    outer = _Cursor(data, "the application protocols")
    cursor = _Cursor(outer.vector(2), outer.what)
    outer.end()
    protocols = []
    while not cursor.is_done:
        protocols.append(cursor.vector(1))
        if not protocols[-1]:
            raise cursor.malformed()
    if not protocols:
        raise cursor.malformed()
    return tuple(protocols)


def _versions(data: bytes) -> tuple[int, ...]:
    outer = _Cursor(data, "the versions")
    cursor = _Cursor(outer.vector(1), outer.what)
    outer.end()
    versions = []
    while not cursor.is_done:
        versions.append(cursor.number(2))
    if not versions:
        raise cursor.malformed()
    # GREASE values are 0x0a0a, 0x1a1a, ... 0xfafa.
    return tuple(version for version in versions if version & 0x0F0F != 0x0A0A or version >> 8 != version & 0xFF)
