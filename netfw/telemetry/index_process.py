"""The process that keeps the index of records: `python -m netfw.telemetry.index_process`.

Its first line of input says what to follow; it ends when its input does. Each second it prints a line of JSON: how many
records are in the index and how far it lags. An index that cannot be used is thrown away and built anew from the
records that are still there. A process, since a thread would take the interpreter from requests for each row.

One at a time keeps an index: while one proxy takes over from another, the later one's process waits for the former's.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from netfw.telemetry.record_follower import RecordFollower, ended_at
from netfw.telemetry.record_index import IndexUnusable, NotAnIndex, RecordIndex, is_marked

JOURNAL_SIZE = 256 << 20
_PAUSE = 0.2
_REPORT = 1.0
_FORGET = 30.0
_AGAIN = 5.0
_NICE = 5


class KeptByAnother(Exception):
    """Another process keeps this index."""


@contextmanager
def sole_keeper(path: Path) -> Iterator[None]:
    """A block in which nobody else keeps the index. Raises KeptByAnother, and OSError."""
    # Beside the index, which is another file when it is built anew.
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KeptByAnother from None
        yield
    finally:
        os.close(descriptor)


class Keeper:
    """The index with who fills it; `rebuilt` is why the index before it was thrown away."""

    def __init__(self, records: Path, path: Path, keep: float, size: int) -> None:
        self._about = (records, path, keep, size)
        self.rebuilt: str | None = None
        self._open()

    def _open(self) -> None:
        records, path, keep, size = self._about
        try:
            self.index = RecordIndex(path, keep=keep, size=size)
        except NotAnIndex:
            raise
        except IndexUnusable as error:
            self._throw_away(str(error))
            self.index = RecordIndex(path, keep=keep, size=size)
        self.follower = RecordFollower(records, self.index)

    def _throw_away(self, reason: str) -> None:
        """What does not even say that it is an index is kept beside it: somebody may have named the wrong file.

        Raises IndexUnusable when the files cannot be removed: then nothing else helps.
        """
        path = self._about[1]
        self.rebuilt = reason
        try:
            with suppress(FileNotFoundError):
                if not is_marked(path):
                    os.replace(path, f"{path}.damaged")
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.unlink(f"{path}{suffix}")
        except OSError as error:
            raise IndexUnusable(f"{path}: {error.strerror}") from None

    def step(self) -> int:
        """Read once; what cannot be written begins anew."""
        try:
            return self.follower.step()
        except IndexUnusable as error:
            self.close()
            self._throw_away(str(error))
            self._open()
            return 1

    def forget(self) -> None:
        """See `RecordFollower.forget`."""
        try:
            self.follower.forget()
        except IndexUnusable as error:
            self.close()
            self._throw_away(str(error))
            self._open()

    def report(self) -> dict[str, Any]:
        """How it stands."""
        behind = self.follower.behind()
        seconds = max(0.0, time.time() - self.follower.latest) if behind and self.follower.latest else 0.0
        return {
            "records": self.index.records,
            "lag_bytes": behind,
            "lag_seconds": round(seconds, 1),
            "rebuilt": self.rebuilt,
        }

    def close(self) -> None:
        """End."""
        self.follower.close()
        self.index.close()


def turn_over(journal: Path, keep: float, *, size: int = JOURNAL_SIZE, now: float | None = None) -> None:
    """Let the writers begin another journal when this one is large or half as old as records may become; the one before
    it goes then, or by its own age. Raises OSError.
    """
    moment = time.time() if now is None else now
    former = journal.with_name(f"{journal.name}.1")
    with suppress(FileNotFoundError):
        if former.stat().st_mtime < moment - keep / 2:
            os.unlink(former)
    with suppress(FileNotFoundError):
        with open(journal, "rb") as opened:
            began = ended_at(opened.readline())
        if journal.stat().st_size > size or (began is not None and began < moment - keep / 2):
            os.replace(journal, former)


def main() -> int:
    """Follow until the input ends."""
    about = json.loads(sys.stdin.buffer.readline())
    with suppress(OSError):
        os.nice(_NICE)
    with ExitStack() as alone:
        while True:
            try:
                alone.enter_context(sole_keeper(Path(about["index"])))
                return keep(about)
            except KeptByAnother:
                tell({"kept_by_another": True})
            except OSError as error:
                tell({"error": str(error)})
            if input_ends(_AGAIN):
                return 0


def keep(about: dict[str, Any]) -> int:
    """Nobody else does: until the input ends."""
    keeper: Keeper | None = None
    told = forgotten = 0.0
    while True:
        pause, report = _PAUSE, None
        try:
            if keeper is None:
                keeper = Keeper(Path(about["records"]), Path(about["index"]), about["keep"], about["size"])
            if keeper.step():
                pause = 0.0
            if time.monotonic() - forgotten > _FORGET:
                forgotten = time.monotonic()
                keeper.forget()
                if about.get("is_journal"):
                    turn_over(Path(about["records"]), about["keep"])
            if time.monotonic() - told > _REPORT:
                report = keeper.report()
                keeper.rebuilt = None
        except (IndexUnusable, OSError) as error:
            keeper, pause, report = None, _AGAIN, {"error": str(error)}
        if report is not None:
            told = time.monotonic()
            tell(report)
        if input_ends(pause):
            if keeper is not None:
                keeper.close()
            return 0


def tell(report: dict[str, Any]) -> None:
    """A line of output."""
    sys.stdout.buffer.write(json.dumps(report).encode("ascii") + b"\n")
    sys.stdout.buffer.flush()


def input_ends(seconds: float) -> bool:
    """Wait so long; whether the input has ended."""
    return bool(select.select([0], [], [], seconds)[0]) and not os.read(0, 4096)


if __name__ == "__main__":
    sys.exit(main())
