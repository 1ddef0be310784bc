"""Fuzz targets that ask other people's parsers: llhttp frames what we accept as we do; h11 and http.client read back
what we print.

In this room: the two targets. Not here: the ones that need nobody else (`targets`), and the same promises over made
messages (tests/http1/test_http1_oracles.py).

llhttp's closed list of methods is set aside. It refuses some white space and extensions that RFC 9110 and 9112 allow
and we take; since we print our own framing, nobody behind us sees the difference.
"""

from __future__ import annotations

import http.client
import io
import re
from typing import Any

import h11
import httptools

from netfw.http1.bodies import body_printer
from netfw.http1.errors import FramingError
from netfw.http1.events import BodyReceived, MessageComplete, RequestHeadReceived, ResponseHeadReceived
from netfw.http1.forwarding import forward_request, forward_response, max_forwards, outgoing_framing
from netfw.http1.framing import FramingKind
from netfw.http1.heads import print_request_head, print_response_head
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import MessageReader, RequestReader, ResponseReader
from netfw.http1.target import TargetForm, parse_target
from netfw.names.authority import parse_authority

if tuple(map(int, httptools.__version__.split(".")[:2])) < (0, 6):
    raise ImportError("the llhttp in this httptools is too old to be asked")  # Debian 12 has 0.1

LIMITS = HeadLimits(head_size=4096, head_fields=50, chunk_line=64, trailer_size=512)
AUTHORITY = parse_authority(b"origin.test:8080")
_TAB = re.compile(rb"(?im)^(transfer-encoding|content-length|connection|upgrade):.*\t")
_CHUNK_EXTENSION = re.compile(rb"(?m)^[0-9A-Fa-f]+[ \t]*;")


class Oracle:
    """The callbacks of httptools: content of the first message, and whether it has ended."""

    def __init__(self) -> None:
        self.content = b""
        self.complete = False

    def on_body(self, data: bytes) -> None:
        """Some content."""
        if not self.complete:
            self.content += data

    def on_message_complete(self) -> None:
        """The end of a message."""
        self.complete = True


def _first(reader: MessageReader, data: bytes) -> tuple[Any, bytes, int, Any] | None:
    """Head event, content, size and end of the first whole message."""
    head, content = None, b""
    try:
        reader.feed(data)
        while (event := reader.next_event()) is not None:
            if isinstance(event, ResponseHeadReceived) and event.head.status < 200:
                return None  # an interim head is a message by itself to some, and part of the next one to us
            if isinstance(event, RequestHeadReceived | ResponseHeadReceived):
                head = event
            elif isinstance(event, BodyReceived):
                content += event.data
            elif isinstance(event, MessageComplete):
                return head, content, len(data) - reader.buffered, event
    except FramingError:
        pass
    return None


def _ask_llhttp(parser: Any, oracle: Oracle, data: bytes, content: bytes) -> str:
    """llhttp must see the end with the last octet and not before, and the same content."""
    if _TAB.search(data):
        # White space by RFC 9110, section 5.6.3; llhttp takes `chunked` and a tab for another coding.
        return "a tab"
    try:
        parser.feed_data(data[:-1])
        assert not oracle.complete, data
        parser.feed_data(data[-1:])
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as problem:
        # White space and quotes in the extensions of chunks are lawful; llhttp wants none.
        assert _CHUNK_EXTENSION.search(data), (problem, data)
        return "llhttp is stricter"
    assert oracle.complete, data
    assert oracle.content == content, (oracle.content, content)
    return "the same"


def request_oracles(data: bytes) -> str:
    """A request that we accept ends for llhttp where it ends for us; what we forward of it h11 reads back."""
    # The empty lines before a request (RFC 9112, section 2.2) are no part of it.
    while data.startswith(b"\r\n"):
        data = data[2:]
    accepted = _first(RequestReader(LIMITS), data)
    if accepted is None:
        return "refused"
    event, content, size, end = accepted
    head = event.head
    if head.method == b"CONNECT" or head.fields.has(b"upgrade"):
        return "switches"
    try:
        target = parse_target(head.method, head.target)
        if max_forwards(head) == 0 or target.form is TargetForm.AUTHORITY:
            return "not forwarded"
    except FramingError:
        return "target"
    asked = b"POST" + data[len(head.method) : size]
    oracle = Oracle()
    how = _ask_llhttp(httptools.HttpRequestParser(oracle), oracle, asked, content)
    out = forward_request(head, target, authority=AUTHORITY, via=b"me", framing=event.framing)
    printer = body_printer(event.framing)
    wire = print_request_head(out) + b"".join(printer.data(content)) + b"".join(printer.end(end.trailers))
    server = h11.Connection(h11.SERVER)
    server.receive_data(wire)
    request = server.next_event()
    assert (request.method, request.target) == (head.method, target.origin_form), wire
    seen = b""
    while not isinstance(found := server.next_event(), h11.EndOfMessage):
        assert isinstance(found, h11.Data), (found, wire)
        seen += found.data
    assert seen == content, wire
    assert server.trailing_data[0] == b"", wire
    return f"{how} {event.framing.kind.value}"


class _Wire:
    """What http.client reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        """A file of all of it."""
        return io.BytesIO(self._data)


def response_oracles(data: bytes) -> str:
    """The same for the answer to a GET, and http.client reads it back too."""
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    accepted = _first(reader, data)
    if accepted is None:
        return "refused"
    event, content, size, end = accepted
    head = event.head
    if event.framing.kind is FramingKind.UNTIL_CLOSE:
        return "until close"
    oracle = Oracle()
    how = _ask_llhttp(httptools.HttpResponseParser(oracle), oracle, data[:size], content)
    framing = outgoing_framing(event.framing, (1, 1))
    out = forward_response(head, via=b"me", framing=framing, client_version=(1, 1))
    printer = body_printer(framing)
    wire = print_response_head(out) + b"".join(printer.data(content)) + b"".join(printer.end(end.trailers))
    answer = http.client.HTTPResponse(_Wire(wire), method="GET")  # type: ignore[arg-type]  # all that it asks for
    answer.begin()
    assert answer.status == head.status
    assert answer.read() == content, wire
    if head.status < 600:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(wire)
        assert client.next_event().status_code == head.status
        seen = b""
        while not isinstance(found := client.next_event(), h11.EndOfMessage):
            assert isinstance(found, h11.Data), (found, wire)
            seen += found.data
        assert seen == content, wire
    return f"{how} {framing.kind.value}"
