"""Records of a whole proxy at S3, CloudWatch Logs and Firehose, each killed and restored while requests are made.

In the vendor's columns. Below the spool's size nothing is lost; above it what is lost is counted, record by record.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("boto3")
pytest.importorskip("moto", reason="needs moto[server], which Debian 12 has no package of")

from netfw.config.delivery_model import AwsService  # noqa: E402  # only where boto3 is
from netfw.testing.aws_cloud import REGION, TARGETS, AwsCloud  # noqa: E402  # the same
from netfw.testing.origins import HttpOrigin  # noqa: E402  # the same
from netfw.testing.proxy_process import ProxyProcess  # noqa: E402  # the same
from netfw.testing.relay import Relay  # noqa: E402  # the same
from netfw.testing.wire_client import RoutedClient  # noqa: E402  # the same

SECRET = "s3cret-key-of-the-cloud"
LONG = "x" * 1900
"""Makes records of 2 KiB, so that a spool of 1 MiB is full soon."""
HOSTILE = "/%0a%09,-?a=b%20c"
WHERE = {AwsService.S3: "bucket", AwsService.CLOUDWATCH: "group", AwsService.FIREHOSE: "stream"}
FORMS: dict[AwsService, dict[str, Any]] = {
    AwsService.S3: {"format": "w3c", "fields": ["url.path", "http_status_code"]},
    AwsService.CLOUDWATCH: {"format": "plain", "delimiter": ",", "fields": ["url.path", "http_status_code"]},
    AwsService.FIREHOSE: {"format": "plain", "fields": ["url.path", "http_status_code"]},
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsCloud]:
    with AwsCloud(tmp_path_factory.mktemp("moto") / "log") as cloud:
        yield cloud


@pytest.fixture
def relays(cloud: AwsCloud) -> Iterator[dict[AwsService, Relay]]:
    """One before each service."""
    found = {service: Relay(cloud.port) for service in AwsService}
    for relay in found.values():
        relay.start()
    yield found
    for relay in found.values():
        relay.kill()


@pytest.fixture(scope="module")
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        yield origin


class Load:
    """Requests by one connection, and what has to arrive of them."""

    def __init__(self, proxy: ProxyProcess, origin: HttpOrigin) -> None:
        self.paths: list[str] = []
        self._client = RoutedClient(proxy.port(), "absolute", "origin.test", origin.port)

    def ask(self, count: int) -> None:
        for number in range(len(self.paths), len(self.paths) + count):
            self.paths.append(f"/{number:06d}{LONG}")
            assert self._client.fetch(self.paths[-1]).status == 404  # the origin has no such page


def figures(proxy: ProxyProcess) -> dict[str, dict[str, int]]:
    """By output: what became of its records."""
    found: dict[str, dict[str, int]] = {service.value: {} for service in AwsService}
    for line in proxy.admin("/metrics")[1].decode().splitlines():
        for name, row in found.items():
            if line.startswith("netfw_log_") and f'sink="{name}"' in line:
                row[line.partition("{")[0].removeprefix("netfw_log_")] = int(float(line.rpartition(" ")[2]))
    return found


def settled(proxy: ProxyProcess, count: int, *, delivered: bool) -> bool:
    """Every output has dealt with so many: they wait in its spool at the worst, or nowhere any more."""
    return all(
        row["written_total"] + row["dropped_total"] + (0 if delivered else row["spooled_records"]) == count
        for row in figures(proxy).values()
    )


def paths(cloud: AwsCloud, service: AwsService) -> list[str]:
    """What arrived, each line of which has to have as many columns as there are."""
    delimiter = str(FORMS[service].get("delimiter", "\t"))
    lines = [line.decode("ascii") for line in cloud.arrived(service) if not line.startswith(b"#")]
    rows = [line.split(delimiter) for line in lines]
    assert {(len(row), row[2], row[4]) for row in rows} == {(5, "allow", "404")}
    return [row[3] for row in rows]


def test_each_killed_and_restored_during_load(
    proxy_maker: Any, cloud: AwsCloud, relays: dict[AwsService, Relay], origin: HttpOrigin, tmp_path: Path
) -> None:
    credentials = tmp_path / "aws"
    credentials.write_text(f"[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {SECRET}\n")
    credentials.chmod(0o600)
    outputs = [
        {
            "name": service.value,
            service.value: {
                WHERE[service]: TARGETS[service],
                "region": REGION,
                "endpoint": relays[service].url,
                "credentials": str(credentials),
            },
            "types": ["allow", "deny"],
            "batch": {"records": 50, "size": "128KiB", "wait": "50ms"},
            "spool": {"path": str(tmp_path / service.value), "size": "1MiB"},
            **FORMS[service],
        }
        for service in AwsService
    ]
    proxy = proxy_maker("sinks-aws", log={"outputs": outputs}, workers=0)
    try:
        with proxy:
            load = Load(proxy, origin)
            load.ask(30)
            proxy.wait_until(lambda: settled(proxy, 30, delivered=True))
            for service in AwsService:
                relays[service].kill()
                load.ask(40)
                proxy.wait_until(lambda name=service.value: figures(proxy)[name]["failing"] == 1)
                relays[service].start()
                load.ask(20)
            # Whatever an output waits for, it sends now.
            proxy.reload()
            proxy.wait_until(lambda: settled(proxy, 210, delivered=True))
            assert {row["dropped_total"] for row in figures(proxy).values()} == {0}
            for service in AwsService:
                assert sorted(set(paths(cloud, service))) == load.paths
            for relay in relays.values():
                relay.kill()
            load.ask(700)
            proxy.wait_until(lambda: settled(proxy, 910, delivered=False))
            full = figures(proxy)
            for row in full.values():
                assert row["dropped_total"] > 100 and row["written_total"] == 210
                assert 768 * 1024 < row["spooled_bytes"] <= 1024 * 1024
            for relay in relays.values():
                relay.start()
            proxy.reload()
            proxy.wait_until(lambda: settled(proxy, 910, delivered=True))
            ended = figures(proxy)
            for service in AwsService:
                assert ended[service.value]["dropped_total"] == full[service.value]["dropped_total"]
                arrived = set(paths(cloud, service))
                assert len(arrived) == ended[service.value]["written_total"]
                # The oldest of those that waited went, and nothing else.
                assert sorted(arrived) == load.paths[:210] + load.paths[210 + full[service.value]["dropped_total"] :]
            shown = proxy.log + str(proxy.status()) + proxy.admin("/metrics")[1].decode()
    finally:
        proxy.kill()
    assert SECRET not in shown + proxy.records_path.read_text()


def test_what_a_client_asks_for_is_one_column(
    proxy_maker: Any, cloud: AwsCloud, origin: HttpOrigin, tmp_path: Path
) -> None:
    """Percent-encoded and as it is, at a proxy with workers; `raw` has no line's end."""
    output = {
        "name": "raw",
        "firehose": {"stream": TARGETS[AwsService.FIREHOSE], "region": REGION, "endpoint": f"http://127.0.0.1:{cloud.port}"},
        "format": "raw",
        "fields": ["url", "id"],
        "delimiter": ",",
        "batch": {"wait": "50ms"},
        "spool": str(tmp_path / "spool"),
    }  # fmt: skip
    before = set(cloud.objects("behind-firehose"))
    proxy = proxy_maker("sinks-raw", log={"outputs": [output]}, workers=2)
    proxy.environment |= {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
    with proxy:
        with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
            client.fetch(HOSTILE)
        proxy.wait_until(lambda: set(cloud.objects("behind-firehose")) > before)
        identifier = proxy.wait_for_record(lambda record: "url" in record)["id"]
    (found,) = set(cloud.objects("behind-firehose")) - before
    url = f"http://origin.test:{origin.port}" + r"/%0a%09\x2c-?a=b%20c"
    assert found.decode("ascii").split(",")[1:] == ["netfw-test", "allow", url, identifier]
