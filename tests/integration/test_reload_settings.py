"""Reloading everything under load: configuration and policy, in one process and in workers; and stopping under load.

Large policies are in `test_reload_large`, what settings can be taken over at all in tests/config/test_config_changes.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess, domain_rule, merge, policy
from netfw.testing.scripted_origin import OriginConnection, ScriptedOrigin
from netfw.testing.wire_client import RoutedClient, WireClient


def write(proxy: ProxyProcess, /, **sections: Any) -> None:
    """The configuration file with these sections laid over what it was started with."""
    proxy.config_path.write_text(yaml.safe_dump(merge(proxy.config, sections), sort_keys=False))


def reload(proxy: ProxyProcess) -> tuple[int, dict[str, Any]]:
    """`netfw reload --json`: status and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "netfw.cli.main", "reload", "--json", "--config", str(proxy.config_path)],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def status_of(proxy: ProxyProcess, origin: HttpOrigin, *more: str, host: str = "origin.test") -> int:
    """The answer to one request."""
    with WireClient(proxy.port()) as client:
        return client.ask("GET", f"http://{host}:{origin.port}/echo", "x", "Connection: close", *more).status


@pytest.mark.parametrize("workers", [0, 2])
def test_settings_are_taken_over(workers: int, make_proxy: Any, origin: HttpOrigin) -> None:
    """Limits, guard, deny and clients of the next connection; what waits for a restart is named; a kept connection
    goes on."""
    proxy = make_proxy(policy(), workers=workers)
    with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as kept:
        assert kept.fetch("/echo").status == 200
        write(
            proxy,
            limits={"head_size": 1024},
            deny={"help_url": "https://help.example/{id}"},
            guard={"allow": ["10.0.0.0/8"]},
            proxy={"name": "renamed"},
        )
        code, said = reload(proxy)
        assert code == 0, said
        assert set(said["settings_taken"]) == {"limits.head_size", "deny.help_url", "guard.allow"}
        assert said["settings_waiting_for_restart"] == ["proxy.name"]

        def is_taken() -> bool:
            with WireClient(proxy.port()) as client:
                answer = client.ask("GET", f"http://origin.test:{origin.port}/", "x", "Connection: close")
            return answer.status == 403 and b"https://help.example/" in answer.body

        # A worker is told, and does not say when it has.
        proxy.wait_until(is_taken)
        assert status_of(proxy, origin, f"X: {'y' * 1024}") == 431
        assert kept.fetch("/echo").status == 403
        write(proxy)
        assert reload(proxy)[0] == 0
        proxy.wait_until(lambda: status_of(proxy, origin) == 200)
        assert kept.fetch("/echo").status == 200


def test_clients_and_the_policys_place(make_proxy: Any, origin: HttpOrigin, tmp_path: Path) -> None:
    """Who may come in, and another file of rules."""
    proxy = make_proxy(policy())
    rules = tmp_path / "other.yaml"
    rules.write_text(yaml.safe_dump(policy(groups={"g": {"PreDNS": [domain_rule("no", "DENY", "origin.test")]}})))
    listeners = [dict(entry, clients=["127.0.0.7/32"]) for entry in proxy.config["listeners"]]
    write(proxy, listeners=listeners, policy={"file": str(rules)})
    code, said = reload(proxy)
    assert code == 0, said
    assert {"policy.file", "listeners[plain].clients"} <= set(said["settings_taken"])
    with WireClient(proxy.port()) as stranger:
        assert stranger.ends() in ("end", "reset")
    with WireClient(proxy.port(), source="127.0.0.7") as client:
        assert client.ask("GET", f"http://origin.test:{origin.port}/echo", "x").status == 403


def test_a_renewed_certificate(make_proxy: Any, certificates: Any) -> None:
    """The same files with another certificate in them: shown to the next client."""
    proxy = make_proxy(policy())

    def shown() -> str:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port('tls')}"],
            input="", capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return done.stdout.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]

    first = shown()
    assert first
    files = [Path(proxy.config["listeners"][1][name]) for name in ("certificate", "private_key")]
    before = [file.read_bytes() for file in files]
    renewed = certificates.issue(certificates.origins, "renewed", "proxy.test")
    try:
        for file, new in zip(files, renewed, strict=True):
            file.write_bytes(new.read_bytes())
        assert reload(proxy)[0] == 0
        second = shown()
        assert second
        assert second != first
        files[1].write_bytes(b"nothing")
        code, said = reload(proxy)
        assert code == 1
        assert "no PEM private key" in said["problems"][0]
        assert shown() == second
    finally:
        for file, content in zip(files, before, strict=True):
            file.write_bytes(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("limits: {head_size: 1}\n", "out of bounds"),
        ("listeners: 5\n", "listeners"),
        ("\t{", "proxy.yaml"),
        ("limitz: {}\n", "did you mean limits?"),
    ],
)
def test_a_broken_configuration_changes_nothing(content: str, said: str, make_proxy: Any, origin: HttpOrigin) -> None:
    """Neither settings nor rules: what is wrong is told, and the old ones stay."""
    proxy = make_proxy(policy())
    proxy.write_policy(policy(pre_dns="DENY"))
    proxy.config_path.write_text(proxy.config_path.read_text() + content)
    os.kill(proxy.pid, signal.SIGHUP)
    proxy.wait_until(lambda: "last_reload" in proxy.status())
    result = proxy.status()["last_reload"]
    assert result["ok"] is False
    assert said in " ".join(result["problems"]), result
    assert status_of(proxy, origin) == 200
    write(proxy)
    code, _ = reload(proxy)
    assert code == 0
    assert status_of(proxy, origin) == 403


class Load:
    """Requests without a pause in threads, new and kept connections; every failure is remembered."""

    def __init__(self, *loops: Callable[[], None]) -> None:
        self.failures: list[str] = []
        self.count = 0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(loop,), daemon=True) for loop in loops]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _run(self, loop: Callable[[], None]) -> None:
        while not self._over.is_set():
            try:
                loop()
                self.count += 1
            except Exception as error:  # whatever it is, the test shall say so
                self.failures.append(repr(error))
                return


RELOADS = [pytest.param(8, id="8"), pytest.param(100, id="100", marks=[pytest.mark.soak, pytest.mark.timeout(900)])]


@pytest.mark.parametrize("reloads", RELOADS)
@pytest.mark.parametrize("workers", [0, 2])
def test_reloads_under_load(
    workers: int, reloads: int, make_proxy: Any, origin: HttpOrigin, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """Settings and rules change each time, and no request fails."""
    many = {"requests_per_connection": 1_000_000}
    proxy = make_proxy(policy(), intercept=True, workers=workers, limits=many)
    ca = certificates.intercept[0]
    with (
        RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as plain,
        RoutedClient(proxy.port(), "tls", "origin.test", tls_origin.port, trust=ca) as secure,
    ):

        def kept(client: RoutedClient) -> None:
            response = client.fetch("/bytes/3000")
            assert (response.status, len(response.body)) == (200, 3000), response.head

        def anew() -> None:
            with RoutedClient(proxy.port(), "absolute", "origin.test", origin.port) as client:
                kept(client)

        with Load(lambda: kept(plain), lambda: kept(secure), anew) as load:
            for number in range(reloads):
                rules = policy(groups={"g": {"PreDNS": [domain_rule("no", "DENY", f"n{number}.test")]}})
                proxy.write_policy(rules)
                write(proxy, limits={**many, "head_size": 8192 + number}, timeouts={"connect": f"{5 + number}s"})
                generation = proxy.status()["generation"]
                proxy.reload()
                proxy.wait_until(lambda before=generation: proxy.status()["generation"] > before, timeout=60)
                assert load.failures == []
            assert proxy.status()["last_reload"]["ok"]
        assert load.failures == []
        assert load.count > 3 * reloads


@pytest.mark.parametrize("workers", [0, 2])
def test_stopping_under_load_loses_nothing(workers: int, make_proxy: Any) -> None:
    """Whoever has connected when SIGTERM comes is answered, whole: new and kept ones, uploads, slow answers."""

    def script(connection: OriginConnection) -> None:
        while head := connection.read_head():
            if b"Content-Length: 4" in head:
                connection.read_exactly(4)
            if b"/slow" in head:
                time.sleep(0.3)
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole")

    proxy = make_proxy(policy(), workers=workers, timeouts={"drain": "20s"})
    stopping = threading.Event()
    lost: list[str] = []
    answered = [0]

    def client(path: str, *, keep: bool, body: bool = False) -> None:
        while True:
            try:
                connection = WireClient(proxy.port())
            except OSError:
                return  # it does not listen any more: nobody was let in
            with connection:
                free_since = time.monotonic()
                while True:
                    method, length = ("POST", "Content-Length: 4\r\n") if body else ("GET", "")
                    head = f"{method} http://origin.test:{origin.port}{path} HTTP/1.1\r\nHost: x\r\n{length}"
                    head += "" if keep else "Connection: close\r\n"
                    paused = time.monotonic() - free_since
                    try:
                        connection.send((head + "\r\n").encode() + (b"body" if body else b""))
                        paused = time.monotonic() - free_since
                        response = connection.read_response(method)
                    except (OSError, AssertionError) as error:
                        # A kept one that a busy machine left idle may be closed before its request is there.
                        if paused < 0.1:
                            lost.append(f"{path} keep={keep} body={body}: {error!r}")
                        return
                    free_since = time.monotonic()
                    if (response.status, response.body) != (200, b"whole"):
                        lost.append(f"{response.status} {response.body!r}")
                        return
                    answered[0] += 1
                    if "close" in (response.single("Connection") or ""):
                        break
            if stopping.is_set():
                return

    with ScriptedOrigin(script) as origin:
        kinds = [("/", True, False), ("/slow", False, False), ("/", False, False), ("/slow", True, True)] * 3
        threads = [
            threading.Thread(target=client, args=(path,), kwargs={"keep": keep, "body": body}, daemon=True)
            for path, keep, body in kinds
        ]
        for thread in threads:
            thread.start()
        proxy.wait_until(lambda: answered[0] > 100, 60)
        stopping.set()
        proxy.stop()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
    assert lost == []


def test_who_waits_in_the_kernels_queue_is_served(make_proxy: Any, origin: HttpOrigin) -> None:
    """The server is stopped in its tracks while clients connect and ask, and then told to end: all are answered."""
    proxy = make_proxy(policy(), timeouts={"drain": "20s"})
    request = f"GET http://origin.test:{origin.port}/echo HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    os.kill(proxy.pid, signal.SIGSTOP)
    clients = [WireClient(proxy.port()) for _ in range(40)]
    for client in clients:
        client.send(request)
    os.kill(proxy.pid, signal.SIGTERM)
    os.kill(proxy.pid, signal.SIGCONT)
    for client in clients:
        assert client.read_response().status == 200
        client.close()
    proxy.stop()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_signal_ends_it_at_once(workers: int, make_proxy: Any) -> None:
    """The first one lets an exchange go on, the second does not."""
    proxy = make_proxy(policy(), workers=workers, timeouts={"drain": "60s"})
    with ScriptedOrigin() as origin, WireClient(proxy.port()) as client:
        client.send(f"GET http://origin.test:{origin.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        origin.wait_for_connection()
        os.kill(proxy.pid, signal.SIGTERM)
        proxy.wait_until(lambda: refuses(proxy.port()))
        assert proxy.process is not None
        assert proxy.process.poll() is None
        client.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.more()
        client.sock.settimeout(20)
        begun = time.monotonic()
        proxy.stop()  # SIGTERM
        assert time.monotonic() - begun < 20
        assert client.read_response().status == 503
    (record,) = [record for record in proxy.records() if record["kind"] == "exchange"]
    assert record["error"]["message"] == "the proxy is stopping"


def refuses(port: int) -> bool:
    """Nobody listens there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0
