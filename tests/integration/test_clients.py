"""Real client programs get through the proxy what policy allows, and show their user what they can of a denial."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.client_programs import CLIENTS, ClientProgram, Setting
from netfw.testing.origins import HttpOrigin, OriginHandler
from netfw.testing.proxy_process import ProxyProcess

WAYS = ("plain", "passed-through", "intercepted")
RULE = "base/no-denied"
_cases = count(1)


def tiny_wheel() -> bytes:
    """A wheel with one module."""
    info = "tinywheel-1.0.dist-info"
    files = {
        "tinywheel.py": "VALUE = 1\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tinywheel\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def make_repository(directory: Path) -> Path:
    """A directory with the bare repository small.git that has one commit."""
    root = directory / "repositories"
    work = directory / "work"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=A", "-c", "user.email=a@example.test", "-c", "init.defaultBranch=main"]

    def git(*arguments: str) -> None:
        subprocess.run(["git", *who, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)

    git("init", "-q", str(work))
    (work / "file").write_bytes(os.urandom(100_000))
    git("-C", str(work), "add", "file")
    git("-C", str(work), "commit", "-q", "-m", "a small commit")
    git("clone", "-q", "--bare", str(work), str(root / "small.git"))
    return root


def git_backend(root: Path) -> Any:
    """Smart HTTP: `git http-backend` as a CGI program."""

    def serve(handler: OriginHandler, content: bytes) -> None:
        path, _, query = handler.path.partition("?")
        environment = {
            "PATH": "/usr/bin:/bin",
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": handler.command,
            "PATH_INFO": path.removeprefix("/git"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": handler.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(content)),
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding") or "",
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol") or "",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=content, env=environment, capture_output=True, check=False)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        status = int(fields.pop("Status", "200").split()[0])
        handler.answer(status, body, fields.pop("Content-Type", "text/plain"), fields)

    return serve


@pytest.fixture(scope="module", autouse=True)
def served(origin: HttpOrigin, tls_origin: HttpOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Both origins serve what git and pip ask for."""
    repositories = make_repository(tmp_path_factory.mktemp("git"))
    wheel = "tinywheel-1.0-py3-none-any.whl"
    page = f'<!DOCTYPE html><html><body><a href="/files/{wheel}">{wheel}</a></body></html>'.encode()
    for server in (origin, tls_origin):
        server.applications["/git/"] = git_backend(repositories)
        server.serve_file("/simple/tinywheel/", page, "text/html")
        server.serve_file(f"/files/{wheel}", tiny_wheel(), "application/zip")
    yield
    for server in (origin, tls_origin):
        server.applications.clear()
        server.files.clear()


class Run:
    """One client against one proxy in one of the three ways."""

    def __init__(self, request: pytest.FixtureRequest, client: ClientProgram, way: str, *, proxy_scheme: str) -> None:
        missing = client.missing()
        if missing is not None:
            pytest.skip(f"program missing: {missing}")
        self.client, self.way = client, way
        self.proxy: ProxyProcess = request.getfixturevalue("intercepting" if way == "intercepted" else "passing")
        self.origin: HttpOrigin = request.getfixturevalue("origin" if way == "plain" else "tls_origin")
        certificates = request.getfixturevalue("certificates")
        # Only the one authority that must be met: a client that meets the other one fails.
        trust = certificates.intercept[0] if way == "intercepted" else certificates.origin_ca
        if proxy_scheme == "https":
            trust = certificates.bundle(trust, certificates.listener_ca)
        port = self.proxy.port("tls" if proxy_scheme == "https" else "plain")
        self.case = f"{client.name}-{next(_cases)}"
        home: Path = request.getfixturevalue("session_dir") / "clients" / self.case
        home.mkdir(parents=True)
        self.setting = Setting(f"{proxy_scheme}://127.0.0.1:{port}", trust, home)
        self.since = len(self.proxy.records())

    def fetch(self, host: str) -> str:
        """Run the client against `host`; gives its output."""
        scheme = self.client.scheme + ("" if self.way == "plain" else "s")
        url = f"{scheme}://{host}:{self.origin.port}{self.client.path.format(case=self.case)}"
        done = self.client.run(self.setting, url)
        self.worked = done.returncode == 0 and self.client.proof.format(case=self.case) in done.stdout
        return done.stdout

    def record(self, action: str, host: str) -> dict[str, Any]:
        """The first new record of that action and host."""
        return self.proxy.wait_for_records(
            lambda record: record["final_action"] == action and record.get("dest_domain") == f"{host}.",
            since=self.since,
        )[0]


def ways_of(client: ClientProgram) -> list[str]:
    """The ways that a client can go."""
    return [way for way in WAYS if (client.plain if way == "plain" else client.tls)]


ALL = [pytest.param(client, way, id=f"{client.name}-{way}") for client in CLIENTS for way in ways_of(client)]
OVER_TLS = [
    pytest.param(client, way, id=f"{client.name}-{way}")
    for client in CLIENTS
    if client.https_proxy
    for way in ways_of(client)
]


@pytest.mark.parametrize(("client", "way"), ALL)
def test_allowed(request: pytest.FixtureRequest, client: ClientProgram, way: str) -> None:
    """The client gets the origin's answer, and a record says so."""
    run = Run(request, client, way, proxy_scheme="http")
    output = run.fetch("origin.test")
    assert run.worked, output
    record = run.record("allow", "origin.test")
    assert record["dest_ip"] == "127.0.0.1"
    if way == "passed-through":
        assert record["kind"] == "tunnel"
    else:
        assert record["kind"] == "exchange"
        assert record["http_method"] in ("GET", "POST", "HEAD")


@pytest.mark.parametrize(("client", "way"), ALL)
def test_denied(request: pytest.FixtureRequest, client: ClientProgram, way: str) -> None:
    """Nothing reaches the origin, the client shows what it can of the reason, and a record names the rule."""
    run = Run(request, client, way, proxy_scheme="http")
    before = run.origin.connections
    output = run.fetch("denied.test")
    assert not run.worked, output
    assert run.origin.connections == before
    record = run.record("deny", "denied.test")
    assert (record["final_rule_group_name"], record["final_rule_name"]) == ("base", "no-denied")
    assert "dest_ip" not in record
    refused_connect = way == "passed-through" or (way == "plain" and client.tunnels_plain)
    shown = client.shows_connect if refused_connect else client.shows_inner
    if shown in ("reason", "body"):
        assert RULE in output
        assert record["id"] in output
    if shown == "code":
        assert "403" in output


@pytest.mark.parametrize(("client", "way"), OVER_TLS)
def test_over_an_https_proxy_url(request: pytest.FixtureRequest, client: ClientProgram, way: str) -> None:
    """With TLS on the way to the proxy too, the client gets the origin's answer."""
    run = Run(request, client, way, proxy_scheme="https")
    output = run.fetch("origin.test")
    assert run.worked, output
    assert run.record("allow", "origin.test")["listener"] == "tls"
