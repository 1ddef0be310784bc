"""What a tunnel that may carry anything begins with: HTTP in doubt."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netfw.http1.events import RequestHeadReceived
from netfw.http1.first_line import LONGEST_LINE, may_be_http
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import RequestReader

LIMITS = HeadLimits(head_size=65536, head_fields=100, chunk_line=1024, trailer_size=16384)


@pytest.mark.parametrize(
    "data",
    [
        b"GET ", b"get /", b"GET\t/ HTTP/1.1\r\n", b"\r\n\r\nPOST /x", b"PRI * HTTP/2.0\r\n", b"ODD /x HTTP/1.1\r\n",
        b"ODD /x http/1.0\n", b"GET /x\r\n", b"GET\r\n", b"GET \x00", b"\x00\x01 / HTTP/1.1\r\n", b"CONNECT x:1",
    ],
)  # fmt: skip
def test_http(data):
    """Also what no server should take for a request, since some would."""
    assert may_be_http(data) is True


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b"SSH-2.0-x\r\n", b"EHLO me\r\n", b"\x00\x01\x02", b"\x80", b"NICK\r\n",
        b"AMQP\x00\x00\x09\x01", b"\xff", b"*1\r\n$4\r\nPING\r\n", b"x" * 65, b"UNKNOWN " + b"y" * LONGEST_LINE,
        b"\r\nEHLO x\r\n",
    ],
)  # fmt: skip
def test_something_else(data):
    """By a byte that begins no method, or a whole line that is no request line."""
    assert may_be_http(data) is False


@pytest.mark.parametrize("data", [b"", b"\r\n", b"G", b"SSH-2.0-x", b"ODD /somewhere", b"EHLO me"])
def test_not_known_yet(data):
    """A line that has not ended."""
    assert may_be_http(data) is None


@given(
    method=st.from_regex(rb"[A-Z]{1,20}", fullmatch=True),
    target=st.from_regex(rb"/[a-z]{0,20}", fullmatch=True),
    cut=st.integers(0, 60),
)
@example(method=b"M-SEARCH", target=b"/", cut=60)
def test_nothing_that_the_reader_takes_is_something_else(method, target, cut):
    """Not at any split either."""
    whole = method + b" " + target + b" HTTP/1.1\r\nHost: a.test\r\n\r\n"
    reader = RequestReader(LIMITS)
    reader.feed(whole)
    assert isinstance(reader.next_event(), RequestHeadReceived)
    assert may_be_http(whole) is True
    assert may_be_http(whole[:cut]) is not False


@given(data=st.binary(max_size=80), cut=st.integers(0, 80))
def test_more_bytes_do_not_change_the_mind(data, cut):
    """What was decided stays decided, but for a version that comes later in the line: that is HTTP."""
    first, then = may_be_http(data[:cut]), may_be_http(data)
    if first is True:
        assert then is True
    if first is False and then is not False:
        assert b"HTTP/" in data.upper()
