"""Servers that records go to come and go by a reload: nothing that waited is lost, and the rest is told to wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from netfw.testing.collector import Collector
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess
from netfw.testing.wire_client import RoutedClient


@pytest.fixture(scope="module")
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        yield origin


@pytest.fixture
def collectors() -> Iterator[tuple[Collector, Collector]]:
    with Collector() as first, Collector() as second:
        yield first, second


def output(name: str, url: str, spool: Path) -> dict[str, Any]:
    return {"name": name, "http": url, "batch": {"wait": "50ms"}, "spool": str(spool)}


def ask(proxy: ProxyProcess, origin: HttpOrigin, count: int) -> None:
    for number in range(count):
        with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
            client.fetch(f"/{number}")


def reloaded(proxy: ProxyProcess, *outputs: dict[str, Any], status: int = 0) -> str:
    """What `netfw reload` says with these outputs in the file."""
    proxy.config["log"]["outputs"] = list(outputs)
    proxy.config_path.write_text(yaml.safe_dump(proxy.config))
    command = [sys.executable, "-m", "netfw.cli.main", "reload", "--config", str(proxy.config_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    assert ran.returncode == status, ran.stdout + ran.stderr
    return ran.stdout


def rows(proxy: ProxyProcess) -> dict[str, dict[str, Any]]:
    """By output: how it stands, in `netfw status --json`."""
    status = proxy.status()
    found = {row["output"]: dict(row) for row in status["outputs"]}
    for row in status["deliveries"]:
        found[row["output"]] |= row
    return found


def ids(lines: list[bytes]) -> set[str]:
    return {json.loads(line)["id"] for line in lines}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_waits_for_one_server_is_sent_to_the_one_in_its_place(
    proxy_maker: Any, origin: HttpOrigin, collectors: tuple[Collector, Collector], tmp_path: Path, workers: int
) -> None:
    first, second = collectors
    proxy = proxy_maker(f"outputs-{workers}", log={"outputs": []}, workers=workers)
    with proxy:
        ask(proxy, origin, 3)
        said = reloaded(proxy, output("siem", first.url(), tmp_path / "siem"))
        assert "log.outputs[siem]" in said and "waiting" not in said
        proxy.wait_until(lambda: "siem" in rows(proxy))
        ask(proxy, origin, 5)
        proxy.wait_until(lambda: len(ids(first.records)) == 5)
        first.kill()
        ask(proxy, origin, 10)
        proxy.wait_until(lambda: rows(proxy)["siem"]["spooled"] == 10)
        # Another server, the same spool; and one more output besides.
        reloaded(
            proxy,
            output("siem", second.url(), tmp_path / "siem"),
            output("more", second.url("/more"), tmp_path / "more"),
        )
        proxy.wait_until(lambda: len(ids(second.records)) == 10, timeout=30)
        ask(proxy, origin, 5)
        proxy.wait_until(lambda: rows(proxy)["more"]["written"] == 5)
        proxy.wait_until(lambda: rows(proxy)["siem"]["written"] == 15)
        assert rows(proxy)["siem"]["to"] == second.url() and rows(proxy)["siem"]["dropped"] == 0
        reloaded(proxy)
        proxy.wait_until(lambda: list(rows(proxy)) == ["file"])
        ask(proxy, origin, 2)
        proxy.write_records()
        assert "sink=\"siem\"" not in proxy.admin("/metrics")[1].decode()
    everything = ids(proxy.records_path.read_bytes().splitlines())
    assert len(everything) == 25
    by_path = {path: ids([line for posted in second.posted if posted.path == path for line in posted.lines])
               for path in ("/records", "/more")}  # fmt: skip
    assert len(by_path["/records"]) == 15 and len(by_path["/more"]) == 5 and by_path["/more"] < by_path["/records"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_cannot_change_waits_and_what_cannot_be_used_is_refused(
    proxy_maker: Any, origin: HttpOrigin, collectors: tuple[Collector, Collector], tmp_path: Path
) -> None:
    """Files wait for a restart, by their names, in the command's words and in the log; a spool has to be writable."""
    first, _ = collectors
    proxy = proxy_maker("outputs-waiting", log={"outputs": []}, workers=0)
    with proxy:
        said = reloaded(proxy, output("siem", first.url(), tmp_path / "siem"), {"name": "more", "path": "more.jsonl"})
        assert "settings waiting for restart  log.outputs[more]" in said
        assert "settings that wait for a restart: log.outputs[more]" in proxy.log
        assert "settings taken over: log.outputs[siem]" in proxy.log
        assert list(rows(proxy)) == ["file", "siem"]
        (tmp_path / "file").write_text("")
        said = reloaded(proxy, output("siem", first.url(), tmp_path / "file" / "spool"), status=1)
        assert str(tmp_path / "file" / "spool") in said
        assert rows(proxy)["siem"]["state"] == "works"
        ask(proxy, origin, 3)
        proxy.wait_until(lambda: len(ids(first.records)) == 3)
