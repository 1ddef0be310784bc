"""Record files begun anew and removed in time: nothing that should be there is lost, nothing that should go stays."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netfw.telemetry.file_destination import file_log
from netfw.telemetry.record_follower import rotated
from netfw.telemetry.record_retention import Retention, Rules, rotate, types_of_line

DAY = 86400.0
NOW = 1_800_000_000.0
TYPES = ("allow", "deny", "alert", "audit", "dns")


def line(number: int = 0, when: float = NOW, **members: Any) -> bytes:
    record = {"event_timestamp": int(when), "final_action": "allow", "id": f"ID-{number}", "kind": "exchange"} | members
    return json.dumps(record, separators=(",", ":")).encode("ascii") + b"\n"


EVERY = {
    "allow": line(),
    "deny": line(final_action="deny"),
    "alert": line(first_alert_match="r"),
    "denied with alert": line(final_action="deny", all_matches={"matches": [{"action": "alert"}]}),
    "audit": line(kind="audit"),
    "dns": line(kind="dns"),
}


def rules(*, types: tuple[str, ...] = TYPES, **members: Any) -> Rules:
    return Rules(**{"rotate": None, "size": None, "total": None, "keep": {}, "types": types, **members})


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir())


def old(path: Path, content: bytes, days: float) -> Path:
    path.write_bytes(content)
    os.utime(path, (NOW - days * DAY,) * 2)
    return path


@pytest.mark.parametrize(("name", "expected"), [
    ("allow", {"allow"}), ("deny", {"deny"}), ("alert", {"alert"}), ("denied with alert", {"deny", "alert"}),
    ("audit", {"audit"}), ("dns", {"dns"}),
])  # fmt: skip
def test_types_are_told_by_the_line(name: str, expected: set[str]) -> None:
    assert types_of_line(EVERY[name]) == expected


def test_what_a_peer_chose_is_no_type() -> None:
    said = '"final_action":"deny","kind":"audit","first_alert_match":"action":"alert"'
    assert types_of_line(line(user_agent=said)) == {"allow"}


def test_a_file_is_begun_anew_by_age(tmp_path: Path) -> None:
    """Its first record says how old it is; of a form that does not say, how long it has been seen."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(line(when=NOW))
    retention = Retention(path, rules(rotate=DAY))
    retention.step(NOW + DAY - 1)
    assert names(path) == ["r.jsonl"]
    retention.step(NOW + DAY)
    assert names(path) == ["r.jsonl.20270116T080000Z"]
    os.utime(tmp_path / "r.jsonl.20270116T080000Z", (NOW + DAY, NOW + DAY))
    path.write_bytes(b"squid has no such field\n")
    retention.step(NOW + 2 * DAY - 1)
    assert path.exists()
    retention.step(NOW + 2 * DAY)
    assert not path.exists()


def test_a_file_is_begun_anew_by_size_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "r"
    retention = Retention(path, rules(size=100))
    retention.step(NOW)
    for _ in range(3):
        path.write_bytes(b"x" * 100)
        retention.step(NOW)
    assert names(path) == ["r.20270115T080000Z", "r.20270115T080000Z.1", "r.20270115T080000Z.2"]
    assert rotated(path) == [path.with_name(name) for name in names(path)]
    path.write_bytes(b"x" * 99)
    retention.step(NOW)
    assert path.exists()


def test_files_go_when_all_in_them_is_too_old(tmp_path: Path) -> None:
    """Also those that another program rotated and compressed; what is called something else is left alone."""
    path = tmp_path / "r.jsonl"
    gone = ["r.jsonl.20200101T000000Z", "r.jsonl.1", "r.jsonl.2.gz", "r.jsonl-20200101", "r.jsonl-20200101.gz"]
    others = ["r.jsonl.index", "r.jsonl.index.journal", "r.jsonl.bak", "r.jsonlx", "other.jsonl.1"]
    for name in (*gone, *others):
        old(tmp_path / name, EVERY["allow"], 15)
    old(path, EVERY["allow"], 15)
    young = old(tmp_path / "r.jsonl.3.gz", b"?", 13)
    Retention(path, rules(keep=dict.fromkeys(TYPES, 14 * DAY))).step(NOW)
    assert names(path) == sorted([path.name, young.name, *others])


def test_each_type_has_its_own_time(tmp_path: Path) -> None:
    """Records of a type that is over go out of the file, the others stay as they are, and so does the file's age."""
    path = tmp_path / "r.jsonl"
    keep = {"allow": 7 * DAY, "deny": 90 * DAY, "alert": 30 * DAY, "audit": 90 * DAY, "dns": DAY}
    left = old(tmp_path / "r.jsonl.20200101T000000Z", b"".join(EVERY.values()), 8)
    retention = Retention(path, rules(keep=keep))
    retention.step(NOW)
    thinned = tmp_path / "r.jsonl.20200101T000000Z-without-allow-dns"
    assert names(path) == [thinned.name]
    kept = [EVERY[name] for name in ("deny", "alert", "denied with alert", "audit")]
    assert thinned.read_bytes() == b"".join(kept)
    assert (thinned.stat().st_mtime, stat.S_IMODE(thinned.stat().st_mode)) == (NOW - 8 * DAY, 0o640)
    # Once is enough.
    inode = thinned.stat().st_ino
    retention.step(NOW)
    assert thinned.stat().st_ino == inode and left.exists() is False
    retention.step(NOW + 24 * DAY)
    assert names(path) == ["r.jsonl.20200101T000000Z-without-alert-allow-dns"]
    retention.step(NOW + 90 * DAY)
    assert names(path) == []


def test_a_file_of_one_type_is_removed_when_that_is_over(tmp_path: Path) -> None:
    """Whatever form it is in."""
    old(tmp_path / "r.20200101T000000Z", b"no json\n", 8)
    Retention(tmp_path / "r", rules(types=("allow",), keep={"allow": 7 * DAY})).step(NOW)
    assert names(tmp_path / "r") == []


def test_the_oldest_go_beyond_a_total(tmp_path: Path) -> None:
    path = tmp_path / "r"
    for days in (1, 2, 3):
        old(tmp_path / f"r.2020010{days}T000000Z", b"x" * 400, 4 - days)
    path.write_bytes(b"x" * 300)
    Retention(path, rules(total=1000)).step(NOW)
    assert names(path) == ["r", "r.20200103T000000Z"]


def test_a_file_that_was_just_left_is_not_touched(tmp_path: Path) -> None:
    """A writer may be about to write into it."""
    path = tmp_path / "r"
    path.write_bytes(EVERY["allow"])
    left = rotate(path, NOW)
    os.utime(left, (NOW - 30, NOW - 30))
    Retention(path, rules(keep=dict.fromkeys(TYPES, 1.0))).step(NOW)
    assert left.exists()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_the_process_rotates_under_writers_and_nothing_is_lost(tmp_path: Path) -> None:
    """Two writers of one file, as workers are; every record is in one of the files, once and whole."""
    path = tmp_path / "r.jsonl"
    about = {"path": str(path), "rotate": None, "size": 20_000, "total": None, "keep": {}, "types": list(TYPES)}
    process = subprocess.Popen(
        [sys.executable, "-m", "netfw.telemetry.retention_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps({"files": [about], "every": 0.01}).encode() + b"\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"error": None}
    logs = [file_log(path, gather=0.001) for _ in range(2)]
    for log in logs:
        log.start()
    for number in range(4000):
        logs[number % 2].write(line(number))
        if number % 100 == 0:
            time.sleep(0.005)
    until(lambda: sum(log.written for log in logs) == 4000)
    for log in logs:
        assert log.close(20.0)
    process.stdin.close()
    assert process.wait(30) == 0  # before the files are read: it may rename one meanwhile
    assert len(rotated(path)) >= 3
    found = [json.loads(one)["id"] for file in rotated(path) for one in file.read_bytes().splitlines()]
    assert sorted(found) == sorted(f"ID-{number}" for number in range(4000))


def test_the_process_tells_an_error_once(tmp_path: Path) -> None:
    """And that it is over."""
    directory = tmp_path / "away"
    about = {"path": str(directory / "r"), "rotate": 60, "size": None, "total": None, "keep": {}, "types": ["allow"]}
    process = subprocess.Popen(
        [sys.executable, "-m", "netfw.telemetry.retention_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps({"files": [about], "every": 0.01}).encode() + b"\n")
    process.stdin.flush()
    assert "No such file" in json.loads(process.stdout.readline())["error"]
    directory.mkdir()
    assert json.loads(process.stdout.readline()) == {"error": None}
    process.stdin.close()
    assert process.wait(30) == 0
