"""Records of a proxy with two workers at a server over TLS that is killed and comes back, and a restart in between."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import yaml

from netfw.testing.collector import Answer, Collector, server_tls
from netfw.testing.origins import HttpOrigin
from netfw.testing.pki import TestAuthority
from netfw.testing.proxy_process import ProxyProcess
from netfw.testing.wire_client import RoutedClient

SECRET = "Bearer s3cret-of-the-collector"


@pytest.fixture(scope="module")
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        yield origin


class Side:
    """Files of the proxy and the collector's TLS."""

    def __init__(self, root: Path) -> None:
        servers, clients = TestAuthority("Servers"), TestAuthority("Clients")
        certificate, key = servers.issue("localhost")
        shown, own = clients.subordinate("Between").issue("proxy.test", purpose=None)
        self.root = root
        for name, content in (
            ("server.crt", certificate),
            ("server.key", key),
            ("clients.crt", clients.certificate_pem),
            ("ca.pem", servers.certificate_pem),
            ("me.pem", shown),
            ("me.key", own),
            ("token", SECRET.encode() + b"\n"),
        ):
            (root / name).write_bytes(content)
            (root / name).chmod(0o600)

    def output(self, collector: Collector) -> dict[str, Any]:
        """As in proxy.yaml."""
        return {
            "name": "siem",
            "http": {
                "url": collector.url(host="localhost"),
                "headers": {"Authorization": {"file": str(self.root / "token")}, "X-Key": {"env": "NETFW_TEST_KEY"}},
                "ca": str(self.root / "ca.pem"),
                "certificate": str(self.root / "me.pem"),
                "private_key": str(self.root / "me.key"),
            },
            "batch": {"records": 20, "wait": "100ms"},
            "spool": {"path": str(self.root / "spool"), "size": "16MiB"},
        }


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Side:
    return Side(tmp_path_factory.mktemp("side"))


@pytest.fixture(scope="module")
def collector(side: Side) -> Iterator[Collector]:
    files = [side.root / name for name in ("server.crt", "server.key", "clients.crt")]
    with Collector(tls=server_tls(*files)) as collector:
        yield collector


def ask(proxy: ProxyProcess, origin: HttpOrigin, count: int) -> None:
    for number in range(count):
        with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
            client.fetch(f"/{number}")


def totals(proxy: ProxyProcess) -> dict[str, int]:
    """The figures of this output, of all processes together."""
    found = {}
    for line in proxy.admin("/metrics")[1].decode().splitlines():
        if line.startswith("netfw_log_") and 'sink="siem"' in line:
            name, _, value = line.rpartition(" ")
            found[name.partition("{")[0].removeprefix("netfw_log_")] = int(float(value))
    return found


def row(proxy: ProxyProcess) -> dict[str, Any]:
    """The output in `netfw status`."""
    (found,) = proxy.status()["deliveries"]
    return dict(found)


def test_killed_restored_and_restarted_it_loses_nothing(
    proxy_maker: Any, origin: HttpOrigin, collector: Collector, side: Side
) -> None:
    """What two workers store while the server is away is delivered by the one process that comes after them."""
    proxy = proxy_maker("sinks", log={"outputs": [side.output(collector)]}, workers=2)
    proxy.environment["NETFW_TEST_KEY"] = "k3y-of-the-collector"
    try:
        with proxy:
            ask(proxy, origin, 30)
            proxy.wait_until(lambda: len(collector.records) >= 30, timeout=30)
            proxy.wait_until(lambda: totals(proxy)["written_total"] == 30, timeout=30)
            assert row(proxy)["last_success"] is not None and row(proxy)["last_error"] is None
            collector.kill()
            ask(proxy, origin, 60)
            proxy.wait_until(lambda: row(proxy)["spooled"] == 60 and row(proxy)["why"] == "unreachable", timeout=30)
            figures = totals(proxy)
            assert (figures["written_total"], figures["dropped_total"]) == (30, 0)
            assert figures["failing"] >= 1 and figures["spooled_bytes"] > 60 * 100
            spooled = [path for path in (side.root / "spool").rglob("*") if path.is_file()]
            assert {path.parent.name for path in spooled} <= {"0", "1", "2"}
            said = proxy.log + json.dumps(proxy.status()) + proxy.admin("/metrics")[1].decode()
        # A directory of its own for each worker and the supervisor; now there is one process.
        proxy.config["workers"] = 0
        proxy.config_path.write_text(yaml.safe_dump(proxy.config))
        with proxy:
            proxy.wait_until(lambda: row(proxy)["spooled"] == 60, timeout=30)
            ask(proxy, origin, 10)
            collector.start()
            proxy.reload()  # whatever an output waits for, it sends now
            proxy.wait_until(lambda: len(set(collector.records)) == 100, timeout=60)
            proxy.wait_until(lambda: totals(proxy)["written_total"] == 70, timeout=30)
            assert (totals(proxy)["dropped_total"], row(proxy)["spooled"]) == (0, 0)
            # Refused for good, and told apart from what only waits.
            collector.respond = lambda _: Answer(400, b"no")
            ask(proxy, origin, 5)
            proxy.wait_until(lambda: totals(proxy)["dropped_total"] == 5, timeout=30)
            assert row(proxy)["why"] == "refused"
            said += proxy.log + json.dumps(proxy.status()) + proxy.admin("/metrics")[1].decode()
    finally:
        proxy.kill()
    in_file = {json.loads(line)["id"] for line in proxy.records_path.read_text().splitlines()}
    delivered = {json.loads(line)["id"] for line in collector.records}
    assert delivered < in_file and len(in_file - delivered) == 5
    headers = [posted.headers for posted in collector.posted]
    assert {found["authorization"] for found in headers} == {SECRET}
    assert {found["x-key"] for found in headers} == {"k3y-of-the-collector"}
    written = said + proxy.records_path.read_text()
    for path in (side.root / "spool").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert "s3cret" not in written and "k3y-of" not in written


def stopped_with(proxy_maker: Any, origin: HttpOrigin, name: str, url: str, root: Path, workers: int) -> float:
    """Five records whose batch would be an hour old, and a stop. Return how many seconds that took."""
    output = {"name": "siem", "http": url, "batch": {"wait": "1h"}, "spool": str(root / name)}
    proxy = proxy_maker(name, log={"outputs": [output]}, workers=workers)
    with proxy:
        ask(proxy, origin, 5)
        proxy.wait_until(lambda: row(proxy)["spooled"] == 5)
        begun = monotonic()
        proxy.stop()
        return monotonic() - begun


@pytest.mark.parametrize("workers", [0, 2])
def test_what_waits_when_it_stops_is_sent_once_more(
    proxy_maker: Any, origin: HttpOrigin, tmp_path: Path, workers: int
) -> None:
    """A container without a volume takes its spool along."""
    with Collector() as collector:
        stopped_with(proxy_maker, origin, f"last-{workers}", collector.url(), tmp_path, workers)
        assert len(set(collector.records)) == 5
    assert not [path for path in (tmp_path / f"last-{workers}").rglob("*") if path.is_file()]


def test_a_receiver_that_never_answers_holds_up_the_end_for_seconds(
    proxy_maker: Any, origin: HttpOrigin, tmp_path: Path
) -> None:
    """It takes the connection and says nothing; one that is not there holds up nothing. What waits is kept."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert 2.5 < stopped_with(proxy_maker, origin, "silent", url, tmp_path, 0) < 15.0
    quick = stopped_with(proxy_maker, origin, "gone", url, tmp_path, 0)
    for name in ("silent", "gone"):
        (kept,) = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        assert len(kept.read_bytes().splitlines()) == 5 and ".5.batch" in kept.name
    assert quick < 10.0
