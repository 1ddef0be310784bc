"""A demonstration on loopback: a proxy with its own origins, five exchanges, what the client sees, what is recorded.

    python -m netfw.testing.demo

Nothing leaves the machine: names are answered by the test DNS server, certificates are made for the occasion, and
everything is gone when it ends. The proxy is the real server; only its surroundings are made up.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin, OriginHandler
from netfw.testing.pki import TestAuthority
from netfw.testing.proxy_process import ProxyProcess, condition, configuration, domain_rule, merge, policy, rule
from netfw.testing.wire_client import RoutedClient, WireResponse

NAMES = ("shop.test", "news.test", "ads.test")
RULES = policy(
    groups={
        "demo": {
            "PreDNS": [domain_rule("watch-news", "ALERT", "news.test"), domain_rule("no-ads", "DENY", ".ads.test")],
            "PreREQUEST": [rule("no-admin", "DENY", condition("request:Http:Uri", "StringLike", "/admin*"))],
        }
    }
)
SHOWN = (
    "id",
    "final_action",
    "final_rule_group_name",
    "final_rule_name",
    "first_alert_match",
    "dest_domain",
    "dest_ip",
    "http_method",
    "http_status_code",
    "duration_ms",
)


@dataclass(frozen=True)
class Step:
    """One exchange to show."""

    title: str
    why: str
    url: str
    expected: int


def _page(handler: OriginHandler, _: bytes) -> None:
    host = handler.headers["Host"]
    handler.answer(200, f"Hello from {host}, you asked for {handler.path}\n".encode(), "text/plain")


class Demonstration:
    """Everything that the steps need, in one temporary directory."""

    def __init__(self, directory: Path, console: Console) -> None:
        self.console = console
        origins, interception = TestAuthority("Demo origins CA"), TestAuthority("Demo interception CA")
        self.ca = self._write(directory / "netfw-ca.pem", interception.certificate_pem)
        ca_key = self._write(directory / "netfw-ca.key", interception.key_pem)
        trust = self._write(directory / "origins-ca.pem", origins.certificate_pem)
        certificate, key = origins.issue(*NAMES)
        files = (self._write(directory / "origin.pem", certificate), self._write(directory / "origin.key", key))
        self.dns = DnsServer({name: {"A": ["127.0.0.1"]} for name in NAMES})
        self.origin, self.tls_origin = HttpOrigin(), HttpOrigin(tls=files)
        self.directory = directory
        self._intercept, self._trust = (self.ca, ca_key), trust

    @staticmethod
    def _write(path: Path, content: bytes) -> Path:
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path

    def run(self) -> int:
        """All steps; 0 when each ended as it should."""
        for origin in (self.origin, self.tls_origin):
            origin.applications["/"] = _page
        with self.dns, self.origin, self.tls_origin:
            document = configuration(
                self.directory, resolver_port=self.dns.port, intercept=self._intercept, trust=self._trust
            )
            document = merge(document, {"proxy": {"name": "netfw-demo"}, "timeouts": {"drain": "1s"}})
            with ProxyProcess(self.directory, document, RULES) as proxy:
                self._introduce(proxy)
                outcomes = [self._show(proxy, step) for step in self._steps()]
                return int(not all(outcomes))

    def _steps(self) -> list[Step]:
        plain, tls = self.origin.port, self.tls_origin.port
        return [
            Step("allowed", "no rule is against it", f"http://shop.test:{plain}/hello", 200),
            Step("denied", "PreDNS rule demo/no-ads: not even DNS is asked", f"http://ads.test:{plain}/banner", 403),
            Step("alerted", "PreDNS rule demo/watch-news lets it pass and says so", f"http://news.test:{plain}/", 200),
            Step("intercepted", "TLS is opened with our CA: the path is seen", f"https://shop.test:{tls}/basket", 200),
            Step("intercepted and denied", "PreREQUEST rule demo/no-admin sees the path inside TLS",
                 f"https://shop.test:{tls}/admin/users", 403),
        ]  # fmt: skip

    def _introduce(self, proxy: ProxyProcess) -> None:
        self._say("\n[bold]The proxy[/bold], with origins and a DNS server of its own, all on loopback:\n")
        self._say(f"  [cyan]$ {escape(shlex.join(proxy.command))}[/cyan]")
        self._say("\n[bold]Its rules[/bold] (defaults: allow):\n")
        rules = yaml.safe_dump(RULES["ProxyRuleGroups"], sort_keys=False, default_flow_style=None, width=110)
        for line in rules.splitlines():
            self._say(f"  [dim]{escape(line)}[/dim]")

    def _show(self, proxy: ProxyProcess, step: Step) -> bool:
        since = len(proxy.records())
        command = ["curl", "-si", "-x", f"http://127.0.0.1:{proxy.port()}"]
        if step.url.startswith("https:"):
            command += ["--cacert", str(self.ca)]
        self._say(f"\n[bold]{step.title}[/bold]: {step.why}\n")
        self._say(f"  [cyan]$ {escape(shlex.join([*command, step.url]))}[/cyan]")
        answer = self._ask([*command, step.url], proxy, step.url)
        for line in answer.replace("HTTP/1.1 200 Connection Established\r\n\r\n", "", 1).rstrip().splitlines():
            self._say(f"  {escape(line)}")
        record = proxy.wait_for_record(lambda entry: entry["kind"] == "exchange", since=since)
        self._say("\n  the record, in part:")
        shown = {key: record[key] for key in SHOWN if record.get(key) not in (None, "")}
        shown["path"] = record["url"]["path"]
        shown["intercepted"] = record.get("tls", {}).get("intercepted", False)
        shown["matches"] = [f"{m['hook']} {m['action']} {m['rule_id']}" for m in record["all_matches"]["matches"]]
        self.console.print("  " + json.dumps(shown), style="green", markup=False, highlight=False, soft_wrap=True)
        return bool(record["http_status_code"] == step.expected)

    def _ask(self, command: list[str], proxy: ProxyProcess, url: str) -> str:
        if shutil.which(command[0]) is not None:
            environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.directory)}
            return subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, timeout=30, check=True
            ).stdout.decode("latin-1")  # fmt: skip
        # Without curl the same exchange is made by hand, so that the demonstration needs nothing but Python.
        scheme, _, rest = url.partition("://")
        authority, _, path = rest.partition("/")
        host, _, port = authority.partition(":")
        way = "tls" if scheme == "https" else "absolute"
        with RoutedClient(proxy.port(), way, host, int(port), trust=self.ca) as client:
            response: WireResponse = client.fetch("/" + path)
        return (response.head + response.body).decode("latin-1")

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)


def main(console: Console | None = None) -> int:
    """Run it; the exit status."""
    console = console or Console()
    with tempfile.TemporaryDirectory(prefix="netfw-demo-") as directory:
        status = Demonstration(Path(directory), console).run()
    outcome: Any = "That was all; nothing is left running." if status == 0 else "[red]Something went wrong above.[/red]"
    console.print(f"\n{outcome}\n", highlight=False)
    return status


if __name__ == "__main__":
    sys.exit(main())
