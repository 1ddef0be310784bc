"""The channel between supervisor and worker over a real socket pair: messages, descriptors, its end."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from netfw.testing.reactor_runs import run_in_reactor
from netfw.workers.channel import Channel, adopt_channel
from netfw.workers.messages import FROM_WORKER, LIMIT_TO_WORKER, TO_WORKER, Forget, Message

LATER = 0.01


@dataclass
class End:
    """One end and what came there."""

    known: Any
    channel: Channel = field(init=False)
    got: list[Message] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    breaks_at: Message | None = None

    def __post_init__(self) -> None:
        self.channel = Channel(self.known, LIMIT_TO_WORKER, received=self.take, lost=self.lost.append)

    def take(self, message: Message) -> None:
        if message == self.breaks_at:
            raise RuntimeError("a handler that breaks")
        self.got.append(message)


async def until(reactor: Any, condition: Callable[[], object]) -> None:
    """Wait for it; the runner has a deadline."""
    while not condition():
        waited: Deferred[None] = Deferred()
        reactor.callLater(LATER, waited.callback, None)
        await waited


def with_ends(scenario: Callable[[Any, End, End, socket.socket], Awaitable[None]]) -> None:
    """Run it with a supervisor's and a worker's end; both are closed behind it. The socket spoils what the worker says.
    """

    async def run(reactor: Any) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        spoiling = theirs.dup()
        spoiling.setblocking(False)
        supervisor, worker = End(FROM_WORKER), End(TO_WORKER)
        adopt_channel(reactor, ours, supervisor.channel)
        adopt_channel(reactor, theirs, worker.channel)
        try:
            await scenario(reactor, supervisor, worker, spoiling)
        finally:
            supervisor.channel.close()
            worker.channel.close()
            await until(reactor, lambda: supervisor.lost and worker.lost)
            spoiling.close()

    run_in_reactor(run)


def pipe_with(content: bytes) -> int:
    """A descriptor to read this from."""
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return reading


def read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def test_descriptors_come_with_their_message() -> None:
    """In their order, before the next message's, as copies that no child inherits; the sender's stay its own."""

    async def scenario(reactor: Any, supervisor: End, worker: End, _: socket.socket) -> None:
        sent = [pipe_with(b"%d" % number) for number in range(5)]
        supervisor.channel.send_with_files(Forget(1), sent[:2])
        supervisor.channel.send(Forget(2))
        supervisor.channel.send_with_files(Forget(3), sent[2:])
        await until(reactor, lambda: len(worker.got) == 3)
        assert worker.got == [Forget(1), Forget(2), Forget(3)]
        first, second = worker.channel.take_files(2), worker.channel.take_files(3)
        assert worker.channel.take_files(1) == []
        assert not any(os.get_inheritable(descriptor) for descriptor in first + second)
        assert [read_all(descriptor) for descriptor in first + second] == [b"0", b"1", b"2", b"3", b"4"]
        for descriptor in sent:
            os.close(descriptor)  # OSError where it was closed already

    with_ends(scenario)


def test_descriptors_that_nobody_took_are_closed() -> None:
    """When the channel ends: a worker that is told to stop must not keep what it never looked at."""

    async def scenario(reactor: Any, supervisor: End, worker: End, _: socket.socket) -> None:
        reading, writing = os.pipe()
        supervisor.channel.send_with_files(Forget(1), [writing])
        await until(reactor, lambda: worker.got)
        os.close(writing)
        supervisor.channel.close()
        await until(reactor, lambda: worker.lost)
        assert read_all(reading) == b""  # ends only when no writer is left

    with_ends(scenario)


def test_its_end_is_told_once_and_nothing_is_sent_into_it() -> None:
    """What was sent before arrives."""

    async def scenario(reactor: Any, supervisor: End, worker: End, _: socket.socket) -> None:
        supervisor.channel.send(Forget(7))
        supervisor.channel.close()
        await until(reactor, lambda: worker.lost and supervisor.lost)
        assert worker.got == [Forget(7)]
        assert not worker.channel.open and not supervisor.channel.open
        before = len(os.listdir("/proc/self/fd"))
        worker.channel.send(Forget(8))
        worker.channel.send_with_files(Forget(9), [0])
        assert len(os.listdir("/proc/self/fd")) == before
        assert (len(worker.lost), len(supervisor.lost)) == (1, 1)

    with_ends(scenario)


def test_what_is_no_message_ends_it() -> None:
    """The other side is ours: whatever else comes is a fault, and nothing behind it is read."""

    async def scenario(reactor: Any, supervisor: End, worker: End, spoiling: socket.socket) -> None:
        spoiling.send(b"\xff" * 64)
        await until(reactor, lambda: supervisor.lost)
        assert supervisor.got == []
        assert not supervisor.channel.open

    with_ends(scenario)


@pytest.mark.parametrize("broken", [Forget(1), Forget(2)])
def test_a_handler_that_breaks_costs_its_message_only(broken: Message) -> None:
    """The others are taken."""

    async def scenario(reactor: Any, supervisor: End, worker: End, _: socket.socket) -> None:
        worker.breaks_at = broken
        for serial in (1, 2, 3):
            supervisor.channel.send(Forget(serial))
        await until(reactor, lambda: Forget(3) in worker.got)
        assert [message for message in (Forget(1), Forget(2)) if message in worker.got] != [Forget(1), Forget(2)]
        assert len(worker.got) == 2

    with_ends(scenario)


def test_messages_of_the_other_direction_are_none() -> None:
    """A worker takes what supervisors say, and nothing else."""

    async def scenario(reactor: Any, supervisor: End, worker: End, spoiling: socket.socket) -> None:
        worker.channel.send(Forget(1))
        await until(reactor, lambda: supervisor.lost)
        assert supervisor.got == []

    with_ends(scenario)
