"""The bytes in tests/corpus/http1: each has the fate that its table says."""

import tomllib
from pathlib import Path

import pytest

from netfw.http1.errors import FramingError
from netfw.http1.events import BodyReceived, MessageComplete, RequestHeadReceived
from netfw.http1.forwarding import forward_request
from netfw.http1.framing import Framing
from netfw.http1.heads import print_request_head
from netfw.http1.limits import HeadLimits
from netfw.http1.reader import RequestReader, ResponseReader
from netfw.http1.target import parse_target
from netfw.names.authority import parse_authority

CORPUS = Path(__file__).parents[1] / "corpus" / "http1"
CASES = tomllib.loads((CORPUS / "cases.toml").read_text())


def events_of(reader, data, size):
    """The events of data fed in pieces of this size, up to the first complete message; then EOF, for responses."""
    events = []
    for i in range(0, len(data), size):
        reader.feed(data[i : i + size])
        while (event := reader.next_event()) is not None:
            events.append(event)
            if isinstance(event, RequestHeadReceived):
                parse_target(event.head.method, event.head.target)
    if isinstance(reader, ResponseReader):
        reader.feed_eof()
        reader.next_event()
    return events


def test_every_file_has_its_table():
    """Neither a file nor a table stands alone, and the README says how to add both."""
    assert {path.stem for path in CORPUS.glob("*.bin")} == set(CASES)
    assert "cases.toml" in (CORPUS / "README.md").read_text()
    for case in CASES.values():
        assert set(case) == {"direction", "status", "why"}


@pytest.mark.parametrize("size", [1 << 20, 1], ids=["whole", "octets"])
@pytest.mark.parametrize("name", CASES)
def test_the_bytes_have_their_fate(name, size):
    """Hostile bytes are refused with their status, lawful ones give one complete message."""
    case = CASES[name]
    data = (CORPUS / f"{name}.bin").read_bytes()
    if case["direction"] == "response":
        reader = ResponseReader(HeadLimits())
        reader.expect(b"GET")
        assert case["status"] == 502
        with pytest.raises(FramingError):
            events_of(reader, data, size)
    elif case["status"]:
        with pytest.raises(FramingError) as caught:
            events_of(RequestReader(HeadLimits()), data, size)
        assert caught.value.status_hint == case["status"]
    else:
        events = events_of(RequestReader(HeadLimits()), data, size)
        assert isinstance(events[-1], MessageComplete)


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case["status"] == 0 and "connect" not in name]
)
def test_lawful_bytes_leave_in_our_own_form(name):
    """What is forwarded has canonical Host, one framing field, trimmed values, no Proxy and nothing nominated."""
    events = events_of(RequestReader(HeadLimits()), (CORPUS / f"{name}.bin").read_bytes(), 1 << 20)
    head, framing = events[0].head, events[0].framing
    target = parse_target(head.method, head.target)
    authority = target.authority or parse_authority(head.fields.single(b"host"), 80)
    printed = print_request_head(forward_request(head, target, authority=authority, via=b"netfw", framing=framing))
    reader = RequestReader(HeadLimits())
    reader.feed(printed)
    again = reader.next_event()
    assert again.framing == framing
    assert not again.head.fields.has_any(frozenset([b"proxy", b"connection", b"a"]))
    assert again.head.fields.single(b"host") in (b"a.example", b"denied.example")
    assert all(value == value.strip() for _, value in again.head.fields)


def test_many_small_chunks_are_one_piece_of_content():
    """Five thousand chunks cost a loop and give their content."""
    events = events_of(RequestReader(HeadLimits()), (CORPUS / "cve-2024-25111-many-chunks.bin").read_bytes(), 1 << 20)
    assert events[0].framing == Framing.CHUNKED
    assert [event.data for event in events if isinstance(event, BodyReceived)] == [b"a" * 5000]


def test_bytes_behind_connect_are_kept():
    """They are neither read nor lost."""
    reader = RequestReader(HeadLimits())
    events_of(reader, (CORPUS / "cve-2025-64763-bytes-behind-connect.bin").read_bytes(), 1 << 20)
    assert reader.remaining() == b"GET /early HTTP/1.1\r\n\r\n"
