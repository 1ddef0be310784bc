"""The interception CA's life, as clients of the real proxy see it."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ROOT, ProxyProcess, configuration, policy
from netfw.testing.wire_client import WireClient

MakeProxy = Callable[..., ProxyProcess]


class Site:
    """A directory with a configuration and, in `ca`, the files of its interception CA."""

    def __init__(self, directory: Path, document: dict[str, Any]) -> None:
        self.directory = directory
        self.ca = directory / "ca"
        self.proxy = ProxyProcess(directory, document, policy())

    def netfw(self, *arguments: object) -> str:
        """`netfw ca` as a program."""
        command = [sys.executable, "-m", "netfw.cli.main", "ca", arguments[0], "--config", self.proxy.config_path]
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
        done = subprocess.run(
            [*map(str, command), *map(str, arguments[1:])], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, origin: HttpOrigin, trust: Path, host: str = "origin.test") -> tuple[int, dict[str, Any]]:
        """Status and the names of the issuer that a strict client saw; ssl.SSLError when it refuses."""
        context = ssl.create_default_context(cafile=str(trust))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        with WireClient(self.proxy.port()) as client:
            assert client.connect(f"{host}:{origin.port}").status == 200
            tls = client.start_tls(trust, host, context=context)
            shown = (tls.getpeercert() or {})["issuer"]
            issuer = {key: value for ((key, value),) in shown}
            return client.ask("GET", "/echo", f"{host}:{origin.port}").status, issuer


@pytest.fixture
def site(tmp_path: Path, dns: DnsServer, certificates: Any) -> Site:
    """Not started, and without a CA."""
    places = (tmp_path / "ca" / "ca.pem", tmp_path / "ca" / "ca.key")
    document = configuration(tmp_path, resolver_port=dns.port, intercept=places, trust=certificates.origin_ca)
    document["timeouts"] = {"drain": "1s"}
    return Site(tmp_path, document)


def openssl(program: Callable[[str], str], *arguments: object) -> None:
    """Run it; its output is the message when it fails."""
    done = subprocess.run([program("openssl"), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_below_an_enterprise_root_a_client_needs_only_that_root(
    site: Site, tls_origin: HttpOrigin, program: Callable[[str], str]
) -> None:
    """openssl signs our request, `import` stores it, and curl as well as Python verify an intercepted request by it."""
    root, key, signed = (site.directory / name for name in ("root.pem", "root.key", "signed.pem"))
    site.netfw("csr", "--name", "Egress CA")
    openssl(
        program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", root, "-days", "400",
        "-subj", "/CN=Enterprise Root", "-addext", "basicConstraints=critical,CA:TRUE",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    extensions = site.directory / "extensions"
    extensions.write_text(
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    openssl(
        program, "x509", "-req", "-in", site.ca / "ca.csr", "-CA", root, "-CAkey", key, "-CAcreateserial",
        "-days", "300", "-extfile", extensions, "-out", signed,
    )  # fmt: skip
    site.netfw("import", signed, root)
    with site.proxy as proxy:
        assert site.ask(tls_origin, root) == (200, {"commonName": "Egress CA"})
        done = subprocess.run(
            [
                program("curl"), "-sS", "--cacert", root, "-x", f"http://127.0.0.1:{proxy.port()}", "-o", "/dev/null",
                "-w", "%{http_code} %{ssl_verify_result}", f"https://origin.test:{tls_origin.port}/echo",
            ],
            env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == ("200 0", "")


@pytest.mark.parametrize("below_a_root", [False, True])
def test_a_client_that_trusts_the_bundle_sees_no_gap_in_a_rotation(
    site: Site, tls_origin: HttpOrigin, below_a_root: bool
) -> None:
    """Before the switch, after it and a reload, and after the restart, when the other CA signs."""
    password = site.directory / "password"
    password.write_text("secret\n")
    password.chmod(0o600)
    site.proxy.config["tls_intercept"]["ca"]["password_file"] = str(password)
    site.proxy.config_path.write_text(json.dumps(site.proxy.config))
    site.netfw("init", "--name", "First", *(("--issuing",) if below_a_root else ()))
    old, bundle = site.directory / "old.pem", site.directory / "bundle.pem"
    site.netfw("export", "-o", old)
    with site.proxy:
        site.netfw("rotate", "--name", "Second")
        site.netfw("export", "-o", bundle)
        first = "First issuing" if below_a_root else "First"
        assert site.ask(tls_origin, bundle) == (200, {"commonName": first})
        site.netfw("rotate", "--switch")
        site.proxy.reload()
        # A reload is for the rules: the CA is the same until the restart.
        assert site.ask(tls_origin, bundle) == (200, {"commonName": first})
    with site.proxy:
        assert site.ask(tls_origin, bundle) == (200, {"commonName": "Second"})
        if below_a_root:
            assert site.ask(tls_origin, old)[0] == 200
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                site.ask(tls_origin, old)


def test_after_a_replacement_the_old_trust_is_worth_nothing(site: Site, tls_origin: HttpOrigin) -> None:
    """And what `export` writes then is trusted."""
    site.netfw("init")
    old, new = site.directory / "old.pem", site.directory / "new.pem"
    site.netfw("export", "-o", old)
    site.netfw("replace", "--yes")
    site.netfw("export", "-o", new)
    with site.proxy:
        assert site.ask(tls_origin, new)[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            site.ask(tls_origin, old)
