"""What the test DNS server answers: a zone of plain data in, the bytes of answers out.

Here: matching a question with its entry, following CNAMEs as a recursive resolver does, printing messages, and the
hostile ways to spoil them. Not here: sockets, the log (`dns_server`). The bytes are made by hand and share nothing with
`netfw.transport.dns_message`, so that the two check one another (RFC 1035, section 4).

A zone is `{name: entry}`; `*.example.test` matches every name below, `*` every name. An entry's keys, all optional:

    A, AAAA     lists of addresses
    CNAME       the target; the entry of the target (if the zone has one) is answered too, as by a recursive resolver
    ttl         seconds, 60 by default
    minimum     the SOA minimum that a negative answer carries, 5 by default; null: no SOA
    rcode       NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED or a number up to 4095
    delay       seconds before the answer
    truncate    true: over UDP an empty answer with TC set
    edns        false: FORMERR (without a question) to whatever carries an OPT record
    count       that many made-up records instead of the listed ones (10.0.0.0 upwards, 2001:db8:: upwards)
    hostile     one of HOSTILE_MODES; "then_right": true sends the right answer behind it
    tcp         refuse, silence, garbage, cut, slow: what TCP does instead of answering
    sequence    a list: the n-th question of a type gets the n-th element, the last one for ever; an element is a list
                of addresses or an entry that overrides this one

`rcode`, `delay`, `truncate`, `edns`, `hostile`, `ttl`, `tcp` may also be `{"A": ..., "AAAA": ...}`: by the question's
type.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Any

TYPES = {"A": 1, "CNAME": 5, "SOA": 6, "AAAA": 28, "OPT": 41}
TYPE_NAMES = {number: name for name, number in TYPES.items()}
RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}

HOSTILE_MODES = (
    "wrong_id", "wrong_question", "wrong_type", "wrong_owner", "no_question", "not_a_response", "other_address",
    "other_port", "oversized", "garbage", "empty", "cut", "pointer_loop", "pointer_bomb", "counts", "silence",
)  # fmt: skip

Entry = dict[str, Any]
Zone = dict[str, Entry]


@dataclass(frozen=True)
class Question:
    """One question as it came. `type` is "A", "AAAA" or "TYPE<n>"; `port` the client's source port."""

    name: str
    type: str
    id: int
    edns: bool
    transport: str
    port: int


@dataclass(frozen=True)
class Reply:
    """What to send, in this order: (bytes, way); way is "", "other_address" or "other_port". `tcp`: see the module."""

    messages: tuple[tuple[bytes, str], ...]
    delay: float = 0.0
    tcp: str = ""


def parse_question(data: bytes, transport: str, port: int) -> Question | None:
    """The question of a query; None when it is none."""
    try:
        identity, flags, questions, _, _, additional = struct.unpack_from("!6H", data)
        at, labels = 12, []
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
            at += 1 + data[at]
        number, _ = struct.unpack_from("!2H", data, at + 1)
    except (struct.error, IndexError):
        return None
    if flags & 0x8000 or questions != 1:
        return None
    return Question(
        ".".join(labels).lower(), TYPE_NAMES.get(number, f"TYPE{number}"), identity, additional > 0, transport, port
    )


def print_name(name: str) -> bytes:
    """A name without compression."""
    labels = [label.encode("latin-1") for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def print_record(owner: bytes, number: int, ttl: int, data: bytes, class_: int = 1) -> bytes:
    """One resource record; `owner` is printed already (or a pointer)."""
    return owner + struct.pack("!2HIH", number, class_, ttl, len(data)) + data


def print_message(
    question: Question,
    *,
    rcode: int = 0,
    flags: int = 0x8180,
    answers: list[bytes] | None = None,
    authority: list[bytes] | None = None,
    identity: int | None = None,
    name: str | None = None,
    type_: str | None = None,
    with_question: bool = True,
) -> bytes:
    """A whole answer. `rcode` above 15 goes into an OPT record (RFC 6891, section 6.1.3)."""
    answers, authority = answers or [], authority or []
    additional = []
    if question.edns or rcode > 15:
        additional = [print_record(b"\0", TYPES["OPT"], rcode >> 4 << 24, b"", class_=4096)]
    number = _number(type_ or question.type)
    asked = print_name(name or question.name) + struct.pack("!2H", number, 1) if with_question else b""
    head = struct.pack(
        "!6H",
        question.id if identity is None else identity,
        flags | rcode & 15,
        int(with_question),
        len(answers),
        len(authority),
        len(additional),
    )
    return head + asked + b"".join(answers + authority + additional)


class ZoneAnswers:
    """Answers from a zone. `zone` may be changed or replaced between questions."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._asked: dict[tuple[str, str], int] = {}

    def reply_to(self, question: Question) -> Reply:
        """The reply to one question; moves `sequence` on."""
        entry = self._entry(question)
        if question.edns and self._of(entry, "edns", question.type, True) is False:
            bare = Question(question.name, question.type, question.id, False, question.transport, question.port)
            return Reply(((print_message(bare, rcode=1, with_question=False), ""),))
        delay = float(self._of(entry, "delay", question.type, 0.0))
        tcp = str(self._of(entry, "tcp", question.type, ""))
        if question.transport == "udp" and self._of(entry, "truncate", question.type, False):
            return Reply(((print_message(question, flags=0x8380), ""),), delay)
        right = self._right(question, entry)
        mode = self._of(entry, "hostile", question.type, None)
        if mode is None:
            return Reply(((right, ""),), delay, tcp)
        spoilt = self._spoilt(question, right, mode)
        follow = ((right, ""),) if entry.get("then_right") else ()
        return Reply(spoilt + follow, delay, tcp)

    def _entry(self, question: Question) -> Entry:
        entry = find_entry(self.zone, question.name)
        if entry is None:
            return {"rcode": "NXDOMAIN"}
        sequence = entry.get("sequence")
        if not sequence:
            return entry
        asked = self._asked.get((question.name, question.type), 0)
        self._asked[question.name, question.type] = asked + 1
        step = sequence[min(asked, len(sequence) - 1)]
        if isinstance(step, dict):
            return {**entry, **step}
        return {**entry, "A": [a for a in step if ":" not in a], "AAAA": [a for a in step if ":" in a]}

    @staticmethod
    def _of(entry: Entry, key: str, type_: str, default: Any) -> Any:
        value = entry.get(key, default)
        return value.get(type_, default) if isinstance(value, dict) else value

    def _right(self, question: Question, entry: Entry) -> bytes:
        answers: list[bytes] = []
        owner, seen = question.name, set()
        while "CNAME" in entry and owner not in seen:
            seen.add(owner)
            target = entry["CNAME"].rstrip(".").lower()
            ttl = self._of(entry, "ttl", question.type, 60)
            answers.append(print_record(print_name(owner), TYPES["CNAME"], ttl, print_name(target)))
            owner, entry = target, find_entry(self.zone, target) or {"rcode": "NXDOMAIN"}
        rcode = self._of(entry, "rcode", question.type, "NOERROR")
        number = RCODES[rcode] if isinstance(rcode, str) else rcode
        if "CNAME" not in entry and number == 0:
            ttl = self._of(entry, "ttl", question.type, 60)
            pointer = b"\xc0\x0c" if owner == question.name else print_name(owner)
            answers += [
                print_record(pointer, TYPES[question.type], ttl, packed) for packed in _addresses(entry, question.type)
            ]
            negative = not _addresses(entry, question.type)
        else:
            negative = number == 3
        minimum = entry.get("minimum", 5)
        authority = []
        if negative and minimum is not None:
            soa = print_name("ns.test") + print_name("admin.test") + struct.pack("!5I", 1, 2, 3, 4, minimum)
            authority = [print_record(print_name(owner.rpartition(".")[2]), TYPES["SOA"], 86400, soa)]
        return print_message(question, rcode=number, answers=answers, authority=authority)

    def _spoilt(self, question: Question, right: bytes, mode: str) -> tuple[tuple[bytes, str], ...]:
        evil = b"\x06\x06\x06\x06" if question.type == "A" else ipaddress.ip_address("2001:db8:666::6").packed
        number = TYPES.get(question.type, 1)
        answers = [print_record(b"\xc0\x0c", number, 3600, evil)]
        if mode in ("other_address", "other_port"):
            return ((print_message(question, answers=answers), mode),)
        if mode == "silence":
            return ()
        return ((_spoil(question, right, mode, answers, number, evil), ""),)


def _spoil(question: Question, right: bytes, mode: str, answers: list[bytes], number: int, evil: bytes) -> bytes:
    match mode:
        case "wrong_id":
            return print_message(question, identity=question.id ^ 1, answers=answers)
        case "wrong_question":
            return print_message(question, name="other." + question.name, answers=answers)
        case "wrong_type":
            return print_message(question, type_="AAAA" if question.type == "A" else "A", answers=answers)
        case "no_question":
            bare = [print_record(print_name(question.name), number, 3600, evil)]
            return print_message(question, with_question=False, answers=bare)
        case "wrong_owner":
            return print_message(question, answers=[print_record(print_name("owner.evil.test"), number, 3600, evil)])
        case "not_a_response":
            return print_message(question, flags=0x0100, answers=answers)
        case "oversized":
            return print_message(question, answers=answers * 3000)[:60000]
        case "garbage":
            return bytes(range(256)) * 2
        case "empty":
            return b""
        case "cut":
            return right[:-3]
        case "counts":
            return right[:6] + struct.pack("!3H", 65535, 65535, 65535) + right[12:]
        case "pointer_loop":
            return print_message(question, answers=[b"\xc0" + bytes([len(right)])] + answers)
        case "pointer_bomb":
            at = len(print_message(question, with_question=True)) - (11 if question.edns else 0) + 11
            chain = [struct.pack("!H", 0xC000 | at - 11)]
            while len(chain) < 7000:
                chain.append(struct.pack("!H", 0xC000 | at + 2 * (len(chain) - 1)))
            rows = [print_record(b"\0", 999, 0, b"".join(chain))]
            rows += [print_record(struct.pack("!H", 0xC000 | at + 2 * 6999), number, 60, evil)] * 2000
            return print_message(question, answers=rows)
    raise ValueError(f"unknown hostile mode {mode!r}")


def find_entry(zone: Zone, name: str, default: Entry | None = None) -> Any:
    """The entry of a name: itself, else the nearest wildcard above it, else `default`."""
    if name in zone:
        return zone[name]
    rest = name
    while rest:
        rest = rest.partition(".")[2]
        wildcard = f"*.{rest}" if rest else "*"
        if wildcard in zone:
            return zone[wildcard]
    return default


def _number(type_: str) -> int:
    return TYPES[type_] if type_ in TYPES else int(type_[4:])


def _addresses(entry: Entry, type_: str) -> list[bytes]:
    if type_ not in ("A", "AAAA"):
        return []
    count = entry.get("count")
    if count:
        first = int(ipaddress.ip_address("10.0.0.0" if type_ == "A" else "2001:db8::"))
        return [(first + index).to_bytes(4 if type_ == "A" else 16, "big") for index in range(count)]
    return [ipaddress.ip_address(text).packed for text in entry.get(type_, [])]
