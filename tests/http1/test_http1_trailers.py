"""Which trailers pass."""

import pytest

from netfw.http1.errors import FramingError
from netfw.http1.fields import Fields
from netfw.http1.limits import HeadLimits
from netfw.http1.trailers import parse_trailers

LIMITS = HeadLimits(head_fields=5)


def parse(section, message_fields=Fields.EMPTY):
    """Parse a whole section, with something behind it."""
    return parse_trailers(section + b"GET", 0, len(section), message_fields, LIMITS).lines


def test_trailers_pass():
    """Fields about the content pass, in order and case, repeated ones too."""
    section = b"Digest: a\r\ngrpc-status: 0\r\nX-A: 1 \r\nx-a: 2\r\n\r\n"
    assert parse(section) == [(b"Digest", b"a"), (b"grpc-status", b"0"), (b"X-A", b"1"), (b"x-a", b"2")]


@pytest.mark.parametrize(
    "name",
    [
        b"Host",
        b"Via",
        b"X-Forwarded-For",
        b"Authorization",
        b"Cookie",
        b"Set-Cookie",
        b"Proxy-Authorization",
        b"Connection",
        b"Keep-Alive",
        b"TE",
        b"Trailer",
        b"Upgrade",
        b"Cache-Control",
        b"Expect",
        b"Max-Forwards",
        b"Range",
        b"If-Match",
        b"Content-Encoding",
        b"Content-Type",
        b"Content-Range",
        b"Location",
        b"Proxy",
        b"hOsT",
    ],
)
def test_fields_that_route_authorise_or_control_are_dropped(name):
    """They may not take effect behind the policy's back (RFC 9110, section 6.5.1)."""
    assert parse(b"A: b\r\n" + name + b": x\r\nC: d\r\n\r\n") == [(b"A", b"b"), (b"C", b"d")]


def test_fields_named_by_connection_are_dropped():
    """What the message's own Connection field nominates is for this hop."""
    nominating = Fields([(b"Connection", b"close, X-Hop")])
    assert parse(b"X-Hop: 1\r\nA: b\r\n\r\n", nominating) == [(b"A", b"b")]


@pytest.mark.parametrize("name", [b"Content-Length", b"transfer-encoding"])
def test_framing_fields_raise(name):
    """A trailer that frames is an attack and nothing else."""
    with pytest.raises(FramingError):
        parse(name + b": 0\r\n\r\n")


@pytest.mark.parametrize(
    "section", [b"A : b\r\n\r\n", b"A\r\n\r\n", b" A: b\r\n\r\n", b"A: b\nC: d\r\n\r\n", b": b\r\n\r\n"]
)
def test_trailers_are_parsed_as_strictly_as_heads(section):
    """The same grammar holds."""
    with pytest.raises(FramingError):
        parse(section)


def test_trailers_are_counted():
    """As many as the limit for fields pass, one more is 431."""
    assert len(parse(b"A: b\r\n" * 5 + b"\r\n")) == 5
    with pytest.raises(FramingError) as caught:
        parse(b"A: b\r\n" * 6 + b"\r\n")
    assert caught.value.status_hint == 431
