"""Sockets that a service manager holds: a restart refuses nobody, and one proxy takes over from another without a loss.

The manager is a small one of the tests' own (`testing.service_starter`) with real processes; where
systemd-socket-activate is installed, systemd's own program starts the proxy once.
"""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ROOT, RUN_TWISTD, configuration, merge, policy
from netfw.testing.service_starter import Service, ServiceStarter
from netfw.testing.wire_client import WireClient

PATIENCE = 60.0
TUNNELS = 20


@pytest.fixture
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceStarter]:
    """A starter in a directory with a short path."""
    with ServiceStarter(tmp_path_factory.mktemp("m")) as started:
        yield started


def settings(manager: ServiceStarter, port: int, workers: int, **more: Any) -> dict[str, Any]:
    """A configuration whose listener and admin socket are the manager's."""
    document = configuration(manager.directory)
    document["listeners"][0]["port"] = port
    changes = {"workers": workers, "guard": {"allow": ["127.0.0.0/8"]}, "timeouts": {"drain": "50s"}, **more}
    return merge(document, changes)


def ask(port: int, origin: HttpOrigin) -> None:
    """One request on a connection of its own; AssertionError or OSError when it fails."""
    with WireClient(port, timeout=PATIENCE) as client:
        where = f"127.0.0.1:{origin.port}"
        client.send(f"GET http://{where}/echo/x HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n".encode())
        assert client.read_response().status == 200


def open_tunnel(port: int, tls_origin: HttpOrigin, certificates: Any) -> WireClient:
    """A tunnel with TLS from end to end, through which a request has gone."""
    client = WireClient(port, timeout=PATIENCE)
    assert client.connect(f"origin.test:{tls_origin.port}").status == 200
    client.start_tls(certificates.origin_ca, "origin.test")
    through(client, tls_origin)
    return client


def through(client: WireClient, tls_origin: HttpOrigin) -> None:
    """The tunnel still carries a request and its response."""
    client.send(f"GET /echo/x HTTP/1.1\r\nHost: origin.test:{tls_origin.port}\r\n\r\n".encode())
    assert client.read_response().status == 200


class Load:
    """Requests without a pause from several threads, until the block ends."""

    def __init__(self, port: int, origin: HttpOrigin, threads: int = 3) -> None:
        self.done = 0
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port, origin)) for _ in range(threads)]

    def _run(self, port: int, origin: HttpOrigin) -> None:
        while not self._over.is_set():
            try:
                ask(port, origin)
                self.done += 1
            except (OSError, AssertionError) as error:
                self.failures.append(repr(error))

    def wait_for(self, more: int) -> None:
        """Until so many more requests have had their answers."""
        wanted = self.done + more
        for _ in range(int(PATIENCE / 0.02)):
            if self.done >= wanted or self.failures:
                return
            self._over.wait(0.02)
        raise AssertionError(f"{self.done} of {wanted}")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.mark.parametrize("workers", [0, 2])
def test_one_proxy_takes_over_from_another_and_nothing_fails(
    manager: ServiceStarter, dns: DnsServer, origin: HttpOrigin, tls_origin: HttpOrigin, certificates: Any, workers: int
) -> None:
    """The new one is ready before the old one is asked to end; requests never stop, tunnels of the old one go on until
    their clients end them, and the admin socket answers throughout.
    """
    port = manager.listen("main", reuse_port=True)
    if workers:
        manager.listen("main", port=port, reuse_port=True)
    config = settings(manager, port, workers, dns={"resolvers": [f"127.0.0.1:{dns.port}"]})
    manager.listen_unix("admin", Path(config["admin"]["socket"]))
    old = manager.start("old", config, policy())
    tunnels = [open_tunnel(port, tls_origin, certificates) for _ in range(TUNNELS)]
    with Load(port, origin) as load:
        load.wait_for(30)
        new = manager.start("new", config, policy())
        load.wait_for(30)
        old.drain()
        old.wait_to_hear("STOPPING", PATIENCE)
        load.wait_for(30)
        for tunnel in tunnels:
            through(tunnel, tls_origin)
        assert old.is_running
        for tunnel in tunnels:
            tunnel.close()
        assert old.process is not None
        assert old.process.wait(PATIENCE) in (0, -signal.SIGTERM)
        load.wait_for(30)
        assert new.status()["pid"] == new.pid
    assert load.failures == []
    assert old.new_trouble() == ""
    new.stop()
    assert Path(config["admin"]["socket"]).exists(), "it is the manager's"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restart_refuses_nobody(manager: ServiceStarter, origin: HttpOrigin, workers: int) -> None:
    """While no proxy runs, connections wait in the sockets that the manager holds, and are served by the next one."""
    port = manager.listen("main")
    config = settings(manager, port, workers)
    with Load(port, origin) as load:
        manager.start("first", config, policy()).stop()
        second = manager.start("second", config, policy())
        load.wait_for(10)
    assert load.failures == []
    second.stop()


def test_the_manager_hears_of_a_reload_and_of_a_policy_that_is_refused(manager: ServiceStarter) -> None:
    """RELOADING and READY come in this order, and the status says why nothing changed; signs of life come too."""
    port = manager.listen("main")
    service = manager.start("one", settings(manager, port, 0), policy(), watchdog=1.5)
    assert service.wait_to_hear("READY", PATIENCE)["STATUS"] == "serving by policy generation 1"
    service.wait_to_hear("WATCHDOG", PATIENCE)
    seen = len(service.heard)
    service.write_policy({"ProxyConfiguration": {"Nonsense": 1}})
    service.reload()
    service.wait_to_hear("RELOADING", PATIENCE, since=seen)
    ready = service.wait_to_hear("READY", PATIENCE, since=seen)
    assert ready["STATUS"].startswith("serving by policy generation 1; the new policy is refused: ")
    service.stop()


def test_a_socket_that_no_listener_has_is_told_and_nothing_starts(manager: ServiceStarter) -> None:
    """A proxy that ignored it would leave clients waiting."""
    port = manager.listen("main")
    config = settings(manager, port, 0)
    config["listeners"][0]["port"] = port - 1
    with pytest.raises(RuntimeError, match=rf"no READY(?s:.*)127\.0\.0\.1:{port}.*no listener's"):
        manager.start("refused", config, policy())


def test_systemds_own_program_starts_the_proxy(
    tmp_path: Path, origin: HttpOrigin, program: Callable[[str], str]
) -> None:
    """systemd-socket-activate binds, waits for the first connection and becomes the proxy, which answers it."""
    activate = program("systemd-socket-activate")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = configuration(tmp_path)
    config["listeners"][0]["port"] = port
    service = Service(tmp_path / "s", config, policy(), ServiceStarter(tmp_path), 0.0)
    shutil.copy(service.policy_path, tmp_path / "policy.yaml")
    service.launch(
        [activate, "-l", f"127.0.0.1:{port}", "--fdname=main", "-E", f"PYTHONPATH={ROOT}",
         sys.executable, "-c", RUN_TWISTD, *service.command[1:]]
    )  # fmt: skip
    try:
        for _ in range(500):
            if "Listening on" in service.log:
                break
            threading.Event().wait(0.02)
        ask(port, origin)
        service.stop()
    finally:
        service.kill()
        service.notifications.close()
