"""Records that wait on disk for a server: batches in files behind one another, up to a size.

One process owns one directory below the output's, by a lock that ends with the process. It takes over what former ones
left, so nothing waits for a process that does not come back: a restart, fewer workers, a worker that was killed. Files
are named by when they were begun, so batches of several owners keep their order when they are put together.

A batch grows in an open file (`NUMBER.TOKEN.open`) and is sealed (`NUMBER.TOKEN.COUNT.batch`) once it is full or old.
What was written survives the process at once. It survives the machine when it is on the disk: with `sync` that is asked
for when a batch is sealed, and of one that grows whenever it has become as old as a batch may; without it the kernel
does it by itself, within half a minute as it is usually set. A directory is synchronised after each name in it that
matters: a name that is gone and comes back only has its records sent twice.
Not here: who delivers (`spooled_destination`).
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from threading import Lock
from time import monotonic, time_ns

_DIRECTORY = 0o700
_FILE = 0o600
_SEALED = re.compile(r"([0-9]{20})\.([0-9a-f]{8})\.([0-9]{1,9})\.batch", re.ASCII)
_OPEN = re.compile(r"([0-9]{20})\.([0-9a-f]{8})\.open", re.ASCII)
_MOST_OWNERS = 10_000
# However short a batch's time is, a growing one is not synchronised more often: seconds.
_SYNC = 1.0
# A clock that was set back further than this was wrong before.
_SET_BACK = 3600 * 10**9

OLDEST = "oldest"
NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A batch is full with so many records or bytes, and is sent after `wait` seconds in any case."""

    records: int
    size: int
    wait: float


@dataclass(slots=True, eq=False)
class Batch:
    """One file of records, each a line. `left`: how many of them are still to be delivered."""

    path: Path
    number: int
    token: str
    size: int
    left: int
    began: float = 0.0
    records: list[bytes] | None = field(default=None, repr=False)
    """Those to be delivered, once somebody has begun with them."""

    @property
    def identity(self) -> str:
        """Names these records, here and wherever they are sent again."""
        return f"{self.number:020d}-{self.token}"


class Spool:
    """At most `size` bytes in a directory of its own below `root`. `drop`: what goes when it is full, `oldest` or
    `newest`. `sync`: records shall survive the machine's end, too. For several threads. `dropped` and `found` (records
    that a former process left) only grow; `bytes` is the size of all files now, of `size` at most.
    """

    def __init__(
        self,
        root: Path,
        *,
        size: int,
        limits: BatchLimits,
        drop: str = OLDEST,
        sync: bool = True,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self.root = root
        self.dropped = 0
        self.found = 0
        self.size = size
        self._limits = limits
        self._drop = drop
        self._sync = sync
        self._hurried = False
        self._unsynced = False
        self._synced_at = 0.0
        self._now = now
        self._lock = Lock()
        self._directory: Path | None = None
        self._owned = -1
        self._waiting: list[Batch] = []
        self._taken: Batch | None = None
        self._open: Batch | None = None
        self._descriptor = -1
        self._number = 0
        # Each has one writer at a time, so that they can be read without waiting for a disk.
        self._came = 0
        self._went = 0
        self.bytes = 0

    @property
    def directory(self) -> Path:
        """This process's own."""
        assert self._directory is not None, "not open"
        return self._directory

    @property
    def records(self) -> int:
        """Records that wait here."""
        return self._came - self._went

    @property
    def has_full_batch(self) -> bool:
        """There is one to take that need not grow older."""
        return bool(self._waiting)

    def open(self) -> None:
        """Own a directory, and take over what nobody owns. Raises OSError."""
        self.root.mkdir(mode=_DIRECTORY, parents=True, exist_ok=True)
        os.chmod(self.root, _DIRECTORY)
        for number in range(_MOST_OWNERS):
            directory = self.root / str(number)
            with suppress(FileExistsError):
                directory.mkdir(mode=_DIRECTORY)
            owned = _own(directory)
            if owned is not None:
                os.fchmod(owned, _DIRECTORY)
                self._directory, self._owned = directory, owned
                break
        else:
            raise OSError(f"{self.root} has {_MOST_OWNERS} directories that other processes hold")
        with self._lock:
            self._add(directory)
        self.adopt()

    def adopt(self) -> int:
        """Take over what processes left that are gone. Return how many records that were. Raises OSError."""
        before = self.found
        for directory in sorted(self.root.iterdir()):
            if directory == self._directory or not directory.name.isdigit() or not directory.is_dir():
                continue
            owned = _own(directory)
            if owned is None:
                continue
            try:
                moved = []
                for path in sorted(directory.iterdir()):
                    if _SEALED.fullmatch(path.name) or _OPEN.fullmatch(path.name):
                        target = self.directory / path.name
                        path.rename(target)
                        moved.append(target)
                with self._lock:
                    self._add_files(moved)
                with suppress(OSError):  # somebody else's file is in it
                    directory.rmdir()
            finally:
                os.close(owned)
        return self.found - before

    def append(self, records: list[bytes]) -> int:
        """Store them, or drop and count what does not fit. Return how many are dealt with; raises OSError when none
        could be.
        """
        with self._lock:
            position = 0
            while position < len(records):
                try:
                    position += self._append_some(records, position)
                except OSError:
                    if not position:
                        raise
                    # What is stored must not come again.
                    return position
            self._sync_grown()
        return len(records)

    def take(self) -> tuple[Batch | None, float | None]:
        """The oldest batch, for whoever delivers it, and its records read. Without one: seconds until the open batch is
        old enough, None where there is none. Raises OSError.
        """
        with self._lock:
            assert self._taken is None, "one at a time"
            batch = self._open
            self._sync_grown()
            if not self._waiting:
                if batch is None:
                    return None, None
                age = self._now() - batch.began
                if age < self._limits.wait and not self._hurried:
                    return None, self._limits.wait - age
                self._seal()
            taken = self._waiting[0]
            if taken.records is None:
                taken.records = self._read(taken)
            self._taken = self._waiting.pop(0)
            return taken, 0.0

    def settle(self, batch: Batch, remaining: list[bytes]) -> None:
        """These of the batch that was taken are still to be delivered; without any it is done."""
        with self._lock:
            self._went += batch.left - len(remaining)
            batch.left, batch.records = len(remaining), remaining
            if not remaining:
                self._taken = None
                self._remove(batch)

    def release(self, batch: Batch) -> None:
        """What is left of it waits again, before all others."""
        with self._lock:
            self._taken = None
            self._waiting.insert(0, batch)

    def seal(self) -> None:
        """What waits in the open batch can be taken at once. Raises OSError."""
        with self._lock:
            if self._open is not None:
                self._seal()

    def hurry(self) -> None:
        """From now on no batch waits until it is full or old."""
        self._hurried = True

    def close(self) -> None:
        """Leave it to the next process. Never raises."""
        with self._lock:
            if self._open is not None:
                with suppress(OSError):
                    self._seal()
            owned, self._owned = self._owned, -1
            if owned >= 0:
                if not self._all():
                    with suppress(OSError):
                        self.directory.rmdir()
                os.close(owned)

    # Under the lock, from here on.

    def _all(self) -> list[Batch]:
        return [*([self._taken] if self._taken else []), *self._waiting, *([self._open] if self._open else [])]

    def _append_some(self, records: list[bytes], position: int) -> int:
        """Store what fits into the open batch. Return how many are dealt with."""
        if self._open is not None and self._open.size + len(records[position]) > self._limits.size:
            self._seal()
        count = size = 0
        had, held = (self._open.left, self._open.size) if self._open is not None else (0, 0)
        for record in records[position:]:
            if count and (had + count >= self._limits.records or held + size + len(record) > self._limits.size):
                break
            count += 1
            size += len(record)
        while self.bytes + size > self.size:
            if self._drop == OLDEST and self._drop_oldest():
                continue
            if count == 1:
                self.dropped += 1
                return 1
            # As many as fit; who comes next is asked again.
            count -= 1
            size -= len(records[position + count])
        self._write(records[position : position + count])
        return count

    def _drop_oldest(self) -> bool:
        """Make room by what has waited longest and is not being delivered this moment."""
        if not self._waiting:
            if self._open is None:
                return False
            self._seal()
        batch = self._waiting.pop(0)
        self.dropped += batch.left
        self._went += batch.left
        self._remove(batch)
        return True

    def _write(self, records: list[bytes]) -> None:
        batch = self._open
        if batch is None:
            present = time_ns()
            self._number = max(self._number + 1, present) if self._number - present < _SET_BACK else present
            token = token_hex(4)
            path = self.directory / f"{self._number:020d}.{token}.open"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, _FILE)
            batch = self._open = Batch(path, self._number, token, 0, 0, self._now())
            self._synced_at = batch.began
        data = memoryview(b"".join(records))
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            # Half a record must not stand before a whole one.
            os.ftruncate(self._descriptor, batch.size)
            if not batch.left:
                self._open = None
                os.close(self._descriptor)
                self._remove(batch)
            raise
        batch.size += len(data)
        batch.left += len(records)
        self.bytes += len(data)
        self._came += len(records)
        self._unsynced = True
        if batch.left >= self._limits.records or batch.size >= self._limits.size:
            with suppress(OSError):  # the records are stored: who comes next tries it again
                self._seal()

    def _seal(self) -> None:
        batch = self._open
        assert batch is not None
        target = self.directory / f"{batch.number:020d}.{batch.token}.{batch.left}.batch"
        if self._sync:
            # First: a name must not tell of records that are not there.
            os.fdatasync(self._descriptor)
        batch.path.rename(target)
        os.close(self._descriptor)
        batch.path = target
        self._open = None
        self._waiting.append(batch)
        if self._sync:
            with suppress(OSError):  # it is sealed all the same
                os.fsync(self._owned)

    def _sync_grown(self) -> None:
        """What waits behind others for its turn may grow for hours."""
        if not self._sync or not self._unsynced or self._open is None:
            return
        present = self._now()
        if present - self._synced_at >= max(self._limits.wait, _SYNC):
            self._synced_at = present
            self._unsynced = False
            with suppress(OSError):  # sealing it fails, and tells
                os.fdatasync(self._descriptor)
                os.fsync(self._owned)

    def _read(self, batch: Batch) -> list[bytes]:
        """Its records. What is not there any more, since the machine died or somebody has been at it, is counted."""
        try:
            content = batch.path.read_bytes()
        except FileNotFoundError:
            content = b""
        records = [line + b"\n" for line in content.split(b"\n")[:-1]]
        missing = batch.left - len(records)
        if missing > 0:
            self.dropped += missing
        self._went += missing
        batch.left = len(records)
        return records

    def _remove(self, batch: Batch) -> None:
        self.bytes -= batch.size
        with suppress(OSError):
            batch.path.unlink()

    def _add(self, directory: Path) -> None:
        self._add_files(sorted(directory.iterdir()))

    def _add_files(self, paths: Iterable[Path]) -> None:
        """Take these files of a former process over, in the order of their numbers."""
        for path in paths:
            batch = _recovered(path)
            if batch is not None:
                self.found += batch.left
                self._came += batch.left
                self.bytes += batch.size
                self._waiting.append(batch)
        self._waiting.sort(key=lambda batch: (batch.number, batch.token))


def _own(directory: Path) -> int | None:
    """A descriptor that holds the directory's lock; None where somebody else has it, or it is gone."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held, there = os.fstat(descriptor), os.stat(directory)
        # Whoever took it over has removed it meanwhile: the lock is on nothing.
        if (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _recovered(path: Path) -> Batch | None:
    """The batch of a file that a former process left; None where there is none in it."""
    if (sealed := _SEALED.fullmatch(path.name)) is not None:
        return Batch(path, int(sealed[1]), sealed[2], path.stat().st_size, int(sealed[3]))
    unsealed = _OPEN.fullmatch(path.name)
    if unsealed is None:
        return None
    content = path.read_bytes()
    # The last record may have been begun only: whoever wrote it had not said yet that it is stored.
    size = content.rfind(b"\n") + 1
    if not size:
        path.unlink()
        return None
    os.truncate(path, size)
    count = content.count(b"\n", 0, size)
    target = path.with_name(f"{unsealed[1]}.{unsealed[2]}.{count}.batch")
    path.rename(target)
    return Batch(target, int(unsealed[1]), unsealed[2], size, count)
