"""Other people's parsers as oracles.

Whatever a reader accepts, llhttp (httptools) frames in the same way; whatever we print, h11 and http.client read back.
llhttp knows a closed list of methods, so requests here keep to it. The one known difference, found by random mutation:
llhttp refuses a tab behind `chunked`, which RFC 9110, section 5.5, counts as white space round the value; we print our
own field, so nobody behind us sees it.
"""

import http.client
import io

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.http1.bodies import body_printer
from netfw.http1.errors import FramingError
from netfw.http1.events import BodyReceived, MessageComplete, RequestHeadReceived, ResponseHeadReceived
from netfw.http1.fields import Fields
from netfw.http1.forwarding import forward_request, forward_response, outgoing_framing
from netfw.http1.framing import Framing
from netfw.http1.heads import RequestHead, ResponseHead, print_request_head, print_response_head
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import RequestReader, ResponseReader
from netfw.http1.target import parse_target
from netfw.names.authority import parse_authority

LIMITS = HeadLimits()

# Pieces that make messages which are nearly right, with every ambiguity of framing that is known.
FIELD_PIECES = [
    b"Host: a.example\r\n",
    b"Host: a.example\r\n",
    b"A: b\r\n",
    b"A:b \t\r\n",
    b"A: \xff\r\n",
    b"A:\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 5\r\n",
    b"content-length: 0\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length : 5\r\n",
    b"Content-Length: 05\r\n",
    b"Content-Length:5 \r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding: CHUNKED\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding:\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b" folded\r\n",
    b"A: b\n",
    b"A: b\rc\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Expect: 100-continue\r\n",
    b"Trailer: A\r\n",
]
BODY_PIECES = [
    b"hello",
    b"5\r\nhello\r\n",
    b"5;a=b\r\nhello\r\n",
    b'5;a="b;c"\r\nhello\r\n',
    b"5 \r\nhello\r\n",
    b"5\nhello\r\n",
    b"0\r\n",
    b"\r\n",
    b"0\r\n\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"05\r\nhello\r\n",
    b"a\r\n0123456789\r\n",
    b"0x5\r\nhello\r\n",
    b"5\r\nhelloX\r\n",
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"A: b\r\n",
]
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PROPFIND"])
TARGETS = st.sampled_from(
    [b"/", b"/a?b", b"http://a.example/", b'/a|b{c}"<>^`', b"*", b"/%41", b"//x", b"http://a.example?q"]
)
REQUESTS = st.builds(
    lambda method, target, version, fields, body: (
        b"%b %b HTTP/1.%d\r\n%b\r\n%b" % (method, target, version, b"".join(fields), b"".join(body))
    ),
    METHODS,
    TARGETS,
    st.integers(0, 1),
    st.lists(st.sampled_from(FIELD_PIECES), max_size=4).map(lambda fields: [b"Host: a.example\r\n", *fields]),
    st.lists(st.sampled_from(BODY_PIECES), max_size=5),
)
RESPONSES = st.builds(
    lambda version, status, fields, body: (
        b"HTTP/1.%d %d OK\r\n%b\r\n%b" % (version, status, b"".join(fields), b"".join(body))
    ),
    st.integers(0, 1),
    st.sampled_from([200, 200, 404, 204, 304]),
    st.lists(st.sampled_from(FIELD_PIECES), max_size=4),
    st.lists(st.sampled_from(BODY_PIECES), max_size=5),
)


class Oracle:
    """The callbacks of httptools: content of the first message, and where it ended."""

    def __init__(self):
        self.content = b""
        self.target = b""
        self.fields = []
        self.complete = False

    def on_url(self, url):
        """Part of the target."""
        if not self.complete:
            self.target += url

    def on_header(self, name, value):
        """One field line; trailers are reported by it too."""
        if not self.complete:
            self.fields.append((name, value.rstrip(b" \t")))

    def on_body(self, data):
        """Some content."""
        if not self.complete:
            self.content += data

    def on_message_complete(self):
        """The end of a message."""
        self.complete = True


def first_message(reader, data):
    """The head, content and octets taken of the first message, or None when it is refused or unfinished."""
    reader.feed(data)
    head, content = None, b""
    try:
        while (event := reader.next_event()) is not None:
            if isinstance(event, RequestHeadReceived | ResponseHeadReceived):
                head = event.head
            elif isinstance(event, BodyReceived):
                content += event.data
            elif isinstance(event, MessageComplete):
                return head, content, len(data) - reader.buffered
    except FramingError:
        pass
    return None


@given(REQUESTS)
def test_llhttp_frames_accepted_requests_the_same(data):
    """Where our reader sees a whole request, llhttp sees one of the same target, fields, content and length."""
    httptools = pytest.importorskip("httptools", minversion="0.6")
    accepted = first_message(RequestReader(LIMITS), data)
    if accepted is None:
        return
    head, content, size = accepted
    oracle = Oracle()
    parser = httptools.HttpRequestParser(oracle)
    parser.feed_data(data[: size - 1])
    assert not oracle.complete
    parser.feed_data(data[size - 1 : size])
    assert oracle.complete
    assert (oracle.target, oracle.content) == (head.target, content)
    assert oracle.fields[: len(head.fields)] == head.fields.lines


@given(RESPONSES)
def test_llhttp_frames_accepted_responses_the_same(data):
    """Where our reader sees a whole response, llhttp sees one of the same fields, content and length."""
    httptools = pytest.importorskip("httptools", minversion="0.6")
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    accepted = first_message(reader, data)
    if accepted is None:
        return
    head, content, size = accepted
    oracle = Oracle()
    parser = httptools.HttpResponseParser(oracle)
    parser.feed_data(data[: size - 1])
    assert not oracle.complete
    parser.feed_data(data[size - 1 : size])
    assert oracle.complete
    assert parser.get_status_code() == head.status
    assert oracle.content == content
    assert oracle.fields[: len(head.fields)] == head.fields.lines


NAMES = st.sampled_from(
    [b"A", b"x-b", b"Cookie", b"Connection", b"TE", b"Accept", b"Via", b"Expect-CT", b"ETag", b"Upgrade"]
)
VALUES = st.sampled_from(
    [b"", b"a", b"trailers", b"close", b"x-b, keep-alive", b"\xff\xfe", b'"q, r"', b"a b\tc", b"1.1 x"]
)
LINES = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(Fields)
TRAILERS = st.lists(st.tuples(st.sampled_from([b"X-Sum", b"Digest"]), st.sampled_from([b"a", b"b c"])), max_size=2).map(
    Fields
)


def printed_body(framing, pieces, trailers):
    """The wire bytes of a body."""
    printer = body_printer(framing)
    return b"".join(part for piece in pieces for part in printer.data(piece)) + b"".join(printer.end(trailers))


def framing_for(kind, pieces):
    """The framing of this kind for this content."""
    return Framing.CHUNKED if kind == "chunked" else Framing.of_length(sum(map(len, pieces)))


@given(
    METHODS,
    LINES,
    st.lists(st.binary(max_size=30), max_size=4),
    st.sampled_from(["length", "chunked"]),
    TRAILERS,
    st.booleans(),
)
def test_h11_reads_the_requests_we_forward(method, fields, pieces, kind, trailers, close):
    """A forwarded request is read back by h11 as a server, and by our own reader, with the same content."""
    head = RequestHead(method, b"http://a.example/x?y", (1, 1), fields)
    framing = framing_for(kind, pieces)
    forwarded = forward_request(
        head,
        parse_target(method, head.target),
        authority=parse_authority(b"a.example:80"),
        via=b"netfw",
        framing=framing,
        close=close,
    )
    wire = print_request_head(forwarded) + printed_body(framing, pieces, trailers)

    server = h11.Connection(h11.SERVER)
    server.receive_data(wire)
    event = server.next_event()
    assert (event.method, event.target, event.http_version) == (method, b"/x?y", b"1.1")
    assert [tuple(line) for line in event.headers] == [(name.lower(), value) for name, value in forwarded.fields]
    content = b""
    while not isinstance(event := server.next_event(), h11.EndOfMessage):
        content += event.data
    assert content == b"".join(pieces)

    read = first_message(RequestReader(LIMITS), wire)
    assert read == (forwarded, content, len(wire))


@given(
    st.sampled_from([200, 201, 404, 500, 999]),
    LINES,
    st.lists(st.binary(max_size=30), max_size=4),
    st.sampled_from(["length", "chunked", "close"]),
    st.sampled_from([(1, 0), (1, 1)]),
    st.booleans(),
)
def test_http_client_and_h11_read_the_responses_we_forward(status, fields, pieces, kind, client_version, close):
    """A forwarded response is read back by http.client, by h11 as a client and by our own reader."""
    head = ResponseHead((1, 1), status, b"Reason", fields)
    came = Framing.UNTIL_CLOSE if kind == "close" else framing_for(kind, pieces)
    framing = outgoing_framing(came, client_version)
    forwarded = forward_response(head, via=b"netfw", framing=framing, client_version=client_version, close=close)
    wire = print_response_head(forwarded) + printed_body(framing, pieces, Fields.EMPTY)
    content = b"".join(pieces)

    class Socket:
        def makefile(self, mode):
            return io.BytesIO(wire)

    answer = http.client.HTTPResponse(Socket(), method="GET")
    answer.begin()
    assert (answer.status, answer.reason) == (status, "Reason")
    assert answer.read() == content

    if status < 600:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(wire)
        client.receive_data(b"")
        assert client.next_event().status_code == status
        seen = b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            seen += event.data
        assert seen == content

    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    reader.feed(wire)
    reader.feed_eof()
    events = list(iter(reader.next_event, None))
    assert events[0].head == forwarded
    assert b"".join(event.data for event in events[1:-1]) == content
    assert isinstance(events[-1], MessageComplete)
