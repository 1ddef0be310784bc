"""The manhole, with the real OpenSSH client: who gets in, what they can do there, and what is written about it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess
from netfw.testing.stores import wait_until
from netfw.testing.wire_client import RoutedClient, WireClient

PATIENCE = 60.0


@dataclass
class Door:
    """A proxy with a manhole, and four keys: an operator's, a reader's, a stranger's, and one of a reader who may see
    what only decryption shows.
    """

    proxy: ProxyProcess
    directory: Path
    ssh: str
    port: int
    audit: Path

    def command(self, key: str, *more: str, options: tuple[str, ...] = ()) -> list[str]:
        """The client's command line; it believes in no host key but the proxy's."""
        return [
            self.ssh, "-F", "none", "-i", str(self.directory / key), "-p", str(self.port),
            "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "StrictHostKeyChecking=yes",
            "-o", f"UserKnownHostsFile={self.directory / 'known_hosts'}", "-o", "LogLevel=ERROR",
            "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", *options, "ann@127.0.0.1", *more,
        ]  # fmt: skip

    def run(self, key: str, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """One exec session."""
        return subprocess.run(
            self.command(key, *command, options=options),
            capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def audited(self, event: str, **wanted: str) -> dict[str, Any]:
        """The audit line with this, once it is there."""
        deadline = time.monotonic() + PATIENCE
        while True:
            lines = self.audit.read_text().splitlines() if self.audit.exists() else []
            for line in map(json.loads, lines):
                if line["event"] == f"manhole.{event}" and wanted.items() <= line.items():
                    return dict(line)
            assert time.monotonic() < deadline, lines
            time.sleep(0.05)


def make_keys(directory: Path, program: Callable[[str], str]) -> None:
    """The operator's key is Ed25519, the reader's RSA, so that both kinds are tried."""
    for name, kind in (("operator", "ed25519"), ("reader", "rsa"), ("stranger", "ed25519"), ("seer", "ed25519")):
        command = [program("ssh-keygen"), "-q", "-t", kind, "-N", "", "-C", name, "-f", str(directory / name)]
        subprocess.run(command, check=True, timeout=PATIENCE)


def free_port() -> int:
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def open_door(
    directory: Path, proxy_maker: Any, program: Callable[[str], str], name: str, workers: int, **sections: Any
) -> Iterator[Door]:
    """Start it; the client is told the host keys from the files, as an administrator would."""
    make_keys(directory, program)
    readers = (directory / "reader.pub").read_text() + (directory / "seer.pub").read_text()
    (directory / "readers").write_text(readers)
    port = free_port()
    manhole = {
        "address": "127.0.0.1", "port": port, "host_keys": str(directory / "host"),
        "authorized_keys": str(directory / "operator.pub"), "read_only_keys": str(directory / "readers"),
        "decrypted_keys": str(directory / "seer.pub"),
        "audit": str(directory / "audit.jsonl"),
    }  # fmt: skip
    proxy = proxy_maker(name, workers=workers, manhole=manhole, **sections)
    with proxy:
        known = []
        for key in ("ssh_host_ed25519_key", "ssh_host_rsa_key"):
            printed = subprocess.run(
                [program("ssh-keygen"), "-y", "-f", str(directory / "host" / key)],
                capture_output=True, text=True, check=True, timeout=PATIENCE,
            ).stdout  # fmt: skip
            known.append(f"[127.0.0.1]:{port} {printed}")
        (directory / "known_hosts").write_text("".join(known))
        yield Door(proxy, directory, program("ssh"), port, directory / "audit.jsonl")


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, proxy_maker: Any, program: Callable[[str], str]) -> Iterator[Door]:
    """One process."""
    yield from open_door(tmp_path_factory.mktemp("manhole"), proxy_maker, program, "manhole", 0)


@pytest.fixture(scope="module")
def wide_door(
    tmp_path_factory: pytest.TempPathFactory, proxy_maker: Any, program: Callable[[str], str]
) -> Iterator[Door]:
    """Two workers, and a scope of interception of some detail."""
    bypass = ["pinned.only.test", {"domain": "x.only.test", "source": "10.1.0.0/16"}]
    scope = {"only": [{"domain": ".only.test", "port": 443}], "bypass": bypass}
    directory = tmp_path_factory.mktemp("wide")
    yield from open_door(directory, proxy_maker, program, "manhole2", 2, intercept=True, tls_intercept=scope)


@pytest.fixture(scope="module")
def decrypting_door(
    tmp_path_factory: pytest.TempPathFactory, proxy_maker: Any, program: Callable[[str], str]
) -> Iterator[Door]:
    """One process that intercepts everything."""
    directory = tmp_path_factory.mktemp("decrypting")
    control = {"audit": str(directory / "control.jsonl")}
    yield from open_door(directory, proxy_maker, program, "manhole3", 0, intercept=True, control=control)


def test_host_keys_are_made_and_for_the_proxy_alone(door: Door) -> None:
    """An Ed25519 and an RSA key, mode 0600."""
    for name in ("ssh_host_ed25519_key", "ssh_host_rsa_key"):
        assert stat.S_IMODE((door.directory / "host" / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("algorithm", ["ssh-ed25519", "rsa-sha2-512"])
def test_either_host_key_is_shown(door: Door, algorithm: str) -> None:
    """And the client, which knows them, goes on."""
    ended = door.run("operator", "help", options=("-o", f"HostKeyAlgorithms={algorithm}"))
    assert ended.returncode == 0, ended.stderr


def test_an_operator_gets_in_and_it_is_written_down(door: Door) -> None:
    """Who, with which key, and each command."""
    ended = door.run("operator", "status")
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^state +ready$", ended.stdout, re.MULTILINE)
    line = door.audited("login", name="ann", access="operator")
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(door.directory / "operator.pub")], capture_output=True, text=True, check=True
    ).stdout
    assert line["key"] == shown.split()[1]
    assert door.audited("command", line="status")["name"] == "ann"
    assert "manhole.command" in door.proxy.log


def test_a_password_is_refused(door: Door, tmp_path: Path) -> None:
    """Even when one is offered: only keys are taken, and the client is told so."""
    askpass = tmp_path / "askpass"
    askpass.write_text("#!/bin/sh\necho secret\n")
    askpass.chmod(0o700)
    command = door.command(
        "stranger", "status", options=("-o", "BatchMode=no", "-o", "PreferredAuthentications=password")
    )
    command.remove("BatchMode=yes")
    command.pop(command.index("ConnectTimeout=60") - 2)
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"},
    )  # fmt: skip
    assert ended.returncode == 255
    assert "Permission denied (publickey)" in ended.stderr


def test_an_unknown_key_is_refused_and_it_is_written_down(door: Door) -> None:
    """With its fingerprint."""
    ended = door.run("stranger", "status")
    assert ended.returncode == 255
    assert "Permission denied" in ended.stderr
    assert door.audited("refused", name="ann")["reason"] == "this key is not let in"


def test_a_key_that_is_taken_out_is_out_at_once(door: Door) -> None:
    """No reload is needed."""
    path = door.directory / "operator.pub"
    former = path.read_text()
    path.write_text("# nobody\n")
    try:
        assert door.run("operator", "status").returncode == 255
    finally:
        path.write_text(former)
    assert door.run("operator", "status").returncode == 0


@pytest.mark.parametrize("line", ["reload", "reload()", "drain 1", 'drain("1")'])
def test_a_reader_changes_nothing(door: Door, line: str) -> None:
    """They look, and that is all."""
    generation = door.proxy.status()["generation"]
    ended = door.run("reader", line)
    assert ended.returncode == 1
    assert "this key is for reading only" in ended.stderr
    assert door.audited("refused", line=line, access="read-only")["reason"] == "the key is for reading only"
    assert door.proxy.status()["generation"] == generation
    assert door.run("reader", "status").returncode == 0
    assert "reload" not in door.run("reader", "help").stdout


@pytest.mark.parametrize(
    "line",
    [
        "__import__('os').system('id')", "status().__class__", "status(__import__('os'))", "(lambda: 1)()",
        "why(open('/etc/passwd').read())", "import os", "status; reload", "[c for c in ().__class__.__mro__]",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["operator", "reader"])
def test_there_is_no_python(door: Door, key: str, line: str) -> None:
    """For nobody: a line is a command with constants, or nothing."""
    ended = door.run(key, line)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert door.audited("command", line=line)


def test_an_operator_reloads(door: Door) -> None:
    """As SIGHUP does, with the answer."""
    generation = door.proxy.status()["generation"]
    ended = door.run("operator", "reload()")
    assert ended.returncode == 0, ended.stderr
    assert re.search(rf"^generation +{generation + 1}$", ended.stdout, re.MULTILINE), ended.stdout


def test_an_exchange_is_looked_at_from_all_sides(door: Door, origin: HttpOrigin) -> None:
    """Its client is connected, its denial is explained before and found after."""
    where = f"denied.test:{origin.port}"
    with WireClient(door.proxy.port()) as client:
        client.send(f"GET http://{where}/ HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        exchange_id = client.read_response().single("X-Netfw-Id")
        assert exchange_id is not None
        port = client.sock.getsockname()[1]
        assert f"127.0.0.1:{port}" in door.run("reader", "connections").stdout
    door.proxy.wait_for_record(lambda record: record["id"] == exchange_id)
    why = door.run("reader", f'why("{exchange_id}")')
    assert "denied.test" in why.stdout
    assert "no-denied" in why.stdout
    explained = door.run("reader", "explain", f"http://{where}/")
    assert "PreDNS: DENY by base/no-denied" in explained.stdout
    assert "PostRESPONSE" not in explained.stdout
    assert "denied.test" in door.run("reader", "top").stdout
    assert door.run("reader", "why", "XXXXX-XXXXX").stdout == "no record has the id XXXXX-XXXXX\n"
    shown = door.run("reader", "policy").stdout
    for pattern in (r"^name +test$", r"^  phase +rules +default$", r"^  PreDNS +2 +ALLOW$", r"^  base +2 +3 +2$"):
        assert re.search(pattern, shown, re.MULTILINE), shown
    refused = door.run("reader", "explain", f"http://{where}/", "GET", "nobody")
    assert refused.stderr == "'nobody' is not an IP address\n"


def test_what_only_decryption_shows_takes_a_key_of_its_own(
    decrypting_door: Door, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """Masked for every other key, an operator's too, in `why` and in `trace`; every reading is on record."""
    door = decrypting_door
    tracing = {
        key: subprocess.Popen(door.command(key, "trace", "127.0.0.1"), stdout=subprocess.PIPE, text=True)
        for key in ("operator", "seer")
    }
    told = {}
    try:
        for key, process in tracing.items():
            assert process.stdout is not None
            assert "as they end" in process.stdout.readline()
            if key == "operator":
                assert "takes the right `decrypted`" in process.stdout.readline()
        with RoutedClient(
            door.proxy.port(), "tls", "origin.test", tls_origin.port, trust=certificates.intercept[0]
        ) as client:
            exchange_id = client.fetch("/geheimpfad").single("X-Netfw-Id")
        record = door.proxy.wait_for_record(lambda record: record.get("url", {}).get("path") == "/geheimpfad")
        told = {key: process.stdout.readline() for key, process in tracing.items() if process.stdout is not None}
    finally:
        for process in tracing.values():
            process.kill()
            process.wait()
    assert "geheimpfad" in told["seer"] and "geheimpfad" not in told["operator"] and "/***" in told["operator"]
    assert exchange_id in (None, record["id"])
    for key in ("operator", "reader"):
        shown = door.run(key, "why", record["id"]).stdout
        assert "geheimpfad" not in shown and "/***" in shown, shown
    assert "geheimpfad" in door.run("seer", "why", record["id"]).stdout
    path = door.directory / "control.jsonl"
    wait_until(lambda: path.exists() and path.read_text().count("\n") == 2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["operation"], line["from"]) for line in lines] == [
        ("manhole trace", "manhole"), ("manhole why", "manhole"),
    ]  # fmt: skip
    assert lines[1]["about"] == {"id": record["id"]} and lines[1]["key"].startswith("SHA256:")


def test_the_manholes_port_is_no_destination(door: Door) -> None:
    """Whatever the rules say, and although loopback is opened here."""
    where = f"127.0.0.1:{door.port}"
    with WireClient(door.proxy.port()) as client:
        client.send(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        assert client.read_response("CONNECT").status == 403


def test_a_banner_without_an_end_is_cut_off(door: Door) -> None:
    """Before a login nobody fills the memory, and nobody stays."""
    with socket.create_connection(("127.0.0.1", door.port), PATIENCE) as sock:
        sent = 0
        try:
            while sent < 8 << 20:
                sent += sock.send(b"SSH-2.0-" + b"x" * 4096)
        except OSError:
            pass
        sock.settimeout(PATIENCE)
        try:
            while sock.recv(65536):
                pass
        except OSError:
            pass
    assert sent < 8 << 20
    assert door.run("operator", "status").returncode == 0


def test_forwarding_and_files_are_refused(door: Door, origin: HttpOrigin) -> None:
    """The manhole is no second proxy."""
    ended = door.run("operator", options=("-W", f"127.0.0.1:{origin.port}"))
    assert ended.returncode != 0
    assert door.audited("refused", name="ann", reason="no channel for direct-tcpip")
    ended = door.run("operator", "sftp", options=("-s",))
    assert ended.returncode != 0


class Terminal:
    """The client in a terminal of its own."""

    def __init__(self, door: Door, key: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            command = door.command(key, options=("-tt",))
            os.execv(command[0], command)
        self.seen = ""

    def type(self, keys: str) -> None:
        """Press these keys."""
        os.write(self._fd, keys.encode())

    def wait_for(self, text: str) -> str:
        """Until the screen shows it; what it showed since the last call."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self._fd], [], [], 0.5)[0]:
                try:
                    self.seen += os.read(self._fd, 65536).decode("utf-8", "replace")
                except OSError as error:
                    raise AssertionError(self.seen) from error
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def wait_for_end(self) -> int:
        """The exit status, once the client has ended."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if select.select([self._fd], [], [], 0.1)[0]:
                try:
                    os.read(self._fd, 65536)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError("the client did not end")


def test_a_terminal_with_help_completion_and_history(door: Door) -> None:
    """Tab completes what is certain and shows what is possible, the arrow brings back, Ctrl-D leaves."""
    terminal = Terminal(door, "operator")
    terminal.wait_for("help lists what can be asked")
    terminal.wait_for("netfw> ")
    terminal.type("help\r")
    screen = terminal.wait_for("leave; so does Ctrl-D")
    assert "explain(url, [method], [client])" in screen
    assert "reload()" in screen
    terminal.type("pol\t)\r")
    assert "generation" in terminal.wait_for("PostRESPONSE")
    terminal.type("re\t")
    terminal.wait_for("reload(")
    terminal.type("\x15t\t")
    assert "top  trace" in terminal.wait_for("trace")
    terminal.type("\x15nonsense\r")
    terminal.wait_for("'nonsense' is no command")
    terminal.type("\x1b[A\x15")
    terminal.type("\x04")
    assert terminal.wait_for_end() == 0
    door.audited("logout", name="ann")


def test_one_clients_exchanges_are_followed(door: Door, origin: HttpOrigin) -> None:
    """As they end, until Ctrl-C."""
    terminal = Terminal(door, "reader")
    terminal.wait_for("netfw> ")
    terminal.type('trace("127.0.0.1")\r')
    terminal.wait_for("Ctrl-C stops")
    where = f"origin.test:{origin.port}"
    with WireClient(door.proxy.port()) as client:
        client.send(f"GET http://{where}/echo/traced HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        assert client.read_response().status == 200
    terminal.wait_for("/echo/traced")
    terminal.type("\x03")
    terminal.wait_for("stopped")
    terminal.type("exit\r")
    assert terminal.wait_for_end() == 0


def test_workers_are_seen_together_and_replaced_one_by_one(wide_door: Door, origin: HttpOrigin) -> None:
    """Every worker's connections are listed with its number; drain gives one a successor."""
    door = wide_door
    clients = [WireClient(door.proxy.port()) for _ in range(12)]
    where = f"origin.test:{origin.port}"
    for client in clients:
        client.send(f"GET http://{where}/echo/x HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        assert client.read_response().status == 200
    listed = door.run("reader", "connections").stdout
    assert listed.splitlines()[0].split()[:3] == ["worker", "kind", "client"]
    for client in clients:
        assert f"127.0.0.1:{client.sock.getsockname()[1]}" in listed
        client.close()
    former = {row["worker"]: row["pid"] for row in door.proxy.status()["workers"]}
    ended = door.run("operator", "drain(2)")
    assert ended.stdout == "worker 2 drains, another one serves\n", ended.stderr
    serving = {row["worker"]: row["pid"] for row in door.proxy.status()["workers"] if row["state"] == "serving"}
    assert serving[1] == former[1]
    assert serving[2] != former[2]
    assert door.run("operator", "drain", "9").stderr == "'9' is no worker: write a number from 1 to 2\n"
    assert "generation" in door.run("operator", "reload").stdout


def test_explain_goes_by_what_is_in_force(wide_door: Door) -> None:
    """Scope, port and client as for the proxy and for `netfw explain`; a reload and the switch count at once."""
    door, far, near = wide_door, "10.2.0.1", "10.1.0.1"

    def seen(url: str, client: str = far) -> str:
        told = door.run("reader", f'explain("{url}", "GET", "{client}")').stdout.splitlines()[0]
        return told.rpartition(": ")[2]

    expected = {
        ("https://www.only.test/", far): "TLS, intercepted", ("https://other.test/", far): "TLS, passed through",
        ("https://www.only.test:8443/", far): "TLS, passed through",
        ("https://pinned.only.test/", far): "TLS, passed through",
        ("https://x.only.test/", near): "TLS, passed through", ("https://x.only.test/", far): "TLS, intercepted",
    }  # fmt: skip
    assert {asked: seen(*asked) for asked in expected} == expected
    verb = [sys.executable, "-m", "netfw.cli.main"]
    config = ["--config", str(door.proxy.config_path)]
    words = [*verb, "explain", "https://x.only.test/", "--source-ip", near, *config]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ran.stdout.splitlines()[0].endswith("TLS, passed through")
    former = door.proxy.config_path.read_text()
    door.proxy.config_path.write_text(former.replace("pinned.only.test", "www.only.test"))
    try:
        assert "ok" in door.run("operator", "reload").stdout
        assert seen("https://www.only.test/") == "TLS, passed through"
        assert seen("https://pinned.only.test/") == "TLS, intercepted"
        for word, says in (("off", "passed through"), ("on", "intercepted")):
            subprocess.run([*verb, "intercept", word, *config], check=True, capture_output=True, timeout=PATIENCE)
            assert seen("https://pinned.only.test/") == f"TLS, {says}"
    finally:
        door.proxy.config_path.write_text(former)
        assert "ok" in door.run("operator", "reload").stdout


def test_a_unix_socket_will_do(tmp_path_factory: Any, proxy_maker: Any, program: Callable[[str], str]) -> None:
    """Its mode says who may come to the door; the key, who comes in."""
    directory = tmp_path_factory.mktemp("u")
    make_keys(directory, program)
    path = directory / "m.sock"
    keys = str(directory / "operator.pub")
    manhole = {"socket": str(path), "host_keys": str(directory / "host"), "authorized_keys": keys}
    between = (
        "import os,socket,sys,threading\n"
        "s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n"
        "def up():\n"
        "    while d:=os.read(0,65536): s.sendall(d)\n"
        "threading.Thread(target=up,daemon=True).start()\n"
        "while d:=s.recv(65536): os.write(1,d)\n"
    )
    (directory / "between.py").write_text(between)
    with proxy_maker("manhole-unix", manhole=manhole) as proxy:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        through = f"ProxyCommand={sys.executable} {directory / 'between.py'} {path}"
        door = Door(proxy, directory, program("ssh"), 22, directory / "none")
        options = ("-o", through, "-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR")
        command = door.command("operator", "status", options=options)
        command = [word for word in command if word != "StrictHostKeyChecking=yes"]
        command.pop(command.index("-o", command.index("IdentityAgent=none") + 1))
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL
        )
        assert ended.returncode == 0, ended.stderr
        assert "ready" in ended.stdout
        assert "manhole.login" in proxy.log
