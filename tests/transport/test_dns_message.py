"""The reader of DNS answers: what counts, what is refused, and that no bytes whatever make it raise."""

from __future__ import annotations

import json
import struct
import time
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns

from netfw.testing.dns_zone import HOSTILE_MODES, ZoneAnswers, parse_question, print_message, print_name, print_record
from netfw.transport.dns_codes import RecordType
from netfw.transport.dns_message import (
    EDNS_PAYLOAD,
    MAX_ADDRESSES,
    MAX_CHAIN,
    Answer,
    Question,
    print_query,
    read_answer,
)

CORPUS = sorted((Path(__file__).parent.parent / "corpus" / "dns").glob("*.json"))
WWW = Question("www.example.test", RecordType.A)
WWW6 = Question("www.example.test", RecordType.AAAA)
POINTER = b"\xc0\x0c"


def answer_with(*answers, question=WWW, **more):
    """The bytes of an answer to `question` with id 7."""
    asked = parse_question(print_query(7, question, edns=False), "udp", 0)
    return print_message(asked, answers=list(answers), **more)


def address(text, owner=POINTER, ttl=60):
    packed = ip_address(text).packed
    return print_record(owner, 1 if len(packed) == 4 else 28, ttl, packed)


def cname(owner, target, ttl=60):
    return print_record(print_name(owner), 5, ttl, print_name(target))


def soa(zone, ttl, minimum):
    numbers = struct.pack("!5I", 1, 2, 3, 4, minimum)
    return print_record(print_name(zone), 6, ttl, print_name("ns.test") + print_name("admin.test") + numbers)


@pytest.mark.parametrize("edns", [False, True])
def test_query_reads_back(edns):
    """A printed query is what twisted.names reads: one question, recursion desired, the payload size in OPT."""
    message = dns.Message()
    message.fromStr(print_query(4711, WWW6, edns=edns))
    assert (message.id, message.answer, message.recDes, message.opCode) == (4711, 0, 1, 0)
    assert [(q.name.name, q.type, q.cls) for q in message.queries] == [(b"www.example.test", dns.AAAA, dns.IN)]
    assert [(r.type, r.cls, r.ttl, r.rdlength) for r in message.additional] == (
        [(dns.OPT, EDNS_PAYLOAD, 0, 0)] if edns else []
    )


def test_answer_of_another_implementation():
    """What twisted.names prints, names compressed, is read: chain, addresses, least TTL."""
    message = dns.Message(7, answer=1, recDes=1, recAv=1)
    message.addQuery(b"WWW.example.test", dns.A)
    message.answers = [
        dns.RRHeader(b"www.example.test", dns.CNAME, ttl=300, payload=dns.Record_CNAME(b"edge.example.test")),
        dns.RRHeader(b"edge.example.test", dns.CNAME, ttl=30, payload=dns.Record_CNAME(b"a.edge.example.test")),
        dns.RRHeader(b"a.edge.example.test", dns.A, ttl=60, payload=dns.Record_A("192.0.2.1")),
        dns.RRHeader(b"a.edge.example.test", dns.A, ttl=61, payload=dns.Record_A("192.0.2.2")),
    ]
    message.additional = [dns.RRHeader(b"ns.example.test", dns.TXT, payload=dns.Record_TXT(b"text"))]
    assert read_answer(message.toStr(), 7, WWW) == Answer(
        0,
        addresses=(ip_address("192.0.2.1"), ip_address("192.0.2.2")),
        chain=("edge.example.test", "a.edge.example.test"),
        ttl=30,
    )


def test_ipv6_addresses():
    """An AAAA question reads AAAA records and leaves A records alone."""
    data = answer_with(address("192.0.2.1"), address("2001:db8::1"), question=WWW6)
    assert read_answer(data, 7, WWW6).addresses == (ip_address("2001:db8::1"),)


def test_other_id_other_question_query_bit():
    """An answer with another id, another name, another type or without QR does not count."""
    good = answer_with(address("192.0.2.1"))
    assert read_answer(good, 8, WWW) is None
    assert read_answer(good, 7, Question("ww.example.test", RecordType.A)) is None
    assert read_answer(good, 7, WWW6) is None
    assert read_answer(answer_with(address("192.0.2.1"), flags=0x0100), 7, WWW) is None
    assert read_answer(answer_with(address("192.0.2.1"), flags=0x8980), 7, WWW) is None
    assert read_answer(answer_with(address("192.0.2.1", print_name(WWW.name)), with_question=False), 7, WWW) is None


def test_record_of_another_owner():
    """A record that the chain from the question does not lead to is left out, wherever it stands."""
    data = answer_with(
        address("6.6.6.6", print_name("evil.test")),
        address("192.0.2.1"),
        cname("other.test", "evil.test"),
        address("6.6.6.7", print_name("a.www.example.test")),
    )
    assert read_answer(data, 7, WWW) == Answer(0, addresses=(ip_address("192.0.2.1"),), ttl=60)


def test_dotted_label_is_not_two():
    """One label with a dot in it is another name than two labels, and is printed with an escape."""
    dotted = b"\x0bwww.example\x04test\x00"
    assert read_answer(answer_with(address("6.6.6.6", dotted)), 7, WWW).addresses == ()
    data = answer_with(print_record(POINTER, 5, 60, dotted), address("192.0.2.1", dotted))
    assert read_answer(data, 7, WWW).chain == ("www\\046example.test",)


def test_case_of_names():
    """Names are the same whatever the case of their ASCII letters; the chain is in lower case."""
    data = answer_with(cname("WWW.Example.TEST", "Edge.Test"), address("192.0.2.1", print_name("eDGE.tEST")))
    assert read_answer(data, 7, WWW) == Answer(0, addresses=(ip_address("192.0.2.1"),), chain=("edge.test",), ttl=60)


def test_chain_in_any_order():
    """The CNAMEs may stand in any order."""
    data = answer_with(address("192.0.2.1", print_name("c.test")), cname("b.test", "c.test"), cname(WWW.name, "b.test"))
    assert read_answer(data, 7, WWW).chain == ("b.test", "c.test")
    assert len(read_answer(data, 7, WWW).addresses) == 1


@pytest.mark.parametrize("length", [MAX_CHAIN - 1, MAX_CHAIN, MAX_CHAIN + 1])
def test_chain_length(length):
    """A chain may have MAX_CHAIN CNAMEs and not one more."""
    names = [WWW.name, *(f"n{index}.test" for index in range(length))]
    records = [cname(owner, target) for owner, target in zip(names, names[1:], strict=False)]
    answer = read_answer(answer_with(*records, address("192.0.2.1", print_name(names[-1]))), 7, WWW)
    assert answer.looped == (length > MAX_CHAIN)
    assert bool(answer.addresses) == (length <= MAX_CHAIN)


@pytest.mark.parametrize("circle", [[WWW.name], ["b.test", WWW.name], ["b.test", "c.test", "b.test"]])
def test_circle(circle):
    """A chain that comes back to itself has no addresses, even if an address record stands beside it."""
    records = [cname(owner, target) for owner, target in zip([WWW.name, *circle], circle, strict=False)]
    answer = read_answer(answer_with(*records, address("192.0.2.1")), 7, WWW)
    assert answer.looped
    assert answer.addresses == ()


def test_many_records():
    """Of a thousand addresses MAX_ADDRESSES are kept, the first ones; the same address counts once."""
    data = answer_with(*(address(f"10.0.{index // 250}.{index % 250}") for index in range(1000)))
    addresses = read_answer(data, 7, WWW).addresses
    assert len(addresses) == MAX_ADDRESSES
    assert addresses[0] == ip_address("10.0.0.0")
    assert len(read_answer(answer_with(*[address("192.0.2.1")] * 100), 7, WWW).addresses) == 1


@pytest.mark.parametrize(
    ("wire", "read"), [(0, 0), (60, 60), (0x7FFFFFFF, 0x7FFFFFFF), (0x80000000, 0), (2**32 - 1, 0)]
)
def test_ttl(wire, read):
    """A TTL with its highest bit set is 0."""
    assert read_answer(answer_with(address("192.0.2.1", ttl=wire)), 7, WWW).ttl == read


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], None),
        ([soa("example.test", 100, 30)], 30),
        ([soa("example.test", 10, 30)], 10),
        ([soa("", 100, 40)], 40),
        ([soa("evil.test", 100, 30)], None),
        ([soa("mple.test", 100, 30)], None),
    ],
)
def test_negative_ttl(records, expected):
    """A negative answer may be kept for the lesser of the SOA's TTL and minimum, if that zone holds the name."""
    answer = read_answer(answer_with(rcode=3, authority=records), 7, WWW)
    assert (answer.code, answer.negative_ttl) == (3, expected)


def test_negative_ttl_behind_a_chain():
    """Behind CNAMEs the SOA is that of the last name, and no CNAME is kept for longer than its own TTL."""
    records = [cname(WWW.name, "gone.other.test", ttl=20)]
    answer = read_answer(answer_with(*records, rcode=3, authority=[soa("other.test", 100, 30)]), 7, WWW)
    assert (answer.code, answer.negative_ttl, answer.chain) == (3, 20, ("gone.other.test",))


def test_extended_code():
    """A response code above 15 is put together from the header and the OPT record: BADVERS is not NOERROR."""
    assert read_answer(answer_with(rcode=16), 7, WWW).code == 16
    assert read_answer(answer_with(rcode=23), 7, WWW).code == 23


def test_addresses_beside_an_error():
    """Addresses in an answer whose code is not NOERROR do not count."""
    assert read_answer(answer_with(address("192.0.2.1"), rcode=2), 7, WWW) == Answer(2)


def test_truncated():
    """Of a truncated answer only that it is one counts, even when its records are cut in the middle."""
    data = answer_with(address("192.0.2.1"), flags=0x8380)
    assert read_answer(data, 7, WWW) == Answer(0, truncated=True)
    assert read_answer(data[:-3], 7, WWW) == Answer(0, truncated=True)


def test_formerr_without_question():
    """FORMERR may come without the question, nothing else may."""
    assert read_answer(answer_with(rcode=1, with_question=False), 7, WWW) == Answer(1)
    assert read_answer(answer_with(rcode=1, with_question=False), 8, WWW) is None
    assert read_answer(answer_with(rcode=2, with_question=False), 7, WWW) is None


@pytest.mark.parametrize("length", [0, 3, 5, 16])
def test_address_of_a_wrong_length(length):
    """An A record that is not four octets long makes the message malformed."""
    assert read_answer(answer_with(print_record(POINTER, 1, 60, bytes(length))), 7, WWW) is None


def test_pointers():
    """A pointer goes strictly backwards, or the message is malformed; names of more than 255 octets too."""
    here = len(answer_with())
    for target in (here, here + 2, 0x3FFF):
        owner = struct.pack("!H", 0xC000 | target)
        assert read_answer(answer_with(print_record(owner, 1, 60, b"\1\2\3\4")), 7, WWW) is None
    long = (b"\x3f" + b"a" * 63) * 4 + b"\0"
    assert read_answer(answer_with(address("192.0.2.1", long)), 7, WWW) is None
    joined = (b"\x3f" + b"a" * 63) * 3 + b"\x2f" + b"a" * 47 + POINTER
    assert read_answer(answer_with(address("192.0.2.1", joined)), 7, WWW) is None
    for kind in (b"\x40", b"\x80"):
        assert read_answer(answer_with(address("192.0.2.1", kind + b"a\0")), 7, WWW) is None


def test_pointer_bomb_is_cheap():
    """A message of 64 KiB made of pointers to pointers is refused in less than a tenth of a second of work."""
    zone = ZoneAnswers({WWW.name: {"hostile": "pointer_bomb"}})
    asked = parse_question(print_query(7, WWW, edns=True), "tcp", 0)
    data = zone.reply_to(asked).messages[0][0]
    assert len(data) > 40_000
    before = time.process_time()
    assert read_answer(data, 7, WWW) is None
    assert time.process_time() - before < 0.1


UNSPOILT = ("silence", "other_address", "other_port", "oversized")  # what is wrong with these is not in the bytes


@pytest.mark.parametrize("mode", [mode for mode in HOSTILE_MODES if mode not in UNSPOILT])
def test_hostile_modes_give_no_address(mode):
    """None of the test server's spoilt answers is read as an address."""
    zone = ZoneAnswers({WWW.name: {"hostile": mode, "A": ["192.0.2.1"]}})
    data = zone.reply_to(parse_question(print_query(7, WWW, edns=True), "udp", 0)).messages[0][0]
    answer = read_answer(data, 7, WWW)
    assert answer is None or answer.addresses == ()


WHOLE = answer_with(
    cname(WWW.name, "edge.test"),
    address("192.0.2.1", print_name("edge.test")),
    print_record(POINTER, 16, 60, b"\4text"),
    authority=[soa("example.test", 100, 30)],
    rcode=16,
)


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_cut_anywhere(length):
    """A message that ends early is refused, wherever it ends."""
    assert read_answer(WHOLE[:length], 7, WWW) is None


@given(st.binary(max_size=600))
def test_any_bytes(data):
    """No bytes make the reader raise, and bytes that do not begin with our id are never an answer."""
    assert read_answer(b"\xff\xff" + data, 7, WWW) is None
    read_answer(b"\0\7" + data, 7, WWW)


@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_any_records(data, answers, authority, additional):
    """No bytes behind a good header and question make the reader raise."""
    head = answer_with()
    read_answer(head[:6] + struct.pack("!3H", answers, authority, additional) + head[12:] + data, 7, WWW)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_any_octet_changed(at, value):
    """No changed octet makes the reader raise."""
    read_answer(WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :], 7, WWW)


LABEL = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=5).map(".".join)


@given(
    NAME, st.lists(NAME, max_size=6, unique=True), st.lists(st.ip_addresses(v=4), max_size=8), st.integers(0, 2**31 - 1)
)
def test_agrees_with_twisted(name, chain, addresses, ttl):
    """Whatever twisted.names prints for a chain and its addresses is read as that chain and those addresses."""
    names = [name, *chain]
    message = dns.Message(7, answer=1, maxSize=0)
    message.addQuery(name.encode(), dns.A)
    for owner, target in zip(names, names[1:], strict=False):
        payload = dns.Record_CNAME(target.encode())
        message.answers.append(dns.RRHeader(owner.encode(), dns.CNAME, ttl=ttl, payload=payload))
    for one in addresses:
        payload = dns.Record_A(str(one))
        message.answers.append(dns.RRHeader(names[-1].encode(), dns.A, ttl=ttl, payload=payload))
    answer = read_answer(message.toStr(), 7, Question(name, RecordType.A))
    if name in chain:
        assert answer.looped
    else:
        assert (answer.chain, answer.addresses) == (tuple(chain), tuple(dict.fromkeys(addresses)))
        assert answer.ttl == (ttl if chain or addresses else 0)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_corpus(path):
    """Each message of the corpus is read as its file says."""
    case = json.loads(path.read_text("ascii"))
    answer = read_answer(
        bytes.fromhex("".join(case["hex"])), case["id"], Question(case["name"], RecordType[case["type"]])
    )
    got = None if answer is None else {"addresses": [str(a) for a in answer.addresses], "chain": list(answer.chain)}
    assert got == case["expected"]
