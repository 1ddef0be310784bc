"""`netfw env` and `netfw run`: where the proxy and the CA come from, what is written, what is refused."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from netfw.cli.main import netfw
from netfw.testing.pki import TestAuthority
from netfw.x509.reading import certificates_from_pem

ROOT = Path(__file__).parents[2]
CA, SYSTEM = TestAuthority("The CA"), TestAuthority("A root of the system")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home and a directory of the test's own, and no proxy."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").write_bytes(CA.certificate_pem + CA.key_pem)
    (tmp_path / "roots.pem").write_bytes(SYSTEM.certificate_pem)


def env(*arguments: str) -> Result:
    """Run the verb."""
    return CliRunner().invoke(netfw, ["env", *arguments])


def variables(result: Result) -> dict[str, str]:
    """What was printed for dotenv, where nothing needs quotes."""
    assert result.exit_code == 0, result.output
    return dict(line.split("=", 1) for line in result.output.splitlines() if "=" in line)


NAMED = ("--proxy", "http://egress:3128", "--ca", "ca.pem", "--system-roots", "roots.pem")


def test_the_files_of_trust(tmp_path: Path) -> None:
    """The CA, the bundle, a store and a wgetrc in the home directory, for everybody to read; never the private key."""
    (tmp_path / ".wgetrc").write_text("tries = 3")
    found = variables(env("-f", "github", *NAMED))
    directory = tmp_path / ".local" / "share" / "netfw"
    assert found["SSL_CERT_FILE"] == str(directory / "netfw-bundle.pem")
    assert certificates_from_pem((directory / "netfw-bundle.pem").read_bytes()) == (CA.certificate, SYSTEM.certificate)
    assert (directory / "netfw-wgetrc").read_text() == f"tries = 3\nca_certificate = {directory}/netfw-bundle.pem\n"
    assert len(list(directory.iterdir())) == 4
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert b"PRIVATE KEY" not in path.read_bytes()


def test_running_it_again_changes_no_file(tmp_path: Path) -> None:
    """Programs that run go on reading the same files."""
    env(*NAMED, "--bundle-dir", "d")
    before = {path: path.stat().st_ino for path in (tmp_path / "d").iterdir()}
    env(*NAMED, "--bundle-dir", "d")
    assert {path: path.stat().st_ino for path in (tmp_path / "d").iterdir()} == before


def test_a_relative_directory_is_printed_absolute(tmp_path: Path) -> None:
    """Programs run elsewhere."""
    found = variables(env("-f", "github", *NAMED, "--bundle-dir", "d"))
    assert found["NODE_EXTRA_CA_CERTS"] == str(tmp_path / "d" / "netfw-ca.pem")


def test_on_the_proxys_own_machine(config: Path) -> None:
    """Proxy and CA are the configured ones."""
    assert CliRunner().invoke(netfw, ["ca", "init", "--config", str(config)]).exit_code == 0
    found = variables(env("-f", "github", "--config", str(config), "--system-roots", "roots.pem"))
    assert found["https_proxy"] == "http://127.0.0.1:3128"
    made = certificates_from_pem((config.parent / "ca" / "ca.pem").read_bytes())
    assert certificates_from_pem(Path(found["NODE_EXTRA_CA_CERTS"]).read_bytes()) == made


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ("proxy: {hostname: egress.test}", "http://egress.test:3128"),
        ("listeners: [{name: a, type: HTTP, address: 0.0.0.0, port: 3129}]", "http://127.0.0.1:3129"),
    ],
)
def test_how_the_configured_proxy_is_called(config: Path, changes: str, url: str) -> None:
    """By its name, else by its address; one that listens everywhere is here too."""
    lines = [line for line in config.read_text().splitlines() if line.split(":")[0] != changes.split(":")[0]]
    config.write_text("\n".join([*lines, changes, ""]).replace("mode: ENABLED", "mode: DISABLED"))
    assert variables(env("-f", "github", "--config", str(config)))["https_proxy"] == url


def test_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else is known; nothing at all is wrong usage, in words."""
    result = env()
    assert result.exit_code == 1
    assert "--proxy" in result.output
    monkeypatch.setenv("https_proxy", "http://egress:8080")
    assert "export HTTPS_PROXY=http://egress:8080\n" in env().output


def test_without_a_ca() -> None:
    """The proxy alone, and a word about it; no file is written."""
    result = env("--proxy", "egress")
    assert result.exit_code == 0
    assert "SSL_CERT_FILE" not in result.output
    assert "--ca FILE" in result.output
    assert not Path(".local").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--proxy", "socks5://egress:1080"),
        ("--proxy", "http://u:p@egress:3128"),
        ("--proxy", "egress", "--no-proxy", "10.0.0.0/8"),
        ("--proxy", "egress", "--ca", "nowhere.pem"),
        ("--proxy", "egress", "--ca", "roots.txt"),
        ("--proxy", "egress", "--ca", "ca.pem", "--system-roots", "nowhere.pem"),
        ("--proxy", "egress", "--ca", "ca.pem", "--bundle-dir", "a\nb"),
        ("--proxy", "egress", "--ca", "ca.pem", "--bundle-dir", "ca.pem"),
        ("--proxy", "https://egress:8443", "--format", "maven"),
    ],
)
def test_refusals(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Status 1, in words, and not a line for the shell."""
    (tmp_path / "roots.txt").write_text("no certificate")
    command = [sys.executable, "-m", "netfw.cli.main", "env", *arguments]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(("Error: ", "No CA"))


def test_an_https_proxy_is_not_for_everybody() -> None:
    """Who cannot use it is named, beside what was asked for."""
    result = env("--proxy", "https://egress:8443")
    assert result.exit_code == 0
    assert "export https_proxy=https://egress:8443\n" in result.output
    assert "not for these" in result.output
    assert "wget" in result.output


def test_containers_see_their_own_directory() -> None:
    """The files are written here and read there."""
    result = env("-f", "dockerfile", *NAMED, "--bundle-dir", "d")
    assert 'SSL_CERT_FILE="/etc/netfw-client/netfw-bundle.pem"' in result.output
    assert Path("d/netfw-bundle.pem").exists()
    assert Path("d/netfw-wgetrc").read_text() == "ca_certificate = /etc/netfw-client/netfw-bundle.pem\n"


def test_no_way_back_is_said() -> None:
    """Where a format has none, that is wrong usage with an advice, not an empty output."""
    assert env("--unset").output.startswith("unset http_proxy\n")
    result = env("--unset", "-f", "github")
    assert result.exit_code == 2
    assert "a job of its own" in result.output


def test_run(tmp_path: Path) -> None:
    """The command has the environment, its own options, its own exit status."""
    command = [sys.executable, "-m", "netfw.cli.main", "run", *NAMED, "--", "sh", "-c", 'echo "$https_proxy"; exit 9']
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (9, "http://egress:3128\n")
    assert CliRunner().invoke(netfw, ["run"]).exit_code == 2
    (tmp_path / "not-a-program").write_text("")
    assert CliRunner().invoke(netfw, ["run", *NAMED, "--", str(tmp_path / "not-a-program")]).exit_code == 126
