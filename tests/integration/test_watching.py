"""Watching a proxy with two workers: a real Prometheus, our alert rules and dashboard, and `netfw top` and `netfw
status` in a real terminal.
"""

from __future__ import annotations

import http.client
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from netfw.telemetry.metric_table import METRICS
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, domain_rule, policy
from netfw.testing.wire_client import WireClient

ETC = Path(__file__).parents[2] / "etc"
RULES = ETC / "prometheus-rules.yml"
DASHBOARD = ETC / "grafana-dashboard.json"
ALLOWED, DENIED = 137, 41
ELSEWHERE = {
    "netfw_store_reachable", "netfw_ca_not_after_timestamp_seconds", "netfw_leaf_cache_hits_total",
    "netfw_leaf_cache_misses_total", "netfw_parent_connections_total", "netfw_parent_up",
    "netfw_egress_connections_total", "netfw_log_spooled_records", "netfw_log_spooled_bytes",
    "netfw_log_spool_limit_bytes",
    "netfw_log_last_success_timestamp_seconds", "netfw_log_last_error_timestamp_seconds",
}  # fmt: skip
"""What this proxy has not, for it has neither store nor CA, neither parents nor pools of addresses, and no servers that
records are delivered to."""
PATIENCE = 60.0
_SERIES = re.compile(r"\b(?:netfw|process)_[a-z0-9_]+\b")

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is missing")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="prometheus is missing")


def wait_until(holds: Callable[[], Any]) -> Any:
    """Until it holds; what it said."""
    deadline = time.monotonic() + PATIENCE
    while not (result := holds()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return result


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def proxy(proxy_maker: Callable[..., ProxyProcess], origin: HttpOrigin, session_dir: Path) -> Iterator[ProxyProcess]:
    """Two workers, an admin port for Prometheus, and traffic of known numbers over many connections."""
    rules = policy(groups={"house": {"PreDNS": [domain_rule("no", "DENY", "denied.test")]}})
    admin = {"address": "127.0.0.1", "port": free_port()}
    log = {"index": {"path": str(session_dir / "scraped" / "records.index")}}
    with proxy_maker("scraped", rules, workers=2, admin=admin, log=log) as proxy:
        there = f"127.0.0.1:{origin.port}"
        for number in range(ALLOWED):
            with WireClient(proxy.port()) as client:
                client.send(f"GET http://{there}/echo/{number} HTTP/1.1\r\nHost: {there}\r\n\r\n".encode())
                assert client.read_response().status == 200
        for _ in range(DENIED):
            with WireClient(proxy.port()) as client:
                client.send(b"GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n")
                assert client.read_response().status == 403
        yield proxy


class Prometheus:
    """A real one that scrapes the proxy each second."""

    def __init__(self, directory: Path, target: str) -> None:
        self.port = free_port()
        self._log = directory / "log"
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "netfw", "static_configs": [{"targets": [target]}]}],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def get(self, path: str) -> Any:
        """What its API answers; None while it does not."""
        assert self.process.poll() is None, self._log.read_text()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return json.loads(response.read())["data"] if response.status == 200 else None
        except OSError:
            return None
        finally:
            connection.close()

    def value(self, query: str) -> float | None:
        """The one value of this query now."""
        found = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": query}))
        return float(found["result"][0]["value"][1]) if found and found["result"] else None

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def prometheus(proxy: ProxyProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """See `Prometheus`."""
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{proxy.config['admin']['port']}")
    yield server
    server.stop()


@needs_prometheus
def test_prometheus_counts_what_was_sent(prometheus: Prometheus) -> None:
    """Exactly, over both workers, by action and by rule group."""
    wait_until(lambda: prometheus.value('sum(netfw_requests_total{action="allow"})') == ALLOWED)
    wait_until(lambda: prometheus.value('sum(netfw_requests_total{action="deny",rule_group="house"})') == DENIED)
    assert prometheus.value("sum(netfw_requests_total)") == ALLOWED + DENIED
    assert prometheus.value('netfw_decisions_total{phase="pre_dns",action="deny",source="rule"}') == DENIED
    assert prometheus.value('netfw_denied_total{reason="http_request_denied"}') == DENIED
    assert prometheus.value("netfw_request_duration_seconds_count") == ALLOWED + DENIED
    assert prometheus.value("netfw_client_connections_opened_total") == ALLOWED + DENIED
    wait_until(lambda: prometheus.value("sum(netfw_log_written_total)") == ALLOWED + DENIED)
    assert prometheus.value("netfw_log_dropped_total") == 0
    assert prometheus.value("netfw_workers") == 2
    assert prometheus.value("netfw_ready") == 1
    assert prometheus.value('up{job="netfw"}') == 1


@needs_prometheus
def test_the_alerts_are_loaded_and_quiet(prometheus: Prometheus) -> None:
    """In a server that evaluates them over a healthy proxy."""
    names = {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}

    def healthy() -> Any:
        groups = (prometheus.get("/api/v1/rules") or {"groups": []})["groups"]
        return groups if groups and all(rule["health"] == "ok" for rule in groups[0]["rules"]) else None

    (group,) = wait_until(healthy)
    assert {rule["name"] for rule in group["rules"]} == names
    # Many denials is what this traffic is; it would have to go on for ten minutes.
    assert {rule["name"] for rule in group["rules"] if rule["state"] == "firing"} == set()


@needs_promtool
def test_the_rules_pass_promtool() -> None:
    """They are well-formed, each fires for what it is for and not otherwise, and none is without such a test."""
    for words in (["check", "rules", str(RULES)], ["test", "rules", str(ETC / "prometheus-rules-test.yml")]):
        ran = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    alerts = {rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]}
    tested: dict[str, set[bool]] = {}
    for test in yaml.safe_load((ETC / "prometheus-rules-test.yml").read_text())["tests"]:
        for alert in test["alert_rule_test"]:
            tested.setdefault(alert["alertname"], set()).add(bool(alert["exp_alerts"]))
    assert tested == {name: {True, False} for name in alerts}


def samples_of(name: str) -> set[str]:
    """Under which names a described metric is stored."""
    if METRICS[name].kind == "histogram":
        return {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    return {name}


def test_what_rules_and_dashboard_ask_for_is_scraped(proxy: ProxyProcess) -> None:
    """A family in a real scrape, whether it has a sample by now or not; what needs a store is known to the table."""
    text = proxy.admin("/metrics")[1].decode()
    scraped = {family.name: family for family in text_string_to_metric_families(text)}
    known = set()
    for name, described in METRICS.items():
        family = scraped.get(name.removesuffix("_total"))
        if family is None:
            assert name in ELSEWHERE, name
        else:
            assert family.documentation == described.meaning
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == set(described.labels), sample
        known |= samples_of(name)
    known |= {sample.name for family in scraped.values() for sample in family.samples}
    undescribed = {name for name in scraped if name.startswith("netfw_")} - {
        name.removesuffix("_total") for name in METRICS
    }
    assert undescribed == set()
    dashboard = json.loads(DASHBOARD.read_text())
    asked = {
        found
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for found in _SERIES.findall(target["expr"])
    }
    asked |= {
        found
        for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
        for found in _SERIES.findall(rule["expr"])
    }
    assert len(asked) > 25
    assert asked <= known


@needs_promtool
def test_the_dashboards_queries_are_promql(tmp_path: Path) -> None:
    """promtool reads each as a rule, with the variables filled in; panels do not overlap."""
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    filled = [
        query.replace("$__rate_interval", "5m").replace("$job", "netfw").replace("$instance", ".*") for query in queries
    ]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(filled)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    ran = subprocess.run(
        ["promtool", "check", "rules", str(tmp_path / "rules.yml")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        mine = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not mine & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= mine


def lost(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """What is in one document and not so in the other."""
    if isinstance(ours, dict):
        for name, value in ours.items():
            if not isinstance(theirs, dict) or name not in theirs:
                yield f"{place}.{name}"
            else:
                yield from lost(value, theirs[name], f"{place}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(*pair, f"{place}[{number}]")
    elif ours != theirs:
        yield place


def test_the_dashboard_is_one_by_grafanas_own_model() -> None:
    """Read and printed by it nothing is lost, options of panels included; what it does not know it would drop."""
    pytest.importorskip("grafana_foundation_sdk")
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    def through(document: dict[str, Any]) -> Any:
        return json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(document)))

    plugins.register_default_plugins()
    dashboard = json.loads(DASHBOARD.read_text())
    assert list(lost(dashboard, through(dashboard))) == []
    dashboard["panels"][0]["options"]["unheardOf"] = True
    assert list(lost(dashboard, through(dashboard))) == [".panels[0].options.unheardOf"]


class Terminal:
    """A terminal of tmux with one command in it, on a server of its own."""

    def __init__(self, directory: Path, width: int, height: int, *words: str, variables: str = "") -> None:
        directory.mkdir()
        self._socket = str(directory / "tmux")
        self._ended = directory / "ended"
        # Those would be believed before the terminal itself.
        command = f"env -u COLUMNS -u LINES -u NO_COLOR {variables} {shlex.join(words)}"
        command += f"; echo status $? > {shlex.quote(str(self._ended))}; sleep 600"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), command)

    def _tmux(self, *words: str) -> str:
        ran = subprocess.run(
            ["tmux", "-S", self._socket, *words], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
        )
        return ran.stdout

    def screen(self) -> str:
        """What one would see."""
        return self._tmux("capture-pane", "-p")

    def colours(self) -> set[str]:
        """Which colours are on it, as the numbers of SGR."""
        sequences = re.findall(r"\x1b\[([0-9;]*)m", self._tmux("capture-pane", "-p", "-e"))
        numbers = {number for sequence in sequences for number in sequence.split(";")}
        return {number for number in numbers if re.fullmatch(r"[349]\d|10[0-7]", number)} - {"39", "49"}

    def press(self, *keys: str) -> None:
        """Press keys."""
        self._tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        """Make the window another size."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def status(self) -> str:
        """How the command ended; "" while it runs."""
        return self._ended.read_text().strip() if self._ended.exists() else ""

    def close(self) -> None:
        """End it."""
        self._tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """`terminal(width, height, *words)`, closed when the test ends."""
    if shutil.which("tmux") is None:
        pytest.skip("program missing: tmux")
    opened: list[Terminal] = []

    def open_one(width: int, height: int, *words: str, **more: str) -> Terminal:
        made = Terminal(tmp_path / str(len(opened)), width, height, *words, **more)
        opened.append(made)
        return made

    yield open_one
    for one in opened:
        one.close()


def verb(proxy: ProxyProcess, *words: str) -> list[str]:
    """The command line of a verb for this proxy."""
    return [sys.executable, "-m", "netfw.cli.main", *words, "--config", str(proxy.config_path)]


def test_top_in_a_terminal(proxy: ProxyProcess, terminal: Callable[..., Terminal]) -> None:
    """It shows what was sent, follows what comes, fits another size, and a key ends it."""
    window = terminal(110, 32, *verb(proxy, "top", "--interval", "0.5"))
    wait_until(lambda: f"{DENIED} house/no" in window.screen())
    seen = window.screen()
    for word in ("netfw-test", "ready", "requests/s", "denials/s", "tunnels", "denied.test", "serving", "q quits"):
        assert word in seen, seen
    assert re.search(rf"{DENIED} +denied +http_request_denied", seen), seen
    assert len(re.findall("serving", seen)) == 2, seen
    with WireClient(proxy.port()) as client:
        client.send(b"GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n")
        assert client.read_response().status == 403
    wait_until(lambda: f"{DENIED + 1} house/no" in window.screen())
    window.resize(64, 20)
    wait_until(lambda: max(map(len, window.screen().splitlines())) <= 64 and "requests/s" in window.screen())
    assert window.status() == ""
    window.press("q")
    assert wait_until(window.status) == "status 0"
    assert "requests/s" not in window.screen()


def test_status_in_a_terminal(proxy: ProxyProcess, terminal: Callable[..., Terminal]) -> None:
    """Facts, and tables of checks, listeners and workers."""
    window = terminal(140, 60, *verb(proxy, "status"))
    assert wait_until(window.status) == "status 0"
    seen = window.screen()
    for pattern in (
        r"netfw is ready", r"generation +1", r"checks", r"listeners +yes +2 of 2 workers accept",
        r"ca +yes +not needed", r"plain +HTTP +127\.0\.0\.1", r"index state", r"records dropped +0",
    ):  # fmt: skip
        assert re.search(pattern, seen), (pattern, seen)
    assert len(re.findall(r"\d+ +serving", seen)) == 2, seen


def test_a_narrow_terminal_and_one_without_colours(proxy: ProxyProcess, terminal: Callable[..., Terminal]) -> None:
    """At 44 columns no word is broken; with NO_COLOR there is none, and without it there is."""
    status = terminal(44, 90, *verb(proxy, "status"))
    tops = [
        terminal(44, 32, *verb(proxy, "top", "--interval", "0.5"), variables=value) for value in ("A=1", "NO_COLOR=1")
    ]
    assert wait_until(status.status) == "status 0"
    seen = status.screen()
    assert "netfw is ready" in seen
    assert len(re.findall(r"^  state +serving$", seen, re.MULTILINE)) == 2, seen
    assert re.search(r"^  says +2 of 2 workers accept$", seen, re.MULTILINE), seen
    for top in tops:
        wait_until(lambda top=top: "house/no" in top.screen())
        assert re.search(r"req/s +deny/s +conns +tunnels +lost", top.screen()), top.screen()
        assert max(map(len, top.screen().splitlines())) <= 44
    assert "32" in tops[0].colours()
    assert tops[1].colours() == set()
    for top in tops:
        top.press("q")
        assert wait_until(top.status) == "status 0"


def test_top_once_as_json(proxy: ProxyProcess) -> None:
    """For programs: the same figures, once; sums over both workers."""
    words = verb(proxy, "top", "--json", "--interval", "0.2")
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    seen = json.loads(ran.stdout)
    status = proxy.status()
    assert (seen["state"], seen["name"], seen["generation"]) == ("ready", "netfw-test", status["generation"])
    assert seen["requests"] >= ALLOWED + DENIED
    assert seen["denials"] >= DENIED
    assert {row["pid"] for row in seen["workers"]} == {row["pid"] for row in status["workers"]}
    assert seen["busiest"]["clients"][0]["client"] == "127.0.0.1"
    once = subprocess.run(verb(proxy, "top", "--once", "--interval", "0.2"), capture_output=True, text=True, check=True)
    assert "house/no" in once.stdout
    assert "\x1b" not in once.stdout


def test_readiness_with_workers(proxy: ProxyProcess) -> None:
    """Each check by name."""
    status, body = proxy.admin("/readyz")
    assert status == 200
    assert body.decode().splitlines() == [
        "ready",
        "listeners: ok, 2 of 2 workers accept",
        "ca: ok, not needed: nothing is intercepted",
    ]
