"""The proxy's own ports, asked for through itself by every name and address of this machine, and loops.

The guard is opened for everything: what keeps these closed is that they are the proxy's own. The other destinations are
in `test_destinations`.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.proxy_process import ProxyProcess, policy
from netfw.testing.record_tail import RecordTail
from netfw.testing.scripted_origin import ScriptedOrigin
from netfw.testing.wire_client import WireClient

EVERYTHING = {"allow": ["0.0.0.0/0", "::/0"]}
SPELLINGS = [
    "127.0.0.1", "127.0.0.1.", "localhost", "LOCALHOST", "origin.test", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "0.0.0.0", "[::]", "[::ffff:0.0.0.0]", "mapped.test", "own.test", "unspecified.test",
    "[64:ff9b::127.0.0.1]", "[::127.0.0.1]",
]  # fmt: skip
REFUSED = (400, 403)


def free_port() -> int:
    """One that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def admin_port() -> int:
    """Where the admin surface listens."""
    return free_port()


@pytest.fixture(scope="module")
def open_proxy(proxy_maker: Any, admin_port: int, dns: DnsServer) -> Iterator[ProxyProcess]:
    """Nothing is guarded; the admin surface has a port, and one of the listeners every address of this machine."""
    dns.answers.zone["own.test"] = {"A": ["127.0.0.1"], "AAAA": ["::1"]}
    dns.answers.zone["unspecified.test"] = {"A": ["0.0.0.0"], "AAAA": ["::"]}
    listeners = [
        {"name": "plain", "address": "127.0.0.1", "port": 0},
        {"name": "everywhere", "address": "0.0.0.0", "port": 0, "clients": ["127.0.0.0/8"]},
    ]
    admin = {"address": "127.0.0.1", "port": admin_port}
    with proxy_maker("own-surface", policy(), guard=EVERYTHING, admin=admin, listeners=listeners) as proxy:
        yield proxy


def ports(proxy: ProxyProcess, admin_port: int) -> dict[str, int]:
    """Everything that the proxy listens on."""
    return {"admin": admin_port, "plain": proxy.port(), "everywhere": proxy.port("everywhere")}


@pytest.mark.parametrize("method", ["GET", "POST", "CONNECT"])
@pytest.mark.parametrize("host", SPELLINGS)
def test_by_every_spelling(host: str, method: str, open_proxy: ProxyProcess, admin_port: int) -> None:
    """Neither read nor tunnelled to: it is refused, or answered by the listener's own pages, which say nothing."""
    for name, port in ports(open_proxy, admin_port).items():
        before = open_proxy.status()
        with WireClient(open_proxy.port()) as client:
            target = f"{host}:{port}" if method == "CONNECT" else f"http://{host}:{port}/reload"
            client.send(f"{method} {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            answer = client.read_response(method)
        # The unspecified address is the one spelling by which nothing but the kernel knows this machine.
        assert answer.status in (*REFUSED, 404, 405, 502), (name, answer.status)
        assert b"generation" not in answer.body
        if answer.status in (404, 405):
            assert method != "CONNECT"
            assert name != "admin"
        assert open_proxy.status().get("last_reload") == before.get("last_reload")


def test_by_every_address_of_this_machine(open_proxy: ProxyProcess, admin_port: int) -> None:
    """A listener on every address is reached by none of them."""
    addresses = {"127.0.0.1", "127.9.8.7"}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: only the source address is chosen
            addresses.add(probe.getsockname()[0])
        except OSError:
            pass
    for address in addresses:
        with WireClient(open_proxy.port()) as client:
            answer = client.connect(f"{address}:{open_proxy.port('everywhere')}")
            assert answer.status == 403, address
            assert b"this proxy itself" in answer.body


def test_another_port_of_this_machine_is_open(open_proxy: ProxyProcess) -> None:
    """The guard is open indeed."""
    with ScriptedOrigin() as origin, WireClient(open_proxy.port()) as client:
        assert client.connect(f"localhost:{origin.port}").status == 200


def test_a_loop_is_ended_by_via(open_proxy: ProxyProcess, passing: ProxyProcess) -> None:
    """A request that has been here is 508, in whatever case Via is written and among however many others."""
    tail = RecordTail(open_proxy)
    for via in ("1.1 netfw-test", "HTTP/1.1 NETFW-TEST", "1.0 a, 1.1 netfw-test (x), 1.1 b"):
        with WireClient(open_proxy.port()) as client:
            answer = client.ask("GET", f"http://origin.test:{passing.port()}/", "x", f"Via: {via}")
            assert answer.status == 508, via
    assert [record["error"]["token"] for record in tail.take(3)] == ["proxy_loop_detected"] * 3


def test_two_proxies_that_send_to_one_another(open_proxy: ProxyProcess, passing: ProxyProcess) -> None:
    """Each of them is an origin to the other: what goes round ends at the second pass."""
    tail = RecordTail(passing)
    with WireClient(open_proxy.port()) as client:
        target = f"http://origin.test:{passing.port()}/"
        answer = client.ask("GET", target, f"origin.test:{passing.port()}", "Connection: close")
    # To the other proxy it is a request for itself: a page of its own, by its Host, and nothing further.
    assert answer.status in (200, 404, 508)
    assert len(tail.take(1)) == 1
