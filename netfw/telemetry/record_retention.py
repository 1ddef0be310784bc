"""How long records of a file are kept: it is begun anew by age or size, and what is older than it may be goes.

Rotated files are called PATH.20261129T093000Z, after the moment when they were left. When the newest record of one is
older than records of a type may be, the file is written anew without them (its name says so: `-without-allow`), and
when that holds for all types it is removed. So a record may outlive its time by as long as a file is written. Files
that others rotated (PATH.1.gz, PATH-20261129) are removed when they are too old, and otherwise left alone.

Writers notice by themselves that their file has another name (`file_destination`). Not here: the process that does this
(`retention_process`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netfw.telemetry.record_follower import ended_at

MODE = 0o640
LEFT_ALONE = 60.0
"""Seconds in which a file that was left may still get what a writer was about to write."""
_STAMP = "%Y%m%dT%H%M%SZ"
_OWN = re.compile(r"\.(\d{8}T\d{6}Z)(?:\.\d+)?(?:-without-([a-z-]+))?")
_OTHERS = re.compile(r"(?:\.\d+|-\d{8}(?:-\d+)?)(?:\.(?:gz|xz|bz2|zst))?")
_DENIED = b'"final_action":"deny"'
_ALERTS = (b'"first_alert_match":', b'"action":"alert"')
_KINDS = {"audit": b'"kind":"audit"', "dns": b'"kind":"dns"'}


@dataclass(frozen=True, slots=True)
class Rules:
    """`rotate`: seconds, `size` and `total`: bytes, None for no limit. `keep`: seconds by type of record; those of
    types that are not in it are kept for ever.
    """

    rotate: float | None
    size: int | None
    total: int | None
    keep: Mapping[str, float]
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rotated:
    path: Path
    newest: float
    size: int
    is_own: bool
    without: frozenset[str]


class Retention:
    """The rules of one file."""

    def __init__(self, path: Path, rules: Rules) -> None:
        self._path = path
        self._rules = rules
        self._seen: tuple[int, float] | None = None

    def step(self, now: float | None = None) -> None:
        """Look once, and do what is due. Raises OSError."""
        moment = time.time() if now is None else now
        if self._is_due(moment):
            rotate(self._path, moment)
        for one in self._rotated():
            self._enforce(one, moment)
        self._bound()

    def _is_due(self, now: float) -> bool:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return False
        if not found.st_size:
            return False
        if self._rules.size is not None and found.st_size >= self._rules.size:
            return True
        return self._rules.rotate is not None and self._began(found.st_ino, now) <= now - self._rules.rotate

    def _began(self, inode: int, now: float) -> float:
        """When this file was begun: its first record says so, else the file before it, else it was when it was seen."""
        if self._seen is None or self._seen[0] != inode:
            with open(self._path, "rb") as opened:
                first = ended_at(opened.readline(1 << 20))
            if first is None:
                left = [one.newest for one in self._rotated() if one.is_own]
                first = max(left, default=now)
            self._seen = (inode, first)
        return self._seen[1]

    def _rotated(self) -> list[_Rotated]:
        return sorted(_rotated_files(self._path), key=lambda one: one.newest)

    def _enforce(self, one: _Rotated, now: float) -> None:
        if one.newest > now - LEFT_ALONE:
            return
        over = {kind for kind in self._rules.types if one.newest < now - self._rules.keep.get(kind, now)}
        if over >= set(self._rules.types):
            with suppress(FileNotFoundError):
                os.unlink(one.path)
        elif over - one.without and one.is_own:
            _thin_out(one, frozenset(over | one.without))

    def _bound(self) -> None:
        if self._rules.total is None:
            return
        found = self._rotated()
        with suppress(FileNotFoundError):
            held = sum(one.size for one in found) + os.stat(self._path).st_size
            for one in found:
                if held <= self._rules.total:
                    return
                os.unlink(one.path)
                held -= one.size


def rotate(path: Path, now: float) -> Path:
    """Leave the file under a name of its own, which is returned. Raises OSError."""
    stamp = f"{path.name}.{time.strftime(_STAMP, time.gmtime(now))}"
    left = path.with_name(stamp)
    number = 1
    while left.exists():
        left = path.with_name(f"{stamp}.{number}")
        number += 1
    os.rename(path, left)
    return left


def _rotated_files(path: Path) -> Iterator[_Rotated]:
    for name in os.listdir(path.parent):
        if not name.startswith(path.name):
            continue
        rest = name[len(path.name) :]
        own = _OWN.fullmatch(rest)
        if own is None and _OTHERS.fullmatch(rest) is None:
            continue
        with suppress(FileNotFoundError):
            found = os.stat(path.with_name(name))
            without = frozenset((own[2] or "").split("-")) - {""} if own is not None else frozenset[str]()
            yield _Rotated(path.with_name(name), found.st_mtime, found.st_size, own is not None, without)


def _thin_out(one: _Rotated, without: frozenset[str]) -> None:
    """Write it anew without records of these types; nothing is lost when this is interrupted."""
    base = one.path.name.partition("-without-")[0]
    thinned = one.path.with_name(f"{base}-without-{'-'.join(sorted(without))}")
    beside = one.path.with_name(f".{one.path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    kept = False
    with open(one.path, "rb") as source, os.fdopen(descriptor, "wb") as target:
        os.fchmod(target.fileno(), MODE)
        for line in source:
            if not types_of_line(line) <= without:
                target.write(line)
                kept = True
        target.flush()
        os.fsync(target.fileno())
    if kept:
        # Its age is that of its records.
        os.utime(beside, (one.newest, one.newest))
        os.replace(beside, thinned)
    else:
        os.unlink(beside)
    if not kept or thinned != one.path:
        os.unlink(one.path)


def types_of_line(line: bytes) -> frozenset[str]:
    """The types of a record from its line. Quotes in what peers chose are escaped, so these words are the record's own.

    A record is kept for as long as any of its types is: one that was let pass with an alert is an alert.
    """
    for kind, word in _KINDS.items():
        if word in line:
            return frozenset([kind])
    alerts = any(word in line for word in _ALERTS)
    if _DENIED in line:
        return frozenset(["deny", "alert"] if alerts else ["deny"])
    return frozenset(["alert"] if alerts else ["allow"])
