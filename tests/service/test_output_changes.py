"""Outputs to servers are exchanged while records come: what a former one has is kept, who cannot start is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.logger import formatEvent, globalLogPublisher

from netfw.config.delivery_model import BatchSection, DeliverySection, HttpSection, SpoolSection
from netfw.config.log_model import LogSection, OutputSection
from netfw.service.output_changes import prepare_outputs
from netfw.service.record_assembly import build_outputs
from netfw.telemetry.delivery_secrets import HttpCredentials
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.record_outputs import RecordOutputs
from netfw.telemetry.record_secrets import RecordSecrets
from netfw.testing.collector import Collector
from netfw.testing.stores import wait_until


@pytest.fixture(scope="module")
def reactor() -> Iterator[Any]:
    """One that turns in a thread of its own."""
    turning: Any = EPollReactor()
    thread = threading.Thread(target=turning.run, kwargs={"installSignalHandlers": False}, daemon=True)
    thread.start()
    yield turning
    turning.callFromThread(turning.stop)
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as found:
        yield found


def siem(url: str, spool: Path, **changes: Any) -> OutputSection:
    delivery = DeliverySection(SpoolSection(spool), BatchSection(10, 100_000, 0.05), http=HttpSection(url))
    return OutputSection("siem", delivery=delivery, **changes)


def log_of(root: Path, *outputs: OutputSection) -> LogSection:
    return LogSection((OutputSection("file", root / "r.jsonl"), *outputs))


def secrets(*names: str) -> RecordSecrets:
    return RecordSecrets(delivery=dict.fromkeys(names, HttpCredentials()))


def line(number: int) -> bytes:
    return json.dumps({"id": str(number), "final_action": "deny", "kind": "exchange"}).encode() + b"\n"


class Running:
    """Outputs that have started, and what metrics say of them."""

    def __init__(self, section: LogSection, reactor: Any) -> None:
        self.metrics = Metrics()
        self.section = section
        self._reactor = reactor
        self.records: RecordOutputs = build_outputs(
            section, self.metrics, secrets(*(one.name for one in section.outputs)), reactor=reactor
        )
        self.records.start()

    def change(self, section: LogSection) -> None:
        """As a reload does."""
        change = prepare_outputs(self.records, self.section, section, self._reactor)
        done = threading.Event()
        self._reactor.callFromThread(lambda: (change(secrets("siem")), done.set()))
        assert done.wait(10)
        self.section = section

    def sinks(self) -> set[str]:
        """Which outputs metrics know."""
        return {
            sample.labels["sink"]
            for family in self.metrics.families()
            for sample in family.samples
            if sample.name == "netfw_log_written_total"
        }


@pytest.fixture
def running(tmp_path: Path, reactor: Any) -> Iterator[Any]:
    made: list[Running] = []

    def run(*outputs: OutputSection) -> Running:
        made.append(Running(log_of(tmp_path, *outputs), reactor))
        return made[-1]

    yield run
    for one in made:
        one.records.close(5.0)


def test_what_the_former_one_could_not_send_is_sent_by_the_one_with_its_spool(
    running: Any, collector: Collector, tmp_path: Path
) -> None:
    outputs = running(siem("http://127.0.0.1:1/", tmp_path / "spool"))
    for number in range(5):
        outputs.records.write(line(number))
    wait_until(lambda: outputs.records.logs["siem"].destination.spool.records == 5)
    former = outputs.records.logs["siem"]
    outputs.change(log_of(tmp_path, siem(collector.url(), tmp_path / "spool")))
    assert outputs.records.logs["siem"] is not former and outputs.sinks() == {"file", "siem"}
    outputs.records.write(line(5))
    wait_until(lambda: len(collector.records) == 6)
    assert {json.loads(found)["id"] for found in collector.records} == {str(number) for number in range(6)}


def test_one_that_goes_sends_what_it_has_and_its_counts_stay_in_the_sums(
    running: Any, collector: Collector, tmp_path: Path
) -> None:
    outputs = running(siem(collector.url(), tmp_path / "spool"))
    for number in range(5):
        outputs.records.write(line(number))
    outputs.change(log_of(tmp_path))
    assert outputs.sinks() == {"file"} == set(outputs.records.logs)
    outputs.records.write(line(5))
    wait_until(lambda: outputs.records.written == 5 + 6)
    assert len(collector.records) == 5 and outputs.records.dropped == 0
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]


def test_files_stay_the_same_object(running: Any, collector: Collector, tmp_path: Path) -> None:
    outputs = running()
    file = outputs.records.logs["file"]
    outputs.change(log_of(tmp_path, siem(collector.url(), tmp_path / "spool", types=("deny",))))
    assert outputs.records.logs["file"] is file
    same = outputs.records.logs["siem"]
    outputs.change(log_of(tmp_path, siem(collector.url(), tmp_path / "spool", types=("deny",))))
    assert outputs.records.logs["siem"] is same


def test_a_spool_that_cannot_be_made_refuses_the_configuration(running: Any, tmp_path: Path, reactor: Any) -> None:
    outputs = running()
    (tmp_path / "file").write_text("")
    wanted = log_of(tmp_path, siem("http://127.0.0.1:1/", tmp_path / "file" / "spool"))
    with pytest.raises(OSError, match="Not a directory"):
        prepare_outputs(outputs.records, outputs.section, wanted, reactor)
    assert set(outputs.records.logs) == {"file"}


def test_one_that_cannot_start_after_all_is_told_and_the_former_one_stays(
    running: Any, collector: Collector, tmp_path: Path, reactor: Any
) -> None:
    outputs = running(siem(collector.url(), tmp_path / "spool"))
    former = outputs.records.logs["siem"]
    heard: list[str] = []
    observe = lambda event: heard.append(formatEvent(event))  # noqa: E731  # added and removed by identity
    wanted = log_of(tmp_path, siem(collector.url(), tmp_path / "other"))
    change = prepare_outputs(outputs.records, outputs.section, wanted, reactor)
    (tmp_path / "other").rmdir()
    (tmp_path / "other").write_text("")
    globalLogPublisher.addObserver(observe)
    try:
        change(secrets("siem"))
    finally:
        globalLogPublisher.removeObserver(observe)
    assert outputs.records.logs["siem"] is former
    assert any("records cannot go to http://" in said for said in heard)
