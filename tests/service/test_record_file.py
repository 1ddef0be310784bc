"""The record file: read from its end, and followed over a rotation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from netfw.config.log_model import LogSection, OutputSection
from netfw.service.record_file import NoRecordFile, RecordFile
from netfw.telemetry.record_search import Found


def record(number: int, **more: object) -> dict:
    """A record as far as it is looked at."""
    return {
        "id": f"ID-{number}", "client_src_ip": f"10.0.0.{number % 3}", "dest_domain": f"host{number % 2}.test.",
        "final_action": "deny" if number % 2 else "allow", "padding": "x" * 500, **more,
    }  # fmt: skip


def _log(path: Path) -> LogSection:
    return LogSection((OutputSection("file", path),))


def write(path: Path, *records: dict) -> None:
    with open(path, "a") as file:
        file.writelines(json.dumps(one) + "\n" for one in records)


def test_an_exchange_is_found_wherever_it_is(run, tmp_path: Path) -> None:
    """Over more than one piece of the file, first and last line included, a broken line passed over."""
    path = tmp_path / "records.jsonl"
    write(path, *map(record, range(3000)))
    with open(path, "ab") as file:
        file.write(b'{"id": "ID-broken\n')
    write(path, record(3000))

    async def scenario(reactor):
        records = RecordFile(_log(path), reactor)
        for number in (0, 1, 1999, 3000):
            assert (await records.find(f"ID-{number}")).record["id"] == f"ID-{number}"
        assert (await records.find("ID-3001")).record is None
        assert (await records.find("ID-broken")).record is None

    run(scenario)


def test_the_busiest_are_counted(run, tmp_path: Path) -> None:
    """Clients, destinations, and what was denied."""
    path = tmp_path / "records.jsonl"
    write(path, *map(record, range(10)))

    async def scenario(reactor):
        found = await RecordFile(_log(path), reactor).busiest()
        assert found["records"] == 10
        assert found["clients"][0] == {"client": "10.0.0.0", "exchanges": 4}
        assert found["denied"] == [{"destination": "host1.test", "exchanges": 5}]

    run(scenario)


def test_records_are_followed_over_a_rotation(run, tmp_path: Path) -> None:
    """Those that come, of the client that is asked for, until the end."""
    path = tmp_path / "records.jsonl"
    write(path, record(0))
    seen: list[str] = []

    async def scenario(reactor):
        async def until(count: int) -> None:
            while len(seen) < count:
                await deferLater(reactor, 0.01)

        following = RecordFile(_log(path), reactor).follow(
            lambda one: one["client_src_ip"] == "10.0.0.0", lambda one: seen.append(one["id"])
        )
        write(path, record(1), record(3))
        await until(1)
        path.rename(tmp_path / "records.jsonl.1")
        write(path, record(6))
        await until(2)
        following.cancel()
        with pytest.raises(CancelledError):
            await following

    run(scenario)
    assert seen == ["ID-3", "ID-6"]


def test_standard_output_cannot_be_read_back(tmp_path: Path) -> None:
    """It is said, with the setting."""
    with pytest.raises(NoRecordFile, match="log"):
        RecordFile(LogSection(), None).find("x")


def test_no_file_is_no_record(run, tmp_path: Path) -> None:
    """Nothing was written yet."""

    async def scenario(reactor):
        assert await RecordFile(_log(tmp_path / "none"), reactor).find("x") == Found(None)

    run(scenario)
