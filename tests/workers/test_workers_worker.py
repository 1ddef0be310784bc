"""A worker as it sees itself: policy first, then service; every end leaves nothing behind."""

import os
from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from netfw.transport.deadlines import Deadlines
from netfw.workers import messages
from netfw.workers.worker import Parts, Worker

FIGURES = {"connections": 0, "tunnels": 0, "upstream_idle": 0, "refused": {}, "records": {}, "families": [], "pins": []}


class Path:
    """A data path that notes what it is told."""

    def __init__(self) -> None:
        self.did: list[Any] = []
        self.drained: Deferred[None] = Deferred()
        self.reconfigured: Deferred[None] = Deferred()
        self.trouble: Exception | None = None

    def begin(self) -> None:
        """Serve."""
        if self.trouble is not None:
            raise self.trouble
        self.did.append("begin")

    def reopen(self) -> None:
        """Rotate."""
        self.did.append("reopen")

    def open_port(self, position: int, port: int, descriptor: int) -> None:
        """Accept there too."""
        self.did.append(("open", position, port, descriptor))

    def close_port(self, position: int, port: int) -> None:
        """No more."""
        self.did.append(("close", position, port))

    def reconfigure(self, configuration: Any, files: Mapping[str, int]) -> Deferred[None]:
        """Go over to them."""
        self.did.append(("reconfigure", configuration, dict(files)))
        return self.reconfigured

    def drain(self, seconds: float) -> Deferred[None]:
        """Drain."""
        self.did.append(("drain", seconds))
        return self.drained

    def hurry(self, seconds: float) -> None:
        """Faster."""
        self.did.append(("hurry", seconds))

    def end(self) -> None:
        """The end."""
        self.did.append("end")

    def figures(self) -> dict[str, Any]:
        """Nothing."""
        return dict(FIGURES)


class Policies:
    """Compiles what is not bad at once."""

    def __init__(self) -> None:
        self.prepared: int | None = None
        self.forgotten: list[int] = []

    def take(self, snapshot: messages.Snapshot) -> Deferred[Any] | None:
        """Or not."""
        if snapshot.payload == b"more follows":
            return None
        if snapshot.payload == b"bad":
            return succeed(("bad",))
        self.prepared = snapshot.serial
        return succeed(())

    def swap(self, serial: int) -> bool:
        """If it is the one."""
        return serial == self.prepared

    def forget(self, serial: int) -> None:
        """Free it."""
        self.forgotten.append(serial)


class Issuer:
    """Only closed."""

    closed = False

    def close(self) -> None:
        """No leaves any more."""
        self.closed = True


class Process:
    """A worker with everything around it."""

    def __init__(self, build_fails: bool = False) -> None:
        self.clock = Clock()
        self.path = Path()
        self.policies = Policies()
        self.issuer = Issuer()
        self.said: list[Any] = []
        self.closed = 0
        self.stopped: list[int] = []
        self.build_fails = build_fails
        self.came: list[int] = []
        self.worker = Worker(
            build=self._build,
            send=self.said.append,
            close=self._close,
            stop=self.stopped.append,
            take_files=lambda count: [self.came.pop(0) for _ in range(min(count, len(self.came)))],
        )

    def _build(self, start: messages.Start) -> Parts:
        if self.build_fails:
            raise ValueError("a file is not there")
        policies: Any = self.policies
        issuer: Any = self.issuer
        return Parts(self.path, policies, issuer, Deadlines(self.clock), 30.0)

    def _close(self) -> None:
        self.closed += 1

    def hear(self, *heard: Any) -> None:
        """From the supervisor."""
        for message in heard:
            self.worker.received(message)


START = messages.Start(1, {}, (), {})
SNAPSHOT = messages.Snapshot(5, 2, 0.0, b"good")


@pytest.fixture
def process() -> Process:
    """One that serves."""
    process = Process()
    process.hear(START, SNAPSHOT, messages.Swap(5))
    return process


def test_it_serves_from_the_first_swap_on() -> None:
    """Compiled first, then acknowledged, then swapped, then accepting."""
    process = Process()
    process.hear(START, SNAPSHOT)
    assert process.said == [messages.SnapshotAccepted(5)]
    assert process.path.did == []
    process.hear(messages.Swap(5))
    assert process.said[1:] == [messages.Swapped(5)]
    assert process.path.did == ["begin"]
    process.hear(messages.Snapshot(6, 3, 0.0, b"good"), messages.Swap(6))
    assert process.path.did == ["begin"]


def test_a_snapshot_in_parts_is_answered_once(process: Process) -> None:
    """When all of it is there."""
    process.said.clear()
    process.hear(messages.Snapshot(6, 3, 0.0, b"more follows"), messages.Snapshot(6, 3, 0.0, b"good"))
    assert process.said == [messages.SnapshotAccepted(6)]


def test_a_bad_snapshot_is_refused(process: Process) -> None:
    """And what was in force goes on."""
    process.said.clear()
    process.hear(messages.Snapshot(6, 3, 0.0, b"bad"))
    assert process.said == [messages.SnapshotRefused(6, ("bad",))]
    process.hear(messages.Forget(6))
    assert process.policies.forgotten == [6]
    assert process.stopped == []


def test_what_cannot_start_ends_with_1() -> None:
    """The supervisor replaces it, and its log says why."""
    process = Process(build_fails=True)
    process.hear(START, SNAPSHOT, messages.Swap(5))
    assert process.stopped == [1]
    assert process.said == []


def test_what_cannot_serve_ends_with_1() -> None:
    """A record file that cannot be opened, say."""
    process = Process()
    process.path.trouble = OSError("no space")
    process.hear(START, SNAPSHOT, messages.Swap(5))
    assert process.stopped == [1]
    assert messages.Swapped(5) not in process.said


def test_a_swap_to_what_is_not_there_ends_it(process: Process) -> None:
    """It must not go on by another policy than it is thought to have."""
    process.hear(messages.Swap(9))
    assert process.stopped == [1]


def test_it_answers(process: Process) -> None:
    """Pings and questions."""
    process.said.clear()
    process.hear(messages.Ping(3), messages.Status(4), messages.Reopen())
    assert process.said == [messages.Pong(3), messages.StatusReply(serial=4, **FIGURES)]
    assert process.path.did == ["begin", "reopen"]


def test_told_to_drain_it_says_its_last_words_and_closes(process: Process) -> None:
    """When the drain is done; the process ends when the channel has."""
    process.said.clear()
    process.hear(messages.Drain(7.0))
    assert process.path.did == ["begin", ("drain", 7.0)]
    assert process.closed == 0
    process.path.drained.callback(None)
    assert process.path.did[-1] == "end"
    assert process.said == [messages.StatusReply(serial=0, **FIGURES)]
    assert (process.closed, process.stopped) == (1, [])
    process.worker.lost("closed")
    assert process.stopped == [0]


def test_last_words_that_nobody_takes_are_not_waited_for(process: Process) -> None:
    """Five seconds."""
    process.hear(messages.Drain(7.0))
    process.path.drained.callback(None)
    for _ in range(24):
        process.clock.advance(0.25)
    assert process.stopped == [0]


def test_told_again_it_hurries(process: Process) -> None:
    """Zero seconds means at once."""
    process.hear(messages.Drain(7.0), messages.Drain(0.0))
    assert process.path.did == ["begin", ("drain", 7.0), ("hurry", 0.0)]


def test_without_a_supervisor_it_drains_and_ends(process: Process) -> None:
    """Nobody could change its policy any more."""
    process.worker.lost("gone")
    assert process.issuer.closed
    assert process.path.did == ["begin", ("drain", 30.0)]
    process.path.drained.callback(None)
    assert process.path.did[-1] == "end"
    assert process.stopped == [0]


def test_a_supervisor_that_goes_while_it_drains_changes_nothing(process: Process) -> None:
    """It ends when it has drained."""
    process.hear(messages.Drain(7.0))
    process.worker.lost("gone")
    assert process.stopped == []
    process.path.drained.callback(None)
    assert process.stopped == [0]


@pytest.mark.parametrize("heard", [(), (START,), (START, SNAPSHOT)])
def test_one_that_does_not_serve_yet_ends_at_once(heard: tuple[Any, ...]) -> None:
    """There is nothing to drain."""
    lost, told, asked = Process(), Process(), Process()
    for process in (lost, told, asked):
        process.hear(*heard)
    lost.worker.lost("gone")
    told.hear(messages.Drain(7.0))
    asked.worker.asked_to_end()
    assert lost.stopped == [0]
    for process in (told, asked):
        assert process.stopped == [0] or process.closed == 1
        assert "begin" not in process.path.did


def test_a_signal_drains_it_and_tells_the_supervisor(process: Process) -> None:
    """So that another takes its place; the second one cuts."""
    process.said.clear()
    process.worker.asked_to_end()
    assert process.said == [messages.Leaving()]
    assert process.path.did[-1] == ("drain", 30.0)
    process.worker.asked_to_end()
    assert process.said == [messages.Leaving()]
    assert process.path.did[-1] == ("hurry", 0.0)


def test_new_files_go_to_the_data_path() -> None:
    """With their descriptors, in order."""
    process = Process()
    process.hear(START)
    process.came += [7, 8, 9]
    process.hear(messages.Reconfigure(3, {}, ("/a.pem", "/a.key")))
    assert process.path.did == [("reconfigure", {}, {"/a.pem": 7, "/a.key": 8})]
    assert process.came == [9]


@pytest.mark.parametrize("trouble", [None, ValueError("unreadable")])
def test_it_says_when_new_settings_are_in_force(trouble: Exception | None) -> None:
    """Or that it keeps the former ones: either way nobody need wait."""
    process = Process()
    process.hear(START)
    process.said.clear()
    process.hear(messages.Reconfigure(3, {}, ()))
    assert process.said == []
    if trouble is None:
        process.path.reconfigured.callback(None)
    else:
        process.path.reconfigured.errback(trouble)
    assert process.said == [messages.Reconfigured(3)]


def test_files_that_do_not_come_end_it() -> None:
    """Its replacement gets them at its start; those that came are closed."""
    process = Process()
    process.hear(START)
    came = os.open(os.devnull, os.O_RDONLY)
    process.came.append(came)
    process.hear(messages.Reconfigure(3, {}, ("/a.pem", "/a.key")))
    assert process.stopped == [1]
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(came)


def test_ports_come_with_their_sockets_and_go() -> None:
    """Before it serves and after; a socket that does not come ends it."""
    process = Process()
    process.came += [7, 8]
    process.hear(START, messages.Listen(1, 8080), SNAPSHOT, messages.Swap(5))
    process.hear(messages.Listen(0, 81), messages.StopListening(1, 8080))
    assert process.path.did == [("open", 1, 8080, 7), "begin", ("open", 0, 81, 8), ("close", 1, 8080)]
    assert process.stopped == []
    process.hear(messages.Listen(0, 82))
    assert process.stopped == [1]


def test_a_socket_for_one_that_cannot_start_is_closed() -> None:
    """It would listen for ever."""
    process = Process(build_fails=True)
    process.hear(START)
    came = os.open(os.devnull, os.O_RDONLY)
    process.came.append(came)
    process.hear(messages.Listen(0, 81), messages.StopListening(0, 81))
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(came)
