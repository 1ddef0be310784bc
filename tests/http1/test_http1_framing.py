"""The tables of message body length: rows that are not hostile (those are in test_http1_hostile)."""

import pytest

from netfw.http1.errors import FramingError
from netfw.http1.fields import Fields
from netfw.http1.framing import Framing, FramingKind, content_length, request_framing, response_framing
from netfw.http1.heads import RequestHead, ResponseHead

LENGTH = (b"Content-Length", b"7")
CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    ("method", "fields", "framing"),
    [
        (b"GET", [], Framing.NONE),
        (b"POST", [], Framing.NONE),
        (b"POST", [LENGTH], Framing.of_length(7)),
        (b"POST", [(b"Content-Length", b"0")], Framing.EMPTY),
        (b"POST", [(b"Content-Length", b"9" * 18)], Framing.of_length(10**18 - 1)),
        (b"GET", [CHUNKED], Framing.CHUNKED),
        (b"CONNECT", [], Framing.NONE),
        (b"CONNECT", [(b"Content-Length", b"0")], Framing.NONE),
    ],
)
def test_requests(method, fields, framing):
    """A request without either field has no body."""
    assert request_framing(RequestHead(method, b"/", (1, 1), Fields(fields))) == framing


@pytest.mark.parametrize(
    ("method", "status", "fields", "framing"),
    [
        (b"GET", 200, [], Framing.UNTIL_CLOSE),
        (b"GET", 200, [LENGTH], Framing.of_length(7)),
        (b"GET", 200, [CHUNKED], Framing.CHUNKED),
        (b"GET", 100, [], Framing.NONE),
        (b"GET", 101, [], Framing.NONE),
        (b"GET", 103, [LENGTH], Framing.NONE),
        (b"GET", 204, [CHUNKED], Framing.NONE),
        (b"GET", 205, [LENGTH], Framing.of_length(7)),
        (b"GET", 304, [LENGTH], Framing.NONE),
        (b"HEAD", 200, [LENGTH], Framing.NONE),
        (b"HEAD", 200, [CHUNKED], Framing.NONE),
        (b"HEAD", 200, [], Framing.NONE),
        (b"head", 200, [LENGTH], Framing.of_length(7)),
        (b"CONNECT", 200, [LENGTH, CHUNKED], Framing.NONE),
        (b"CONNECT", 200, [], Framing.NONE),
        (b"CONNECT", 299, [LENGTH], Framing.NONE),
        (b"CONNECT", 403, [LENGTH], Framing.of_length(7)),
        (b"CONNECT", 300, [], Framing.UNTIL_CLOSE),
    ],
)
def test_responses(method, status, fields, framing):
    """Method and status come first, then the fields, then the close."""
    assert response_framing(ResponseHead((1, 1), status, b"", Fields(fields)), method) == framing


@pytest.mark.parametrize("status", [100, 101, 204, 304, 200])
def test_a_response_without_content_must_be_unambiguous_too(status):
    """Content-Length beside Transfer-Encoding is refused even where neither counts."""
    with pytest.raises(FramingError):
        response_framing(ResponseHead((1, 1), status, b"", Fields([LENGTH, CHUNKED])), b"HEAD")


def test_content_length_alone():
    """The number, or None; never a guess."""
    assert content_length(Fields([LENGTH])) == 7
    assert content_length(Fields.EMPTY) is None


def test_constants():
    """Length 0 is one object; kinds say what they are."""
    assert Framing.of_length(0) is Framing.EMPTY
    assert Framing.EMPTY.kind is FramingKind.LENGTH
    assert Framing.of_length(3) == Framing.of_length(3)
    assert Framing.NONE != Framing.EMPTY
