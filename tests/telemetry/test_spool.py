"""Records on disk: what was stored is there in its order, once, or counted as dropped, whoever comes after whom."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netfw.telemetry.spool import NEWEST, OLDEST, BatchLimits, Spool

LIMITS = BatchLimits(records=4, size=1000, wait=5.0)


class Hands:
    """A clock that only the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def spool_in(path: Path, **settings: Any) -> Spool:
    """One that is open."""
    spool = Spool(path, **{"size": 10_000, "limits": LIMITS, **settings})
    spool.open()
    return spool


def line(number: int, length: int = 10) -> bytes:
    """A record of so many bytes."""
    return str(number).encode().rjust(length - 1, b".") + b"\n"


def lines(*numbers: int, length: int = 10) -> list[bytes]:
    """Such records."""
    return [line(number, length) for number in numbers]


def delivered(spool: Spool) -> list[bytes]:
    """All that can be taken, settled."""
    found: list[bytes] = []
    spool.seal()
    while (batch := spool.take()[0]) is not None:
        found += batch.records or []
        spool.settle(batch, [])
    return found


def test_records_come_out_in_their_order_and_leave_nothing_behind(tmp_path: Path) -> None:
    """A full batch can be taken; what is taken and settled is gone from the disk."""
    spool = spool_in(tmp_path / "spool")
    assert spool.append(lines(*range(10))) == 10
    assert (spool.records, spool.bytes) == (10, 100)
    assert delivered(spool) == lines(*range(10))
    assert (spool.records, spool.bytes, spool.dropped) == (0, 0, 0)
    assert list(spool.directory.iterdir()) == []
    spool.close()


def test_nobody_else_can_read_what_waits(tmp_path: Path) -> None:
    """Directories are 0700 and files 0600, whatever the umask says and whatever was there."""
    root = tmp_path / "spool"
    root.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        spool = spool_in(root)
        spool.append(lines(*range(5)))
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (root, spool.directory)}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in spool.directory.iterdir()} == {0o600}
    spool.close()


def test_a_batch_is_due_by_count_by_size_and_by_age(tmp_path: Path) -> None:
    """Until then it grows, and who asks learns how long."""
    clock = Hands()
    spool = spool_in(tmp_path, now=clock)
    assert spool.take() == (None, None)
    spool.append(lines(1))
    clock.now += 2
    spool.append(lines(2))
    assert spool.take() == (None, 3.0)
    clock.now += 3
    batch, _ = spool.take()
    assert batch is not None and batch.records == lines(1, 2)
    spool.settle(batch, [])
    spool.append([line(3, 600), line(4, 600)])
    batch, _ = spool.take()
    assert batch is not None and batch.records == [line(3, 600)]
    spool.settle(batch, [])
    spool.append(lines(5, 6, 7, 8))
    assert [len(found.records or []) for found in taken_all(spool)] == [4, 1]
    spool.close()


def taken_all(spool: Spool) -> list[Any]:
    """Every batch, the open one included, settled."""
    spool.seal()
    found = []
    while (batch := spool.take()[0]) is not None:
        found.append(type("Found", (), {"records": batch.records}))
        spool.settle(batch, [])
    return found


def test_what_was_not_delivered_comes_again_first_and_only_what_is_left_of_it(tmp_path: Path) -> None:
    """A batch of which the server took a part."""
    spool = spool_in(tmp_path)
    spool.append(lines(*range(6)))
    batch, _ = spool.take()
    assert batch is not None
    spool.settle(batch, lines(2, 3))
    spool.release(batch)
    assert spool.records == 4
    again, _ = spool.take()
    assert again is batch and again.records == lines(2, 3)
    spool.release(batch)
    assert delivered(spool) == lines(2, 3, 4, 5)
    spool.close()


@pytest.mark.parametrize(("drop", "kept"), [(OLDEST, range(8, 14)), (NEWEST, range(6))])
def test_a_full_spool_drops_what_is_chosen_and_counts_it(tmp_path: Path, drop: str, kept: range) -> None:
    """60 bytes are six records: 14 come, eight go, by whole batches where the oldest do."""
    spool = spool_in(tmp_path, size=60, drop=drop)
    for number in range(14):
        spool.append(lines(number))
    assert (spool.dropped, spool.records) == (8, 6)
    assert delivered(spool) == lines(*kept)
    spool.close()


def test_what_is_being_delivered_is_not_dropped(tmp_path: Path) -> None:
    """The server may be taking it this very moment: counted as dropped it would be counted twice."""
    spool = spool_in(tmp_path, size=60, drop=OLDEST)
    spool.append(lines(0, 1, 2, 3))
    batch, _ = spool.take()
    assert batch is not None
    spool.append(lines(4, 5, 6, 7))
    assert (spool.records, spool.dropped) == (6, 2)
    spool.settle(batch, [])
    assert delivered(spool) == lines(6, 7)
    assert spool.dropped == 2
    spool.close()


def test_a_record_larger_than_the_spool_is_dropped_alone(tmp_path: Path) -> None:
    """And does not take the others along where the newest go."""
    spool = spool_in(tmp_path, size=60, drop=NEWEST)
    spool.append([line(1), line(2, 200), line(3)])
    assert spool.dropped == 1
    assert delivered(spool) == lines(1, 3)
    spool.close()


def test_the_next_process_finds_what_the_last_one_left(tmp_path: Path) -> None:
    """Closed in order, with batches that are full and one that was growing."""
    first = spool_in(tmp_path)
    first.append(lines(*range(6)))
    first.close()
    second = spool_in(tmp_path)
    assert (second.found, second.records, second.bytes) == (6, 6, 60)
    second.append(lines(6))
    assert delivered(second) == lines(*range(7))
    second.close()


def test_a_killed_process_loses_what_it_had_not_finished_and_nothing_else(tmp_path: Path) -> None:
    """Its lock is gone with it; half a record in the open file is not taken for one."""
    first = spool_in(tmp_path)
    first.append(lines(*range(6)))
    (open_file,) = tmp_path.rglob("*.open")
    with open(open_file, "ab") as file:
        file.write(b'{"torn":')
    os.close(first._owned)  # what the kernel does for whoever dies
    second = spool_in(tmp_path)
    assert second.found == 6
    assert delivered(second) == lines(*range(6))
    second.close()


def test_processes_have_directories_of_their_own_and_take_over_what_is_nobodys(tmp_path: Path) -> None:
    """Three workers become one, and all is delivered in the order in which it came."""
    workers = [spool_in(tmp_path) for _ in range(3)]
    assert {worker.directory.name for worker in workers} == {"0", "1", "2"}
    for number in range(6):
        workers[number % 3].append(lines(number))
        workers[number % 3].seal()
    workers[1].close()
    workers[2].close()
    assert workers[0].adopt() == 4
    workers[0].close()
    alone = spool_in(tmp_path)
    assert delivered(alone) == lines(*range(6))
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    alone.close()


def test_a_held_directory_is_left_alone(tmp_path: Path) -> None:
    """What a living process holds is its own, also while it has no lock on the files."""
    first, second = spool_in(tmp_path), spool_in(tmp_path)
    first.append(lines(1))
    assert second.adopt() == 0
    assert delivered(first) == lines(1)
    first.close()
    second.close()


def test_what_others_put_there_is_neither_taken_nor_removed(tmp_path: Path) -> None:
    """Only files and directories of our own naming count."""
    (tmp_path / "0").mkdir()
    (tmp_path / "7").mkdir()
    (tmp_path / "lost+found").mkdir()
    notes = [tmp_path / "0" / "notes.txt", tmp_path / "7" / "notes.txt"]
    for path in notes:
        path.write_text("mine")
    spool = spool_in(tmp_path)
    assert spool.found == 0
    spool.close()
    assert [path.read_text() for path in notes] == ["mine", "mine"]
    assert (tmp_path / "lost+found").is_dir()


def test_a_file_that_vanished_is_counted(tmp_path: Path) -> None:
    """Somebody emptied the directory: its records are dropped, and the rest goes on."""
    spool = spool_in(tmp_path)
    spool.append(lines(*range(9)))
    next(iter(sorted(tmp_path.rglob("*.batch")))).unlink()
    assert delivered(spool) == lines(*range(4, 9))
    assert (spool.dropped, spool.records) == (4, 0)
    spool.close()


def test_a_full_disk_raises_and_stores_nothing_by_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes a part, then none: whoever holds the records keeps them, and the file ends with a whole one."""
    spool = spool_in(tmp_path)
    spool.append(lines(1))
    write = os.write
    answers = iter([7])

    def short(descriptor: int, data: Any) -> int:
        for most in answers:
            return write(descriptor, data[:most])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            spool.append(lines(2, 3))
    assert spool.records == 1
    spool.append(lines(2, 3))
    assert delivered(spool) == lines(1, 2, 3)
    spool.close()


@settings(max_examples=60, deadline=None)
@given(
    drop=st.sampled_from([OLDEST, NEWEST]),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.lists(st.integers(2, 60), min_size=1, max_size=7)),
            st.tuples(st.sampled_from(["deliver", "fail", "part", "restart", "seal"]), st.none()),
        ),
        max_size=25,
    ),
)
def test_every_record_is_delivered_dropped_or_waiting(tmp_path_factory: Any, drop: str, steps: list[Any]) -> None:
    """Whatever happens in whatever order; and what arrives does so in the order in which it came."""
    root = tmp_path_factory.mktemp("spool")
    spool = spool_in(root, size=300, drop=drop)
    came = dropped = 0
    got: list[bytes] = []
    for step, sizes in steps:
        if step == "append":
            records = [line(came + position, max(size, 8)) for position, size in enumerate(sizes)]
            came += len(records)
            assert spool.append(records) == len(records)
        elif step == "restart":
            dropped += spool.dropped
            spool.close()
            spool = spool_in(root, size=300, drop=drop)
        elif step == "seal":
            spool.seal()
        elif (batch := spool.take()[0]) is not None:
            records = batch.records or []
            keep = {"deliver": 0, "fail": len(records), "part": len(records) // 2}[step]
            got += records[: len(records) - keep]
            spool.settle(batch, records[len(records) - keep :])
            if keep:
                spool.release(batch)
        assert spool.bytes <= 300
        assert came == len(got) + dropped + spool.dropped + spool.records
        if step == "part":
            # Who starts anew has the whole file: what was delivered of it comes twice, which this test does not count.
            got += delivered(spool)
    got += delivered(spool)
    numbers = [int(record.strip(b".\n")) for record in got]
    assert numbers == sorted(set(numbers))
    assert came == len(got) + dropped + spool.dropped
    spool.close()


class Disk:
    """What is asked of the disk, in its order; the real calls are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        for name in ("fdatasync", "fsync", "rename", "unlink"):
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))

    def _watched(self, name: str, real: Any) -> Any:
        def watched(target: Any, *more: Any) -> Any:
            if isinstance(target, int):
                kind = "directory" if stat.S_ISDIR(os.stat(target).st_mode) else "file"
                self.asked.append(f"{name} {kind}")
            else:
                self.asked.append(name)
            return real(target, *more)

        return watched


def test_a_batch_is_on_the_disk_before_its_name_says_what_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_in(tmp_path / "spool")
    disk = Disk(monkeypatch)
    spool.append(lines(0, 1, 2))
    assert disk.asked == []
    spool.append(lines(3))
    assert disk.asked == ["fdatasync file", "rename", "fsync directory"]


def test_one_that_grows_behind_others_is_on_the_disk_when_it_is_as_old_as_a_batch_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is away, and little comes: it may not be full for hours."""
    hands = Hands()
    spool = spool_in(tmp_path / "spool", now=hands)
    spool.append(lines(0, 1, 2, 3, 4))
    disk = Disk(monkeypatch)
    hands.now += 4.9
    spool.append(lines(5))
    assert disk.asked == []
    hands.now += 0.2
    spool.append(lines(6))
    assert disk.asked == ["fdatasync file", "fsync directory"]
    hands.now += 60
    batch, _ = spool.take()
    assert batch is not None and disk.asked[2:] == []
    spool.release(batch)
    spool.append([])
    assert disk.asked[2:] == []


def test_without_sync_the_disk_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands()
    spool = spool_in(tmp_path / "spool", now=hands, sync=False)
    disk = Disk(monkeypatch)
    spool.append(lines(*range(9)))
    hands.now += 60
    spool.append(lines(9))
    assert disk.asked == ["rename", "rename"]


def test_a_disk_that_fails_to_synchronise_is_told_and_the_batch_is_there_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = spool_in(tmp_path / "spool")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        assert spool.append(lines(0, 1, 2, 3)) == 4
        with pytest.raises(OSError, match="Input/output"):
            spool.seal()
    assert delivered(spool) == lines(0, 1, 2, 3)
    assert spool.dropped == 0


def test_in_a_hurry_no_batch_grows_older(tmp_path: Path) -> None:
    spool = spool_in(tmp_path / "spool", now=Hands())
    spool.append(lines(0))
    assert spool.take() == (None, 5.0)
    spool.hurry()
    batch, _ = spool.take()
    assert batch is not None and batch.records == lines(0)


def test_a_clock_that_was_far_ahead_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are named by a batch's number, and must not stay in the year of the mistake. A little keeps the order."""
    from netfw.telemetry import spool as module

    clock = 1_900_000_000 * 10**9
    monkeypatch.setattr(module, "time_ns", lambda: clock)
    spool = spool_in(tmp_path / "spool")
    numbers = []
    for step in (0, -60, 10**9, -(10**9)):
        clock += step * 10**9
        spool.append(lines(0))
        spool.seal()
        batch, _ = spool.take()
        assert batch is not None
        spool.settle(batch, [])
        numbers.append(batch.number)
    assert numbers[1] == numbers[0] + 1
    assert numbers[3] == clock < numbers[2]
