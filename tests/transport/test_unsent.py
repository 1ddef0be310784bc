"""Bytes that wait for the kernel."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.transport import pipes
from netfw.transport.pipes import SHARED, Pipe
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


needs_splice = pytest.mark.skipif(not pipes.AVAILABLE, reason="this platform has no splice")


def pipe_of(data):
    pipe = SHARED.borrow()
    assert isinstance(pipe, Pipe)
    pipe.held = os.write(pipe.writer, data)
    return pipe


@needs_splice
@given(st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=2000)), min_size=1, max_size=20))
def test_pipes_keep_their_place(pieces):
    """Bytes in the kernel go out in their order between bytes in memory, and their pipes go back empty."""
    SHARED.close()
    unsent = Unsent()
    for in_kernel, data in pieces:
        unsent.keep(pipe_of(data) if in_kernel else data)
    assert unsent.size == sum(len(data) for _, data in pieces)
    near, far = socket.socketpair()
    with near, far:
        sent = 0
        while unsent.size:
            sent += unsent.send(near)
        assert far.recv(1 << 20, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == b"".join(data for _, data in pieces)
    assert sent == sum(len(data) for _, data in pieces)
    assert len(SHARED) == sum(in_kernel for in_kernel, _ in pieces)
    SHARED.close()


@needs_splice
def test_clear_closes_pipes():
    """What they hold is for nobody else."""
    SHARED.close()
    unsent = Unsent()
    pipe = pipe_of(b"secret")
    reader = pipe.reader
    unsent.keep(pipe)
    assert pipe.has_moved
    unsent.clear()
    assert len(SHARED) == 0
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(reader)
