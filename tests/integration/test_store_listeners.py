"""Ports that the API opens and closes in the running proxy, within what proxy.yaml permits, and what its state says."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.postgresql import PostgresServer, programs
from netfw.testing.stores import following, wait_until
from tests.integration.test_control_files import UnixConnection, call

NAME = "netfw-test"
DEFAULTS = dict.fromkeys(("PreDNS", "PreREQUEST", "PostRESPONSE"), "ALLOW")
WHO = {"ProxyName": NAME, "NatGatewayId": "nat-1"}


def free_ports(count: int) -> list[int]:
    """Ports that nobody has just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def http_listener(port: int) -> dict[str, Any]:
    """As the API writes it."""
    return {"Port": port, "Type": "HTTP"}


class Place:
    """A proxy over a store, with a fixed listener, and one whose ports the store chooses from `ports`."""

    def __init__(self, directory: Path, url: str, resolver_port: int, workers: int) -> None:
        self.ports = free_ports(3)
        self.proxy = following(
            directory, url, resolver_port=resolver_port, workers=workers, control={"rate": 0}, timeouts={"drain": "60s"}
        )
        plain = self.proxy.config["listeners"][0]
        self.proxy.config["listeners"].append(
            {**plain, "name": "chosen", "port": self.ports[0], "from_store": list(self.ports)}
        )
        self.proxy.config_path.write_text(json.dumps(self.proxy.config))

    def ask(self, operation: str, **given: Any) -> dict[str, Any]:
        """Call the API."""
        return call(UnixConnection(Path(self.proxy.config["admin"]["socket"])), operation, given)[1]

    def described(self) -> dict[str, Any]:
        """The proxy."""
        return self.ask("DescribeProxy", ProxyName=NAME)["Proxy"]

    def in_turn(self) -> list[int]:
        """The chosen ports, the one that is open first."""
        (now,) = {one["Port"] for one in self.described()["ListenerProperties"]} & set(self.ports)
        return [now, *(port for port in self.ports if port != now)]

    def move(self, old: int, new: int) -> None:
        """Ask for another port instead of one."""
        # One that has just started has not reported yet.
        wait_until(lambda: self.state()[0] == "ATTACHED")
        token = self.ask("DescribeProxy", ProxyName=NAME)["UpdateToken"]
        answer = self.ask(
            "UpdateProxy",
            **WHO,
            ListenerPropertiesToRemove=[http_listener(old)],
            ListenerPropertiesToAdd=[http_listener(new)],
            UpdateToken=token,
        )
        assert (answer["Proxy"]["ProxyState"], answer["Proxy"]["ProxyModifyState"]) == ("ATTACHED", "MODIFYING")

    def accepts(self, port: int) -> bool:
        """Whether a client gets in there, and an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except ConnectionError:
            return False
        finally:
            connection.close()

    def state(self) -> tuple[str, str | None]:
        """As the API tells it."""
        found = self.described()
        return found["ProxyState"], found.get("ProxyModifyState")


@pytest.fixture(scope="module", params=["sqlite, one process", "postgresql, two workers"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, dns: DnsServer) -> Iterator[Place]:
    """On each engine, and with both kinds of processes; one for all tests, each of which takes it as it is."""
    server, tmp_path = None, tmp_path_factory.mktemp("l")
    if request.param.startswith("sqlite"):
        made = Place(tmp_path / "p", f"sqlite:///{tmp_path / 'policy.sqlite'}", dns.port, 0)
    else:
        if programs() is None:
            pytest.skip("PostgreSQL is not installed")
        server = PostgresServer()
        made = Place(tmp_path / "p", server.fresh_database(f"t{uuid4().hex[:12]}"), dns.port, 2)
    with made.proxy:
        made.ask("CreateProxyConfiguration", ProxyConfigurationName="main", DefaultRulePhaseActions=DEFAULTS)
        made.ask("CreateProxy", **WHO, ProxyConfigurationName="main", TlsInterceptProperties={})
        wait_until(lambda: made.state() == ("ATTACHED", "COMPLETED"))
        yield made
    if server is not None:
        server.remove()


@pytest.mark.timeout(300)
def test_a_listener_moves_while_clients_are_served(place: Place, origin: HttpOrigin) -> None:
    """The new port is open, the old one lets go: idle connections end, a request under way is answered."""
    first, second, third = place.in_turn()
    fixed = place.proxy.port()
    assert place.described()["ListenerProperties"] == [http_listener(fixed), http_listener(first)]
    idle = http.client.HTTPConnection("127.0.0.1", first, timeout=60)
    busy = http.client.HTTPConnection("127.0.0.1", first, timeout=60)
    elsewhere = http.client.HTTPConnection("127.0.0.1", fixed, timeout=60)
    for connection in (idle, elsewhere):
        connection.request("GET", f"http://origin.test:{origin.port}/bytes/1")
        connection.getresponse().read()
    gate = f"g{uuid4().hex}"
    busy.request("GET", f"http://origin.test:{origin.port}/slow?gate={gate}")
    wait_until(lambda: any(gate in request.target for request in origin.requests))
    place.move(first, second)
    wait_until(lambda: place.accepts(second))
    wait_until(lambda: not place.accepts(first))
    wait_until(lambda: place.state() == ("ATTACHED", "COMPLETED"))
    assert place.described()["ListenerProperties"] == [http_listener(fixed), http_listener(second)]
    assert idle.sock is not None and idle.sock.recv(1) == b""
    origin.gate(gate).set()
    assert busy.getresponse().status == 200
    elsewhere.request("GET", f"http://origin.test:{origin.port}/bytes/1")
    assert elsewhere.getresponse().status == 200
    ports = {row["port"] for row in place.proxy.status()["listeners"]}
    assert ports == {fixed, second}
    for connection in (idle, busy, elsewhere):
        connection.close()
    answer = place.ask(
        "UpdateProxy",
        **WHO,
        ListenerPropertiesToAdd=[http_listener(9)],
        UpdateToken=place.ask("DescribeProxy", ProxyName=NAME)["UpdateToken"],
    )
    assert answer["__type"] == "UnsupportedOperationException"
    assert "9 HTTP is not permitted by proxy.yaml" in answer["Message"]
    assert place.accepts(second) and not place.accepts(third)


@pytest.mark.timeout(300)
def test_a_port_that_is_taken_is_told_and_had_when_it_is_free(place: Place) -> None:
    """Nothing is closed until then; a start that cannot have it serves by the other listeners, and says so too."""
    first, second, _ = place.in_turn()
    with socket.create_server(("127.0.0.1", second)):
        place.move(first, second)
        wait_until(lambda: place.state() == ("ATTACHED", "FAILED"))
        told = place.described()
        assert told["FailureCode"] == "NODE_CANNOT"
        assert f"{second} HTTP cannot be opened: Address already in use" in told["FailureMessage"]
        assert f"{first} HTTP stays open until then" in told["FailureMessage"]
        assert place.accepts(first)
        # It is restarted meanwhile: its listener has no port at all, the fixed one serves.
        place.proxy.stop()
        place.proxy.start()
        assert place.accepts(place.proxy.port()) and not place.accepts(first)
        wait_until(lambda: place.state() == ("ATTACHED", "FAILED"))
        assert str(second) in place.proxy.status()["policy_source"]["unmet"][0]
    wait_until(lambda: place.state() == ("ATTACHED", "COMPLETED"))
    assert place.accepts(second)
    assert "unmet" not in place.proxy.status()["policy_source"]


@pytest.mark.timeout(300)
def test_a_start_has_the_ports_that_were_asked_for_last(place: Place) -> None:
    """With the store and without it; a worker that is replaced has them too."""
    first, second, third = place.in_turn()
    place.move(first, second)
    wait_until(lambda: place.accepts(second) and not place.accepts(first))
    place.proxy.stop()
    place.proxy.start()
    assert place.accepts(second) and not place.accepts(first)
    url = place.proxy.config["policy"]["store"]
    if url.startswith("sqlite"):
        wait_until(lambda: place.state() == ("ATTACHED", "COMPLETED"))
        place.proxy.stop()
        file = Path(url.removeprefix("sqlite:///"))
        away = file.with_name("away")
        file.rename(away)
        for rest in file.parent.glob("policy.sqlite-*"):
            rest.unlink()
        file.mkdir()
        place.proxy.start()
        assert place.accepts(second) and not place.accepts(first)
        file.rmdir()
        shutil.copyfile(away, file)
        wait_until(lambda: place.state() == ("ATTACHED", "COMPLETED"))
        return
    place.move(second, third)
    wait_until(lambda: place.accepts(third) and not place.accepts(second))
    workers = {row["pid"] for row in place.proxy.status()["workers"]}

    os.kill(place.proxy.pid, signal.SIGUSR2)
    wait_until(lambda: not workers & {row["pid"] for row in place.proxy.status()["workers"]})
    assert place.accepts(third) and not place.accepts(second)
