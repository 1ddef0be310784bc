"""Records of a proxy with two workers at a real rsyslogd, over every transport: each once, none more, as counted."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, domain_rule, policy
from netfw.testing.rsyslog import TRANSPORTS, Rsyslog, rsyslog_program
from netfw.testing.wire_client import RoutedClient

pytestmark = pytest.mark.skipif(rsyslog_program() is None, reason="rsyslogd is not installed")

RULES = policy(groups={"base": {"PreDNS": [domain_rule("no-denied", "DENY", "denied.test")]}})
CLIENTS, EACH = 6, 50
SENT = CLIENTS * EACH
DENIED = SENT // 5


@pytest.fixture(scope="module")
def origin() -> Iterator[HttpOrigin]:
    with HttpOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def rsyslog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rsyslog]:
    with Rsyslog(tmp_path_factory.mktemp("rsyslog")) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(
    proxy_maker: Any, origin: HttpOrigin, rsyslog: Rsyslog, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProxyProcess]:
    """Every exchange to all servers; denials alone to one that is away."""
    key = tmp_path_factory.mktemp("key") / "key"
    key.write_text("k" * 32)
    key.chmod(0o600)
    outputs = [
        {"name": name, "syslog": {"to": rsyslog.address(name), **({"ca": str(rsyslog.ca)} if name == "tls" else {})}}
        for name in TRANSPORTS
    ]
    outputs[1] |= {"treat": {"client_src_ip": "hash"}}
    outputs[3] |= {"format": "pretty", "types": ["deny"]}
    outputs.append({"name": "away", "syslog": "tcp://127.0.0.1:1", "types": ["deny"], "queue": 100})
    log = {"outputs": outputs, "hash_key": str(key)}
    with proxy_maker("syslog", RULES, log=log, workers=2) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def sent(proxy: ProxyProcess, origin: HttpOrigin, rsyslog: Rsyslog) -> dict[str, dict[str, Any]]:
    """The records of all requests, by id, once they are in the file and at every server."""
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            for number in range(EACH):
                host = "denied.test" if number % 5 == 0 else "origin.test"
                with RoutedClient(proxy.port(), "absolute", host, origin.port) as client:
                    client.fetch(f"/{number}")
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    # Not those that wait: one server never takes any.
    records = proxy.wait_for_records(lambda record: True, SENT, timeout=30)
    expected = {name: DENIED if name == "unix" else SENT for name in TRANSPORTS}
    proxy.wait_until(lambda: {name: len(rsyslog.messages(name)) for name in TRANSPORTS} == expected, timeout=30)
    return {record["id"]: record for record in records}


def metrics(proxy: ProxyProcess) -> dict[str, float]:
    found = {}
    for line in proxy.admin("/metrics")[1].decode().splitlines():
        if line.startswith("netfw_log_"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


@pytest.mark.parametrize("transport", [name for name in TRANSPORTS if name != "unix"])
def test_every_record_is_there_once(
    proxy: ProxyProcess, sent: dict[str, dict[str, Any]], rsyslog: Rsyslog, transport: str
) -> None:
    """The same records as in the file, whole, from both workers; denials are warnings."""
    messages = rsyslog.messages(transport)
    found = [json.loads(message.text) for message in messages]
    assert Counter(record["id"] for record in found) == Counter(sent.keys())
    for record in found:
        expected = sent[record["id"]]
        if transport == "tls":
            assert record.pop("client_src_ip").startswith("h-")
            expected = {name: value for name, value in expected.items() if name != "client_src_ip"}
        assert record == expected
    assert Counter(message.severity for message in messages) == {4: DENIED, 6: SENT - DENIED}
    assert {(message.facility, message.app_name, message.msgid) for message in messages} == {
        ("local0", "netfw", "exchange")
    }
    assert {int(message.process) for message in messages} == {row["pid"] for row in proxy.status()["workers"]}


def test_an_output_of_denials_has_them_and_no_more(sent: dict[str, dict[str, Any]], rsyslog: Rsyslog) -> None:
    """In the form that is asked for there."""
    denied = {name for name, record in sent.items() if record["final_action"] == "deny"}
    messages = rsyslog.messages("unix")
    assert {message.text.rpartition(" ")[2] for message in messages} == denied
    assert len(messages) == len(denied) == DENIED
    assert all(" - GET http://denied.test" in message.text for message in messages)


def test_the_counters_agree_exactly(proxy: ProxyProcess, sent: dict[str, dict[str, Any]]) -> None:
    """Over both workers: written and left out are what was sent, for each output."""
    found = metrics(proxy)
    for name in ("file", "tcp", "tls", "udp", "unix-stream"):
        assert found[f'netfw_log_written_total{{sink="{name}"}}'] == SENT
        assert found[f'netfw_log_left_out_total{{sink="{name}"}}'] == 0
    assert found['netfw_log_written_total{sink="unix"}'] == DENIED
    assert found['netfw_log_left_out_total{sink="unix"}'] == SENT - DENIED
    for name in ("file", *TRANSPORTS):
        assert found[f'netfw_log_dropped_total{{sink="{name}"}}'] == 0
        assert found[f'netfw_log_failing{{sink="{name}"}}'] == 0


def test_a_server_that_is_away_is_seen(proxy: ProxyProcess, sent: dict[str, dict[str, Any]]) -> None:
    """In the metrics, in the status, and in the program's log; its records wait."""
    proxy.wait_until(lambda: metrics(proxy)['netfw_log_failing{sink="away"}'] == 2, timeout=30)
    found = metrics(proxy)
    assert found['netfw_log_written_total{sink="away"}'] == 0
    waits, out = found['netfw_log_queue_length{sink="away"}'], found['netfw_log_left_out_total{sink="away"}']
    assert waits + out + found['netfw_log_dropped_total{sink="away"}'] == SENT
    rows = {row["output"]: row for row in proxy.status()["outputs"]}
    assert rows["away"]["state"] == "fails" and rows["away"]["to"] == "tcp://127.0.0.1:1"
    assert rows["tcp"] == {
        "output": "tcp", "to": rows["tcp"]["to"], "state": "works", "written": SENT, "left_out": 0, "dropped": 0,
        "errors": 0, "waiting": 0,
    }  # fmt: skip
    assert "record_log.failed path=tcp://127.0.0.1:1" in proxy.log


def test_the_key_of_tokens_is_changed_by_a_reload(
    proxy: ProxyProcess, origin: HttpOrigin, sent: dict[str, dict[str, Any]], rsyslog: Rsyslog
) -> None:
    """The second part of a token names its key: whoever compares them sees that there was another one."""

    def keys() -> set[str]:
        tokens = [json.loads(message.text)["client_src_ip"] for message in rsyslog.messages("tls")]
        return {token.split("-")[1] for token in tokens}

    assert len(keys()) == 1
    Path(proxy.config["log"]["hash_key"]).write_text("l" * 32)
    proxy.reload()
    proxy.wait_until(lambda: proxy.log.count("records are hidden and sent with other keys") == 2, timeout=30)
    for number in range(8):
        with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
            client.fetch(f"/again/{number}")
    proxy.wait_until(lambda: len(rsyslog.messages("tls")) == SENT + 8, timeout=30)
    assert len(keys()) == 2
