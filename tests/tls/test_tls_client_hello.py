"""netfw.tls.client_hello"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL, crypto

from netfw.testing.pki import TestAuthority
from netfw.tls.client_hello import (
    LARGEST_HELLO,
    ClientHello,
    ClientHelloError,
    ClientHelloReader,
    HelloProblem,
    read_client_hello,
)

CORPUS = {path.stem: path.read_bytes() for path in (Path(__file__).parent.parent / "corpus/client_hello").glob("*.bin")}
TLS12, TLS13 = 0x0303, 0x0304


def vector(length_size: int, content: bytes) -> bytes:
    return len(content).to_bytes(length_size, "big") + content


def extension(number: int, content: bytes) -> bytes:
    return number.to_bytes(2, "big") + vector(2, content)


def server_name(*names: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names)))


def alpn(*protocols: bytes) -> bytes:
    return extension(16, vector(2, b"".join(vector(1, protocol) for protocol in protocols)))


def body(
    *extensions: bytes,
    version: int = TLS12,
    session_id: bytes = b"s" * 32,
    suites: bytes = b"\x13\x01",
    compressions: bytes = b"\0",
    trailing: bytes = b"",
) -> bytes:
    return (
        version.to_bytes(2, "big") + b"r" * 32 + vector(1, session_id) + vector(2, suites) + vector(1, compressions)
        + vector(2, b"".join(extensions)) + trailing
    )  # fmt: skip


def message(content: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(3, content)


def records(handshake: bytes, size: int = 1 << 14, kind: int = 22) -> bytes:
    pieces = [handshake[place : place + size] for place in range(0, len(handshake), size)]
    return b"".join(bytes([kind]) + b"\x03\x01" + vector(2, piece) for piece in pieces)


def unwrapped(wire: bytes) -> bytes:
    """What the records hold."""
    handshake = b""
    while wire:
        size = int.from_bytes(wire[3:5], "big")
        handshake, wire = handshake + wire[5 : 5 + size], wire[5 + size :]
    return handshake


def hello(*extensions: bytes, **how: object) -> bytes:
    return records(message(body(*extensions, **how)))  # type: ignore[arg-type]  # passed on


def read(data: bytes) -> ClientHello:
    found = read_client_hello(data)
    assert found is not None
    return found


def refusal(data: bytes) -> HelloProblem:
    with pytest.raises(ClientHelloError) as caught:
        read_client_hello(data)
    return caught.value.problem


WWW = server_name(b"www.example.com")

# -- real ones


def test_the_corpus_is_there() -> None:
    """Hellos of OpenSSL, GnuTLS, Python, curl, Go, Node, Java and Chromium."""
    assert {"chromium", "curl", "gnutls", "go", "java", "node", "openssl", "pyopenssl", "python"} <= set(CORPUS)


@pytest.mark.parametrize("name", CORPUS)
def test_real_hellos(name: str) -> None:
    """Each is read whole, with the name it was made for, and with what is known of its client."""
    found = read(CORPUS[name])
    if name == "openssl-noservername":
        assert found.server_name is None and found.host is None
    else:
        assert found.server_name == b"www.example.com"
        assert str(found.host) == "www.example.com"
    assert TLS12 in found.versions
    assert (TLS13 in found.versions) is ("tls12" not in name)
    assert found.has_ech is (name == "chromium")
    assert not found.has_early_data
    expected = {
        "chromium": (b"h2", b"http/1.1"), "curl": (b"h2", b"http/1.1"), "node": (b"h2", b"http/1.1"),
        "go": (b"h2", b"http/1.1"),
        "java": (b"http/1.1",), "gnutls-alpn": (b"http/1.1",), "python-alpn": (b"h2", b"http/1.1"),
        "python-tls12": (b"http/1.1",),
    }  # fmt: skip
    assert found.alpn == expected.get(name, ())


@pytest.mark.parametrize("name", CORPUS)
def test_every_truncation_wants_more(name: str) -> None:
    """A whole hello less any number of bytes is None, never an answer and never an error."""
    data = CORPUS[name]
    assert all(read_client_hello(data[:size]) is None for size in range(len(data)))


@pytest.mark.parametrize("name", CORPUS)
def test_every_split_point_reads_the_same(name: str) -> None:
    """In two pieces, cut anywhere."""
    data = CORPUS[name]
    expected = read(data)
    for place in range(1, len(data)):
        reader = ClientHelloReader()
        assert reader.feed(data[:place]) is None
        assert reader.feed(data[place:]) == expected


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 300])
def test_every_fragmentation_reads_the_same(name: str, size: int) -> None:
    """Records of any size, fed in one piece or byte by byte."""
    data = CORPUS[name]
    expected = read(data)
    fragmented = records(unwrapped(data), size)
    assert read_client_hello(fragmented) == expected
    reader = ClientHelloReader()
    answers = [reader.feed(fragmented[place : place + 1]) for place in range(len(fragmented))]
    assert answers[-1] == expected and not any(answers[:-1])


def test_bytes_behind_it_are_left_alone() -> None:
    """Early data come in records of their own."""
    early = hello(WWW, extension(42, b"")) + b"\x14\x03\x03\x00\x01\x01" + b"\x17\x03\x03\x00\x05hello"
    assert read(early).has_early_data


# -- what is refused


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", HelloProblem.NOT_TLS),
        (b"\x15\x03\x01\x00\x02\x02\x28", HelloProblem.NOT_TLS),
        (b"\x16\x02\x00\x00\x05", HelloProblem.NOT_TLS),
        (b"\x16\x03\x05\x00\x05", HelloProblem.NOT_TLS),
        (b"\x80\x2e\x01\x03\x01", HelloProblem.SSL2),
        (b"\x80\x2e\x02", HelloProblem.NOT_TLS),
        (b"\x16\x03\x01\x00\x00", HelloProblem.MALFORMED),
        (b"\x16\x03\x01\x40\x01\x01", HelloProblem.MALFORMED),
        (records(message(body(WWW), kind=2)), HelloProblem.NOT_TLS),
        (records(b"\x01\x01\x00\x00"), HelloProblem.TOO_LARGE),
        (records(message(body(WWW)) + b"\0"), HelloProblem.MALFORMED),
        (records(message(body(WWW)))[:-5] + b"", None),
        (records(message(body(WWW)), 40)[:45] + b"\x15\x03\x01\x00\x02\x01\x00", HelloProblem.NOT_TLS),
        (hello(WWW, version=0x0200), HelloProblem.MALFORMED),
        (hello(WWW, session_id=b"s" * 33), HelloProblem.MALFORMED),
        (hello(WWW, suites=b""), HelloProblem.MALFORMED),
        (hello(WWW, suites=b"\x13\x01\x13"), HelloProblem.MALFORMED),
        (hello(WWW, compressions=b""), HelloProblem.MALFORMED),
        (hello(WWW, compressions=b"\x01"), HelloProblem.MALFORMED),
        (hello(WWW, trailing=b"\0"), HelloProblem.MALFORMED),
        (hello(WWW, b"\x00\x10\x00\x05\x00"), HelloProblem.MALFORMED),
        (hello(WWW, WWW), HelloProblem.DUPLICATE_EXTENSION),
        (hello(extension(0x1234, b""), extension(0x1234, b"")), HelloProblem.DUPLICATE_EXTENSION),
        (hello(server_name(b"www.example.com", b"other.example")), HelloProblem.SEVERAL_NAMES),
        (hello(server_name(b"www.example.com", b"www.example.com")), HelloProblem.SEVERAL_NAMES),
        (hello(server_name(b"www.example.com", kind=1)), HelloProblem.NOT_A_NAME),
        (hello(server_name()), HelloProblem.MALFORMED),
        (hello(server_name(b"")), HelloProblem.NOT_A_NAME),
        (hello(extension(0, b"")), HelloProblem.MALFORMED),
        (hello(extension(0, vector(2, b"\0" + vector(2, b"a.test")) + b"\0")), HelloProblem.MALFORMED),
        (hello(server_name(b"www.example.com\0.evil.test")), HelloProblem.NOT_A_NAME),
        (hello(server_name(b"www.example.com\r\nX: y")), HelloProblem.NOT_A_NAME),
        (hello(server_name("bücher.example".encode())), HelloProblem.NOT_A_NAME),
        (hello(server_name(b"*.example.com")), HelloProblem.NOT_A_NAME),
        (hello(server_name(b"www..example.com")), HelloProblem.NOT_A_NAME),
        (hello(server_name(b"a" * 64 + b".test")), HelloProblem.NOT_A_NAME),
        (hello(server_name(b"192.0.2.7")), HelloProblem.ADDRESS),
        (hello(server_name(b"2001:db8::7")), HelloProblem.ADDRESS),
        (hello(server_name(b"[2001:db8::7]")), HelloProblem.ADDRESS),
        (hello(server_name(b"0x7f.1")), HelloProblem.NOT_A_NAME),
        (hello(extension(16, b"\x00\x00")), HelloProblem.MALFORMED),
        (hello(alpn(b"")), HelloProblem.MALFORMED),
        (hello(extension(16, vector(2, b"\x05http"))), HelloProblem.MALFORMED),
        (hello(extension(43, b"\x00")), HelloProblem.MALFORMED),
        (hello(extension(43, b"\x03\x03\x04\x03")), HelloProblem.MALFORMED),
    ],
)
def test_refusals(data: bytes, problem: HelloProblem | None) -> None:
    """Each with its kind; one that is only short is not refused."""
    if problem is None:
        assert read_client_hello(data) is None
    else:
        assert refusal(data) is problem


def test_the_largest_hello_is_read_and_a_larger_one_refused_at_its_header() -> None:
    """The limit counts the message with its header; beyond it nothing is waited for."""
    room = LARGEST_HELLO - 4 - len(body(WWW)) - 4
    largest = records(message(body(WWW, extension(0x1234, b"p" * room))))
    assert read(largest).server_name == b"www.example.com"
    assert refusal(records(message(body(WWW, extension(0x1234, b"p" * (room + 1)))))[:9]) is HelloProblem.TOO_LARGE


def test_ssl2_is_refused_at_its_third_byte() -> None:
    """Before that it could be nothing else worth waiting for, but is not named yet."""
    assert read_client_hello(b"") is None
    assert read_client_hello(b"\x80") is None
    assert read_client_hello(b"\x80\x2e") is None
    assert refusal(b"\x80\x2e\x01") is HelloProblem.SSL2


# -- what is read


def test_names_are_canonical_beside_what_was_sent() -> None:
    """Letter case and one final dot are the client's choice; the host is the same."""
    found = read(hello(server_name(b"WWW.Example.COM.")))
    assert found.server_name == b"WWW.Example.COM."
    assert str(found.host) == "www.example.com"


def test_versions_leave_grease_out() -> None:
    """RFC 8701's sixteen values are no versions; a hello without the extension offers its own."""
    grease = b"".join(bytes([value, value]) for value in range(0x0A, 0x100, 0x10))
    assert read(hello(extension(43, vector(1, grease + b"\x03\x04\x03\x03")))).versions == (TLS13, TLS12)
    assert read(hello(WWW)).versions == (TLS12,)


def test_grease_extensions_are_skipped() -> None:
    """Different ones may be there together."""
    assert read(hello(extension(0x0A0A, b""), WWW, extension(0x1A1A, b"\0"))).server_name == b"www.example.com"


@pytest.mark.parametrize("number", [0xFE0D, 0xFFCE])
def test_encrypted_hellos_are_seen(number: int) -> None:
    """The outer name may be a front."""
    assert read(hello(WWW, extension(number, b"\0secret"))).has_ech


def test_a_hello_without_extensions() -> None:
    """As TLS 1.2 allows: no block at all, or an empty one."""
    bare = body()[:-2]
    for content in (bare, body()):
        found = read(records(message(content)))
        assert (found.server_name, found.alpn, found.versions) == (None, (), (TLS12,))


# -- properties


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_or_want_more(data: bytes) -> None:
    """Nothing but ClientHelloError comes out, and the reader agrees with the function at every split."""
    for candidate in (data, b"\x16\x03\x01" + data, records(message(data)) if data else b"", records(b"\x01" + data)):
        check_agreement(candidate, len(data) // 2)


@given(
    name=st.sampled_from(sorted(CORPUS)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 2000),
    split=st.integers(0, 2000),
)
def test_damaged_hellos_never_crash(name: str, changes: list[tuple[int, int]], cut: int, split: int) -> None:
    """Bytes changed and cut off anywhere: an answer, None or ClientHelloError, the same at every split."""
    data = bytearray(CORPUS[name])
    for place, value in changes:
        data[place % len(data)] = value
    check_agreement(bytes(data[: len(data) - cut % len(data)]), split)


def check_agreement(data: bytes, split: int) -> None:
    def outcome(*pieces: bytes) -> object:
        reader = ClientHelloReader()
        try:
            for piece in pieces:
                found = reader.feed(piece)
                if found is not None:
                    return found
        except ClientHelloError as error:
            return error.problem
        return None

    assert outcome(data) == outcome(data[:split], data[split:])


AUTHORITY = TestAuthority()


def server_context() -> SSL.Context:
    certificate, key = AUTHORITY.issue("www.example.com")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(crypto.X509.from_cryptography(x509.load_pem_x509_certificate(certificate)))
    context.use_privatekey(crypto.PKey.from_cryptography_key(serialization.load_pem_private_key(key, None)))
    return context


def openssl_reader() -> Callable[[bytes], tuple[bool, bytes | None]]:
    """Tells whether OpenSSL took bytes as a ClientHello, and the name that it read."""
    context = server_context()
    seen: list[bytes | None] = []
    context.set_tlsext_servername_callback(lambda connection: seen.append(connection.get_servername()))

    def ask(data: bytes) -> tuple[bool, bytes | None]:
        seen.clear()
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        connection.bio_write(data)
        try:
            connection.do_handshake()
        except SSL.Error:
            pass
        return bool(seen), seen[0] if seen else None

    return ask


OPENSSL = openssl_reader()
NAMES = st.sampled_from([b"www.example.com", b"other.example", b"a", b"", b"www.example.com\0x", b"192.0.2.7", b"A.B."])


@given(
    names=st.lists(NAMES, max_size=3),
    kinds=st.lists(st.integers(0, 1), max_size=3),
    twice=st.booleans(),
    size=st.integers(1, 400),
    changes=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=3),
)
def test_no_name_is_read_other_than_openssl_reads_it(
    names: list[bytes], kinds: list[int], twice: bool, size: int, changes: list[tuple[int, int]]
) -> None:
    """What OpenSSL takes is read with the same name, or refused: never with another name, or without one."""
    entries = b"".join(bytes([kind]) + vector(2, name) for kind, name in zip(kinds, names, strict=False))
    sni = extension(0, vector(2, entries))
    base = unwrapped(CORPUS["openssl"])
    # The extensions of the real hello, without its server name, behind ours.
    start = 4 + 2 + 32
    start += 1 + base[start]
    start += 2 + int.from_bytes(base[start : start + 2], "big")
    start += 1 + base[start]
    rest = base[start + 2 :]
    others = rest[4 + int.from_bytes(rest[2:4], "big") :]
    content = bytearray(base[4:start] + vector(2, sni + (sni if twice else b"") + others))
    for place, value in changes:
        content[place % len(content)] = value
    wire = records(message(bytes(content)), size)
    taken, name = OPENSSL(wire)
    try:
        ours = read_client_hello(wire)
    except ClientHelloError:
        return
    if taken and ours is not None:
        assert ours.server_name == name


@given(
    corpus_name=st.sampled_from(sorted(CORPUS)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=3),
    size=st.integers(1, 2000),
)
def test_no_name_of_a_real_hello_is_read_other_than_openssl_reads_it(
    corpus_name: str, changes: list[tuple[int, int]], size: int
) -> None:
    """Each client's own hello, with bytes changed anywhere and in records of any size."""
    content = bytearray(unwrapped(CORPUS[corpus_name]))
    for place, value in changes:
        content[place % len(content)] = value
    wire = records(bytes(content), size)
    taken, name = OPENSSL(wire)
    try:
        ours = read_client_hello(wire)
    except ClientHelloError:
        return
    if taken and ours is not None:
        assert ours.server_name == name
