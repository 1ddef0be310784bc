"""Chains of real proxies: this one above and below Debian's Squid, over real sockets, and parents that die and return.

Two of ours and three Squids serve the whole module. `outer` has a listener for each chain:

* plain:  outer (opens TLS to origin.test) -> squid `middle` -> inner -> origin, by name
* second: squid `top` -> outer -> squid `bottom` (which wants a password) -> origin, by address
* secure: outer -> inner's TLS listener, which wants a certificate -> origin, by name
* pair:   outer -> `middle` or, where that is down, `bottom`
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from netfw.testing.pki import CLIENT_AUTH, TestAuthority
from netfw.testing.proxy_process import WORKERS, ProxyProcess
from netfw.testing.squid import Squid, free_port, squid_program
from netfw.testing.wire_client import ConnectRefused, RoutedClient

NAMES = ("origin.test", "other.test", "denied.test")
HELPER = Path("/usr/lib/squid/basic_ncsa_auth")
pytestmark = pytest.mark.skipif(squid_program() is None or not HELPER.exists(), reason="program missing: squid")


@dataclass
class World:
    """All of them, running."""

    outer: ProxyProcess
    inner: ProxyProcess
    top: Squid
    middle: Squid
    bottom: Squid


@pytest.fixture(scope="module")
def world(proxy_maker, certificates) -> Iterator[World]:
    """Each is started once the one that it asks is there."""
    place = Path(tempfile.mkdtemp(prefix="squids-"))
    place.chmod(0o711)  # Squid is another user
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        more = {"type": "HTTP", "address": "127.0.0.1", "port": 0, "clients": ["127.0.0.0/8"]}
        middle_port = free_port()
        inner = proxy_maker("inner", proxy={"name": "inner"})
        inner.config["listeners"].append({**more, "name": "loop"})
        inner.config["upstream"] |= {
            "proxies": [{"name": "middle", "url": f"http://127.0.0.1:{middle_port}"}],
            "routes": [{"listeners": "loop", "proxies": "middle", "by": "name"}, {"direct": True}],
            "health": {"interval": 0},
        }
        clients = TestAuthority(common_name="Proxies' test CA")
        shown, key = clients.issue(common_name="outer", purpose=CLIENT_AUTH)
        (place / "proxies.pem").write_bytes(clients.certificate_pem)
        for listener in inner.config["listeners"]:
            if listener["name"] == "tls":
                listener["client_ca"] = str(place / "proxies.pem")
        rewrite(inner)
        stack.enter_context(inner)
        middle = stack.enter_context(Squid(place / "middle", hosts=NAMES, port=middle_port, parent_port=inner.port()))
        secret = "na:me"
        hashed = subprocess.run(
            ["openssl", "passwd", "-apr1", secret], capture_output=True, text=True, check=True
        ).stdout.strip()
        (place / "passwords").write_text(f"outer:{hashed}\n")
        bottom = stack.enter_context(
            Squid(
                place / "bottom",
                hosts=NAMES,
                settings=(
                    f"auth_param basic program {HELPER} {place}/passwords",
                    "auth_param basic children 2 startup=1",
                    "acl known proxy_auth REQUIRED",
                    "http_access deny !known",
                ),
            )
        )
        outer = proxy_maker("outer", intercept=True, proxy={"name": "outer"}, tls_intercept={"only": ["origin.test"]})
        (outer.directory / "bottom.secret").write_text(f"outer:{secret}\n")
        (outer.directory / "bottom.secret").chmod(0o600)
        for name, content in (("shown.pem", shown), ("shown.key", key)):
            (outer.directory / name).write_bytes(content)
            (outer.directory / name).chmod(0o600)
        for name in ("second", "secure", "pair"):
            outer.config["listeners"].append({**more, "name": name})
        outer.config["upstream"] |= {
            "proxies": [
                {"name": "middle", "url": f"http://127.0.0.1:{middle.port}"},
                {"name": "bottom", "url": f"http://127.0.0.1:{bottom.port}", "credentials": "bottom.secret"},
                {
                    "name": "sealed",
                    "url": f"https://127.0.0.1:{inner.port('tls')}",
                    "trust": str(certificates.listener_ca),
                    "certificate": "shown.pem",
                    "private_key": "shown.key",
                },
            ],
            "routes": [
                {"listeners": "second", "proxies": "bottom", "by": "address"},
                {"listeners": "secure", "proxies": "sealed", "by": "name"},
                {"listeners": "pair", "proxies": ["middle", "bottom"], "by": "name"},
                {"proxies": "middle", "by": "name"},
            ],
            "health": {"interval": "300ms", "timeout": "5s", "fall": 2, "rise": 1},
        }
        rewrite(outer)
        stack.enter_context(outer)
        top = stack.enter_context(Squid(place / "top", hosts=NAMES, parent_port=outer.port("second")))
        yield World(outer, inner, top, middle, bottom)


def rewrite(proxy: ProxyProcess) -> None:
    """Write its configuration again, before it is started."""
    proxy.config_path.write_text(json.dumps(proxy.config))  # which is YAML without anchors


CHAINS = ("plain", "second", "secure")


def entrance(world: World, chain: str) -> int:
    """The port that a client of this chain is told."""
    return world.top.port if chain == "second" else world.outer.port(chain)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_plain_request_goes_down_the_chain(world, origin, chain):
    """And every proxy of it is in the origin's Via."""
    path = f"/echo/{chain}"
    with RoutedClient(entrance(world, chain), "absolute", "origin.test", origin.port) as client:
        assert client.fetch(path).status == 200
    (seen,) = origin.seen(path)
    via = ", ".join(value for name, value in seen.fields if name == "Via")
    expected = {"plain": ["outer", "middle", "inner"], "second": ["top", "outer"], "secure": ["outer", "inner"]}
    for name in expected[chain]:
        assert name in via, via
    assert seen.single("Host") == f"origin.test:{origin.port}"
    assert seen.single("Proxy-Authorization") is None
    record = world.outer.wait_for_record(lambda record: record.get("url", {}).get("path") == path)
    by = "address" if chain == "second" else "name"
    names = {"plain": "middle", "second": "bottom", "secure": "sealed"}
    assert record["route"] == {"proxy": names[chain], "by": by}
    assert record.get("dest_ip") == ("127.0.0.1" if chain == "second" else None)
    if chain == "secure":
        below = world.inner.wait_for_record(lambda record: record.get("url", {}).get("path") == path)
        assert below["client_identity"] == "outer"


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("host", ["origin.test", "other.test"])
def test_tls_goes_down_the_chain(world, certificates, tls_origin, chain, host):
    """Opened by the outer one for origin.test, which then verifies the origin through both others; else untouched."""
    is_opened = host == "origin.test"
    trust = certificates.intercept[0] if is_opened else certificates.origin_ca
    path = f"/echo/{chain}-{host}"
    for number in range(2):
        with RoutedClient(entrance(world, chain), "tls", host, tls_origin.port, trust=trust) as client:
            assert client.fetch(f"{path}/{number}").status == 200
    assert len(tls_origin.seen(path)) == 2
    kind = "exchange" if is_opened else "tunnel"
    record = world.outer.wait_for_records(
        lambda record: record.get("kind") == kind and record.get("dest_domain") == f"{host}."
        and record.get("listener") == chain and (record.get("url", {}).get("scheme") == "https" or not is_opened)
    )[0]  # fmt: skip
    assert record["tls"]["intercepted"] is is_opened
    if is_opened:
        assert "origin.test" in record["tls"]["origin_certificate"]["names"]


@pytest.mark.parametrize("chain", ["plain", "secure"])
def test_a_large_body_arrives_whole_through_the_chain(world, certificates, tls_origin, chain):
    """Passed through by the kernel where the parent is spoken to in plain, sealed twice where over TLS; opened too."""
    size = 3_000_000
    got = 0

    def count(data: bytes) -> None:
        nonlocal got
        got += len(data)

    for host, trust in (("origin.test", certificates.intercept[0]), ("other.test", certificates.origin_ca)):
        got = 0
        with RoutedClient(world.outer.port(chain), "tls", host, tls_origin.port, trust=trust) as client:
            assert client.fetch(f"/bytes/{size}", sink=count).status == 200
        assert got == size


def test_no_password_is_seen_below_or_written_above(world, origin):
    """`bottom` wants one, and says so in its own log by the name alone."""
    with RoutedClient(world.top.port, "absolute", "origin.test", origin.port) as client:
        assert client.fetch("/echo/password").status == 200
    assert " outer " in world.bottom.accesses()
    written = world.outer.log + world.outer.records_path.read_text()
    assert "na:me" not in written and "Basic " not in written


def test_a_real_loop_is_found(world, origin):
    """inner -> middle -> inner: the second time it sees its own name in Via, whatever squid made of the request."""
    with RoutedClient(world.inner.port("loop"), "absolute", "origin.test", origin.port) as client:
        assert client.fetch("/echo/loop").status == 508
    with pytest.raises(ConnectRefused) as refused:
        RoutedClient(world.inner.port("loop"), "tunnel", "origin.test", origin.port)
    assert refused.value.response.status == 502
    assert origin.seen("/echo/loop") == []
    world.inner.wait_for_records(lambda record: record.get("error", {}).get("token") == "proxy_loop_detected", count=2)


class Load:
    """Clients that ask one after the other until they are stopped; what each heard, in order."""

    def __init__(self, port: int, host: str, origin_port: int, clients: int = 4) -> None:
        self.port, self.host, self.origin_port = port, host, origin_port
        self.heard: list[int | str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                with RoutedClient(self.port, "absolute", self.host, self.origin_port) as client:
                    self.heard.append(client.fetch("/echo/load").status)
            except (OSError, AssertionError) as problem:
                self.heard.append(repr(problem))

    def after(self, count: int) -> list[int | str]:
        """What the next `count` answers are."""
        begin = len(self.heard)
        deadline = time.monotonic() + 60
        while len(self.heard) < begin + count:
            assert time.monotonic() < deadline, self.heard[-20:]
            time.sleep(0.01)
        return self.heard[begin : begin + count]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def state(world: World) -> dict[str, str]:
    """How the outer one finds its parents."""
    return {row["name"]: row["state"] for row in world.outer.status()["parents"]}


def test_parents_die_under_load_and_come_back(world, origin):
    """One down: the other serves. Both down: 503, and nothing goes straight. Back again: served as before."""
    clients = 4
    with Load(world.outer.port("pair"), "origin.test", origin.port, clients) as load:
        assert load.after(8) == [200] * 8
        world.middle.kill()
        try:
            # What was under way on it is lost, and is said to be: nothing is asked twice that may have been done.
            world.outer.wait_until(lambda: state(world)["middle"] == "down", timeout=60)
            load.after(clients)
            assert load.after(8) == [200] * 8
            world.bottom.kill()
            try:
                world.outer.wait_until(lambda: state(world)["bottom"] == "down", timeout=60)
                load.after(clients)
                seen = len(origin.seen("/echo/load"))
                assert load.after(8) == [503] * 8
                assert len(origin.seen("/echo/load")) == seen
            finally:
                world.bottom.start()
            world.outer.wait_until(lambda: state(world)["bottom"] == "up", timeout=60)
            load.after(clients)
            assert load.after(8) == [200] * 8
        finally:
            world.middle.start()
        world.outer.wait_until(lambda: state(world)["middle"] == "up", timeout=60)
        load.after(clients)
        assert load.after(8) == [200] * 8
    lost = [answer for answer in load.heard if answer not in (200, 503)]
    # An answer that had begun is cut, and never ended as if it were whole.
    assert {answer for answer in lost if isinstance(answer, int)} <= {502, 504}, lost
    # Of each death what was under way; and where none is left, what each process needs to find out (`fall`).
    assert len(lost) <= 2 * clients + max(1, WORKERS) * (2 + clients), lost
    (last, *_) = world.outer.records()[-1:]
    assert last["route"]["proxy"] == "middle"
    code, metrics = world.outer.admin("/metrics")
    text = metrics.decode()
    assert code == 200 and 'netfw_parent_up{parent="middle"}' in text
    assert 'netfw_parent_connections_total{parent="middle",result="connection_refused"}' in text
    denied = world.outer.wait_for_records(lambda record: record.get("http_status_code") == 503)[0]
    assert denied["error"]["token"] == "destination_unavailable"
    assert [tried.split(":")[0] for tried in denied["route"]["tried"]] == ["middle", "bottom"]


def test_a_new_password_is_taken_over_by_a_reload(world, origin):
    """Former connections are not used with it, and a wrong one is the parent's refusal, not the client's."""
    secret = world.outer.directory / "bottom.secret"
    former = secret.read_text()
    try:
        for text, status in (("outer:wrong\n", 502), (former, 200)):
            secret.write_text(text)
            code, _ = world.outer.admin("/reload", "POST", timeout=30)
            assert code == 200

            def answers(status: int = status) -> bool:
                with RoutedClient(world.outer.port("second"), "absolute", "origin.test", origin.port) as client:
                    return client.fetch("/echo/reload").status == status

            world.outer.wait_until(answers, timeout=30)  # workers take it over one after the other
    finally:
        secret.write_text(former)
    refused = world.outer.wait_for_records(
        lambda record: record.get("error", {}).get("token") == "proxy_configuration_error"
    )
    assert refused[0]["error"]["fault"] == "parent"
