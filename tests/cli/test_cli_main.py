"""The `netfw` command: its verbs, its help, its exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from netfw.cli.main import VERBS, main, netfw
from netfw.http1 import reader

ROOT = Path(__file__).parents[2]


def test_help_names_every_verb_and_imports_none() -> None:
    """So that help costs nothing and a broken verb breaks no other."""
    code = (
        "import sys\n"
        "from netfw.cli.main import VERBS, netfw\n"
        "netfw(['--help'], standalone_mode=False)\n"
        "loaded = [module for module, _, _ in VERBS.values() if module in sys.modules]\n"
        "assert not loaded, loaded\n"
        "assert 'twisted' not in sys.modules\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for verb in VERBS:
        assert f"\n  {verb} " in ended.stdout
    assert "netfw check && netfw reload" in ended.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_teaches(verb: str) -> None:
    """Its help says more than its options, in a line that fits a list too."""
    result = CliRunner().invoke(netfw, [verb, "--help"])
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) > 5
    assert VERBS[verb][2].endswith(".")
    assert len(VERBS[verb][2]) < 80


def test_a_verb_that_cannot_be_imported_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the others still work."""
    monkeypatch.setitem(VERBS, "check", ("netfw.cli.nowhere", "check_command", "Check."))
    result = CliRunner().invoke(netfw, ["check"])
    assert (result.exit_code, "is not part of this installation" in result.output) == (1, True)
    assert CliRunner().invoke(netfw, ["version"]).exit_code == 0


def test_an_unknown_verb_is_wrong_usage() -> None:
    """Status 2."""
    assert CliRunner().invoke(netfw, ["nonsense"]).exit_code == 2


def test_a_refused_configuration_is_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the verb that needed it."""
    monkeypatch.setattr(sys, "argv", ["netfw", "status", "--config", str(tmp_path / "nowhere.yaml")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert "nowhere.yaml: cannot be read" in capsys.readouterr().err


def test_version_names_what_netfw_stands_on() -> None:
    """For a bug report."""
    versions = json.loads(CliRunner().invoke(netfw, ["version", "--json"]).stdout)
    assert {"netfw", "Python", "OpenSSL", "Twisted", "pyOpenSSL", "cryptography"} <= set(versions)
    assert versions["OpenSSL"].startswith("OpenSSL ")
    assert versions["data path"] == ("plain Python" if reader.__file__.endswith(".py") else "compiled")
