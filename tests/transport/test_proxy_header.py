"""PROXY headers: both versions, every split, and what is refused."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.testing.proxy_headers import SIGNATURE, binary, endpoint, extension, line, local, raw
from netfw.transport.proxy_header import (
    LARGEST_HEADER,
    LARGEST_LINE,
    OWN_CONNECTION,
    ProxyHeader,
    ProxyHeaderError,
    ProxyHeaderReader,
    read_proxy_header,
)

PORTS = st.integers(0, 65535)
PAIRS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))
)
VPCES = st.none() | st.text("0123456789abcdef", min_size=1, max_size=40).map("vpce-".__add__)
OTHERS = st.lists(st.tuples(st.integers(0, 255).filter(lambda kind: kind != 0xEA), st.binary(max_size=40)), max_size=3)
FOUR = bytes((10, 0, 0, 1, 192, 0, 2, 1)) + b"\x9c\x40\x0c\x38"


def test_line():
    """Version 1, and what follows it is not touched."""
    header, rest = read_proxy_header(b"PROXY TCP4 10.0.0.1 192.0.2.1 40000 3128\r\nGET / HTTP/1.1\r\n")
    assert header == ProxyHeader(IPv4Address("10.0.0.1"), 40000, IPv4Address("192.0.2.1"), 3128)
    assert rest == b"GET / HTTP/1.1\r\n"


def test_binary_as_aws_writes_it():
    """An endpoint's id between a checksum and padding."""
    extensions = extension(0x03, b"abcd") + endpoint("vpce-08d2bf15fac5001c9") + extension(0x04, bytes(7))
    header, rest = read_proxy_header(binary("10.0.0.1", extensions=extensions) + b"\x16\x03\x01")
    assert header == ProxyHeader(
        IPv4Address("10.0.0.1"), 40000, IPv4Address("192.0.2.1"), 3128, "vpce-08d2bf15fac5001c9"
    )
    assert rest == b"\x16\x03\x01"


@pytest.mark.parametrize(
    "data",
    [
        local(),
        raw(0x20, 0x11, FOUR),  # the block of a LOCAL header is skipped
        raw(0x20, 0x7F, b"anything"),
        raw(0x21, 0x00, b""),
        raw(0x21, 0x00, endpoint("vpce-1")),
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    ],
)
def test_without_addresses(data):
    """The connection is the sender's own."""
    assert read_proxy_header(data + b"x") == (OWN_CONNECTION, b"x")


@given(pair=PAIRS, ports=st.tuples(PORTS, PORTS), rest=st.binary(max_size=20))
def test_any_line_round_trips(pair, ports, rest):
    """What is written is what is read."""
    data = line(str(pair[0]), ports[0], str(pair[1]), ports[1])
    assert len(data) <= LARGEST_LINE
    assert read_proxy_header(data + rest) == (ProxyHeader(pair[0], ports[0], pair[1], ports[1]), rest)


@given(pair=PAIRS, ports=st.tuples(PORTS, PORTS), vpce=VPCES, others=OTHERS, rest=st.binary(max_size=20))
def test_any_binary_header_round_trips(pair, ports, vpce, others, rest):
    """What is written is what is read, with every extension that is not ours skipped."""
    extensions = b"".join(extension(*other) for other in others) + (endpoint(vpce) if vpce else b"")
    data = binary(str(pair[0]), ports[0], str(pair[1]), ports[1], extensions=extensions)
    assert read_proxy_header(data + rest) == (ProxyHeader(pair[0], ports[0], pair[1], ports[1], vpce), rest)


WHOLE = [
    line("10.0.0.1"),
    line("2001:db8::2"),
    binary("10.0.0.1"),
    binary("2001:db8::2", extensions=endpoint("vpce-0a1b")),
    local(),
    b"PROXY UNKNOWN\r\n",
]


@pytest.mark.parametrize("data", WHOLE)
def test_every_truncation_waits(data):
    """A header is never found too early."""
    for size in range(len(data)):
        assert read_proxy_header(data[:size]) is None


@pytest.mark.parametrize("data", WHOLE)
def test_every_split(data):
    """Pieces of one byte, and two pieces anywhere, say the same as the whole."""
    whole = read_proxy_header(data + b"rest")
    for size in range(1, len(data)):
        reader = ProxyHeaderReader()
        assert reader.feed(data[:size]) is None
        assert len(reader) == size
        assert reader.feed(data[size:] + b"rest") == whole
    reader = ProxyHeaderReader()
    found = [reader.feed(data[at : at + 1]) for at in range(len(data))]
    assert found == [None] * (len(data) - 1) + [(whole[0], b"")]
    assert reader.feed(b"") is None


HOSTILE = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"proxy TCP4 10.0.0.1 192.0.2.1 1 2\r\n",
    b" PROXY TCP4 10.0.0.1 192.0.2.1 1 2\r\n",
    b"PROXY\tTCP4 10.0.0.1 192.0.2.1 1 2\r\n",
    b"PROXY  TCP4 10.0.0.1 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 1  2\r\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 1 2 \r\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 1 2 3\r\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 1\r\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 1 2\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 1 2\r\r\n",
    b"PROXY TCP4 10.0.0.1\r192.0.2.1 1 2 3\r\n",
    b"PROXY TCP4 10.0.0.1\x00 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 10.0.0.01 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 10.0.1 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 0x0a000001 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 ::1 192.0.2.1 1 2\r\n",
    b"PROXY TCP4 10.0.0.1 ::1 1 2\r\n",
    b"PROXY TCP6 10.0.0.1 192.0.2.1 1 2\r\n",
    b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
    b"PROXY TCP6 [::1] ::1 1 2\r\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 01 2\r\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 +1 2\r\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 65536 2\r\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 -1 2\r\n",
    b"PROXY TCP4 10.0.0.1 192.0.2.1 1 \r\n",
    "PROXY TCP4 10.0.0.1 192.0.2.1 1 ٢\r\n".encode(),
    b"PROXY UDP4 10.0.0.1 192.0.2.1 1 2\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN " + b"x" * LARGEST_LINE + b"\r\n",
    b"PROXY TCP4 " + b" " * LARGEST_LINE,
    b"\r\nGET / HTTP/1.1\r\n",  # an empty line before a request is no signature
    b"\r\nPROXY TCP4 10.0.0.1 192.0.2.1 1 2\r\n",
    b"\r\n\r\n\x00\r\nQUIT\r",
    raw(0x11, 0x11, FOUR),
    raw(0x31, 0x11, FOUR),
    raw(0x22, 0x11, FOUR),
    raw(0x2F, 0x11, FOUR),
    raw(0x21, 0x12, FOUR),  # UDP
    raw(0x21, 0x31, bytes(216)),  # Unix sockets
    raw(0x21, 0x01, FOUR),
    raw(0x21, 0x10, FOUR),
    raw(0x21, 0xFF, FOUR),
    raw(0x21, 0x11, b""),
    raw(0x21, 0x11, FOUR[:-1]),
    raw(0x21, 0x21, FOUR),
    raw(0x21, 0x11, b"", 0xFFFF),
    raw(0x20, 0x00, b"", LARGEST_HEADER),
    raw(0x21, 0x11, FOUR + b"\x04"),
    raw(0x21, 0x11, FOUR + b"\x04\x00"),
    raw(0x21, 0x11, FOUR + b"\x04\x00\x02x"),
    raw(0x21, 0x11, FOUR + extension(0xEA, b"")),
    *(
        raw(0x21, 0x11, FOUR + extension(0xEA, b"\x01" + text))
        for text in (
            b"", b"vpce-", b"vpce-0A", b"vpce-0g", b"VPCE-0a", b"vpce-0a\x00", b"vpce-0a\n", b"vpc-0a", b" vpce-0a"
        )
    ),
    raw(0x21, 0x11, FOUR + endpoint("vpce-1") + endpoint("vpce-2")),
    raw(0x21, 0x11, FOUR + endpoint("vpce-1") + endpoint("vpce-1")),
]  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE)
def test_hostile(data):
    """Refused whole, and refused piece by piece, and never taken for a header on the way."""
    with pytest.raises(ProxyHeaderError):
        read_proxy_header(data)
    reader = ProxyHeaderReader()
    with pytest.raises(ProxyHeaderError):
        for at in range(len(data)):
            assert reader.feed(data[at : at + 1]) is None


def test_other_aws_extensions_are_skipped():
    """Only subtype 1 is an endpoint."""
    data = raw(0x21, 0x11, FOUR + extension(0xEA, b"\x02vpce-1"))
    assert read_proxy_header(data)[0].vpce is None


def test_the_largest():
    """Exactly 4 KiB are read."""
    padding = LARGEST_HEADER - 16 - len(FOUR) - 3
    data = raw(0x21, 0x11, FOUR + extension(0x04, bytes(padding)))
    assert len(data) == LARGEST_HEADER
    assert read_proxy_header(data)[0].source == ip_address("10.0.0.1")
    assert read_proxy_header(data[:-1]) is None


STARTS = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", SIGNATURE, SIGNATURE + b"\x21\x11"])


@given(start=STARTS, tail=st.binary(max_size=200), cuts=st.lists(st.integers(0, 220), max_size=4))
def test_any_bytes(start, tail, cuts):
    """A header, a wait or a refusal, and the same one in whatever pieces they come."""
    data = start + tail

    def outcome(pieces):
        reader, result = ProxyHeaderReader(), None
        for number, piece in enumerate(pieces):
            try:
                result = reader.feed(piece)
            except ProxyHeaderError:
                return "refused"
            if result is not None:
                return result[0], result[1] + b"".join(pieces[number + 1 :])
        return result

    whole = outcome([data])
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[one:other] for one, other in zip(edges, edges[1:], strict=False)]
    assert outcome(pieces) == whole
    if isinstance(whole, tuple) and whole[0].source is not None:
        assert isinstance(whole[0].source, (IPv4Address, IPv6Address))
