"""What supervisor and workers say: every message survives the way, nothing else is taken for one."""

import json
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.workers import messages
from netfw.workers.messages import FROM_WORKER, TO_WORKER, MessageError, MessageReader, to_bytes

LIMIT = 1 << 20
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def any_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Messages of this kind."""
    members = {}
    for name, hint in get_type_hints(kind).items():
        members[name] = JSON if hint is Any else st.from_type(hint)
        if hint is float:
            members[name] = st.floats(allow_nan=False, allow_infinity=False)
    return st.builds(kind, **members)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The same bytes, cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


@given(st.sampled_from([TO_WORKER, FROM_WORKER]), st.data())
def test_messages_arrive_as_they_were_sent_however_they_are_cut(direction: tuple[type, ...], data: Any) -> None:
    """Several at once too, in both directions."""
    sent = data.draw(st.lists(st.one_of([any_of(kind) for kind in direction]), max_size=4))
    reader = MessageReader(direction, LIMIT)
    got = []
    for piece in in_pieces(b"".join(map(to_bytes, sent)), data.draw(st.lists(st.integers(0), max_size=6))):
        got += reader.feed(piece)
    assert got == sent


def framed(body: bytes) -> bytes:
    """A body as the channel carries it."""
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}\n",
        b'["Ping",{"serial":1}]',
        b'["Ping",{"serial":1}]\nmore',
        b'["Ping",{"serial":true}]\n',
        b'["Ping",{"serial":1.0}]\n',
        b'["Ping",{"serial":null}]\n',
        b'["Ping",{}]\n',
        b'["Ping",{"serial":1,"more":2}]\n',
        b'["Ping",[1]]\n',
        b'["Pong",{"serial":1}]\n',
        b'["Nothing",{}]\n',
        b'["Drain",{"seconds":NaN}]\n',
        b'["Drain",{"seconds":Infinity}]\n',
        b'["Snapshot",{"serial":1,"generation":1,"at":1.0,"payload":"x"}]\n',
        b'[["Ping"],{"serial":1}]\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
    ],
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    """Unknown kinds, those of the other direction, members too many, too few and of another type."""
    with pytest.raises(MessageError):
        MessageReader(TO_WORKER, LIMIT).feed(framed(body))


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_refused(data: bytes) -> None:
    """Nothing else is raised."""
    try:
        MessageReader(FROM_WORKER, 4096).feed(framed(data) + data)
    except MessageError:
        pass


def test_a_message_at_the_limit_is_read_and_one_beyond_is_not_waited_for() -> None:
    """Its length is enough to refuse it."""
    message = messages.Pong(12345)
    data = to_bytes(message)
    assert MessageReader(FROM_WORKER, len(data) - 4).feed(data) == [message]
    with pytest.raises(MessageError):
        MessageReader(FROM_WORKER, len(data) - 5).feed(data[:4])


def test_the_policy_travels_beside_the_json() -> None:
    """A large one is not read by the reactor's thread."""
    message = messages.Snapshot(1, 2, 3.0, b'{"a":\n"b"}\xff')
    data = to_bytes(message)
    assert data.endswith(b'\n{"a":\n"b"}\xff')
    assert MessageReader(TO_WORKER, LIMIT).feed(data) == [message]


def test_no_message_has_a_place_for_a_private_key() -> None:
    """Workers send public keys, and certificates come back."""
    names = {name for kind in (*TO_WORKER, *FROM_WORKER) for name in get_type_hints(kind)}
    assert [name for name in names if "key" in name] == ["public_key"]


def test_numbers_that_json_cannot_say_are_not_sent() -> None:
    """Rather than sent as something that nobody reads."""
    with pytest.raises(ValueError, match="JSON"):
        to_bytes(messages.Drain(float("nan")))
    assert json.loads(to_bytes(messages.Drain(0.25))[4:]) == ["Drain", {"seconds": 0.25}]
