"""What names.host takes and refuses."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.names.host import Host, HostError, host_from_text, host_of_address, parse_host

CANONICAL = [
    (b"example.com", "example.com"),
    (b"EXAMPLE.Com", "example.com"),
    (b"example.com.", "example.com"),
    (b"localhost", "localhost"),
    (b"_dmarc.example.com", "_dmarc.example.com"),
    (b"my_host", "my_host"),
    (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
    (b"a-b--c.example", "a-b--c.example"),
    (b"1.example", "1.example"),
    (b"1e3.de", "1e3.de"),
    (b"0xg.com", "0xg.com"),
    (b"1.2.3.4.example", "1.2.3.4.example"),
    (b"a" * 63 + b".de", "a" * 63 + ".de"),
    (b".".join([b"a" * 61] * 4) + b".bcdef", ".".join(["a" * 61] * 4) + ".bcdef"),
    (b"1.2.3.4", "1.2.3.4"),
    (b"0.0.0.0", "0.0.0.0"),
    (b"255.255.255.255", "255.255.255.255"),
    (b"[::1]", "::1"),
    (b"[2001:DB8:0:0:0:0:0:1]", "2001:db8::1"),
    (b"[::ffff:127.0.0.1]", "::ffff:7f00:1"),
    (b"[::FFFF:7f00:0001]", "::ffff:7f00:1"),
    (b"[::]", "::"),
]


@pytest.mark.parametrize(("raw", "text"), CANONICAL, ids=[raw.decode()[:30] for raw, _ in CANONICAL])
def test_one_canonical_text(raw, text):
    """Every accepted spelling has one canonical text, and the canonical text is itself."""
    host = parse_host(raw)
    assert str(host) == host.text == text
    assert parse_host(host.bracketed.encode()) == host


REFUSED = [
    b"",
    b".",
    b"..",
    b"example..com",
    b".example.com",
    b"example.com..",
    b"exa mple.com",
    b" example.com",
    b"example.com ",
    b"example.com\n",
    b"example.com\x00",
    b"example.com\r\n",
    b"ex\tample",
    b"a" * 64 + b".com",
    b"a." * 127 + b"bc",
    b"-a.com",
    b"a-.com",
    b"b\xc3\xbccher.de",
    b"b\xfccher.de",
    b"[example.com]",
    b"[1.2.3.4]",
    b"[::1",
    b"::1]",
    b"::1",
    b"[]",
    b"[::1%lo]",
    b"[::1%25lo]",
    b"[fe80::1%1]",
    b"[:::1]",
    b"[::g]",
    b"[1::2::3]",
    b"[::1.2.3.256]",
    b"[::1.2.3.04]",
    b"[v1.x]",
    b"[[::1]]",
    b"user@example.com",
    b"example.com:80",
    b"example%2ecom",
    b"example.com/",
    b"example.com\\",
    b"example.com#",
    b"example.com?",
    b"*.example.com",
    b"example,com",
    b"a;b",
    # What inet_aton and browsers would read as an address (rule 6).
    b"127.1",
    b"127.0.1",
    b"127",
    b"0",
    b"2130706433",
    b"017700000001",
    b"0x7f000001",
    b"0x7f.0.0.1",
    b"0X7F.1",
    b"0x",
    b"0177.0.0.1",
    b"127.0.0.01",
    b"127.0.0.1.",
    b"127.0.0.256",
    b"1.2.3.4.5",
    b"1.2.3.",
    b"example.1",
    b"example.0x7f",
    b"999.999.999.999",
]


@pytest.mark.parametrize("raw", REFUSED, ids=[repr(raw)[:40] for raw in REFUSED])
def test_refused_on_the_wire(raw):
    """Ambiguous and malformed hosts are refused, and the message repeats none of their bytes."""
    with pytest.raises(HostError) as caught:
        parse_host(raw)
    assert len(raw) < 4 or raw.decode("latin-1") not in str(caught.value)


def test_addresses_are_known_as_such():
    """A literal carries its address object; a name carries none."""
    assert parse_host(b"10.0.0.1").address == IPv4Address("10.0.0.1")
    assert parse_host(b"[::1]").address == IPv6Address("::1")
    assert parse_host(b"[::1]").bracketed == "[::1]"
    assert parse_host(b"10.0.0.1").bracketed == "10.0.0.1"
    assert parse_host(b"10.0.0.1").is_address
    assert not parse_host(b"example.com").is_address


def test_equality_and_hash_are_by_text():
    """Two spellings of one host are equal and hash alike."""
    assert len({parse_host(b"A.example"), parse_host(b"a.example."), Host("a.example")}) == 1
    assert parse_host(b"[0::1]") == parse_host(b"[::1]")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example.", "xn--bcher-kva.example"),
        ("bücher\u3002example", "xn--bcher-kva.example"),
        ("_x.bücher.example", "_x.xn--bcher-kva.example"),
        ("例え.jp", "xn--r8jz45g.jp"),
        ("Example.COM.", "example.com"),
        ("::1", "::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_configuration_takes_what_people_write(text, canonical):
    """Configuration may hold U-labels and bare IPv6 addresses."""
    assert host_from_text(text).text == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "ü" * 60 + ".de",
        "\u2100.example",
        "１２７.0.0.1",
        "a..ü",
        "fe80::1%eth0",
        "127.1",
        "x:80",
        "☃a\u200d",
    ],
)
def test_configuration_is_not_lenient_beyond_that(text):
    """Full-width digits, zones, legacy addresses and labels that IDNA refuses are refused."""
    with pytest.raises(HostError):
        host_from_text(text)


def test_host_of_an_address_object():
    """An address object has the same Host as its text, without its zone."""
    assert host_of_address(IPv4Address("10.0.0.1")) == parse_host(b"10.0.0.1")
    assert host_of_address(IPv6Address("fe80::1%eth0")) == parse_host(b"[fe80::1]")
    assert host_of_address(IPv6Address("::ffff:10.0.0.1")).text == "::ffff:a00:1"
    assert host_of_address(IPv6Address("fe80::1%eth0")).address == IPv6Address("fe80::1")


@given(st.binary(max_size=40) | st.from_regex(rb"[0-9a-fxA-FX.:\[\]_-]{1,30}", fullmatch=True))
def test_parsing_is_idempotent_and_never_fails_otherwise(raw):
    """Any bytes are either refused with HostError or have a canonical text that parses to itself."""
    try:
        host = parse_host(raw)
    except HostError:
        return
    assert parse_host(host.bracketed.encode()) == host
    assert host.text == host.text.lower()
    assert not host.text.endswith(".")
    assert host.text.isascii()


@given(st.ip_addresses())
def test_every_address_survives(address):
    """Every IPv4 and IPv6 address, printed and parsed, is itself."""
    host = host_of_address(address)
    assert parse_host(host.bracketed.encode()).address == address


@given(st.text(max_size=30))
def test_any_text_is_a_host_or_an_error(text):
    """No text makes `host_from_text` fail in another way than HostError."""
    try:
        host = host_from_text(text)
    except HostError:
        return
    assert host_from_text(host.text) == host
