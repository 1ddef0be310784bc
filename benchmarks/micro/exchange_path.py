"""The Python cost of one forwarded exchange without sockets: both transports are canned.

    python benchmarks/micro/exchange_path.py [--profile]

Prints microseconds a request: head read, three phases (100 rules), request printed, response read and printed, record
line made. What the kernel and the reactor cost comes on top.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import tempfile
import time
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from netfw.config.load import load_config
from netfw.config.model import Configuration
from netfw.proxy.client_connection import ClientConnection
from netfw.proxy.exchange import Caller
from netfw.service.assembly import assemble

REQUEST = (
    b"GET http://origin.example/1k HTTP/1.1\r\nHost: origin.example\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip, deflate\r\nAccept-Language: en\r\nProxy-Connection: keep-alive\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 02:50:00 GMT\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 1024\r\nLast-Modified: Sun, 22 Nov 2026 02:00:00 GMT\r\nConnection: keep-alive\r\n"
    b'ETag: "692113f0-400"\r\nAccept-Ranges: bytes\r\n\r\n' + b"x" * 1024
)


class CannedTransport:
    """Takes writes, and answers each with `reply` when there is one."""

    def __init__(self, reply: bytes | None) -> None:
        self.reply = reply
        self.protocol: object = None
        self.written = 0
        self.connected = True

    def start(self, protocol: object) -> None:
        self.protocol = protocol
        protocol.makeConnection(self)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.7", 80)

    getHost = getPeer

    def write(self, data: bytes) -> None:
        self.writeSequence([data])

    def writeSequence(self, parts: list[bytes]) -> None:
        self.written += sum(map(len, parts))
        self.pending = True

    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...


def configuration_of(directory: Path, *, port: int, hosts: str, guard: dict[str, Any]) -> Configuration:
    """A proxy without interception whose policy is 100 rules by name; what it needs is written into `directory`."""
    rules = [
        {
            "ProxyRuleName": f"deny-{number}",
            "Action": "DENY",
            "Conditions": [
                {
                    "ConditionKey": "request:DestinationDomain",
                    "ConditionOperator": "StringEquals",
                    "ConditionValues": [f".blocked-{number}.example"],
                }
            ],
        }
        for number in range(100)
    ]
    (directory / "policy.json").write_text(
        json.dumps(
            {
                "ProxyConfiguration": {
                    "ProxyConfigurationName": "micro",
                    "DefaultRulePhaseActions": {"PreDNS": "ALLOW", "PreREQUEST": "ALLOW", "PostRESPONSE": "ALLOW"},
                    "RuleGroups": ["g"],
                },
                "ProxyRuleGroups": [{"ProxyRuleGroupName": "g", "Rules": {"PreDNS": rules}}],
            }
        )
    )
    (directory / "hosts").write_text(hosts)
    (directory / "proxy.json").write_text(
        json.dumps(
            {
                "proxy": {"name": "micro"},
                "listeners": [{"name": "main", "type": "HTTP", "address": "127.0.0.1", "port": port}],
                "tls_intercept": {"mode": "DISABLED"},
                "policy": {"file": "policy.json"},
                "dns": {"hosts_file": "hosts"},
                "guard": guard,
                "limits": {"requests_per_connection": 10**9},
                "log": {"path": "records.jsonl"},
            }
        )
    )
    return load_config(directory / "proxy.json")


def plane_of(directory: Path):
    configuration = configuration_of(
        directory, port=3128, hosts="192.0.2.7 origin.example\n", guard={"allow": ["192.0.2.0/24"]}
    )
    reactor = Clock()
    reactor.addSystemEventTrigger = lambda *arguments, **options: None
    service = assemble(configuration, reactor)
    return service.plane, configuration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--count", type=int, help="run just so many, for a tool that counts instructions")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        plane, configuration = plane_of(Path(name))
        upstream = CannedTransport(RESPONSE)
        object.__setattr__(plane, "dialer", SimpleNamespace(dial=lambda addresses, port: succeed(upstream)))
        sink = []
        plane.recording._sink = SimpleNamespace(write=lambda line: sink.append(len(line)))
        client_side = CannedTransport(None)
        caller = Caller(address=ip_address("10.0.0.9"), port=40000, listener_name="main")
        client = ClientConnection(plane, configuration.listeners[0], caller)
        client_side.start(client)

        def run(count: int) -> None:
            for _ in range(count):
                client.dataReceived(REQUEST)
                upstream.protocol.dataReceived(RESPONSE)

        if arguments.count:
            run(arguments.count)
            return
        run(500)
        if arguments.profile:
            profiler = cProfile.Profile()
            profiler.runcall(run, arguments.requests)
            pstats.Stats(profiler).sort_stats("tottime").print_stats(200)
            return
        best = None
        for _ in range(5):
            begun = time.process_time()
            run(arguments.requests)
            spent = (time.process_time() - begun) / arguments.requests * 1e6
            best = spent if best is None else min(best, spent)
        print(f"{best:.1f} us a request (best of 5 times {arguments.requests}); {len(sink)} records")


if __name__ == "__main__":
    main()
