"""The world that integration tests live in: names, certificates, origins and proxies, all on loopback.

One set of everything a session, since starting a server costs a second; whoever needs a policy or a setting of its own
asks for `make_proxy`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.pki import TestAuthority
from netfw.testing.proxy_process import (
    ProxyProcess,
    condition,
    configuration,
    domain_rule,
    merge,
    policy,
    rule,
)

LOOPBACK = {"A": ["127.0.0.1"]}
NAMES = ("origin.test", "other.test", "denied.test", "alerted.test")
ZONE = {
    **{name: dict(LOOPBACK) for name in NAMES},
    "moved.test": {"CNAME": "origin.test"},
    "both.test": {"A": ["127.0.0.1"], "AAAA": ["::1"]},
    "mapped.test": {"AAAA": ["::ffff:127.0.0.1"]},
    "private.test": {"A": ["10.1.2.3"]},
    "metadata.test": {"A": ["169.254.169.254"]},
    "missing.test": {"rcode": "NXDOMAIN"},
    "broken.test": {"rcode": "SERVFAIL"},
    "silent.test": {"hostile": "silence"},
    "expired.test": dict(LOOPBACK),
    "misnamed.test": dict(LOOPBACK),
    "untrusted.test": dict(LOOPBACK),
}


def pytest_configure(config: pytest.Config) -> None:
    """The mark of the tests that take minutes."""
    config.addinivalue_line("markers", "soak: at full size; only run where `-m` names it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked soak unless the expression of `-m` speaks of it."""
    if "soak" in (config.option.markexpr or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("soak") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("soak") is None]


@pytest.fixture(scope="session")
def session_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the whole session; its path is short enough for a Unix socket."""
    return tmp_path_factory.mktemp("w")


@pytest.fixture(scope="session")
def dns() -> Iterator[DnsServer]:
    """The resolver that every proxy asks."""
    with DnsServer(dict(ZONE)) as server:
        yield server


@dataclass
class Certificates:
    """Files of three authorities: the origins', the HTTPS listener's, and the one that interception signs with."""

    directory: Path
    origin_ca: Path = field(init=False)
    listener_ca: Path = field(init=False)
    intercept: tuple[Path, Path] = field(init=False)
    origin: tuple[Path, Path] = field(init=False)
    listener: tuple[Path, Path] = field(init=False)

    def __post_init__(self) -> None:
        self.origins = TestAuthority(common_name="Origins' test CA")
        listeners = TestAuthority(common_name="Listener's test CA")
        interception = TestAuthority(common_name="Interception test CA")
        self.origin_ca = self._write("origin-ca.pem", self.origins.certificate_pem)
        self.listener_ca = self._write("listener-ca.pem", listeners.certificate_pem)
        self.intercept = (
            self._write("intercept-ca.pem", interception.certificate_pem),
            self._write("intercept-ca.key", interception.key_pem),
        )
        self.intercept[1].chmod(0o600)
        self.origin = self.issue(self.origins, "origin", *NAMES, "moved.test", "both.test", "127.0.0.1")
        self.listener = self.issue(listeners, "listener", "proxy.test", "localhost", "127.0.0.1")

    def issue(self, authority: TestAuthority, file_name: str, *names: str, **how: Any) -> tuple[Path, Path]:
        """Certificate and key files for these names."""
        certificate, key = authority.issue(*names, **how)
        return self._write(f"{file_name}.pem", certificate), self._write(f"{file_name}.key", key)

    def bundle(self, *files: Path) -> Path:
        """One PEM file of several."""
        name = "+".join(file.stem for file in files) + ".bundle"
        return self._write(name, b"".join(file.read_bytes() for file in files))

    def _write(self, name: str, content: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content)
        return path


@pytest.fixture(scope="session")
def certificates(session_dir: Path) -> Certificates:
    """See `Certificates`."""
    directory = session_dir / "pki"
    directory.mkdir()
    return Certificates(directory)


@pytest.fixture(scope="session")
def origin() -> Iterator[HttpOrigin]:
    """The plain HTTP origin, reached by any of the loopback names."""
    with HttpOrigin() as server:
        yield server
    assert server.errors == []


@pytest.fixture(scope="session")
def tls_origin(certificates: Certificates) -> Iterator[HttpOrigin]:
    """The HTTPS origin."""
    with HttpOrigin(tls=certificates.origin) as server:
        yield server
    assert server.errors == []


def standard_policy() -> dict[str, Any]:
    """Everything is allowed but what a rule of each phase and action denies or alerts on."""
    path = "request:Http:Uri"
    return policy(
        groups={
            "base": {
                "PreDNS": [
                    domain_rule("watch", "ALERT", "alerted.test"),
                    domain_rule("no-denied", "DENY", "denied.test"),
                ],
                "PreREQUEST": [
                    rule("watch-path", "ALERT", condition(path, "StringLike", "/echo/watched*")),
                    rule("no-forbidden", "DENY", condition(path, "StringLike", "/forbidden*", "/echo/forbidden*")),
                    rule("no-delete", "DENY", condition("request:Http:Method", "StringEquals", "DELETE")),
                ],
                "PostRESPONSE": [
                    rule("watch-418", "ALERT", condition("response:Http:StatusCode", "NumericEquals", "418")),
                    rule("no-secrets", "DENY", condition("response:Http:ContentType", "StringLike", "text/x-secret*")),
                ],
            }
        }
    )


MakeProxy = Callable[..., ProxyProcess]


@pytest.fixture(scope="session")
def proxy_maker(session_dir: Path, dns: DnsServer, certificates: Certificates) -> MakeProxy:
    """`proxy_maker(name, rules, intercept=False, **sections)`: a proxy that is not started yet."""

    def make(
        name: str, rules: dict[str, Any] | None = None, *, intercept: bool = False, **sections: Any
    ) -> ProxyProcess:
        directory = session_dir / name
        directory.mkdir()
        document = configuration(
            directory,
            resolver_port=dns.port,
            intercept=certificates.intercept if intercept else None,
            listener_tls=certificates.listener,
            trust=certificates.origin_ca,
        )
        document = merge(document, {"timeouts": {"drain": "1s"}})
        return ProxyProcess(directory, merge(document, sections), standard_policy() if rules is None else rules)

    return make


@pytest.fixture(scope="session")
def passing(proxy_maker: MakeProxy) -> Iterator[ProxyProcess]:
    """The standard policy, TLS passed through."""
    with proxy_maker("passing") as proxy:
        yield proxy


@pytest.fixture(scope="session")
def intercepting(proxy_maker: MakeProxy) -> Iterator[ProxyProcess]:
    """The standard policy, TLS intercepted."""
    with proxy_maker("intercepting", intercept=True) as proxy:
        yield proxy


@pytest.fixture
def make_proxy(proxy_maker: MakeProxy, request: pytest.FixtureRequest) -> Iterator[MakeProxy]:
    """Like `proxy_maker`, without a name: started, and stopped with all checks when the test ends."""
    started: list[ProxyProcess] = []

    def make(rules: dict[str, Any] | None = None, **arguments: Any) -> ProxyProcess:
        name = f"p{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**8}-{len(started)}"
        proxy = proxy_maker(name, rules, **arguments)
        started.append(proxy)
        return proxy.start()

    yield make
    try:
        for proxy in started:
            proxy.stop()
    finally:
        for proxy in started:
            proxy.kill()


@pytest.fixture(autouse=True)
def no_trouble(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test leaves an unhandled error in a shared proxy's log: the test that made it is the one that fails."""
    yield
    for name in ("passing", "intercepting"):
        if name in request.fixturenames:
            proxy: ProxyProcess = request.getfixturevalue(name)
            trouble = proxy.new_trouble()
            if trouble:
                pytest.fail(f"the proxy's log says:\n{trouble}", pytrace=False)


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """`program(name)`: its path; skips the test when it is missing."""

    def find(name: str) -> str:
        path = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        if path is None:
            pytest.skip(f"program missing: {name}")
        return path

    return find


@pytest.fixture(scope="session")
def clean_environment() -> Callable[..., dict[str, str]]:
    """`clean_environment(home, **more)`: nothing of the machine's own proxies, trust stores or configurations."""

    def make(home: Path, **more: str) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(home),
            **more,
        }

    return make
