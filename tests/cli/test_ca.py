"""`netfw ca`."""

import json
import ssl
import stat
from pathlib import Path

from click.testing import CliRunner, Result

from netfw.cli.main import netfw


def run(*arguments: object) -> Result:
    """Run `netfw ca` with these arguments."""
    return CliRunner().invoke(netfw, ["ca", *map(str, arguments)])


def test_init_makes_the_configured_ca(config: Path) -> None:
    """Directories, certificate and key; the key is its owner's alone from its first moment."""
    result = run("init", "--config", config)
    assert result.exit_code == 0, result.output
    key, certificate = config.parent / "ca" / "ca.key", config.parent / "ca" / "ca.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert f"--cacert {certificate} -x http://127.0.0.1:3128 " in result.output
    assert f"netfw env --proxy http://127.0.0.1:3128 --ca {certificate})" in result.output
    context = ssl.create_default_context(cafile=certificate)
    assert len(context.get_ca_certs()) == 1
    assert CliRunner().invoke(netfw, ["check", str(config)]).exit_code == 0


def test_init_leaves_an_existing_ca_alone(config: Path) -> None:
    """Clients trust it."""
    run("init", "--config", config)
    key = config.parent / "ca" / "ca.key"
    before = key.read_bytes()
    result = run("init", "--config", config)
    assert result.exit_code == 1
    assert "exists already" in result.output
    assert key.read_bytes() == before


def test_init_with_one_of_the_two_files_writes_neither(tmp_path: Path) -> None:
    """A key without its certificate could be somebody's only copy."""
    key = tmp_path / "ca.key"
    key.write_text("precious")
    result = run("init", "--certificate", tmp_path / "ca.pem", "--private-key", key)
    assert result.exit_code == 1
    assert key.read_text() == "precious"
    assert not (tmp_path / "ca.pem").exists()


def test_init_goes_through_no_link(tmp_path: Path) -> None:
    """A link, dangling or not, counts as a file that exists."""
    (tmp_path / "ca.key").symlink_to(tmp_path / "elsewhere")
    result = run("init", "--certificate", tmp_path / "ca.pem", "--private-key", tmp_path / "ca.key")
    assert result.exit_code == 1
    assert not (tmp_path / "elsewhere").exists()


def test_force_keeps_the_old_files(config: Path) -> None:
    """Beside the new ones, with the date in their names."""
    run("init", "--config", config)
    directory = config.parent / "ca"
    before = (directory / "ca.key").read_bytes()
    result = run("init", "--config", config, "--force", "--name", "second", "--days", "7")
    assert result.exit_code == 0, result.output
    (kept,) = directory.glob("ca.key.*")
    assert kept.read_bytes() == before
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(run("show", "--config", config, "--json").stdout)["name"] == "CN=second"


def test_show_tells_the_fingerprint_that_openssl_tells(config: Path) -> None:
    """Upper case, with colons."""
    run("init", "--config", config)
    shown = json.loads(run("show", "--config", config, "--json").stdout)
    der = ssl.PEM_cert_to_DER_cert((config.parent / "ca" / "ca.pem").read_text())
    import hashlib

    assert shown["SHA-256"].replace(":", "").lower() == hashlib.sha256(der).hexdigest()
    assert shown["problems"] == []
    assert "valid until" in run("show", "--config", config).output


def test_show_finds_problems(config: Path) -> None:
    """Status 1 and the command that helps."""
    run("init", "--config", config)
    (config.parent / "ca" / "ca.key").chmod(0o644)
    result = run("show", "--config", config)
    assert result.exit_code == 1
    assert "chmod 0600" in result.output


def test_show_pem_is_the_certificate_alone(config: Path) -> None:
    """To be piped to a file; never the key."""
    run("init", "--config", config)
    output = run("show", "--config", config, "--pem").stdout
    assert output == (config.parent / "ca" / "ca.pem").read_text()


def test_show_without_a_ca_names_the_next_step(config: Path) -> None:
    """Which makes one."""
    result = run("show", "--config", config)
    assert (result.exit_code, "netfw ca init" in result.output) == (1, True)


def test_one_place_alone_is_wrong_usage(tmp_path: Path) -> None:
    """Certificate and key go together."""
    assert run("init", "--certificate", tmp_path / "ca.pem").exit_code == 2
