"""Pipes, what stands in for one, and their pool."""

import errno
import fcntl
import os

import pytest

from netfw.testing.streams import tcp_pair
from netfw.transport import pipes
from netfw.transport.pipes import Buffer, Pipe, PipePool

pytestmark = pytest.mark.skipif(not pipes.AVAILABLE, reason="this platform has no splice")

F_GETPIPE_SZ = 1032


@pytest.fixture
def pool():
    pool = PipePool(capacity=2, large=2)
    yield pool
    pool.close()


@pytest.fixture
def pair():
    near, far = tcp_pair()
    yield near, far
    near.close()
    far.close()


def test_a_pipe_carries_bytes(pool, pair):
    """From a socket into the pipe, and into another socket; it knows what it holds."""
    near, far = pair
    other, end = tcp_pair()
    for carrier in (pool.borrow(), Buffer()):
        with pytest.raises(BlockingIOError):
            carrier.fill(near.fileno())
        far.send(b"hello")
        assert (carrier.fill(near.fileno()), carrier.held) == (5, 5)
        assert (carrier.drain(other.fileno()), carrier.held) == (5, 0)
        assert end.recv(10) == b"hello"
        pool.give_back(carrier)
    far.close()
    for carrier in (pool.borrow(), Buffer()):
        assert carrier.fill(near.fileno()) == 0
        carrier.close()
    other.close()
    end.close()


def test_the_pool_keeps_empty_pipes(pool):
    """A pipe that was given back is borrowed again; no more than the capacity are kept."""
    borrowed = [pool.borrow() for _ in range(3)]
    assert len({pipe.reader for pipe in borrowed}) == 3
    for pipe in borrowed:
        pool.give_back(pipe)
    assert len(pool) == 2
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(borrowed[2].reader)
    assert pool.borrow() is borrowed[1]


def test_a_pipe_with_bytes_is_not_kept(pool, pair):
    """Another relay must never get them."""
    near, far = pair
    pipe = pool.borrow()
    far.send(b"secret")
    pipe.fill(near.fileno())
    pool.give_back(pipe)
    assert len(pool) == 0
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(pipe.reader)


def test_only_the_first_pipes_are_large(pool):
    """Memory of pipes is limited for each user, so not every pipe asks for more than the usual."""
    sizes = [fcntl.fcntl(pool.borrow().reader, F_GETPIPE_SZ) for _ in range(3)]
    assert sizes[0] == sizes[1] == 1 << 20 or sizes[0] <= 1 << 16  # the second where this user has used up its limit
    assert sizes[2] <= 1 << 16


def test_a_refused_size_is_not_asked_for_again(monkeypatch):
    """EPERM: the usual size will do, for this pipe and the next."""
    asked = []

    def refuse(fd, command, size):
        asked.append(size)
        raise PermissionError(errno.EPERM, "no")

    pool = PipePool()
    monkeypatch.setattr(pipes.fcntl, "fcntl", refuse)
    borrowed = [pool.borrow(), pool.borrow()]
    assert (len(asked), [type(pipe) for pipe in borrowed]) == (1, [Pipe, Pipe])
    for pipe in borrowed:
        pool.give_back(pipe)
    pool.close()
    assert len(pool) == 0


def test_without_descriptors_bytes_are_copied(monkeypatch, pool):
    """A buffer instead of a pipe; it is not kept."""

    def none_left(flags):
        raise OSError(errno.EMFILE, "none left")

    monkeypatch.setattr(os, "pipe2", none_left)
    buffer = pool.borrow()
    assert isinstance(buffer, Buffer)
    pool.give_back(buffer)
    assert len(pool) == 0


def test_no_more_than_asked_for_is_taken(pool, pair):
    """What comes behind it stays in the socket."""
    near, far = pair
    pipe = pool.borrow()
    far.send(b"hello")
    assert (pipe.fill(near.fileno(), 2), len(pipe)) == (2, 2)
    assert near.recv(10) == b"llo"
    pool.give_back(pipe)


def test_a_moved_pipe_is_nothing(pool, pair):
    """Who keeps it has its bytes and its descriptors; what is left is empty."""
    near, far = pair
    pipe = pool.borrow()
    far.send(b"hello")
    pipe.fill(near.fileno())
    assert not pipe.has_moved
    kept = pipe.move()
    assert (len(kept), len(pipe), pipe.has_moved, kept.has_moved) == (5, 0, True, False)
    assert os.read(kept.reader, 10) == b"hello"
    kept.close()
