"""`twistd netfwproxy`: its options, and that a bad configuration never starts half a proxy."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netfw.service.options import Options
from netfw.x509.authority import create_root

ROOT = Path(__file__).parents[2]
POLICY = """\
ProxyConfiguration:
  ProxyConfigurationName: test
  DefaultRulePhaseActions: {PreDNS: DENY, PreREQUEST: DENY, PostRESPONSE: ALLOW}
  RuleGroups: []
"""
CONFIGURATION = """\
listeners: [{name: main, type: HTTP, address: 127.0.0.1, port: 0}]
policy: {file: policy.yaml}
log: {path: records.jsonl}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A configuration and a policy that are in order."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "proxy.yaml").write_text(CONFIGURATION)
    return tmp_path


def twistd(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run twistd there, and wait until it has ended."""
    return subprocess.run(
        [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *arguments],
        cwd=directory,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_good_configuration_is_loaded_with_absolute_paths(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the background the process is in / by the time that paths are opened."""
    monkeypatch.chdir(directory)
    options = Options()
    options.parseOptions(["--config", "proxy.yaml"])
    assert options["config"] == directory / "proxy.yaml"
    assert options.configuration.policy.file == directory / "policy.yaml"


def test_without_a_name_the_usual_places_are_looked_at(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """etc/proxy.yaml below the current directory is one of them."""
    (directory / "etc").mkdir()
    for name in ("proxy.yaml", "policy.yaml"):
        (directory / name).rename(directory / "etc" / name)
    monkeypatch.chdir(directory)
    monkeypatch.setattr("netfw.config.places.PLACES", (directory / "nowhere.yaml", Path("etc/proxy.yaml")))
    options = Options()
    options.parseOptions([])
    assert options["config"] == directory / "etc" / "proxy.yaml"


@pytest.mark.parametrize("arguments", [["--config", "nowhere.yaml"], ["--nonsense"], ["proxy.yaml"]])
def test_wrong_options_end_with_status_1(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """And a line on standard error."""
    monkeypatch.chdir(directory)
    with pytest.raises(SystemExit) as caught:
        Options().parseOptions(arguments)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("twistd netfwproxy: ")


@pytest.mark.parametrize("background", [False, True])
def test_a_bad_configuration_starts_nothing(directory: Path, background: bool) -> None:
    """Every problem on standard error, status 1, no pid file, no log, no record."""
    with open(directory / "proxy.yaml", "a") as file:
        file.write("workers: many\nlimts: {}\n")
    before = sorted(directory.iterdir())
    ended = twistd(directory, *([] if background else ["-n"]), "netfwproxy", "--config", "proxy.yaml")
    assert ended.returncode == 1
    assert "proxy.yaml:4: workers: 'many' is not a number of processes" in ended.stderr
    assert "proxy.yaml:5: limts: unknown setting; did you mean limits?" in ended.stderr
    assert ended.stdout == ""
    assert sorted(directory.iterdir()) == before


def test_a_bad_policy_starts_nothing(directory: Path) -> None:
    """The rules are checked before the start too."""
    (directory / "policy.yaml").write_text(POLICY.replace("[]", "[nowhere]"))
    ended = twistd(directory, "-n", "netfwproxy", "--config", "proxy.yaml")
    assert ended.returncode == 1
    assert "policy.yaml:4: ProxyConfiguration.RuleGroups[0]" in ended.stderr


def test_records_on_standard_output_need_the_foreground(directory: Path) -> None:
    """In the background there is no standard output."""
    (directory / "proxy.yaml").write_text(CONFIGURATION.replace("{path: records.jsonl}", "{stdout: true}"))
    ended = twistd(directory, "netfwproxy", "--config", "proxy.yaml")
    assert ended.returncode == 1
    assert "start with twistd -n" in ended.stderr


def test_help_teaches(directory: Path) -> None:
    """With lines that can be typed, each unbroken."""
    ended = twistd(directory, "netfwproxy", "--help")
    assert ended.returncode == 0
    assert "\n  twistd -n netfwproxy --config etc/proxy.yaml\n" in ended.stdout
    assert "netfw check" in ended.stdout


def test_twistd_lists_the_proxy(directory: Path) -> None:
    """By the name that people type."""
    ended = twistd(directory, "--help")
    assert "netfwproxy" in ended.stdout
    assert "An explicit egress proxy" in ended.stdout


def test_the_plugin_is_listed_when_netfw_is_broken(directory: Path, tmp_path: Path) -> None:
    """It imports nothing of netfw, so other plugins still work."""
    plugins = tmp_path / "apart" / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "netfwproxy_plugin.py").write_bytes((ROOT / "twisted/plugins/netfwproxy_plugin.py").read_bytes())
    (tmp_path / "apart" / "netfw.py").write_text("raise ImportError('broken')\n")
    ended = subprocess.run(
        [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--help"],
        cwd=directory,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(tmp_path / "apart")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0
    assert "netfwproxy" in ended.stdout
    assert "broken" not in ended.stderr


def test_a_ca_that_is_no_pair_starts_nothing(directory: Path) -> None:
    """What the CA's files hold is checked before the start too."""
    certificate, _ = create_root("one", datetime.now(UTC), 30)
    _, key = create_root("two", datetime.now(UTC), 30)
    (directory / "ca.pem").write_bytes(certificate)
    (directory / "ca.key").write_bytes(key)
    (directory / "ca.key").chmod(0o600)
    with open(directory / "proxy.yaml", "a") as file:
        file.write("tls_intercept: {mode: ENABLED, ca: {certificate: ca.pem, private_key: ca.key}}\n")
    ended = twistd(directory, "-n", "netfwproxy", "--config", "proxy.yaml")
    assert ended.returncode == 1
    assert "tls_intercept.ca: " in ended.stderr
