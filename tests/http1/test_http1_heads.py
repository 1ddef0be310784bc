"""Parsing and printing whole heads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.http1.errors import FramingError
from netfw.http1.fields import Fields
from netfw.http1.heads import (
    RequestHead,
    ResponseHead,
    parse_plain_request_head,
    parse_plain_response_head,
    parse_request_head,
    parse_response_head,
    print_request_head,
    print_response_head,
)
from netfw.http1.limits import HeadLimits

LIMITS = HeadLimits()
TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcXYZ", min_size=1, max_size=8).map(str.encode)
TARGET = st.text([chr(c) for c in range(0x21, 0x7F) if c != 0x23], min_size=1, max_size=12).map(str.encode)
VALUE_OCTETS = [9, *range(0x20, 0x7F), *range(0x80, 0x100)]
VALUE = st.lists(st.sampled_from(VALUE_OCTETS), max_size=12).map(lambda octets: bytes(octets).strip(b" \t"))
FIELDS = st.lists(st.tuples(TOKEN, VALUE), max_size=6).map(Fields)
VERSION = st.sampled_from([(1, 0), (1, 1)])


@given(st.builds(RequestHead, TOKEN, TARGET, VERSION, FIELDS))
def test_request_heads_survive_printing(head):
    """What is printed parses to the same head, in either way, with anything behind it; an empty value is not plain."""
    printed = print_request_head(head)
    assert parse_request_head(printed, 0, len(printed), LIMITS) == head
    plain = parse_plain_request_head(b"xx" + printed + b"yy", 2, LIMITS)
    assert plain == ((head, len(printed) + 2) if all(value for _, value in head.fields) else None)


@given(st.builds(ResponseHead, VERSION, st.integers(100, 999), VALUE, FIELDS))
def test_response_heads_survive_printing(head):
    """What is printed parses to the same head, in either way, with anything behind it; an empty value is not plain."""
    printed = print_response_head(head)
    assert parse_response_head(printed, 0, len(printed), LIMITS) == head
    plain = parse_plain_response_head(b"xx" + printed + b"yy", 2, LIMITS)
    assert plain == ((head, len(printed) + 2) if all(value for _, value in head.fields) else None)


@pytest.mark.parametrize(
    "data",
    [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nA: b\r\n", b"GET / HTTP/1.1\r\nA: b \r\n\r\n", b"GET /\r\n\r\n"],
)
def test_what_is_not_whole_and_plain_needs_a_closer_look(data):
    """The plain way says None of unfinished, padded and broken heads alike."""
    assert parse_plain_request_head(data, 0, LIMITS) is None
    assert parse_plain_response_head(data, 0, LIMITS) is None


def test_the_plain_way_obeys_the_size_limit():
    """A head beyond the limit is left to the closer look."""
    request = b"GET / HTTP/1.1\r\n\r\n"
    assert parse_plain_request_head(request, 0, HeadLimits(head_size=len(request)))
    assert parse_plain_request_head(request, 0, HeadLimits(head_size=len(request) - 1)) is None
    response = b"HTTP/1.1 200 OK\r\n\r\n"
    assert parse_plain_response_head(response, 0, HeadLimits(head_size=len(response)))
    assert parse_plain_response_head(response, 0, HeadLimits(head_size=len(response) - 1)) is None


@pytest.mark.parametrize(
    "head",
    [
        RequestHead(b"GET", b"/", (1, 1), Fields([(b"A", b"b\r\nC: d")])),
        RequestHead(b"GET", b"/", (1, 1), Fields([(b"A\r\nB", b"c")])),
        RequestHead(b"GET", b"/ HTTP/1.1\r\nX: y", (1, 1), Fields.EMPTY),
        RequestHead(b"GET", b"/", (1, 1), Fields([(b"A", b"b\n")])),
        RequestHead(b"GET", b"/", (1, 1), Fields([(b"A", b"b\rc")])),
        RequestHead(b"GET", b"/", (1, 1), Fields([(b"A", b"b\0")])),
    ],
)
def test_a_head_that_would_be_split_is_not_printed(head):
    """A line end or NUL within a part raises instead of going out."""
    with pytest.raises(ValueError, match="not printed"):
        print_request_head(head)


def test_a_reason_with_a_line_end_is_not_printed():
    """Our own reasons hold rule names: a slip there must not split the answer."""
    with pytest.raises(ValueError, match="not printed"):
        print_response_head(ResponseHead((1, 1), 403, b"no\r\nSet-Cookie: x", Fields.EMPTY))


@given(st.binary(max_size=60))
def test_a_refused_head_always_has_a_reason(junk):
    """The diagnosis never accepts and never fails, whatever the bytes."""
    for data in (
        junk + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + junk + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + junk + b"\r\n\r\n",
    ):
        end = data.find(b"\r\n\r\n") + 4
        for parse in (parse_request_head, parse_response_head):
            try:
                parse(data, 0, end, LIMITS)
            except FramingError as error:
                assert error.message.isprintable()
                assert error.message.isascii()


def test_lines_that_came_before_end_where_they_end():
    """A header section is found again by its bytes: whole, behind any first line, and neither longer nor shorter."""
    lines = b"Host: a\r\nX-Kept: 1\r\n"
    first, _ = parse_plain_request_head(b"GET / HTTP/1.1\r\n" + lines + b"\r\n", 0, HeadLimits())
    again, end = parse_plain_request_head(b"POST /other HTTP/1.0\r\n" + lines + b"\r\nbody", 0, HeadLimits())
    assert again.fields is first.fields
    assert (again.method, again.target, again.version) == (b"POST", b"/other", (1, 0))
    assert end == len(b"POST /other HTTP/1.0\r\n" + lines + b"\r\n")
    longer, _ = parse_plain_request_head(b"GET / HTTP/1.1\r\n" + lines + b"X-More: 2\r\n\r\n", 0, HeadLimits())
    assert longer.fields.lines == [*first.fields.lines, (b"X-More", b"2")]
    answer, _ = parse_plain_response_head(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n", 0, HeadLimits())
    assert answer.fields is first.fields
    for line in (b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n"):
        assert parse_plain_request_head(line + lines, 0, HeadLimits()) is None
        assert parse_plain_response_head(line + lines, 0, HeadLimits()) is None


def test_lines_that_came_before_are_counted_and_measured_again():
    """The limits are those of this connection, whoever sent the same lines before."""
    lines = b"".join(b"X-%d: kept\r\n" % number for number in range(5))
    data = b"GET / HTTP/1.1\r\n" + lines + b"\r\n"
    assert parse_plain_request_head(data, 0, HeadLimits()) is not None
    assert parse_plain_request_head(data, 0, HeadLimits(head_size=len(data))) is not None
    assert parse_plain_request_head(data, 0, HeadLimits(head_size=len(data) - 1)) is None
    with pytest.raises(FramingError) as refused:
        parse_plain_request_head(data, 0, HeadLimits(head_fields=4))
    assert refused.value.status_hint == 431


def test_lines_with_white_space_behind_a_value_are_never_kept():
    """What is kept is used as it is, and these are trimmed each time."""
    data = b"GET / HTTP/1.1\r\nHost: a\r\nX-Trailing: 1 \r\n\r\n"
    for _ in range(2):
        assert parse_plain_request_head(data, 0, HeadLimits()) is None
        head = parse_request_head(data, 0, len(data), HeadLimits())
        assert head.fields.lines == [(b"Host", b"a"), (b"X-Trailing", b"1")]


@pytest.mark.parametrize("line", [b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200\r\n"])
def test_a_head_without_fields(line):
    """The empty line follows the first line, before and after lines were kept."""
    parse = parse_plain_request_head if line.startswith(b"GET") else parse_plain_response_head
    for _ in range(2):
        head, end = parse(line + b"\r\nX: 1\r\n\r\n", 0, HeadLimits())
        assert (head.fields.lines, end) == ([], len(line) + 2)
