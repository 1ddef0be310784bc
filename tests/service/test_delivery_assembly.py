"""Outputs that deliver, as the configuration's settings make them: each kind reaches its own server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor

from netfw.config.delivery_model import (
    MIB,
    AwsSection,
    AwsService,
    BatchSection,
    DeliverySection,
    HttpSection,
    OtlpSection,
    Signal,
    SpoolSection,
)
from netfw.config.log_model import LogSection, OutputSection
from netfw.service.record_assembly import build_outputs
from netfw.telemetry.delivery_secrets import AwsKeys, HttpCredentials
from netfw.telemetry.metrics import Metrics
from netfw.telemetry.record_outputs import RecordOutputs
from netfw.telemetry.record_secrets import RecordSecrets
from netfw.testing.collector import Collector
from netfw.testing.stores import wait_until

RECORD = {"event_timestamp": 1, "proxy_name": "p", "final_action": "allow", "kind": "exchange", "id": "X"}


@pytest.fixture(scope="module")
def reactor() -> Iterator[Any]:
    turning: Any = EPollReactor()
    thread = threading.Thread(target=turning.run, kwargs={"installSignalHandlers": False}, daemon=True)
    thread.start()
    yield turning
    turning.callFromThread(turning.stop)
    thread.join(10)


def outputs_of(tmp_path: Path, reactor: Any, secret: Any, workers: int = 0, **server: Any) -> RecordOutputs:
    """Of one output with this server, started."""
    delivery = DeliverySection(SpoolSection(tmp_path / "spool", 32 * MIB), BatchSection(10, 8 * MIB, 0.05), **server)
    section = LogSection((OutputSection("o", delivery=delivery),))
    secrets = RecordSecrets(delivery={"o": secret})
    outputs = build_outputs(section, Metrics(), secrets, reactor=reactor, workers=workers)
    outputs.start()
    return outputs


def send(outputs: RecordOutputs) -> None:
    outputs.write(json.dumps(RECORD).encode() + b"\n")


@pytest.mark.parametrize("signal", [None, Signal.LOGS, Signal.SPANS])
def test_what_is_posted_is_in_the_servers_form(tmp_path: Path, reactor: Any, signal: Signal | None) -> None:
    with Collector() as collector:
        http = HttpSection(collector.url("/in"))
        server = {"http": http} if signal is None else {"otlp": OtlpSection(http, signal, {"service.name": "mine"})}
        outputs = outputs_of(tmp_path, reactor, HttpCredentials({"X-Key": "k"}), **server)
        send(outputs)
        wait_until(lambda: outputs.written == 1)
        outputs.close()
    (posted,) = collector.taken
    assert posted.headers["x-key"] == "k"
    body = json.loads(posted.body)
    if signal is None:
        assert body == RECORD
        return
    (group,) = body["resourceLogs" if signal is Signal.LOGS else "resourceSpans"]
    resource = {one["key"]: one["value"]["stringValue"] for one in group["resource"]["attributes"]}
    assert resource["service.name"] == "mine" and set(resource) == {"service.name", "service.version", "host.name"}


@pytest.mark.parametrize("service", list(AwsService))
def test_aws_services_are_reached_by_boto3(tmp_path: Path, reactor: Any, service: AwsService) -> None:
    """Nobody listens at the endpoint, so what is stored waits."""
    pytest.importorskip("boto3")
    aws = AwsSection(service, "target-1", region="us-east-2", endpoint="http://127.0.0.1:1")
    outputs = outputs_of(tmp_path, reactor, AwsKeys("a", "b"), aws=aws)
    send(outputs)
    destination: Any = outputs.logs["o"].destination
    wait_until(lambda: destination.health.errors)
    assert set(destination.health.errors) == {"unreachable"} and destination.spool.records == 1
    outputs.close()


def test_what_sends_is_loaded_before_it_is_built() -> None:
    """In a process of its own, which has nothing of it yet: a reload must not hold up its reactor for that."""
    program = (
        "import sys; from pathlib import Path\n"
        "from netfw.config.delivery_model import DeliverySection, HttpSection, SpoolSection\n"
        "from netfw.config.log_model import OutputSection\n"
        "from netfw.service.delivery_assembly import load_carriers\n"
        "delivery = DeliverySection(SpoolSection(Path('s')), http=HttpSection('http://a.test'))\n"
        "before = 'treq' in sys.modules\n"
        "load_carriers([OutputSection('file', Path('f')), OutputSection('siem', delivery=delivery)])\n"
        "print(before, 'treq' in sys.modules, 'boto3' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True", "False"]


def test_processes_share_the_spools_size(tmp_path: Path, reactor: Any) -> None:
    """Seven workers and the supervisor: an eighth each, and batches that leave room for others."""
    outputs = outputs_of(tmp_path, reactor, HttpCredentials(), workers=7, http=HttpSection("http://127.0.0.1:1/"))
    spool = outputs.logs["o"].destination.spool
    assert (spool.size, spool._limits.size) == (4 * MIB, MIB)
    outputs.close()
