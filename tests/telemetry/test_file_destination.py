"""Records to files and pipes: whole lines, in order, counted, whatever the file does."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from twisted.logger import Logger
from zope.interface.verify import verifyObject

from netfw.interfaces import IRecordDestination, IRecordSink
from netfw.telemetry.file_destination import FileDestination, file_log
from netfw.telemetry.record_log import RecordLog


class Ear:
    """Collects events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any]) -> None:
        self.events.append(event)

    @property
    def names(self) -> list[str]:
        return [event["event_name"] for event in self.events]


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def open_log(ear: Ear) -> Iterator[Callable[..., RecordLog]]:
    logs: list[RecordLog] = []

    def build(path: Path | None, **settings: Any) -> RecordLog:
        settings = {"gather": 0.002, "retry": 0.01, **settings}
        log = file_log(path, log=Logger(observer=ear), **settings)
        log.start()
        logs.append(log)
        return log

    yield build
    for log in logs:
        log.close(1.0)


def until(condition: Callable[[], bool]) -> None:
    """Wait for the writer's thread, at most ten seconds."""
    end = monotonic() + 30.0
    while not condition():
        assert monotonic() < end, "it did not happen in time"
        sleep(0.002)


def lines(first: int, last: int) -> list[bytes]:
    return [b'{"n":%d}\n' % number for number in range(first, last)]


def test_it_is_a_record_sink(tmp_path: Path) -> None:
    """The interface is what it offers."""
    verifyObject(IRecordSink, file_log(tmp_path / "log"))
    verifyObject(IRecordDestination, FileDestination(tmp_path / "log"))


def test_lines_arrive_whole_and_in_order(open_log: Any, tmp_path: Path) -> None:
    """What was written is in the file when close returns, and is counted."""
    path = tmp_path / "a" / "b" / "records.jsonl"
    log = open_log(path)
    for line in lines(0, 5000):
        log.write(line)
    assert log.close()
    assert path.read_bytes() == b"".join(lines(0, 5000))
    assert (log.written, log.dropped, log.errors, log.queue_length) == (5000, 0, 0, 0)


def test_file_and_directory_modes(open_log: Any, tmp_path: Path) -> None:
    """0640 for the file whatever the umask, nothing for others on the directories made."""
    before = os.umask(0o077)
    try:
        open_log(tmp_path / "new" / "log")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new" / "log").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) & 0o007 == 0


def test_it_appends(open_log: Any, tmp_path: Path) -> None:
    """A second start goes on behind what is there, and ends a line that somebody left open."""
    path = tmp_path / "log"
    path.write_bytes(b'{"n":0}\n{"torn":')
    log = open_log(path)
    log.write(b'{"n":1}\n')
    assert log.close()
    assert path.read_bytes() == b'{"n":0}\n{"torn":\n{"n":1}\n'


def test_a_torn_line_is_ended_once_by_whoever_comes_first(open_log: Any, tmp_path: Path) -> None:
    """Processes that begin together with the same file wait for one another: there is no empty line."""
    path = tmp_path / "log"
    path.write_bytes(b'{"torn":')
    starts = [threading.Thread(target=open_log, args=(path,)) for _ in range(3)]
    with open(path, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for start in starts:
            start.start()
        # All of them are at the lock, or will be.
        while sum(f"/{path.name}" in os.readlink(f"/proc/self/fd/{one}") for one in _open_descriptors()) < 7:
            sleep(0.001)
        assert path.read_bytes() == b'{"torn":'
        fcntl.flock(held, fcntl.LOCK_UN)
    for start in starts:
        start.join(20)
    assert path.read_bytes() == b'{"torn":\n'


def test_a_line_that_somebody_is_writing_is_not_torn(open_log: Any, tmp_path: Path) -> None:
    """Another worker is in the middle of its batch when this one begins: its line gets its own end, no empty one."""
    path = tmp_path / "log"
    path.write_bytes(b'{"whole":1}\n{"half')

    def finish() -> None:
        with open(path, "ab") as file:
            file.write(b'":2}\n')

    timer = threading.Timer(0.03, finish)
    timer.start()
    open_log(path).close()
    timer.join()
    assert path.read_bytes() == b'{"whole":1}\n{"half":2}\n'


def _open_descriptors() -> list[str]:
    return [one for one in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{one}")]


def test_a_file_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    """A directory in the file's place is an error at start, not a lost log."""
    (tmp_path / "log").mkdir()
    with pytest.raises(OSError, match="log"):
        file_log(tmp_path / "log").start()


def test_it_writes_after_sleeping(open_log: Any, tmp_path: Path) -> None:
    """A record wakes a writer that sleeps, every time."""
    path = tmp_path / "log"
    log = open_log(path)
    for number in range(20):
        log.write(b"%d\n" % number)
        until(lambda: log.queue_length == 0)
    assert path.read_bytes() == b"".join(b"%d\n" % number for number in range(20))


def test_few_writes(open_log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that come together go out together."""
    sizes = []
    real_write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return real_write(descriptor, data)

    log = open_log(tmp_path / "log", gather=0.2)
    monkeypatch.setattr(os, "write", counted)
    for line in lines(0, 1000):
        log.write(line)
    assert log.close()
    assert len(sizes) <= 40


def test_what_comes_one_by_one_is_gathered_after_sleeping(
    open_log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that was asleep collects too: not a write for each line."""
    sizes = []
    real_write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return real_write(descriptor, data)

    log = open_log(tmp_path / "log", gather=0.2)
    monkeypatch.setattr(os, "write", counted)
    begun = monotonic()
    for line in lines(0, 40):
        log.write(line)
        sleep(0.002)
    assert log.close()
    assert len(sizes) <= 3 + (monotonic() - begun) / 0.2


def test_rotation_with_reopen(open_log: Any, tmp_path: Path) -> None:
    """After a rename and reopen the new file gets what comes; nothing is lost and nothing is torn."""
    path = tmp_path / "log"
    log = open_log(path)
    log.write(b"old\n")
    until(lambda: log.written == 1)
    path.rename(tmp_path / "log.1")
    log.reopen()
    log.write(b"new\n")
    assert log.close()
    assert (tmp_path / "log.1").read_bytes() == b"old\n"
    assert path.read_bytes() == b"new\n"


@pytest.mark.parametrize("move", [lambda path: path.unlink(), lambda path: path.rename(f"{path}.1")])
def test_a_file_that_went_away_is_made_again(open_log: Any, tmp_path: Path, move: Any, ear: Ear) -> None:
    """Nobody has to tell the log: deleted or renamed, the next batch opens the path again."""
    path = tmp_path / "log"
    log = open_log(path)
    log.write(b"old\n")
    until(lambda: log.written == 1)
    move(path)
    log.write(b"new\n")
    assert log.close()
    assert path.read_bytes() == b"new\n"
    assert ear.names == ["record_log.reopened"]


def test_a_directory_that_went_away_is_made_again(open_log: Any, tmp_path: Path) -> None:
    """Also the directory."""
    path = tmp_path / "d" / "log"
    log = open_log(path)
    path.unlink()
    path.parent.rmdir()
    log.write(b"new\n")
    assert log.close()
    assert path.read_bytes() == b"new\n"


def test_a_full_queue_drops_and_counts(tmp_path: Path) -> None:
    """Beyond its cap the queue takes nothing: the newest is dropped, the oldest stays."""
    log = file_log(tmp_path / "log", queued_records=10)
    for line in lines(0, 25):
        log.write(line)
    assert (log.queue_length, log.dropped) == (10, 15)
    log.start()
    assert log.close()
    assert (tmp_path / "log").read_bytes() == b"".join(lines(0, 10))
    assert (log.written, log.dropped) == (10, 15)


def test_a_cap_in_bytes(tmp_path: Path) -> None:
    """Few records that are large fill the queue as well."""
    log = file_log(tmp_path / "log", queued_bytes=1000)
    for _ in range(10):
        log.write(b"x" * 400)
    assert (log.queue_length, log.dropped) == (3, 7)


def test_the_byte_cap_is_given_back(open_log: Any, tmp_path: Path) -> None:
    """What was written no longer counts."""
    log = open_log(tmp_path / "log", queued_bytes=1000)
    for number in range(50):
        log.write(b"x" * 399 + b"\n")
        until(lambda number=number: log.written == number + 1)
    assert log.dropped == 0


def test_a_full_disk(open_log: Any, ear: Ear) -> None:
    """ENOSPC: errors are counted, the reactor's thread is not held up, the program's log says so once."""
    log = open_log(Path("/dev/full"), queued_records=100)
    for line in lines(0, 1000):
        log.write(line)
    until(lambda: log.errors >= 5)
    assert log.written == 0
    assert log.dropped >= 800
    assert ear.names == ["record_log.failed"]
    assert "No space left" in ear.events[0]["error"]
    began = monotonic()
    assert not log.close(300.0)
    assert monotonic() - began < 100.0
    assert log.dropped == 1000


def test_it_recovers(open_log: Any, tmp_path: Path, ear: Ear) -> None:
    """Once the path can be written again, what waited is written, in order."""
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    log = open_log(path)
    log.write(b"first\n")
    until(lambda: log.errors >= 2)
    log.write(b"second\n")
    path.unlink()
    until(lambda: log.written == 2)
    assert path.read_bytes() == b"first\nsecond\n"
    assert log.dropped == 0
    assert ear.names == ["record_log.failed", "record_log.reopened", "record_log.recovered"]


def test_a_write_that_the_kernel_takes_in_parts(open_log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short writes go on where they stopped."""
    real_write = os.write
    log = open_log(tmp_path / "log")
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:5]))
    for line in lines(0, 20):
        log.write(line)
    until(lambda: log.written == 20)
    assert (tmp_path / "log").read_bytes() == b"".join(lines(0, 20))


def test_a_record_torn_by_rotation_is_counted(open_log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disk full in the middle of a line, then a new file: it begins with a whole record; the half one is dropped."""
    path = tmp_path / "log"
    real_write = os.write
    log = open_log(path)
    room = [len(b"0123456789\n") + 4]

    def little_room(descriptor: int, data: bytes) -> int:
        if room[0] == 0:
            raise OSError(28, "No space left on device")
        taken = real_write(descriptor, data[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", little_room)
    gate = [b"0123456789\n", b"abcdefghij\n", b"ABCDEFGHIJ\n"]
    log._queue.extend(gate)  # at once: one batch
    log._bytes_taken += sum(map(len, gate))
    log.reopen()
    until(lambda: log.errors >= 2)
    path.rename(tmp_path / "log.1")
    room[0] = 1000
    until(lambda: log.queue_length == 0)
    assert (tmp_path / "log.1").read_bytes() == b"0123456789\nabcd"
    assert path.read_bytes() == b"ABCDEFGHIJ\n"
    assert (log.written, log.dropped) == (2, 1)
    assert log._bytes_taken == log._bytes_gone


def test_standard_output(tmp_path: Path, open_log: Any) -> None:
    """None is standard output; reopen leaves it alone."""
    saved = os.dup(1)
    with open(tmp_path / "out", "wb") as out:
        os.dup2(out.fileno(), 1)
        try:
            log = open_log(None)
            log.write(b"one\n")
            log.reopen()
            log.write(b"two\n")
            assert log.close()
        finally:
            os.dup2(saved, 1)
            os.close(saved)
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"


def test_a_pipe_that_nobody_reads(open_log: Any, tmp_path: Path) -> None:
    """A stalled reader stops the writer's thread only: write returns, too much is dropped, close gives up in time."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = open_log(path, queued_records=100)
        for _ in range(300):
            log.write(b"x" * 9999 + b"\n")
        until(lambda: log.queue_length > 0)
        began = monotonic()
        assert not log.close(0.1)
        assert monotonic() - began < 60.0
        assert log.dropped > 0
    finally:
        os.close(reader)  # EPIPE lets the thread go
    until(lambda: not any(thread.name == "record-log" for thread in threading.enumerate()))


def test_a_pipe_without_a_reader_stops_the_start(tmp_path: Path) -> None:
    """Opening it must not hang."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="pipe"):
        file_log(path).start()


def test_nothing_is_taken_after_close(open_log: Any, tmp_path: Path) -> None:
    """A late record is counted as dropped; closing again is harmless."""
    log = open_log(tmp_path / "log")
    assert log.close()
    log.write(b"late\n")
    assert log.dropped == 1
    assert log.close()
    assert (tmp_path / "log").read_bytes() == b""


def test_a_bug_in_the_writer_does_not_end_the_log(
    open_log: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ear: Ear
) -> None:
    """Any exception is counted and told, and the thread goes on."""
    log = open_log(tmp_path / "log")
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda *_: 1 / 0)
        log.write(b"one\n")
        until(lambda: log.errors > 0)
    until(lambda: log.written == 1)
    assert ear.names[0] == "record_log.failed"
