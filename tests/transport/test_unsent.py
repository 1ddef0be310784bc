"""Bytes that wait for the kernel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.transport.unsent import PARTS_A_WRITE, Unsent


class Sink:
    """A socket that takes as many bytes at a time as it is told to."""

    def __init__(self, room):
        self.room, self.got = room, b""

    def send(self, data):
        taken = bytes(data[: self.room])
        self.got += taken
        return len(taken)

    def sendmsg(self, parts):
        assert len(parts) <= PARTS_A_WRITE
        return self.send(b"".join(parts))


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=200), st.integers(1, 500))
def test_sends_all_in_order(parts, room):
    """However little is taken at a time, all of it comes out once and in order."""
    unsent, sink = Unsent(), Sink(room)
    for part in parts:
        unsent.keep(part)
    assert unsent.size == sum(map(len, parts))
    while unsent.size:
        before = unsent.size
        assert unsent.send(sink) == before - unsent.size
    assert sink.got == b"".join(parts)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_what_can_change_is_copied(kind):
    """A buffer of the caller is kept as it was."""
    unsent, sink, memory = Unsent(), Sink(10), bytearray(b"good")
    unsent.keep(kind(memory))
    memory[:] = b"evil"
    unsent.send(sink)
    assert sink.got == b"good"


def test_bytes_are_not_copied():
    """A view of bytes is kept as the view that it is."""
    data = bytes(1 << 20)
    view = memoryview(data)[1:]
    unsent, seen = Unsent(), []
    unsent.keep(view)
    sink = Sink(1)
    sink.send = lambda part: seen.append(part) or 1
    unsent.send(sink)
    assert seen[0] is view


def test_clear():
    """Nothing is left."""
    unsent = Unsent()
    unsent.keep(b"x")
    unsent.clear()
    assert unsent.size == 0
