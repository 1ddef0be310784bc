"""Reading the record file: the latest, those since a moment, and what comes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netfw.telemetry.record_reading import Following, latest, since
from netfw.telemetry.record_search import lines_backwards


def anything(_: dict[str, Any]) -> bool:
    """All of them."""
    return True


def put(path: Path, *numbers: int) -> None:
    """Append records."""
    with open(path, "a") as file:
        file.writelines(json.dumps({"event_timestamp": number}) + "\n" for number in numbers)


def of(records: Any) -> list[int]:
    return [record["event_timestamp"] for record in records]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Rotated once, in the middle of a line that nobody finished."""
    put(tmp_path / "records.jsonl.1", 1, 2, 3)
    os.utime(tmp_path / "records.jsonl.1", (1000, 1000))
    put(tmp_path / "records.jsonl", 4, 5)
    with open(tmp_path / "records.jsonl", "a") as file:
        file.write("no record\n")
    put(tmp_path / "records.jsonl", 6)
    with open(tmp_path / "records.jsonl", "a") as file:
        file.write('{"event_timestamp":7')
    return tmp_path / "records.jsonl"


def test_the_latest(path: Path) -> None:
    """Over the files, the oldest of them first; those that are not wanted do not count."""
    assert of(latest(path, 2, anything)) == [5, 6]
    assert of(latest(path, 5, anything)) == [2, 3, 4, 5, 6]
    assert of(latest(path, 2, lambda record: record["event_timestamp"] % 2 == 1)) == [3, 5]
    assert latest(path, 0, anything) == []
    assert of(latest(path, 99, anything)) == [1, 2, 3, 4, 5, 6]


def test_since(path: Path) -> None:
    """All files, or those that are young enough to have any."""
    assert of(since(path, 0, anything)) == [1, 2, 3, 4, 5, 6]
    assert of(since(path, 2000, anything)) == [4, 5, 6]


def test_no_file_yet(tmp_path: Path) -> None:
    """Nothing has happened."""
    assert latest(tmp_path / "records.jsonl", 5, anything) == []
    assert list(since(tmp_path / "records.jsonl", 0, anything)) == []


def follow(path: Path, steps: list[Callable[[], object]], count: int) -> list[int]:
    """So many records, while a step is done at each wait."""

    def sleep(_: float) -> None:
        assert steps, "it waits for what has come"
        steps.pop(0)()

    following = Following(path)
    records = following.records(sleep)
    found = of(next(records) for _ in range(count))
    following.close()
    return found


def test_following(path: Path) -> None:
    """Only what comes from now on; a line that was begun is finished first."""
    begun: list[Callable[[], object]] = [lambda: path.open("a").write("\n"), lambda: put(path, 8, 9)]
    assert follow(path, begun, 2) == [8, 9]


def test_following_over_a_rotation(path: Path) -> None:
    """What was written before the renaming, then the new file from its beginning."""

    def rotate() -> None:
        path.open("a").write("}\n")
        put(path, 8)
        path.rename(path.with_name("records.jsonl.2"))
        put(path, 9)

    assert follow(path, [rotate], 2) == [8, 9]


def test_following_what_was_cut(path: Path) -> None:
    """Copied and cut by logrotate: from the beginning."""
    assert follow(path, [lambda: path.write_text(""), lambda: put(path, 10)], 1) == [10]


def test_following_what_is_not_there_yet(tmp_path: Path) -> None:
    """A proxy that starts later."""
    path = tmp_path / "records.jsonl"
    assert follow(path, [lambda: None, lambda: put(path, 1)], 1) == [1]


def test_a_file_that_grows_while_it_is_read_backwards_keeps_its_first_line(tmp_path: Path) -> None:
    """An offset is one from the beginning, whatever is written meanwhile."""
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"one\ntwo\n")
    begin = path.stat().st_size - 8
    with open(path, "ab") as opened:
        opened.write(b"three\n" * 10)
    assert list(lines_backwards(path, begin))[-2:] == [b"two", b"one"]
    assert list(lines_backwards(path, -7)) == [b"", b"three"]
