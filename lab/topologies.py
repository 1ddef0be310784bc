"""The topologies: how each is built, what has to pass there, and what must not.

In this room: five functions, one a topology, each with its picture as docstring. Not here: how a namespace is made
(`world`), how results are printed (`run`).
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from click.testing import CliRunner

from lab.world import Answer, World
from netfw.cli.main import netfw
from netfw.testing.small_internet import ADDRESS as SITES


class Ledger(Protocol):
    """Where results go. `passes` and `cannot` tell what is tried, and whether it came out so."""

    def passes(self, what: str, holds: bool, otherwise: object = "") -> None:
        """This has to work."""

    def cannot(self, what: str, holds: bool, otherwise: object = "") -> None:
        """This has to fail."""


def policy(*groups: dict[str, Any], pre_dns: str = "DENY") -> dict[str, Any]:
    """A policy of these groups, in this order."""
    return {
        "ProxyConfiguration": {
            "ProxyConfigurationName": "lab",
            "DefaultRulePhaseActions": {"PreDNS": pre_dns, "PreREQUEST": "ALLOW", "PostRESPONSE": "ALLOW"},
            "RuleGroups": [group["ProxyRuleGroupName"] for group in groups],
        },
        "ProxyRuleGroups": list(groups),
    }


ONLY_EXAMPLE_COM = policy({"ProxyRuleGroupName": "sites", "allow": [".example.com"]})


def is_site(answer: Answer, host: str = "www.example.com") -> bool:
    """Whether this site itself has answered."""
    return answer.status == 200 and answer.body.startswith(f"{host} says hello")


def denied(answer: Answer) -> bool:
    """Whether a proxy refused: in an answer, or to the CONNECT."""
    return answer.status == 403 or "403" in answer.said


def nothing(answer: Answer) -> bool:
    """Whether no answer came at all."""
    return answer.status == 0 and not denied(answer)


def _out(world: World, name: str, address: str, internet: str) -> None:
    """A cable into the internet, with routes to its sites and its resolver only."""
    network = address.rpartition(".")[0]
    world.cable(name, f"{address}/24", internet, f"{network}.254/24")
    for destination in (SITES, "93.184.216.53"):
        world.route(name, f"{destination}/32", f"{network}.254")


def distributed(world: World, ledger: Ledger) -> None:
    """One network with a proxy of its own. There is no route out of it, and the proxy passes no packets on.

    workload 10.1.0.2 ───── 10.1.0.1 netfw 198.18.1.1 ───── internet
         (no default route)         (no forwarding)
    """
    world.network("workload", "proxy", "world")
    world.cable("workload", "10.1.0.2/24", "proxy", "10.1.0.1/24")
    _out(world, "proxy", "198.18.1.1", "world")
    world.internet("world")
    world.proxy("proxy", "netfw", "10.1.0.1", ONLY_EXAMPLE_COM)
    by = "10.1.0.1:3128"
    for scheme in ("http", "https"):
        answer = world.get("workload", f"{scheme}://www.example.com/", proxy=by)
        ledger.passes(f"workload asks for {scheme}://www.example.com by the proxy", is_site(answer), answer)
        answer = world.get("workload", f"{scheme}://www.example.org/", proxy=by)
        ledger.cannot(f"workload asks for {scheme}://www.example.org by the proxy", denied(answer), answer)
    answer = world.get("workload", "https://www.example.com/")
    ledger.cannot("workload goes straight to a site", nothing(answer), answer)
    world.route("workload", "default", "10.1.0.1")
    answer = world.get("workload", "https://www.example.com/")
    ledger.cannot("workload gives itself a route through the proxy's machine", nothing(answer), answer)


def centralised(world: World, ledger: Ledger) -> None:
    """Two networks with the same addresses share one proxy. An endpoint in each says whose connections they are.

    billing 10.0.0.2 ── 10.0.0.1 endpoint vpce-0b1 172.16.1.2 ──┐
                                                                ├── 172.16.x.1 netfw ── internet
    testing 10.0.0.2 ── 10.0.0.1 endpoint vpce-0e5 172.16.2.2 ──┘
    """
    world.network("billing", "testing", "endpoint1", "endpoint2", "proxy", "world")
    ways = (("billing", "endpoint1", "172.16.1", "vpce-0b1"), ("testing", "endpoint2", "172.16.2", "vpce-0e5"))
    for client, endpoint, network, _ in ways:
        world.cable(client, "10.0.0.2/24", endpoint, "10.0.0.1/24")
        world.cable(endpoint, f"{network}.2/24", "proxy", f"{network}.1/24")
    _out(world, "proxy", "198.18.1.1", "world")
    world.internet("world")
    rule = {
        "ProxyRuleName": "payments",
        "Action": "ALLOW",
        "Conditions": [
            {"ConditionKey": key, "ConditionOperator": "StringEquals", "ConditionValues": [value]}
            for key, value in (("request:SourceVpce", "vpce-0b1"), ("request:DestinationDomain", "api.pay.example"))
        ],
    }
    rules = policy(
        {"ProxyRuleGroupName": "billing", "Rules": {"PreDNS": [rule]}},
        {"ProxyRuleGroupName": "all", "allow": [".example.com"]},
    )
    sources = [
        {"vpce": "vpce-0b1", "account": "111122223333", "vpc": "vpc-0b"},
        {"vpce": "vpce-0e5", "account": "444455556666", "vpc": "vpc-0e"},
    ]
    listener = {"proxy_protocol": {"from": ["172.16.1.2", "172.16.2.2"]}}
    world.proxy("proxy", "netfw", "0.0.0.0", rules, listener=listener, sources=sources)
    for _, endpoint, network, vpce in ways:
        world.start(
            endpoint, sys.executable, "-m", "lab.endpoint", "3128", f"{network}.1:3128", vpce, log=f"{endpoint}.log"
        )
        world.until(endpoint, lambda at=endpoint: bool(world.run(at, "ss", "-Htln", "sport = :3128")))  # type: ignore[misc]
    by = "10.0.0.1:3128"
    for client in ("billing", "testing"):
        answer = world.get(client, "https://www.example.com/", proxy=by)
        ledger.passes(f"{client} asks for www.example.com by its endpoint", is_site(answer), answer)
    answer = world.get("billing", "https://api.pay.example/", proxy=by)
    ledger.passes("billing asks for api.pay.example", is_site(answer, "api.pay.example"), answer)
    answer = world.get("testing", "https://api.pay.example/", proxy=by)
    ledger.cannot("testing, from the same address, asks for api.pay.example", denied(answer), answer)
    answer = world.get("billing", "https://www.example.com/")
    ledger.cannot("billing goes straight to a site", nothing(answer), answer)
    answer = world.get("endpoint1", "https://www.example.com/", proxy="172.16.1.1:3128")
    ledger.cannot("a connection to the proxy without a PROXY header is served", nothing(answer), answer)

    def known() -> set[tuple[Any, ...]]:
        lines = [record for record in world.records("netfw") if record.get("src_vpce")]
        return {(line["client_src_ip"], line["src_vpce"], line["vpce_account_id"]) for line in lines}

    wanted = {("10.0.0.2", "vpce-0b1", "111122223333"), ("10.0.0.2", "vpce-0e5", "444455556666")}
    world.until("records of both networks", lambda: len(known()) >= len(wanted))
    ledger.passes("records tell the two apart by endpoint and account", known() == wanted, known())


def hub(world: World, ledger: Ledger) -> None:
    """Networks whose default route is a hub. The hub passes on what goes to the proxy, and nothing else.

    spoke1 10.1.0.2 ──┐                ┌── 10.9.0.2 netfw 198.18.1.1 ──┐
                      ├── hub 10.9.0.1 ┤                               ├── internet
    spoke2 10.2.0.2 ──┘                └── 198.18.2.1 ─────────────────┘
    """
    _routed(world, ledger, everything=True)
    by = "10.9.0.2:3128"
    for spoke in ("spoke1", "spoke2"):
        answer = world.get(spoke, "https://www.example.com/", proxy=by)
        ledger.passes(f"{spoke} asks for www.example.com by the proxy", is_site(answer), answer)
        answer = world.get(spoke, "https://www.example.org/", proxy=by)
        ledger.cannot(f"{spoke} asks for www.example.org by the proxy", denied(answer), answer)
        answer = world.get(spoke, "https://www.example.com/")
        ledger.cannot(f"{spoke} goes straight to a site, which the hub has a route to", nothing(answer), answer)
    answer = world.get("spoke1", f"http://{SITES}:8080/")
    ledger.cannot("spoke1 goes straight to another port", nothing(answer), answer)
    world.start("spoke2", sys.executable, "-m", "http.server", "8000", log="spoke2.log")
    world.until("a server of spoke2's", lambda: bool(world.run("spoke2", "ss", "-Htln", "sport = :8000")))
    answer = world.get("spoke1", "http://10.2.0.2:8000/")
    ledger.cannot("spoke1 reaches a server of spoke2's", nothing(answer), answer)


def mixed(world: World, ledger: Ledger) -> None:
    """As the hub, but what is not web traffic is routed as ever. Direct web traffic is refused, at once.

    spoke1 10.1.0.2 ──┐                ┌── 10.9.0.2 netfw 198.18.1.1 ──┐
                      ├── hub 10.9.0.1 ┤                               ├── internet, with a service on 5432
    spoke2 10.2.0.2 ──┘                └── 198.18.2.1 ─────────────────┘
    """
    _routed(world, ledger, everything=False)
    world.start("world", sys.executable, "-m", "http.server", "5432", "--bind", SITES, log="service.log")
    world.until("the service on 5432", lambda: bool(world.run("world", "ss", "-Htln", "sport = :5432")))
    answer = world.get("spoke1", "https://www.example.com/", proxy="10.9.0.2:3128")
    ledger.passes("spoke1 asks for www.example.com by the proxy", is_site(answer), answer)
    answer = world.get("spoke1", f"http://{SITES}:5432/")
    ledger.passes("spoke1 reaches the service on port 5432 by the hub", answer.status == 200, answer)
    for scheme in ("http", "https"):
        began = time.monotonic()
        answer = world.get("spoke1", f"{scheme}://www.example.com/")
        refused = nothing(answer) and time.monotonic() - began < 4
        ledger.cannot(
            f"spoke1 goes straight to {scheme}://www.example.com (it is refused, not left to wait)", refused, answer
        )


def _routed(world: World, ledger: Ledger, *, everything: bool) -> None:
    world.network("spoke1", "spoke2", "hub", "proxy", "world")
    for number in (1, 2):
        world.cable(f"spoke{number}", f"10.{number}.0.2/24", "hub", f"10.{number}.0.1/24")
        world.route(f"spoke{number}", "default", f"10.{number}.0.1")
    world.cable("hub", "10.9.0.1/24", "proxy", "10.9.0.2/24")
    world.route("proxy", "10.0.0.0/8", "10.9.0.1")
    _out(world, "proxy", "198.18.1.1", "world")
    _out(world, "hub", "198.18.2.1", "world")
    world.route("world", "10.0.0.0/8", "198.18.2.1")
    world.forwards("hub")
    world.internet("world")
    answer = world.get("spoke1", "http://www.example.com/")
    ledger.passes("before any rules are loaded the way is open: spoke1 reaches a site", is_site(answer), answer)
    command = ["nftables", "routed", "--proxy", "10.9.0.2", "--inside", "10.9.0.0/24"]
    command += ["--everything"] if everything else []
    world.firewall("hub", CliRunner().invoke(netfw, command, catch_exceptions=False).stdout)
    world.proxy("proxy", "netfw", "10.9.0.2", ONLY_EXAMPLE_COM)


def failover(world: World, ledger: Ledger) -> None:
    """Two proxies behind one address. HAProxy asks both how they are, and gives clients to one that is well.

    workload 10.1.0.2 ── 10.1.0.1 haproxy ─┬─ 10.9.1.2 netfw one ── internet
                                           └─ 10.9.2.2 netfw two ── internet
    """
    world.network("workload", "balancer", "proxy1", "proxy2", "world")
    world.cable("workload", "10.1.0.2/24", "balancer", "10.1.0.1/24")
    world.internet("world")
    for number in (1, 2):
        world.cable("balancer", f"10.9.{number}.1/24", f"proxy{number}", f"10.9.{number}.2/24")
        _out(world, f"proxy{number}", f"198.18.{number}.1", "world")
    proxies = {number: _behind_balancer(world, number) for number in (1, 2)}
    (world.directory / "haproxy.cfg").write_text(BALANCER)
    world.start("balancer", "haproxy", "-f", str(world.directory / "haproxy.cfg"), log="haproxy.log")
    world.until("haproxy", lambda: bool(world.run("balancer", "ss", "-Htln", "sport = :3128")))
    by = "10.1.0.1:3128"

    def ask() -> Answer:
        return world.get("workload", "https://www.example.com/", proxy=by)

    answers = [ask() for _ in range(6)]
    ledger.passes("six requests by the virtual address", all(is_site(each) for each in answers), answers)
    world.until("records of both", lambda: all(world.records(f"netfw{number}") for number in (1, 2)))
    counts = [len(world.records(f"netfw{number}")) for number in (1, 2)]
    ledger.passes(f"both proxies have served some of them ({counts[0]} and {counts[1]})", all(counts), counts)
    seen = {record["client_src_ip"] for number in (1, 2) for record in world.records(f"netfw{number}")}
    ledger.passes("records have the workload's address, not the balancer's", seen == {"10.1.0.2"}, seen)

    during: list[Answer] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            during.append(ask())

    asking = threading.Thread(target=go_on)
    asking.start()
    world.until("requests under way", lambda: len(during) > 2)
    world.stop(proxies[1])
    before = len(during)
    world.until("requests after it", lambda: len(during) > before + 10)
    over.set()
    asking.join()
    good = sum(is_site(each) for each in during)
    late = all(is_site(each) for each in during[-5:])
    ledger.passes(
        f"one proxy is killed under load: {good} of {len(during)} requests served, the latest all", late, during
    )
    proxies[1] = _behind_balancer(world, 1, again=True)
    world.until("the first one to serve again", lambda: is_site(ask()) and _serves_again(world))
    ledger.passes("it comes back, and serves again", True)
    for process in proxies.values():
        world.stop(process)
    answer = ask()
    ledger.cannot("with both gone a request goes out some other way", nothing(answer) or answer.status == 503, answer)
    answer = world.get("workload", "https://www.example.com/")
    ledger.cannot("workload goes straight to a site", nothing(answer), answer)


def _behind_balancer(world: World, number: int, *, again: bool = False) -> Any:
    label = f"netfw{number}"
    if again:
        (world.directory / label).rename(world.directory / f"{label}-before")
    listener = {"proxy_protocol": {"from": [f"10.9.{number}.1"]}}
    return world.proxy(f"proxy{number}", label, f"10.9.{number}.2", ONLY_EXAMPLE_COM, listener=listener)


def _serves_again(world: World) -> bool:
    path = world.directory / "netfw1" / "records.jsonl"
    return path.exists() and any(json.loads(line)["kind"] == "tunnel" for line in path.read_text().splitlines())


BALANCER = """\
defaults
    mode tcp
    timeout connect 1s
    timeout client 1m
    timeout server 1m
    retries 3
    option redispatch
frontend egress
    bind 10.1.0.1:3128
    default_backend proxies
backend proxies
    balance roundrobin
    default-server check inter 200ms fall 2 rise 2 send-proxy-v2 check-send-proxy
    server one 10.9.1.2:3128
    server two 10.9.2.2:3128
"""

TOPOLOGIES: dict[str, Callable[[World, Ledger], None]] = {
    "distributed": distributed,
    "centralised": centralised,
    "hub": hub,
    "mixed": mixed,
    "failover": failover,
}
