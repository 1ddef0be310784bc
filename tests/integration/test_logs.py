"""`netfw logs` over the records of a real proxy: asked, followed, counted, handed on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from netfw.cli.main import netfw as netfw_group
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, domain_rule, policy
from netfw.testing.record_tail import RecordTail
from netfw.testing.wire_client import RoutedClient

RULES = policy(groups={"base": {"PreDNS": [domain_rule("no-denied", "DENY", "denied.test")]}})


@pytest.fixture(scope="module")
def origin() -> Iterator[HttpOrigin]:
    """Answers."""
    with HttpOrigin() as origin:
        yield origin


@pytest.fixture(scope="module")
def proxy(proxy_maker: Any, origin: HttpOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    """Has let three pass and denied two."""
    audit = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    with proxy_maker("logs", RULES, control={"audit": str(audit)}) as proxy:
        tail = RecordTail(proxy)
        for host, path in (
            ("origin.test", "/a?token=geheim"),
            ("denied.test", "/b"),
            ("origin.test", "/c"),
            ("denied.test", "/d"),
            ("origin.test", "/e"),
        ):
            ask(proxy, host, origin.port, path)
            tail.take(1)
        yield proxy


def ask(proxy: ProxyProcess, host: str, port: int, path: str) -> None:
    with RoutedClient(proxy.port(), "absolute", host, port) as client:
        client.fetch(path)


def logs(proxy: ProxyProcess, *arguments: str) -> Result:
    """The verb, in this process."""
    return CliRunner().invoke(netfw_group, ["logs", *arguments, "--config", str(proxy.config_path)])


def paths(result: Result) -> list[str]:
    """Of records as JSON."""
    assert result.exit_code == 0, result.output
    return [json.loads(line)["url"]["path"] for line in result.output.splitlines()]


def test_for_people(proxy: ProxyProcess, origin: HttpOrigin) -> None:
    """A line a record: what came of it, what it was, by which rule; no secret, and the id for `netfw why`."""
    lines = logs(proxy).output.splitlines()
    assert [line.split()[1] for line in lines] == ["+", "-", "+", "-", "+"]
    assert f"GET http://origin.test:{origin.port}/a?token=*** 404" in lines[0]
    assert "(base/no-denied)" in lines[1]
    assert "geheim" not in "".join(lines)
    why = CliRunner().invoke(netfw_group, ["why", lines[1].split()[-1], "--config", str(proxy.config_path)])
    assert why.exit_code == 0, why.output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["/a", "/b", "/c", "/d", "/e"]),
        (["-n", "2"], ["/d", "/e"]),
        (["--denied"], ["/b", "/d"]),
        (["--denied", "-n", "1"], ["/d"]),
        (["--host", ".test", "--client", "127.0.0.0/8", "--since", "1h"], ["/a", "/b", "/c", "/d", "/e"]),
        (["--host", "origin.test"], ["/a", "/c", "/e"]),
        (["--rule", "base/no-denied", "--since", "2020-01-01"], ["/b", "/d"]),
        (["--client", "192.0.2.0/24"], []),
        (["--until", "2020-01-01T00:00:00Z"], []),
        (["--alerts"], []),
        (["--sample", "0"], ["/b", "/d"]),
    ],
)
def test_asked_for(proxy: ProxyProcess, arguments: list[str], expected: list[str]) -> None:
    """Each question by itself, and together."""
    assert paths(logs(proxy, "--json", *arguments)) == expected


def test_handed_on(proxy: ProxyProcess, tmp_path: Path) -> None:
    """In other programs' forms, without what is nobody else's business."""
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    given = ["--format", "ecs", "--token", "client_src_ip", "--token-key", str(key), "--drop", "url.query,user_agent"]
    (document,) = [json.loads(line) for line in logs(proxy, *given, "-n", "1").output.splitlines()]
    assert document["url"]["path"] == "/e"
    assert document["source"]["address"].startswith("h-")
    assert "ip" not in document["source"]
    squid = logs(proxy, "--format", "squid", "-n", "2").output.splitlines()
    assert [line.split()[3] for line in squid] == ["TCP_DENIED/403", "TCP_MISS/404"]
    (chosen,) = logs(proxy, "--json", "--fields", "http_method", "-n", "1").output.splitlines()
    assert set(json.loads(chosen)) == {"event_timestamp", "proxy_name", "final_action", "kind", "id", "http_method"}


def test_summary(proxy: ProxyProcess) -> None:
    """Counted; as tables and for programs."""
    found = json.loads(logs(proxy, "summary", "--json").output)
    assert found["types"] == {"allow": 3, "deny": 2}
    assert found["denied_by"] == [{"rule": "base/no-denied", "exchanges": 2}]
    told = logs(proxy, "summary", "--denied").output
    assert "Denied by" in told and "base/no-denied" in told
    assert "origin.test" not in told


def test_who_reads_is_on_record(proxy: ProxyProcess) -> None:
    """Records have what was encrypted on the wire: reading them leaves a line."""
    audit = Path(proxy.config["control"]["audit"])
    before = audit.read_text().count("netfw logs") if audit.exists() else 0
    logs(proxy, "--host", "origin.test")
    lines = [line for line in audit.read_text().splitlines() if "netfw logs" in line]
    assert len(lines) == before + 1
    assert json.loads(lines[-1])["about"]["host"] == "origin.test"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--fields", "url.pth"], "'url.pth' is no field"),
        (["--drop", "id"], "'id' is no field that can be left out"),
        (["--mask", "url"], "'url' is no field that can be masked"),
        (["--token", "client_src_ip"], "--token-key"),
        (["--since", "yesterday"], "'yesterday' is no time back"),
        (["--format", "xml"], "xml"),
    ],
)
def test_wrong_usage(proxy: ProxyProcess, arguments: list[str], told: str) -> None:
    """What is wrong, by name; status 2."""
    result = logs(proxy, *arguments)
    assert result.exit_code == 2
    assert told in result.output


def test_a_key_that_is_too_short(proxy: ProxyProcess, tmp_path: Path) -> None:
    """Anybody could try it out."""
    (tmp_path / "key").write_text("short\n")
    result = logs(proxy, "--token", "client_src_ip", "--token-key", str(tmp_path / "key"))
    assert result.exit_code == 2
    assert "has 5 octets" in result.output


def test_followed_until_interrupted(proxy: ProxyProcess, origin: HttpOrigin) -> None:
    """The last one, then what comes; Ctrl-C is a good end."""
    command = [sys.executable, "-m", "netfw.cli.main", "logs", "-f", "-n", "1", "--json", "--host", "origin.test"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [*command, "--config", str(proxy.config_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
        # A shell that started the tests in the background has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["url"]["path"] == "/e"
        ask(proxy, "denied.test", origin.port, "/not-asked-for")
        ask(proxy, "origin.test", origin.port, "/later")
        assert json.loads(process.stdout.readline())["url"]["path"] == "/later"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == b""


def test_a_reader_that_has_enough(proxy: ProxyProcess) -> None:
    """`| head -1` is no error."""
    command = f"{sys.executable} -m netfw.cli.main logs --since 1h --config {proxy.config_path} | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, timeout=60, check=False)
    assert done.stdout.count(b"\n") == 1
    assert done.stderr == b""


def test_records_that_go_elsewhere(tmp_path: Path, proxy: ProxyProcess) -> None:
    """Standard output cannot be read again: the error names the setting."""
    config = {**proxy.config, "log": {"stdout": True}}
    (tmp_path / "proxy.json").write_text(json.dumps(config, default=str))
    result = CliRunner().invoke(netfw_group, ["logs", "--config", str(tmp_path / "proxy.json")])
    assert result.exit_code == 1
    assert "log: {path: FILE}" in result.output


def test_answers_of_the_dns_are_records_where_they_are_asked_for(make_proxy: Any, origin: HttpOrigin) -> None:
    """One for each server's answer, with what it said and how long it took; exchanges have theirs as ever."""
    proxy = make_proxy(RULES, log={"dns": True})
    ask(proxy, "origin.test", origin.port, "/a")
    answers = proxy.wait_for_records(lambda record: record["kind"] == "dns" and record["dns"]["type"] == "A")
    assert len(answers) == 1
    answer = answers[0]
    assert (answer["dest_domain"], answer["dns"]["source"], answer["dns"]["code"]) == ("origin.test.", "dns", "NOERROR")
    assert answer["dns"]["addresses"] == ["127.0.0.1"]
    assert answer["dns"]["resolver"] == proxy.config["dns"]["resolvers"][0]
    proxy.wait_for_record(lambda record: record["kind"] == "exchange")
    assert " ~ DNS A origin.test 127.0.0.1 " in logs(proxy).output
