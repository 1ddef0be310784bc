"""Batches to moto's S3, CloudWatch Logs and Firehose over real HTTP on loopback, killed and restored during load."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

boto3 = pytest.importorskip("boto3")
pytest.importorskip("moto", reason="needs moto[server], which Debian 12 has no package of")

from netfw.config.delivery_model import AwsSection, AwsService  # noqa: E402  # only where boto3 is
from netfw.config.log_model import OutputSection, RecordForm  # noqa: E402
from netfw.telemetry.aws_carriers import CARRIERS, AwsCarrier, _rejected, with_moment  # noqa: E402
from netfw.telemetry.carrier import Carried, NotCarried, TooLarge  # noqa: E402
from netfw.telemetry.delivery_secrets import AwsKeys  # noqa: E402
from netfw.telemetry.record_printer import RecordPrinter, as_line  # noqa: E402
from netfw.telemetry.spool import BatchLimits, Spool  # noqa: E402
from netfw.telemetry.spooled_destination import SpooledDestination, SpooledLog  # noqa: E402
from netfw.testing.aws_cloud import REGION, TARGETS, AwsCloud  # noqa: E402  # the same
from netfw.testing.relay import Relay  # noqa: E402
from netfw.testing.stores import wait_until  # noqa: E402

KEYS = AwsKeys("AKIDEXAMPLE", "s3cret-key")
NOW = 1_900_000_000


class Cloud(AwsCloud):
    """The services behind a relay that can be killed."""

    relay: Relay

    def section(self, service: AwsService, **changes: Any) -> AwsSection:
        settings = {"target": TARGETS[service], "region": REGION, "endpoint": self.relay.url, **changes}
        return AwsSection(service, compress=service is AwsService.S3, **settings)

    def carrier(self, service: AwsService, form: str = "json", **changes: Any) -> AwsCarrier:
        return CARRIERS[service](self.section(service, **changes), lambda: KEYS, RecordForm(form))

    def rules(self, service: AwsService) -> list[str]:
        """What tells records apart here."""
        return [json.loads(line)["final_rule_name"] for line in self.arrived(service)]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with Cloud(tmp_path_factory.mktemp("moto") / "log") as cloud, Relay(cloud.port) as cloud.relay:
        yield cloud


def record(number: int) -> dict[str, Any]:
    from time import time

    return {
        "event_timestamp": int(time()),
        "proxy_name": "p",
        "final_action": "deny" if number % 2 else "allow",
        "kind": "exchange",
        "id": str(number),
        "final_rule_name": f"{number:05d}",
        "client_src_ip": "10.0.0.7",
        "bytes_in": 17,
    }


@pytest.mark.parametrize("service", list(AwsService))
def test_killed_and_restored_during_load(cloud: Cloud, tmp_path: Path, service: AwsService) -> None:
    """In the vendor's form, denials only. Below the spool's limit nothing is lost; above it what is lost is counted."""
    finish = with_moment if service is AwsService.CLOUDWATCH else as_line
    output = OutputSection("o", types=("deny",), forms={"deny": RecordForm("aws", ("final_rule_name",))})
    spool = Spool(tmp_path / "spool", size=60_000, limits=BatchLimits(100, 15_000, 0.05), drop="newest")
    destination = SpooledDestination(spool, cloud.carrier(service), first_pause=0.05, longest_pause=0.1)
    log = SpooledLog(destination, gather=0.005, printer=RecordPrinter(output, str, finish))
    log.start()
    sent: list[str] = []

    def load(count: int) -> None:
        for number in range(len(sent) * 2, (len(sent) + count) * 2):
            log.write(json.dumps(record(number)).encode() + b"\n")
        sent.extend(f"{number:05d}" for number in range(len(sent) * 2 + 1, (len(sent) + count) * 2, 2))

    load(100)
    wait_until(lambda: log.written == 100)
    cloud.relay.kill()
    load(200)
    wait_until(lambda: log.failing and spool.records == 200)
    assert log.dropped == 0 and set(destination.health.errors) == {"unreachable"}
    cloud.relay.start()
    wait_until(lambda: log.written == 300)
    assert sorted(set(cloud.rules(service))) == sent
    cloud.relay.kill()
    load(1000)
    wait_until(lambda: spool.records + log.written + log.dropped == 1300)
    assert log.dropped > 100
    cloud.relay.start()
    wait_until(lambda: log.written + log.dropped == 1300)
    assert log.left_out == 1300
    arrived = cloud.rules(service)
    assert sorted(set(arrived)) == sent[: log.written]
    assert log.close(5.0)


def test_an_object_is_named_by_its_batch_so_that_one_sent_twice_is_the_same(cloud: Cloud) -> None:
    carrier = cloud.carrier(AwsService.S3, name="twice/")
    for _ in range(2):
        assert carrier.carry([b'{"final_rule_name":"x"}\n'], f"{NOW * 10**9:020d}-abcd") == Carried()
    found = cloud.client("s3").list_objects_v2(Bucket=TARGETS[AwsService.S3], Prefix="twice/")["Contents"]
    assert [entry["Key"] for entry in found] == [f"twice/2030/03/17/17/{NOW * 10**9:020d}-abcd.jsonl.gz"]
    cloud.client("s3").delete_object(Bucket=TARGETS[AwsService.S3], Key=found[0]["Key"])


def test_an_object_says_what_is_in_it(cloud: Cloud) -> None:
    lines = [b"event_timestamp url\x1f1\thttp://a.test/\n", b"event_timestamp url\x1f2\t-\n"]
    carrier = cloud.carrier(AwsService.S3, "w3c", name="columns/")
    assert carrier.carry(lines, f"{NOW * 10**9:020d}-abcd") == Carried()
    key = f"columns/2030/03/17/17/{NOW * 10**9:020d}-abcd.log.gz"
    found = cloud.client("s3").get_object(Bucket=TARGETS[AwsService.S3], Key=key)
    assert found["ContentType"] == "text/plain; charset=utf-8"
    text = gzip.decompress(found["Body"].read()).decode("ascii")
    cloud.client("s3").delete_object(Bucket=TARGETS[AwsService.S3], Key=key)
    assert text.startswith("#Version: 1.0\n")
    assert text.endswith("\n#Fields: event_timestamp url\n1\thttp://a.test/\n2\t-\n")


def test_a_raw_record_has_no_end_of_line(cloud: Cloud) -> None:
    before = set(cloud.objects("behind-firehose"))
    carrier = cloud.carrier(AwsService.FIREHOSE, "raw")
    assert carrier.carry([b"1\tp\n", b"2\tq\n"], f"{NOW * 10**9:020d}-raw") == Carried()
    assert set(cloud.objects("behind-firehose")) - before == {b"1\tp2\tq"}
    bucket = cloud.client("s3").list_objects_v2(Bucket="behind-firehose")["Contents"]
    for entry in bucket:
        cloud.client("s3").delete_object(Bucket="behind-firehose", Key=entry["Key"])


@pytest.mark.parametrize("line", [b'{"id":"x"}\n', b"\xff\x00\n", b"\n", b"9" * 40 + b" x\n", b"12 \n"])
def test_what_lies_in_the_spool_from_elsewhere_does_not_hold_up_what_comes_behind_it(cloud: Cloud, line: bytes) -> None:
    """Another output's line in the former configuration, or what the machine's end left: it has no time before it."""
    from time import time

    began = int(time() * 1000)
    stream = f"strange-{line.hex()[:8]}"
    carrier = cloud.carrier(AwsService.CLOUDWATCH, name=stream)
    assert carrier.carry([line, b"%d good\n" % began], f"{began * 1_000_000:020d}-a") == Carried()
    events = cloud.client("logs").get_log_events(
        logGroupName=TARGETS[AwsService.CLOUDWATCH], logStreamName=stream, startFromHead=True
    )["events"]
    assert {event["timestamp"] for event in events} == {began} and "good" in {event["message"] for event in events}
    cloud.client("logs").delete_log_stream(logGroupName=TARGETS[AwsService.CLOUDWATCH], logStreamName=stream)


@pytest.mark.parametrize("service", list(AwsService))
def test_a_target_that_is_not_there_is_waited_for(cloud: Cloud, service: AwsService) -> None:
    """Somebody will make it; and no key is in what is said."""
    with pytest.raises(NotCarried) as raised:
        cloud.carrier(service, target="missing-one").carry([b"1900000000000 {}\n"], f"{NOW * 10**9:020d}-a")
    assert raised.value.reason == "not_found"
    assert "s3cret" not in raised.value.detail and "s3cret" not in repr(KEYS)


def test_what_a_service_does_not_take_at_once_is_too_large(cloud: Cloud) -> None:
    day = 24 * 3600 * 1000
    for service, records in (
        (AwsService.CLOUDWATCH, [b"1 {}\n", b"%d {}\n" % (day + 1)]),
        (AwsService.CLOUDWATCH, [b"1 " + b"x" * 270_000 + b"\n"]),
        (AwsService.CLOUDWATCH, [b"1 " + b"x" * 200_000 + b"\n"] * 6),
        (AwsService.FIREHOSE, [b"x" * 1_100_000 + b"\n"]),
        (AwsService.FIREHOSE, [b"x" * 900_000 + b"\n"] * 5),
    ):
        with pytest.raises(TooLarge):
            cloud.carrier(service).carry(records, f"{NOW * 10**9:020d}-a")


def test_events_that_are_too_old_or_too_new_are_counted() -> None:
    assert _rejected({}, 10) == Carried()
    assert _rejected({"tooOldLogEventEndIndex": 3, "expiredLogEventEndIndex": 2}, 10).refused == 3
    assert _rejected({"tooNewLogEventStartIndex": 8, "tooOldLogEventEndIndex": 1}, 10).refused == 3


def test_without_credentials_it_waits_for_some(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    carrier = CARRIERS[AwsService.S3](cloud.section(AwsService.S3), lambda: None)
    with pytest.raises(NotCarried) as raised:
        carrier.carry([b"{}\n"], f"{NOW * 10**9:020d}-a")
    assert raised.value.reason == "credentials"
