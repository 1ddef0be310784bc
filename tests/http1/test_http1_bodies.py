"""Printing bodies, and reading back what was printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.http1.bodies import body_printer
from netfw.http1.errors import IncompleteBody
from netfw.http1.events import BodyReceived, MessageComplete
from netfw.http1.fields import Fields
from netfw.http1.framing import Framing
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import ResponseReader

TRAILERS = Fields([(b"A", b"b"), (b"C", b"d")])


def test_length():
    """Exactly as many octets as promised pass, and trailers have no place."""
    printer = body_printer(Framing.of_length(5))
    content = b"abc"
    assert printer.data(content)[0] is content
    assert printer.data(b"") == []
    assert printer.data(b"de") == [b"de"]
    assert printer.end(TRAILERS) == []


def test_length_too_little_and_too_much():
    """One octet too few or too many is IncompleteBody, and none too many is printed."""
    printer = body_printer(Framing.of_length(3))
    printer.data(b"ab")
    with pytest.raises(IncompleteBody):
        printer.end(Fields.EMPTY)
    with pytest.raises(IncompleteBody):
        printer.data(b"cd")


@pytest.mark.parametrize("framing", [Framing.NONE, Framing.EMPTY])
def test_no_body(framing):
    """Where there is no body no octet passes."""
    printer = body_printer(framing)
    assert printer.data(b"") == []
    assert printer.end(TRAILERS) == []
    with pytest.raises(IncompleteBody):
        printer.data(b"a")


def test_chunked():
    """A chunk for each piece, content not copied, nothing for nothing, trailers at the end."""
    printer = body_printer(Framing.CHUNKED)
    content = b"x" * 26
    assert printer.data(content) == [b"1a\r\n", content, b"\r\n"]
    assert printer.data(content)[1] is content
    assert printer.data(b"") == []
    assert printer.end(Fields.EMPTY) == [b"0\r\n\r\n"]
    assert printer.end(TRAILERS) == [b"0\r\nA: b\r\nC: d\r\n\r\n"]


def test_a_trailer_that_would_split_is_not_printed():
    """As with heads, a slip of ours must not become somebody's line."""
    with pytest.raises(ValueError, match="not printed"):
        body_printer(Framing.CHUNKED).end(Fields([(b"A", b"b\r\n\r\nGET")]))


def test_until_close():
    """Content passes as it is."""
    printer = body_printer(Framing.UNTIL_CLOSE)
    assert printer.data(b"abc") == [b"abc"]
    assert printer.data(b"") == []
    assert printer.end(TRAILERS) == []


@given(st.lists(st.binary(max_size=50)), st.sampled_from(["length", "chunked", "close"]))
def test_what_is_printed_reads_back(pieces, kind):
    """Content and trailers survive each framing that can carry them."""
    content = b"".join(pieces)
    framing = {"length": Framing.of_length(len(content)), "chunked": Framing.CHUNKED, "close": Framing.UNTIL_CLOSE}[
        kind
    ]
    line = {
        "length": b"Content-Length: %d\r\n" % len(content),
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "close": b"",
    }
    printer = body_printer(framing)
    wire = b"".join(part for piece in pieces for part in printer.data(piece)) + b"".join(printer.end(TRAILERS))
    reader = ResponseReader(HeadLimits())
    reader.expect(b"GET")
    reader.feed(b"HTTP/1.1 200 OK\r\n" + line[kind] + b"\r\n" + wire)
    reader.feed_eof()
    head, *body, end = iter(reader.next_event, None)
    assert head.framing == framing
    assert b"".join(event.data for event in body if isinstance(event, BodyReceived)) == content
    assert end == MessageComplete(TRAILERS if kind == "chunked" else Fields.EMPTY)


def test_content_that_goes_by_is_counted():
    """Where content goes out as it is it may go by without being seen; the length holds all the same."""
    printer = body_printer(Framing.of_length(10))
    assert printer.is_bare
    printer.pass_over(4)
    assert printer.data(b"x") == [b"x"]
    with pytest.raises(IncompleteBody, match="5 octets before"):
        printer.end(Fields.EMPTY)
    with pytest.raises(IncompleteBody, match="more content"):
        printer.pass_over(6)
    printer.pass_over(5)
    assert printer.end(Fields.EMPTY) == []
    until_close = body_printer(Framing.UNTIL_CLOSE)
    until_close.pass_over(1 << 40)
    assert until_close.is_bare
    assert not body_printer(Framing.CHUNKED).is_bare
