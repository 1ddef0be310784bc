"""DNS messages: a question printed, an answer read against the question it is for. PURE: bytes in, values out.

In this room: `print_query`, `read_answer`, `Answer`. Not here: sockets, time-outs, which server is asked (`dns_query`),
what the numbers mean (`dns_codes`).

RFC 1035, section 4 (format, compression), RFC 2181, section 5.2 and 8 (TTLs), RFC 2308 (negative answers), RFC 3596
(AAAA), RFC 6891 (EDNS). An answer is hostile input, and the reader is stricter than the one of twisted.names, which the
tests use as an oracle: a message that ends early, a record whose length is not its type's, and a compression pointer
that does not point backwards are all refused (twisted.names keeps what it got until there, trusts the type over the
length, and in 22.4 follows pointers without bound: seconds of work for one message of 64 KiB). Names are compared label
by label, so that a label with a dot in it is never mistaken for two.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from netfw.transport.dns_codes import RecordType, ResponseCode

Address = IPv4Address | IPv6Address
Labels = tuple[bytes, ...]

EDNS_PAYLOAD = 1232
"""The largest UDP answer that is asked for: what fits an IPv6 path of 1280 octets (DNS flag day 2020)."""

MAX_CHAIN = 16
"""CNAMEs followed from the question; BIND's max-query-restarts and Unbound's limit are 11."""

MAX_ADDRESSES = 64
"""Addresses kept of one answer. Nobody dials more, and a hostile zone could list thousands."""

_MAX_LABEL_STEPS = 8192
"""Labels and pointers read in one message: above what 64 KiB of honest records need, below what costs time."""

_HEADER = struct.Struct("!6H")
_QUESTION_END = struct.Struct("!B2H")
_RECORD = struct.Struct("!HHIH")
_SOA_NUMBERS = struct.Struct("!5I")
_CLASS_IN = 1
_TYPE_CNAME, _TYPE_SOA, _TYPE_OPT = 5, 6, 41
# Looking a member up in its class is a call (Python 3.11).
_A: Final = int(RecordType.A)
_NOERROR: Final = int(ResponseCode.NOERROR)
_FORMERR: Final = int(ResponseCode.FORMERR)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a canonical name (`Host.text`) and a type."""

    name: str
    type: RecordType


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to exactly our question.

    `chain` is the CNAME targets in order; `ttl` the least over the chain and the addresses; `negative_ttl` what the
    SOA record allows for a negative answer, None without one; `looped`: the chain is circular or longer than MAX_CHAIN,
    and there are no addresses then. `truncated`: nothing but the header counts, ask again over TCP.
    """

    code: int
    truncated: bool = False
    addresses: tuple[Address, ...] = ()
    chain: tuple[str, ...] = ()
    ttl: int = 0
    negative_ttl: int | None = None
    looped: bool = False


class _Malformed(Exception):
    """The bytes are no DNS message."""


def print_query(identity: int, question: Question, *, edns: bool) -> bytes:
    """A recursive query with one question; with `edns` an OPT record and no option in it (no client subnet)."""
    head = _HEADER.pack(identity, 0x0100, 1, 0, 0, int(edns))
    opt = b"\0" + _RECORD.pack(_TYPE_OPT, EDNS_PAYLOAD, 0, 0) if edns else b""
    return head + _printed(question) + opt


def read_answer(data: bytes, identity: int, question: Question) -> Answer | None:
    """Read an answer to this query. None when it is not one: another id, another question, malformed, not an answer.

    Never raises, whatever the bytes. One exception to "exactly our question": FORMERR without any question, as servers
    from before EDNS answer it; all it can bring about is the same query without EDNS.
    """
    try:
        return _Reader(data).answer(identity, question)
    except (_Malformed, IndexError, struct.error):
        return None


def _printed(question: Question) -> bytes:
    """As it stands behind the head of a message."""
    parts = []
    for label in _labels_of(question.name):
        parts.append(bytes((len(label),)))
        parts.append(label)
    parts.append(_QUESTION_END.pack(0, question.type, _CLASS_IN))
    return b"".join(parts)


def _labels_of(name: str) -> Labels:
    return tuple(name.encode("ascii").split(b"."))


def _text(labels: Labels) -> str:
    """Presentation form (RFC 4343, section 2.1): what is no plain character is written as \\DDD."""
    return ".".join("".join(chr(c) if chr(c) in _PLAIN else f"\\{c:03d}" for c in label) for label in labels)


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


class _Reader:
    """One message, read front to back. The methods raise _Malformed, IndexError or struct.error."""

    __slots__ = ("_at", "_data", "_known", "_steps")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._known: dict[int, Labels] = {}
        self._steps = 0

    def answer(self, identity: int, question: Question) -> Answer | None:
        got, flags, questions, answers, authority, additional = _HEADER.unpack_from(self._data)
        is_response, opcode = flags & 0x8000, flags & 0x7800
        if got != identity or not is_response or opcode:
            return None
        code = flags & 15
        if questions == 0 and code == _FORMERR and not answers:
            return Answer(code)
        printed = _printed(question)
        self._at = start = _HEADER.size
        self._at += len(printed)
        # Letters may come in another case; the octets of lengths, types and classes are below those of letters.
        if questions != 1 or self._data[start : self._at].lower() != printed:
            return None
        asked = _labels_of(question.name)
        self._known[start] = asked
        if flags & 0x0200:
            return Answer(code, truncated=True)
        cnames: dict[Labels, tuple[Labels, int]] = {}
        found: dict[Labels, list[tuple[Address, int]]] = {}
        for _ in range(answers):
            self._read_answer_record(question.type, cnames, found)
        soas = [self._read_authority_record() for _ in range(authority)]
        for _ in range(additional):
            code |= self._read_extended_code() << 4
        return _follow(code, asked, cnames, found, [soa for soa in soas if soa is not None])

    def _read_answer_record(
        self,
        type_: RecordType,
        cnames: dict[Labels, tuple[Labels, int]],
        found: dict[Labels, list[tuple[Address, int]]],
    ) -> None:
        owner, number, class_, ttl, end = self._record_head()
        if class_ == _CLASS_IN:
            if number == _TYPE_CNAME:
                target = self._name()
                if self._at != end:
                    raise _Malformed("the target of a CNAME is not as long as its record")
                # A name has one CNAME (RFC 2181, section 10.1); of several the first counts.
                cnames.setdefault(owner, (target, ttl))
            elif number == type_:
                found.setdefault(owner, []).append((_address(type_, self._data[self._at : end]), ttl))
        self._at = end

    def _read_authority_record(self) -> tuple[Labels, int] | None:
        owner, number, class_, ttl, end = self._record_head()
        soa = None
        if number == _TYPE_SOA and class_ == _CLASS_IN:
            self._name()
            self._name()
            minimum = _ttl(_SOA_NUMBERS.unpack_from(self._data, self._at)[4])
            if self._at + _SOA_NUMBERS.size != end:
                raise _Malformed("an SOA record is not as long as its fields")
            soa = (owner, min(ttl, minimum))
        self._at = end
        return soa

    def _read_extended_code(self) -> int:
        """The upper eight bits of the response code if the next record is OPT, else 0 (RFC 6891, section 6.1.3)."""
        start = self._at
        _, number, _, _, end = self._record_head()
        self._at = end
        if number != _TYPE_OPT:
            return 0
        # Its owner is the root, one octet; the code is the first octet of what is the TTL elsewhere.
        if self._data[start] != 0:
            raise _Malformed("an OPT record with an owner")
        return self._data[start + 5]

    def _record_head(self) -> tuple[Labels, int, int, int, int]:
        owner = self._name()
        number, class_, ttl, length = _RECORD.unpack_from(self._data, self._at)
        self._at += _RECORD.size
        end = self._at + length
        if end > len(self._data):
            raise _Malformed("a record goes past the end")
        return owner, number, class_, _ttl(ttl), end

    def _name(self) -> Labels:
        """The name at `_at`, in lower case; moves on behind it."""
        data, labels, size = self._data, [], 0
        position = bound = self._at
        end = -1
        jumps: list[tuple[int, int]] = []
        tail: Labels = ()
        while length := data[position]:
            self._steps += 1
            if self._steps > _MAX_LABEL_STEPS:
                raise _Malformed("too many labels and pointers")
            if length < 64:
                label = data[position + 1 : position + 1 + length]
                if len(label) != length:
                    raise _Malformed("a label goes past the end")
                labels.append(label.lower())
                size += 1 + length
                position += 1 + length
            elif length >= 192:
                target = (length & 63) << 8 | data[position + 1]
                if end < 0:
                    end = position + 2
                # Strictly backwards: a loop is impossible, and no honest printer does anything else.
                if target >= bound:
                    raise _Malformed("a pointer that does not point backwards")
                if target in self._known:
                    tail = self._known[target]
                    break
                jumps.append((target, len(labels)))
                position = bound = target
            else:
                raise _Malformed("a label of an unknown kind")
            if size > 254:
                raise _Malformed("a name of more than 255 octets")
        name = tuple(labels) + tail
        if sum(map(len, name)) + len(name) > 254:
            raise _Malformed("a name of more than 255 octets")
        for target, behind in jumps:
            self._known[target] = name[behind:]
        self._at = end if end >= 0 else position + 1
        return name


def _ttl(number: int) -> int:
    """A TTL with the highest bit set counts as 0 (RFC 2181, section 8)."""
    return number if number < 0x80000000 else 0


def _address(type_: RecordType, data: bytes) -> Address:
    if len(data) != (4 if type_ == _A else 16):
        raise _Malformed("an address of a wrong length")
    return IPv4Address(data) if type_ == _A else IPv6Address(data)


def _follow(
    code: int,
    asked: Labels,
    cnames: dict[Labels, tuple[Labels, int]],
    found: dict[Labels, list[tuple[Address, int]]],
    soas: list[tuple[Labels, int]],
) -> Answer:
    """Walk the CNAMEs from the question; records that the walk does not reach do not count."""
    chain: list[str] = []
    ttls: list[int] = []
    owner, seen = asked, {asked}
    while owner in cnames:
        owner, ttl = cnames[owner]
        chain.append(_text(owner))
        ttls.append(ttl)
        if owner in seen or len(chain) > MAX_CHAIN:
            return Answer(code, chain=tuple(chain[:MAX_CHAIN]), looped=True)
        seen.add(owner)
    addresses: dict[Address, None] = {}
    if code == _NOERROR:
        for address, ttl in found.get(owner, [])[: 4 * MAX_ADDRESSES]:
            ttls.append(ttl)
            addresses[address] = None
    # The zone of the SOA must hold the name that is missing (RFC 2308, section 5); each CNAME's TTL bounds it as well.
    negative = [ttl for zone, ttl in soas if owner[len(owner) - len(zone) :] == zone]
    return Answer(
        code,
        addresses=tuple(addresses)[:MAX_ADDRESSES],
        chain=tuple(chain),
        ttl=min(ttls, default=0),
        negative_ttl=min(negative + ttls) if negative else None,
    )
