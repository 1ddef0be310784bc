"""The index of records, following a real file: ids to lines, rotation, restart, bounds, damage."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netfw.proxy.exchange import new_exchange_id
from netfw.telemetry.index_process import Keeper, turn_over
from netfw.telemetry.record_follower import RecordFollower, rotated
from netfw.telemetry.record_index import IndexUnusable, RecordIndex, canonical_id, number_of
from netfw.telemetry.record_search import find_record

NOW = 1_800_000_000


def record(action: str = "allow", at: int = NOW, **more: Any) -> dict[str, Any]:
    """A record as far as it is looked at, its id as ours is and where ours is."""
    return {
        "event_timestamp": at, "proxy_name": "p", "final_action": action, "user": 'a "id":"0" ,"id":"', "bytes": 0,
        "id": new_exchange_id(), "kind": "exchange", **more,
    }  # fmt: skip


def write(path: Path, *records: dict[str, Any]) -> None:
    with open(path, "a") as file:
        file.writelines(json.dumps(one, separators=(",", ":")) + "\n" for one in records)


def catch_up(follower: RecordFollower) -> None:
    while follower.step():
        pass


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    """The record file and its index."""
    return tmp_path / "records.jsonl", tmp_path / "records.index"


def new_index(path: Path, **bounds: Any) -> RecordIndex:
    return RecordIndex(path, **{"keep": 7 * 86400.0, "size": 1 << 30, **bounds})


@given(st.text(alphabet="0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=10, max_size=10))
def test_ids_are_numbers_and_are_read_as_they_are_typed(letters: str) -> None:
    """Each id has a number of its own, and what people make of an id is still that id."""
    exchange_id = f"{letters[:5]}-{letters[5:]}"
    number = number_of(exchange_id)
    assert 0 <= number < 1 << 50
    back = ""
    for _ in range(10):
        number, digit = divmod(number, 32)
        back = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[digit] + back
    assert back == letters
    for typed in (exchange_id, exchange_id.lower(), f"[{exchange_id}]", letters, exchange_id.replace("0", "O")):
        assert canonical_id(typed) == exchange_id


@pytest.mark.parametrize("text", ["", "2HA26", "2HA26-1F5FDX", "2HA26-1F5F!", "U2A26-1F5FD"])
def test_what_is_no_id_is_none(text: str) -> None:
    """Too short, too long, other letters."""
    assert canonical_id(text) is None


def test_all_are_found_denied_ones_without_their_file(paths: tuple[Path, Path]) -> None:
    """Lines that are no records, and half a line, change nothing."""
    records, path = paths
    allowed, denied = record(), record("deny")
    failed = record(error={"token": "dns_error"})
    odd = {"id": new_exchange_id(), "final_action": "allow"}
    write(records, allowed, denied)
    with open(records, "a") as file:
        file.write('no json\n{"event": "interception"}\n[1]\n\n')
    write(records, failed, odd)
    with open(records, "a") as file:
        file.write('{"half": ')
    index = new_index(path)
    follower = RecordFollower(records, index)
    catch_up(follower)
    assert index.records == 4
    assert follower.behind() == len('{"half": ')
    for one in (allowed, denied, failed, odd):
        assert find_record(records, path, one["id"]).record == one
    assert find_record(records, path, new_exchange_id()).record is None
    os.unlink(records)
    assert find_record(records, path, denied["id"]).record == denied
    assert find_record(records, path, failed["id"]).record == failed
    gone = find_record(records, path, allowed["id"])
    assert gone.record is None
    assert "let pass" in gone.notes[0]
    assert (path.stat().st_mode & 0o777) == 0o640
    follower.close()
    index.close()


def test_rotation_and_restart_lose_nothing_and_read_nothing_twice(paths: tuple[Path, Path]) -> None:
    """What is still written to the old file, what came while nobody followed, and what was rotated meanwhile."""
    records, path = paths
    first, late, second, away, third = (record(number=number) for number in range(5))
    write(records, first)
    index = new_index(path)
    follower = RecordFollower(records, index)
    catch_up(follower)
    old = records.rename(records.with_name("records.jsonl.1"))
    write(records, second)
    catch_up(follower)
    write(old, late)
    catch_up(follower)
    assert index.records == 3
    follower.close()
    index.close()
    write(records, away)
    old.rename(records.with_name("records.jsonl.2"))
    records.rename(old)
    write(records, third)
    index = new_index(path)
    follower = RecordFollower(records, index)
    catch_up(follower)
    assert index.records == 5
    for one in (first, late, second, away, third):
        assert find_record(records, path, one["id"]).record == one
    follower.close()
    index.close()


def test_a_file_that_is_cut_is_read_anew(paths: tuple[Path, Path]) -> None:
    """As logrotate's copytruncate does."""
    records, path = paths
    write(records, *(record() for _ in range(3)))
    index = new_index(path)
    follower = RecordFollower(records, index)
    catch_up(follower)
    os.truncate(records, 0)
    new = record("deny")
    write(records, new)
    catch_up(follower)
    assert find_record(records, path, new["id"]).record == new
    assert index.records == 4
    follower.close()
    index.close()


def test_what_is_not_indexed_yet_is_found_all_the_same(paths: tuple[Path, Path]) -> None:
    """A lagging index makes no denial disappear, and neither does one that is missing or broken."""
    records, path = paths
    write(records, record())
    index = new_index(path)
    follower = RecordFollower(records, index)
    catch_up(follower)
    new = record("deny")
    write(records, new)
    assert find_record(records, path, new["id"]).record == new
    assert find_record(records, None, new["id"]).record == new
    follower.close()
    index.close()
    for name in os.listdir(path.parent):
        if name.startswith(path.name):
            os.unlink(path.parent / name)
    path.write_bytes(b"no database" * 100)
    found = find_record(records, path, new["id"])
    assert found.record == new
    assert "cannot be read" in found.notes[0]


def test_the_oldest_go_beyond_age_and_size(paths: tuple[Path, Path]) -> None:
    """Whole segments, and the one that is written stays."""
    records, path = paths
    old, new = record("deny", NOW - 1000), record("deny", NOW)
    index = new_index(path, keep=500.0)
    follower = RecordFollower(records, index, lambda: float(NOW))
    write(records, old)
    catch_up(follower)
    write(records, new)
    catch_up(follower)
    follower.forget()
    assert index.records == 1
    assert find_record(records, path, new["id"]).record == new
    follower.close()
    index.close()
    index = new_index(path, size=1, segment=10)
    follower = RecordFollower(records, index, lambda: float(NOW))
    for _ in range(3):
        write(records, *(record("deny", text="x" * 500) for _ in range(10)))
        catch_up(follower)
    last = record("deny")
    write(records, last)
    catch_up(follower)
    follower.forget()
    assert index.records <= 10
    assert find_record(records, path, last["id"]).record == last
    follower.close()
    index.close()


def test_a_file_of_somebody_else_is_left_alone(paths: tuple[Path, Path]) -> None:
    """The policy store, named by mistake, is neither written nor thrown away; what is no database is kept beside."""
    records, path = paths
    write(records, record("deny"))
    with sqlite3.connect(path) as store:
        store.execute("CREATE TABLE rule_group (name TEXT)")
    store.close()
    before = path.read_bytes()
    with pytest.raises(IndexUnusable, match=r"database of something else; name another file in log\.index\.path"):
        Keeper(records, path, 7 * 86400.0, 1 << 30)
    assert path.read_bytes() == before
    assert sorted(one.name for one in path.parent.iterdir() if one.name.startswith(path.name)) == [path.name]
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
    keeper = Keeper(records, path, 7 * 86400.0, 1 << 30)
    assert keeper.rebuilt
    keeper.close()
    assert Path(f"{path}.damaged").read_bytes() == b"-----BEGIN PRIVATE KEY-----\n"


@pytest.mark.parametrize("damage", ["not a database", "another form", "a hole"])
def test_an_unusable_index_is_built_anew_and_says_why(paths: tuple[Path, Path], damage: str) -> None:
    """From the records that are there."""
    records, path = paths
    kept = [record("deny", text="x" * 300) for _ in range(200)]
    write(records, *kept)
    keeper = Keeper(records, path, 7 * 86400.0, 1 << 30)
    while keeper.step():
        pass
    assert keeper.rebuilt is None
    keeper.close()
    if damage == "not a database":
        path.write_bytes(b"junk" * 5000)
    elif damage == "another form":
        content = bytearray(path.read_bytes())
        content[60:64] = (99).to_bytes(4, "big")
        path.write_bytes(content)
        with pytest.raises(IndexUnusable, match="form 99"):
            new_index(path)
    else:
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
    keeper = Keeper(records, path, 7 * 86400.0, 1 << 30)
    while keeper.step():
        pass
    assert keeper.rebuilt
    report = keeper.report()
    assert (report["records"], report["lag_bytes"], report["lag_seconds"]) == (200, 0, 0.0)
    keeper.close()
    for one in kept[::50]:
        assert find_record(records, path, one["id"]).record == one


def test_a_large_journal_is_turned_over_and_its_records_stay(paths: tuple[Path, Path]) -> None:
    """Its writers begin another; two are there at most."""
    records, path = paths
    keeper = Keeper(records, path, 7 * 86400.0, 1 << 30)
    written = []
    for _ in range(3):
        written.append(record("deny"))
        write(records, written[-1])
        while keeper.step():
            pass
        turn_over(records, 1e12, size=1)
        turn_over(records, 1e12, size=1)
    assert sorted(os.listdir(records.parent)) == [
        "records.index", "records.index-shm", "records.index-wal", "records.jsonl.1",
    ]  # fmt: skip
    for one in written:
        assert find_record(records, path, one["id"]).record == one
    keeper.close()


def test_a_journal_grows_no_older_than_records_may(paths: tuple[Path, Path]) -> None:
    """It is turned over at half the age, and goes at the whole."""
    records, _ = paths
    write(records, record())
    former = records.with_name("records.jsonl.1")
    turn_over(records, 100.0, now=NOW + 40.0)
    assert not former.exists()
    turn_over(records, 100.0, now=NOW + 51.0)
    assert former.exists()
    os.utime(former, (NOW, NOW))
    turn_over(records, 100.0, now=NOW + 51.0)
    assert not former.exists()


@pytest.mark.parametrize("name", ["records.jsonl.index", "records.jsonl-index", "records-index.jsonl"])
def test_an_index_follows_records_and_never_itself(tmp_path: Path, name: str) -> None:
    """Whatever it is called, and whatever else lies there."""
    records, path = tmp_path / "records.jsonl", tmp_path / name
    other = tmp_path / "recordings.jsonl"
    write(records, record("deny"))
    write(other, record("deny"))
    (tmp_path / "records.jsonl.1.gz").write_bytes(b"compressed\n")
    keeper = Keeper(records, path, 7 * 86400.0, 1 << 30)
    while keeper.step():
        pass
    keeper.close()
    keeper = Keeper(records, path, 7 * 86400.0, 1 << 30)
    assert [keeper.step() for _ in range(3)] == [0, 0, 0]
    assert [Path(place.path).name for place in keeper.index.places] == ["records.jsonl"]
    assert rotated(records) == [records]
    keeper.close()


class IndexProcess:
    """A real one; what it says is read line by line."""

    def __init__(self, records: Path, index: Path) -> None:
        about = {"records": str(records), "index": str(index), "keep": 86400.0 * 36500, "size": 1 << 30}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "netfw.telemetry.index_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(about).encode() + b"\n")
        self._process.stdin.flush()

    def wait_to_hear(self, name: str, value: Any) -> None:
        """Until a line says so."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if json.loads(line).get(name) == value:
                return
        raise AssertionError("it ended")

    def end(self) -> None:
        """As its proxy ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()


def test_one_process_keeps_an_index_and_another_waits_for_its_end(paths: tuple[Path, Path]) -> None:
    """While one proxy takes over from another both follow the same file; what the later one adds counts once."""
    records, index = paths
    written = [record("deny") for _ in range(3)]
    records.write_text("".join(json.dumps(one, separators=(",", ":")) + "\n" for one in written[:2]))
    first = IndexProcess(records, index)
    first.wait_to_hear("records", 2)
    second = IndexProcess(records, index)
    second.wait_to_hear("kept_by_another", True)
    with records.open("a") as file:
        file.write(json.dumps(written[2], separators=(",", ":")) + "\n")
    first.wait_to_hear("records", 3)
    first.end()
    second.wait_to_hear("records", 3)
    second.end()
