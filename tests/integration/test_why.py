"""`netfw why`: from what curl shows to what to write, over a real proxy, with and without an index, after rotations."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from netfw.cli.main import netfw as netfw_group
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, condition, domain_rule, policy, rule
from netfw.testing.stores import wait_until
from netfw.testing.wire_client import RoutedClient

ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{5}-[0-9A-HJKMNP-TV-Z]{5}")
PATIENCE = 60.0
Curl = Callable[..., str]


def why(proxy: ProxyProcess, exchange_id: str, *more: str) -> Result:
    """The verb, in this process."""
    return CliRunner().invoke(netfw_group, ["why", exchange_id, "--config", str(proxy.config_path), *more])


def told(proxy: ProxyProcess, exchange_id: str) -> dict[str, Any]:
    """Its JSON."""
    done = why(proxy, exchange_id, "--json")
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.output)
    assert document["id"] == document["record"]["id"] == exchange_id
    return document


RULES = policy(
    groups={
        "base": {
            "PreDNS": [domain_rule("no-denied", "DENY", "denied.test")],
            "PreREQUEST": [rule("no-forbidden", "DENY", condition("request:Http:Uri", "StringLike", "/forbidden*"))],
            "PostRESPONSE": [
                rule(
                    "no-plain",
                    "DENY",
                    condition("request:Http:Uri", "StringLike", "/typed*"),
                    condition("response:Http:ContentType", "StringLike", "text/plain*"),
                ),
                rule("no-missing", "DENY", condition("response:Http:StatusCode", "NumericEquals", "404")),
            ],
        }
    }
)


@pytest.fixture(scope="module", params=[0, 2], ids=["one process", "two workers"])
def proxy(request: Any, proxy_maker: Any, session_dir: Path, tls_origin: HttpOrigin) -> Iterator[ProxyProcess]:
    """One that intercepts, with an index and an audit file."""
    name = f"why{request.param}"
    directory = session_dir / name
    made = proxy_maker(
        name,
        RULES,
        intercept=True,
        workers=request.param,
        log={"index": {"path": str(directory / "records.index"), "keep": "1d"}},
        control={"audit": str(directory / "audit.jsonl"), "keys": str(directory / "keys")},
    )
    with made:
        yield made


@pytest.fixture
def curl(program: Callable[[str], str], proxy: ProxyProcess, certificates: Any) -> Curl:
    """`curl(url, *options)`: the id that the client sees, in reason phrase, fields or page."""

    def run(url: str, *options: str) -> str:
        done = subprocess.run(
            [
                program("curl"), "-sv", "-x", f"http://127.0.0.1:{proxy.port()}", "--cacert",
                str(certificates.intercept[0]), "-m", "50", *options, url,
            ],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        found = ID.findall(done.stderr)
        assert found, done.stderr
        return str(found[-1])

    return run


def test_a_denial_that_curl_sees_is_told_in_one_command(proxy: ProxyProcess, curl: Curl) -> None:
    """The command line itself: rule, walk, what to do; at once, however far the index is."""
    exchange_id = curl("http://denied.test/page")
    command = [sys.executable, "-m", "netfw.cli.main", "why", exchange_id, "--config", str(proxy.config_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{exchange_id}: denied in PreDNS by the rule base/no-denied\n")
    assert "GET http://denied.test/page" in done.stdout
    assert "DENY  base/no-denied: matched" in done.stdout
    assert "as they are now" in done.stdout
    assert "add to a rule group before base: allow: [denied.test]" in done.stdout


def test_each_phase(proxy: ProxyProcess, curl: Curl, origin: HttpOrigin, tls_origin: HttpOrigin) -> None:
    """PreREQUEST inside TLS, with an audit line for what was decrypted; PostRESPONSE, where `allow` does not help."""
    inner = told(proxy, curl(f"https://origin.test:{tls_origin.port}/forbidden?x=1"))
    assert inner["verdict"] == "denied in PreREQUEST by the rule base/no-forbidden"
    assert inner["differs"] is None
    assert [one["phase"] for one in inner["phases"]] == ["PreDNS", "PreREQUEST"]
    assert f'allow: ["origin.test:{tls_origin.port}"]' in inner["advice"][0]
    audit = proxy.directory / "audit.jsonl"
    wait_until(lambda: audit.exists() and inner["id"] in audit.read_text())
    line = json.loads(audit.read_text().splitlines()[-1])
    assert (line["operation"], line["about"]) == ("FindRecord", {"Id": inner["id"]})

    response = told(proxy, curl(f"http://origin.test:{origin.port}/nowhere"))
    assert response["verdict"] == "denied in PostRESPONSE by the rule base/no-missing"
    assert response["record"]["origin_status"] == 404
    assert "does not help" in response["advice"][1]
    assert response["differs"] is None
    # This rule asks for a field that records do not keep: the walk says so, and the record is believed.
    typed = told(proxy, curl(f"http://origin.test:{origin.port}/typed"))
    assert typed["verdict"] == "denied in PostRESPONSE by the rule base/no-plain"
    assert typed["differs"].startswith("PostRESPONSE was decided by base/no-plain; this walk comes to DENY")


def test_the_guard_names_its_setting(proxy: ProxyProcess, curl: Curl) -> None:
    """With the address that it closed."""
    guard = told(proxy, curl("http://metadata.test/latest"))
    assert guard["kind"] == "guard"
    assert guard["advice"][0] == "to open this address: guard: {allow: [169.254.169.254]}"
    private = told(proxy, curl("http://private.test/"))
    assert "to open all private addresses: guard: {private: allow}" in private["advice"]
    port = told(proxy, curl("http://origin.test:25/"))
    assert "to open this port: guard: {allow_ports: [25]}" in port["advice"]


def test_what_fails_elsewhere(proxy: ProxyProcess, curl: Curl, tls_origin: HttpOrigin) -> None:
    """DNS is nobody's denial, and neither is a certificate that does not prove its name."""
    certificate = told(proxy, curl(f"https://misnamed.test:{tls_origin.port}/"))
    assert certificate["kind"] == "origin_tls"
    assert certificate["advice"][0].startswith("whoever runs the host has to mend its certificate")
    missing = told(proxy, curl("http://missing.test/"))
    assert missing["kind"] == "dns"
    assert missing["verdict"].startswith("refused, on the origin's side") or "let pass" in missing["verdict"]


def test_a_client_that_pins(proxy: ProxyProcess, tls_origin: HttpOrigin, certificates: Any) -> None:
    """It sees no id; the record's is found as any other, with the bypass to write."""
    since = len(proxy.records())
    with pytest.raises(ssl.SSLError):
        RoutedClient(proxy.port(), "tls", "origin.test", tls_origin.port, trust=certificates.origin_ca)
    record = proxy.wait_for_record(lambda one: one.get("close_reason") == "client_tls_alert", since=since)
    pinned = told(proxy, record["id"])
    assert pinned["kind"] == "client_tls"
    assert "pass it through: tls_intercept: {bypass: [{domain: origin.test, source: 127.0.0.1}]}" in pinned["advice"]


def test_the_index_follows_over_rotation_and_restart(proxy: ProxyProcess, curl: Curl) -> None:
    """Status and metrics say how it stands; a denial outlives its file; damage is mended and said."""
    exchange_id = curl("http://denied.test/kept")
    proxy.wait_for_record(lambda one: one["id"] == exchange_id)

    def kept() -> bool:
        index = proxy.status()["index"]
        return index["state"] == "keeps up" and index["records"] == len(proxy.records()) and not index["lag_bytes"]

    proxy.wait_until(kept, timeout=PATIENCE)
    metrics = proxy.admin("/metrics")[1].decode()
    assert "netfw_record_index_lag_bytes 0.0" in metrics
    assert f"netfw_record_index_records {float(len(proxy.records()))}" in metrics

    rotated = proxy.records_path.with_name("records.jsonl.1")
    proxy.records_path.rename(rotated)
    proxy.reload()
    after = curl("http://denied.test/after")
    assert told(proxy, after)["kind"] == told(proxy, exchange_id)["kind"] == "rule"
    rotated.unlink()
    assert told(proxy, exchange_id)["record"]["url"]["path"] == "/kept"
    proxy.wait_until(lambda: proxy.status()["index"]["lag_bytes"] == 0, timeout=PATIENCE)

    proxy.stop()
    path = Path(proxy.config["log"]["index"]["path"])
    assert told(proxy, exchange_id)["kind"] == "rule"
    path.write_bytes(b"damaged" * 1000)
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    found = told(proxy, after)
    assert "cannot be read" in found["notes"][0]
    proxy.start()
    proxy.wait_until(lambda: "is built anew from the records that are still there" in proxy.log, timeout=PATIENCE)
    proxy.wait_until(lambda: proxy.status()["index"]["records"] == len(proxy.records()), timeout=PATIENCE)
    assert told(proxy, after)["notes"] == []


def index_process(proxy: ProxyProcess) -> int | None:
    """The process that keeps the index, found among the proxy's children."""
    children = Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children").read_text().split()
    for child in children:
        try:
            if b"netfw.telemetry.index_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        except OSError:
            continue
    return None


def test_the_index_is_kept_again_after_its_process_died(proxy: ProxyProcess, curl: Curl) -> None:
    """There is one, whatever the number of workers; what came meanwhile is put in."""
    first = index_process(proxy)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    exchange_id = curl("http://denied.test/meanwhile")
    assert told(proxy, exchange_id)["kind"] == "rule"
    proxy.wait_until(lambda: index_process(proxy) not in (None, first), timeout=PATIENCE)
    proxy.wait_until(lambda: proxy.status()["index"]["records"] == len(proxy.records()), timeout=PATIENCE)
    assert "the process that follows the records ended" in proxy.log


def test_what_is_not_there_is_said(proxy: ProxyProcess, tmp_path: Path) -> None:
    """An id of nobody, and text that is none."""
    nobody = why(proxy, "XXXXX-XXXXX")
    assert nobody.exit_code == 1
    assert "has the id XXXXX-XXXXX" in nobody.output
    assert "the index keeps 1 days" in nobody.output
    assert json.loads(why(proxy, "xxxxxxxxxx", "--json").output)["found"] is False
    wrong = why(proxy, "no id")
    assert wrong.exit_code == 2
    assert "like 2HA26-1F5FD" in wrong.output


def test_overload_is_told_with_its_limit(
    make_proxy: Callable[..., ProxyProcess], program: Callable[[str], str], origin: HttpOrigin
) -> None:
    """Without an index at all."""
    proxy = make_proxy(limits={"request_rate": 1})
    ids: list[str] = []
    for _ in range(40):
        done = subprocess.run(
            [program("curl"), "-sv", "-m", "50", "-x", f"http://127.0.0.1:{proxy.port()}",
             f"http://origin.test:{origin.port}/hello"],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        if " 429 " in done.stderr:
            ids = ID.findall(done.stderr)
            break
    assert ids, "no request was too many"
    over = told(proxy, ids[-1])
    assert over["kind"] == "limit"
    assert "limits.request_rate" in over["advice"][0]
    assert over["policy"]["of_then"] is False


@pytest.mark.parametrize("workers", [0, 2])
def test_records_to_standard_output_are_found_by_the_index(
    workers: int, proxy_maker: Any, program: Callable[[str], str]
) -> None:
    """By its journal, which no format or choice of records concerns."""
    proxy = proxy_maker(f"whyout{workers}", workers=workers)
    index = proxy.directory / "records.index"
    proxy.config["log"] = {"stdout": True, "index": {"path": str(index)}}
    proxy.config_path.write_text(yaml.safe_dump(proxy.config))
    with proxy:
        done = subprocess.run(
            [program("curl"), "-sv", "-m", "50", "-x", f"http://127.0.0.1:{proxy.port()}", "http://denied.test/"],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        exchange_id = ID.findall(done.stderr)[-1]
        assert told(proxy, exchange_id)["verdict"] == "denied in PreDNS by the rule base/no-denied"
        proxy.wait_until(lambda: proxy.status()["index"]["records"] == 1, timeout=PATIENCE)
    assert exchange_id in proxy.log
    Path(f"{index}.journal").unlink()
    assert told(proxy, exchange_id)["kind"] == "rule"
