"""Real requests through the shipped configuration, for the gate: `prepare`, `origin`, `ask`, each with its folder.

`prepare` changes the copy of etc/ in the folder as little as possible: free ports, a name of our own in a hosts file,
loopback opened, and a policy that allows that name. `origin` serves it. `ask` sends a request that is allowed and one
that is not, and looks at both answers and at their records. Only the standard library is used.
"""

from __future__ import annotations

import http.client
import http.server
import json
import re
import socket
import sys
import time
from pathlib import Path

NAME = "origin.test"
POLICY = """\
ProxyConfiguration:
  ProxyConfigurationName: gate
  DefaultRulePhaseActions: {PreDNS: DENY, PreREQUEST: ALLOW, PostRESPONSE: ALLOW}
  RuleGroups: [gate]
ProxyRuleGroups:
  - ProxyRuleGroupName: gate
    Rules:
      PreDNS:
        - ProxyRuleName: our-name
          Action: ALLOW
          Conditions:
            - ConditionKey: request:DestinationDomain
              ConditionOperator: StringEquals
              ConditionValues: [origin.test]
"""


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on; all are held until all are known."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def prepare(work: Path) -> None:
    """Adapt the copy of etc/, and remember the ports."""
    proxy, admin, origin = free_ports(3)
    (work / "ports.json").write_text(json.dumps({"proxy": proxy, "origin": origin}))
    (work / "hosts").write_text(f"127.0.0.1 {NAME}\n")
    config = work / "etc" / "proxy.yaml"
    text = config.read_text()
    for old, new in (
        (r"(?m)^    port: 3128\b", f"    port: {proxy}"),
        (r"(?m)^  port: 9901\b", f"  port: {admin}"),
        (r"(?m)^  file: policy.yaml\b", "  file: gate.yaml"),
    ):
        text, found = re.subn(old, new, text)
        assert found == 1, old
    config.write_text(text + f"\nguard: {{allow: [127.0.0.0/8]}}\ndns: {{hosts_file: {work / 'hosts'}}}\n")
    (work / "etc" / "gate.yaml").write_text(POLICY)


class Origin(http.server.BaseHTTPRequestHandler):
    """Says hello."""

    def do_GET(self) -> None:  # noqa: N802 - the library's spelling
        """With the Via that the proxy must have added."""
        body = f"hello from {NAME}, via {self.headers.get('Via')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(work: Path) -> None:
    """Be the origin until ended."""
    port = json.loads((work / "ports.json").read_text())["origin"]
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Origin).serve_forever()


def get(port: int, url: str) -> tuple[int, str, dict[str, str]]:
    """Ask the proxy for a URL; it may take a moment until it listens."""
    deadline = time.monotonic() + 40
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", url, headers={"Host": url.split("/")[2]})
            response = connection.getresponse()
            return response.status, response.read().decode(), dict(response.getheaders())
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        finally:
            connection.close()


def ask(work: Path) -> None:
    """One request that is allowed, one that is not."""
    ports = json.loads((work / "ports.json").read_text())
    status, body, _ = get(ports["proxy"], f"http://{NAME}:{ports['origin']}/")
    print(status, body.strip())
    assert status == 200 and body.startswith("hello") and "1.1 " in body, (status, body)
    status, body, fields = get(ports["proxy"], "http://denied.test/")
    print(status, fields.get("Proxy-Status"))
    assert status == 403 and "http_request_denied" in fields.get("Proxy-Status", ""), (status, body, fields)
    records = work / "var" / "log" / "records.jsonl"
    deadline = time.monotonic() + 10
    lines: list[str] = []
    while len(lines) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        lines = records.read_text().splitlines() if records.exists() else []
    assert len([json.loads(line) for line in lines]) == 2, lines


if __name__ == "__main__":
    {"prepare": prepare, "origin": serve, "ask": ask}[sys.argv[1]](Path(sys.argv[2]))
