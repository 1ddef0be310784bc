"""The Debian package's own files: what they say agrees with what the program does. Building it is `make deb`."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from netfw.cli import man_page as command_page
from netfw.cli.main import VERBS
from netfw.config.load import load_config
from netfw.config.man_page import man_page as configuration_page

ROOT = Path(__file__).parents[1]
DEBIAN = ROOT / "debian"


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration that the package installs, beside the policy."""
    directory = tmp_path_factory.mktemp("etc")
    printed = subprocess.run(
        [sys.executable, str(DEBIAN / "packaged-configuration.py"), str(ROOT / "etc" / "proxy.yaml")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (directory / "proxy.yaml").write_text(printed)
    shutil.copy(ROOT / "etc" / "policy.yaml", directory)
    return directory / "proxy.yaml"


def unit(name: str) -> dict[str, list[str]]:
    """A unit's settings; one may stand there several times."""
    found: dict[str, list[str]] = {}
    for line in (DEBIAN / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_packaged_configuration_loads_and_intercepts_nothing(packaged: Path) -> None:
    """Interception needs a CA that the operator has made; everything else is as in etc/proxy.yaml."""
    configuration = load_config(packaged, with_files=False)
    assert not configuration.tls_intercept.enabled
    assert configuration.tls_intercept.ca_private_key == Path("/var/lib/netfw/ca/ca.key")
    assert configuration.log.path == Path("/var/log/netfw/records.jsonl")
    assert configuration.admin.socket == Path("/run/netfw/admin.sock")
    assert str(configuration.listeners[0].address) == "127.0.0.1"


def test_the_socket_unit_has_the_addresses_of_the_packaged_configuration(packaged: Path) -> None:
    """Otherwise the proxy would refuse the sockets."""
    configuration = load_config(packaged, with_files=False)
    listener = configuration.listeners[0]
    admin = configuration.admin
    wanted = [f"{listener.address}:{listener.port}", str(admin.socket), f"{admin.address}:{admin.port}"]
    assert unit("netfw.socket")["ListenStream"] == wanted


@pytest.mark.parametrize("name", ["netfw.service", "netfw@.service"])
def test_the_units_are_exposed_as_little_as_was_said(name: str, tmp_path: Path) -> None:
    """`systemd-analyze security` gives 2.0 at most. Nothing in them forbids what cffi needs."""
    program = shutil.which("systemd-analyze", path="/usr/bin:/bin")
    if program is None:
        pytest.skip("program missing: systemd-analyze")
    # It takes no template, only an instance.
    instance = tmp_path / name.replace("@", "@bridge")
    shutil.copy(DEBIAN / name, instance)
    command = [program, "security", "--offline=true", "--threshold=20", str(instance)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8"})
    assert ended.returncode == 0, ended.stdout[-300:] + ended.stderr
    found = re.search(rf"exposure level for {instance.name}: ([0-9.]+)", ended.stdout)
    assert found is not None
    assert float(found[1]) <= 2.0
    settings = unit(name)
    assert "MemoryDenyWriteExecute" not in settings
    assert settings["CapabilityBoundingSet"] == settings["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    assert settings["Type"] == ["notify"]
    assert settings["User"] == ["netfw"]


def test_the_bridge_is_the_same_service_on_the_same_sockets() -> None:
    """What is said of one of them holds for the other; it is started by hand and never at boot."""
    service, bridge = unit("netfw.service"), unit("netfw@.service")
    assert bridge.pop("Sockets") == ["netfw.socket"]
    assert bridge.pop("Description") != service.pop("Description")
    assert service.pop("WantedBy") == ["multi-user.target"]
    assert bridge == service


def test_the_unit_may_write_what_the_package_makes(packaged: Path) -> None:
    """The directories of tmpfiles.d, and those that the configuration writes into."""
    writable = unit("netfw.service")["ReadWritePaths"][0].split()
    made = [line.split()[1] for line in (DEBIAN / "netfw.tmpfiles").read_text().splitlines() if line.startswith("d ")]
    assert sorted(writable) == sorted(made)
    configuration = load_config(packaged, with_files=False)
    assert configuration.log.path is not None
    assert configuration.admin.socket is not None
    assert {str(configuration.log.path.parent), str(configuration.admin.socket.parent)} <= set(writable)


def test_the_package_has_the_programs_version() -> None:
    """One number, in three places that cannot read one another."""
    from netfw import __version__

    assert (DEBIAN / "changelog").read_text().startswith(f"netfw ({__version__}) ")


def test_every_verb_is_in_the_man_page() -> None:
    """It is printed from the commands, each with its options."""
    page = command_page.man_page()
    for verb in VERBS:
        assert f".SS netfw {verb}" in page.replace("\\-", "-")


def test_every_section_is_in_the_man_page() -> None:
    """In force or commented out, each section of the configuration has a heading."""
    page = configuration_page((ROOT / "etc" / "proxy.yaml").read_text())
    for name in ("PROXY", "LISTENERS", "TLS_INTERCEPT", "POLICY", "DNS", "GUARD", "LIMITS", "TIMEOUTS", "ADMIN"):
        assert f"\n.SH {name}\n" in page


@pytest.mark.parametrize("page", ["netfw.1", "netfw-proxy.yaml.5", "netfwproxy.8"])
def test_man_has_nothing_to_complain_of(page: str, tmp_path: Path) -> None:
    """As Debian's own check runs it."""
    program = shutil.which("groff", path="/usr/bin:/bin")
    if program is None:
        pytest.skip("program missing: groff")
    text = {
        "netfw.1": command_page.man_page,
        "netfw-proxy.yaml.5": lambda: configuration_page((ROOT / "etc" / "proxy.yaml").read_text()),
        "netfwproxy.8": lambda: (ROOT / "docs" / "man" / "netfwproxy.8").read_text(),
    }[page]()
    (tmp_path / page).write_text(text)
    command = [program, "-man", "-Tutf8", "-wall", "-Kutf8", str(tmp_path / page)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert ended.stderr == ""
    assert "netfw" in ended.stdout


def test_units_are_written_as_systemd_reads_them() -> None:
    """Sections, and keys of one spelling."""
    for name in ("netfw.service", "netfw.socket"):
        parser = configparser.RawConfigParser(strict=False)
        parser.read(DEBIAN / name)
        assert {"Unit", "Install"} <= set(parser.sections())
