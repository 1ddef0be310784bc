"""Children without processes, for the supervisor's side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.error import ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from netfw.transport.deadlines import Deadlines
from netfw.workers import messages
from netfw.workers.child import Child, ChildOwner
from netfw.workers.distribution import Published
from netfw.workers.messages import LIMIT_TO_WORKER, TO_WORKER, MessageReader, to_bytes
from netfw.workers.supervisor import Supervisor


class ScriptedChild(Child):
    """A child that a test speaks for. `heard_of` is what it was sent; a kill ends it at once."""

    next_pid = 1_000_000

    def __init__(self, number: int, owner: ChildOwner, now: Callable[[], float]) -> None:
        super().__init__(number, owner, now)
        ScriptedChild.next_pid += 1
        self.pid = ScriptedChild.next_pid
        self.killed = False
        self._messages: list[Any] = []
        self._read = MessageReader(TO_WORKER, LIMIT_TO_WORKER)

    def send(self, message: messages.ToWorker) -> None:
        """Read by the test."""
        self._messages.append(message)

    def send_with_files(self, message: messages.ToWorker, descriptors: Sequence[int]) -> None:
        """Likewise; descriptors are of no concern."""
        self._messages.append(message)

    def send_bytes(self, data: bytes) -> None:
        """Likewise."""
        self._messages += self._read.feed(data)

    def sent_to(self) -> list[Any]:
        """What came since the last call, pings left out."""
        got, self._messages = self._messages, []
        return [message for message in got if not isinstance(message, messages.Ping)]

    def say(self, message: messages.FromWorker) -> None:
        """As if the process had sent it."""
        self._received(message)

    def kill(self) -> None:
        """It ends."""
        self.killed = True
        self.end()

    def end(self) -> None:
        """The process is no more."""
        self.processEnded(Failure(ProcessTerminated(signal=9)))

    def come_up(self) -> None:
        """Take every snapshot and swap that it is sent, until it serves by the newest."""
        while True:
            got = self.sent_to()
            if not got:
                return
            for message in got:
                if isinstance(message, messages.Snapshot):
                    self.say(messages.SnapshotAccepted(message.serial))
                elif isinstance(message, messages.Swap):
                    self.say(messages.Swapped(message.serial))


def reply(serial: int, connections: int = 0, requests: int = 0) -> messages.StatusReply:
    """A worker's figures: `requests` is what a counter and the records stand at."""
    return messages.StatusReply(
        serial=serial,
        connections=connections,
        tunnels=0,
        upstream_idle=0,
        refused={"draining": requests},
        records={"written": requests, "dropped": 0, "errors": 0},
        families=[
            ["netfw_things", "Things.", "counter", [["netfw_things_total", [["kind", "a"]], requests]]],
            ["netfw_open", "Open.", "gauge", [["netfw_open", [], connections]]],
        ],
        pins=[{"host": "a.test", "client": "10.0.0.1", "signs": {"closed": requests}, "first": 1, "last": 2}]
        if requests
        else [],
    )


def published(serial: int) -> Published:
    """A policy of this number."""
    return Published(serial, serial, (to_bytes(messages.Snapshot(serial, serial, 0.0, b"policy")),))


class Pool:
    """A supervisor of scripted children."""

    def __init__(self, places: int = 2) -> None:
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.spawned: list[ScriptedChild] = []
        self.refuse_to_spawn = 0
        self.lines: list[bytes] = []
        self.changes = 0
        self.supervisor = Supervisor(
            reactor=self.clock,
            deadlines=self.deadlines,
            places=places,
            spawn=self._spawn,
            start_message=lambda number: messages.Start(number, {}, (), {}),
            first=published(1),
            signer=None,
            drain_seconds=30.0,
            changed=self._changed,
            printed=self.lines.append,
        )

    reply = staticmethod(reply)
    published = staticmethod(published)

    def _changed(self) -> None:
        self.changes += 1

    def _spawn(self, number: int, owner: ChildOwner) -> ScriptedChild:
        if self.refuse_to_spawn:
            self.refuse_to_spawn -= 1
            raise OSError("no more processes")
        child = ScriptedChild(number, owner, self.deadlines.seconds)
        self.spawned.append(child)
        return child

    def pass_time(self, seconds: float) -> None:
        """In small steps."""
        for _ in range(round(seconds * 4)):
            self.clock.advance(0.25)

    def started(self) -> list[ScriptedChild]:
        """Start, and let all come up."""
        self.supervisor.start()
        children = list(self.spawned)
        for child in children:
            child.come_up()
        return children


@pytest.fixture
def pool() -> Pool:
    """Two places."""
    return Pool()
