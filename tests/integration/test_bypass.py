"""Ways round the proxy, in networks of their own: open before the rules of `netfw nftables` are loaded, closed after.

    inside (10.77.1.2, .5; fd77:1::2, ::5)  --  router  --  outside (10.77.2.2; fd77:2::2: TCP 80, 443, 8080, UDP 443)

.5 is where the proxy leaves from. What is tried is what `netfw doctor --bypass` tries.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from netfw.cli.main import netfw

_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
IP, NFT = (shutil.which(name, path=_PATH) for name in ("ip", "nft"))
ROOT = Path(__file__).resolve().parents[2]
V4, V6 = "10.77.2.2", "fd77:2::2"
SERVER = """
import selectors, socket
watch = selectors.DefaultSelector()
for address in ("0.0.0.0", "::"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind, port in ((1, 80), (1, 443), (1, 8080), (2, 443)):
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        if kind == 1:
            sock.listen(16)
        watch.register(sock, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in watch.select():
        if key.fileobj.type == 1:
            key.fileobj.accept()[0].close()
        else:
            data, peer = key.fileobj.recvfrom(2000)
            key.fileobj.sendto(b"\\x80\\0\\0\\0\\0" + data[5:23], peer)
"""
TRY = """
import encodings.idna, json, os, socket, sys
from netfw.cli import doctor_bypass
uid, source, *ways = sys.argv[1:]
connect, own = socket.create_connection, {4: source, 6: "fd77:1::" + source.rpartition(".")[2]}
def leave(address, timeout):
    return connect(address, timeout, (own[6 if ":" in address[0] else 4], 0))
doctor_bypass.socket.create_connection = leave
os.setuid(int(uid))
print(json.dumps([
    [check.name, check.state, check.detail]
    for way in ways for host, _, port in [way.rpartition(" ")] for check in doctor_bypass.check_bypass(host, int(port))
]))
"""

pytestmark = pytest.mark.skipif(
    IP is None or NFT is None or os.geteuid() != 0, reason="program missing: ip or nft, or not root"
)


class Networks:
    """Three namespaces, joined."""

    def __init__(self) -> None:
        self.names = {name: f"nft{os.getpid()}{name[:1]}" for name in ("inside", "router", "outside")}

    def ip(self, *arguments: str) -> None:
        done = subprocess.run([str(IP), *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no network namespaces here: {done.stderr.strip()}")

    def at(self, place: str, *command: str, told: str = "") -> subprocess.CompletedProcess[str]:
        """Run this there."""
        done = subprocess.run(
            [str(IP), "netns", "exec", self.names[place], *command],
            input=told, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60,
            env={"PATH": _PATH, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    def build(self) -> None:
        for name in self.names.values():
            self.ip("netns", "add", name)
            self.ip("-n", name, "link", "set", "lo", "up")
        router = self.names["router"]
        for number, place in ((1, "inside"), (2, "outside")):
            far = self.names[place]
            self.ip("-n", router, "link", "add", place, "type", "veth", "peer", "name", "wire", "netns", far)
            for name, wire, last in ((router, place, 1), (far, "wire", 2)):
                self.ip("-n", name, "address", "add", f"10.77.{number}.{last}/24", "dev", wire)
                self.ip("-n", name, "address", "add", f"fd77:{number}::{last}/64", "dev", wire, "nodad")
                self.ip("-n", name, "link", "set", wire, "up")
            self.ip("-n", far, "route", "add", "default", "via", f"10.77.{number}.1")
            self.ip("-n", far, "route", "add", "default", "via", f"fd77:{number}::1")
        self.ip("-n", self.names["inside"], "address", "add", "10.77.1.5/24", "dev", "wire")
        # Never chosen by the kernel: who leaves from there says so.
        proxy = ("fd77:1::5/64", "dev", "wire", "nodad", "preferred_lft", "0")
        self.ip("-n", self.names["inside"], "address", "add", *proxy)
        for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            self.at("router", "sh", "-c", f"echo 1 > /proc/sys/{key}")

    def take_down(self) -> None:
        for name in self.names.values():
            subprocess.run([str(IP), "netns", "delete", name], capture_output=True, check=False)

    def load(self, place: str, *arguments: str) -> None:
        """The rules that the command prints."""
        printed = CliRunner().invoke(netfw, ["nftables", *arguments])
        assert printed.exit_code == 0, printed.output
        self.at(place, str(NFT), "-f", "-", told=printed.output)

    def tried(self, *ways: str, uid: int = 12345, source: str = "10.77.1.2") -> dict[str, str]:
        """What doctor says of each way, by its name."""
        done = self.at("inside", sys.executable, "-c", TRY, str(uid), source, *ways)
        return {name: f"{state}: {detail}" for name, state, detail in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def networks() -> Iterator[Networks]:
    """Built once; each test takes its rules away again."""
    made = Networks()
    with ExitStack() as stack:
        stack.callback(made.take_down)
        made.build()
        server = subprocess.Popen(
            [str(IP), "netns", "exec", made.names["outside"], sys.executable, "-c", SERVER],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.callback(server.wait)
        stack.callback(server.kill)
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
        stack.callback(server.stdout.close)
        yield made


@pytest.fixture
def rules(networks: Networks) -> Iterator[Callable[..., None]]:
    """`rules(place, ...)`: those of this command line, until the test ends."""
    loaded: list[str] = []

    def load(place: str, *arguments: Any) -> None:
        networks.load(place, *map(str, arguments))
        loaded.append(place)

    yield load
    for place in set(loaded):
        networks.at(place, str(NFT), "delete", "table", "inet", "netfw_egress")


ALL = (f"{V4} 80", f"{V4} 443", f"{V6} 443", f"{V4} 8080")


def leaks(tried: dict[str, str]) -> set[str]:
    """The ways that are open."""
    return {name.removeprefix("direct way to ") for name, told in tried.items() if told.startswith("fail: LEAK")}


WEB = {f"{V4} port 80", f"{V4} port 443", f"{V4} port 443 by QUIC", f"{V6} port 443", f"{V6} port 443 by QUIC"}
OTHER = {f"{V4} port 8080"}


def test_a_network_without_rules_leaks(networks):
    """What is proved below is proved by the rules."""
    assert leaks(networks.tried(*ALL)) == WEB | OTHER


def test_a_router_lets_the_proxy_out_alone(networks, rules):
    """By IPv4 and IPv6, TCP and QUIC; the rest of the traffic goes where it went."""
    rules("router", "routed", "--proxy", "10.77.1.5", "--proxy", "fd77:1::5", "--out", "outside")
    tried = networks.tried(*ALL)
    assert leaks(tried) == OTHER
    for name in WEB:
        assert tried[f"direct way to {name}"].startswith("ok: closed"), tried
    assert leaks(networks.tried(f"{V4} 80", f"{V4} 8080", source="10.77.1.5")) == {f"{V4} port 80"} | OTHER
    assert f"{V6} port 443" in leaks(networks.tried(f"{V6} 443", source="10.77.1.5"))


def test_a_router_that_closes_everything(networks, rules):
    """Loading it again replaces what was there."""
    for _ in range(2):
        rules("router", "routed", "--proxy", "10.77.1.5", "--everything")
    assert leaks(networks.tried(*ALL)) == set()
    assert leaks(networks.tried(f"{V4} 80", f"{V4} 8080", source="10.77.1.5")) == {f"{V4} port 80"} | OTHER


def test_a_machine_lets_its_proxys_user_out_alone(networks, rules):
    """Whoever else is there is refused at once, root too; what is inside is reached by everybody."""
    rules("inside", "distributed", "--user", 12345)
    assert leaks(networks.tried(*ALL, uid=12345)) == WEB | OTHER
    for uid in (0, 23456):
        tried = networks.tried(*ALL, uid=uid)
        assert leaks(tried) == OTHER
        for name in WEB:
            assert tried[f"direct way to {name}"].startswith("ok: closed"), tried
    rules("inside", "distributed", "--user", 12345, "--inside", "10.77.0.0/16")
    assert leaks(networks.tried(*ALL, uid=0)) == OTHER | {name for name in WEB if name.startswith("10.")}


def test_doctor_finds_the_way_that_was_left_open(networks, rules):
    """The command itself: status 1 and the way while one is open; a URL is needed to know where to try."""
    url = f"https://{V4}/"
    assert CliRunner().invoke(netfw, ["doctor", "--bypass"]).exit_code == 2
    command = ("doctor", "--proxy", "http://127.0.0.1:9", "--bypass", "--json", "--tool", "curl", url)

    def doctor() -> dict[str, str]:
        # Outside of every namespace the proxy is not there, which is another check's business.
        code = f"from netfw.cli.main import netfw; netfw({list(command)!r})"
        names = networks.names["inside"]
        done = subprocess.run(
            [str(IP), "netns", "exec", names, sys.executable, "-c", code],
            capture_output=True, text=True, cwd=ROOT, timeout=60, check=False, env={"PATH": _PATH},
        )  # fmt: skip
        return {check["name"]: check["state"] for check in json.loads(done.stdout)["checks"]}

    assert doctor()[f"direct way to {V4} port 443"] == "fail"
    rules("router", "routed", "--proxy", "10.77.1.5")
    found = doctor()
    assert found[f"direct way to {V4} port 443"] == found[f"direct way to {V4} port 443 by QUIC"] == "ok"
