"""What is printed for each shell and file: golden texts, and what the readers themselves make of odd values.

`python tests/kit/test_kit_formats.py` writes the golden texts anew; look at the difference before you commit it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from netfw.kit.formats import FORMATS, quote_dotenv, quote_sh
from netfw.kit.setting import ProxyAddress, Setting, SettingError, TrustFiles
from netfw.kit.variables import VARIABLES, assignments

GOLDEN = Path(__file__).parent / "golden"
PLAIN = Setting(ProxyAddress("http", "egress.example.com", 3128), trust=TrustFiles("/opt/netfw"))
ODD = '/tmp/it\'s $HOME `id` \\ "50%" é & more; *'
SOME_ODD = "/tmp/it's $HOME `id` \\ 50% é & more; *"
"""Without double quotes, which some formats cannot have beside single ones."""

DUMP = "import json, os; print(json.dumps(dict(os.environ)))"


def odd(directory: str = SOME_ODD) -> Setting:
    return Setting(ProxyAddress("http", "2001:db8::1", 3128), ("localhost", "::1"), TrustFiles(directory))


@pytest.mark.parametrize("name", FORMATS)
def test_golden(name: str) -> None:
    """Every format prints exactly this."""
    assert FORMATS[name].write(PLAIN) == (GOLDEN / f"{name}.txt").read_text()


def read_by(shell: list[str], script: str) -> dict[str, str]:
    """The environment that a child of this shell has after the script."""
    program = shutil.which(shell[0]) or shell[0]
    python = shutil.which("python3") or "python3"
    done = subprocess.run(
        [program, *shell[1:], f"{script}\n{python} -c '{DUMP}'"],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "shell", [shell for shell in ("sh", "dash", "bash", "zsh", "fish", "pwsh") if shutil.which(shell)]
)
def test_shells_read_back_what_was_meant(shell: str) -> None:
    """Quotes, dollars, backslashes, backquotes, semicolons and stars in a directory's name do nothing else."""
    form = {"fish": "fish", "pwsh": "powershell"}.get(shell, "sh")
    flags = ["-NoProfile", "-Command"] if shell == "pwsh" else ["-c"]
    found = read_by([shell, *flags], FORMATS[form].write(odd()))
    for name, value in assignments(odd()):
        assert found[name] == value


@pytest.mark.parametrize("shell", [shell for shell in ("sh", "fish", "pwsh") if shutil.which(shell)])
def test_the_way_back(shell: str) -> None:
    """After it nothing of the kit is left."""
    form = FORMATS[{"fish": "fish", "pwsh": "powershell"}.get(shell, "sh")]
    flags = ["-NoProfile", "-Command"] if shell == "pwsh" else ["-c"]
    assert form.unset is not None
    found = read_by([shell, *flags], form.write(odd()) + form.unset())
    assert not {variable.name for variable in VARIABLES} & set(found)


@pytest.mark.parametrize("text", ["", "a", "a b", "it's", "$x", "`x`", "\\", '"', "é", "*", "-n", "~"])
def test_sh_quoting(text: str) -> None:
    """Python's reader of shells agrees."""
    assert shlex.split(quote_sh(text)) == [text]
    done = subprocess.run(["sh", "-c", f"printf %s {quote_sh(text)}"], capture_output=True, check=True)
    assert done.stdout.decode() == text


PRINTABLE = st.text(max_size=40).filter(str.isprintable)


@given(text=PRINTABLE)
def test_any_directory_is_read_back(text: str) -> None:
    """Whatever can be printed, by readers of shells, of YAML and of whole lines."""
    directory = "/" + text
    try:
        setting = odd(directory)
        meant = dict(assignments(setting))
    except SettingError:
        assert {"'", '"'} <= set(text)  # Java's options know no way to write both
        return
    words = shlex.split(FORMATS["sh"].write(setting))
    assert dict(word.split("=", 1) for word in words if word != "export") == meant
    assert yaml.safe_load(FORMATS["gitlab"].write(setting))["variables"] == {
        name: value.replace("$", "$$") for name, value in meant.items()
    }
    lines = FORMATS["github"].write(setting).splitlines()
    assert dict(line.split("=", 1) for line in lines) == meant


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\0", "\x7f", "\x85", "\u2028", "\u2029", "\udcff"])
def test_what_could_end_a_line_is_refused(character: str) -> None:
    """Some readers take it for the beginning of another setting."""
    with pytest.raises(SettingError):
        TrustFiles(f"/tmp/a{character}b")


def test_dotenv_is_bare_where_that_is_enough() -> None:
    """Readers without quotes are many; with odd characters there is no way round them."""
    assert quote_dotenv("http://a:1") == "http://a:1"
    assert quote_dotenv("a b") == "'a b'"
    assert quote_dotenv("it's $x") == '"it\'s \\$x"'


def test_yaml_formats_are_read_back() -> None:
    """GitLab doubles dollars; Kubernetes doubles those before a parenthesis."""
    directory = SOME_ODD + " $(x)"
    meant = dict(assignments(odd(directory)))
    gitlab = yaml.safe_load(FORMATS["gitlab"].write(odd(directory)))["variables"]
    assert {name: value.replace("$$", "$") for name, value in gitlab.items()} == meant
    pod = yaml.safe_load(FORMATS["k8s"].write(odd(directory)))["spec"]
    container = pod["containers"][0]
    assert {entry["name"]: entry["value"].replace("$$(", "$(") for entry in container["env"]} == meant
    assert container["volumeMounts"][0]["name"] == pod["volumes"][0]["name"]


def test_github_lines_hold_one_value_each() -> None:
    """A line feed would begin another variable, so a directory cannot have one."""
    pairs = [line.split("=", 1) for line in FORMATS["github"].write(odd()).splitlines()]
    assert [(name, value) for name, value in pairs] == list(assignments(odd()))
    with pytest.raises(SettingError):
        TrustFiles("/tmp/a\nPATH=/tmp")


def test_java_splits_its_options_as_meant(tmp_path: Path) -> None:
    """A JVM gets the store's path in one piece, from the variable and from an argument file."""
    if shutil.which("java") is None:
        pytest.skip("program missing: java")
    directory = "/tmp/it's a store"
    setting = Setting(ProxyAddress("http", "egress", 3128), ("localhost", "a.test"), TrustFiles(directory))
    arguments = tmp_path / "netfw.args"
    arguments.write_text(FORMATS["java"].write(setting))
    options = dict(assignments(setting))["JAVA_TOOL_OPTIONS"]
    for command, more in ((["java"], {"JAVA_TOOL_OPTIONS": options}), (["java", f"@{arguments}"], {})):
        done = subprocess.run(
            [*command, "-XshowSettings:properties", "-version"], env={"PATH": "/usr/bin:/bin", **more},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        shown = [line.strip() for line in done.stderr.splitlines()]
        assert f"javax.net.ssl.trustStore = {directory}/netfw-trust.p12" in shown
        assert "http.nonProxyHosts = localhost|a.test|*.a.test" in shown
        assert "https.proxyHost = egress" in shown
    with pytest.raises(SettingError):
        assignments(Setting(setting.proxy, trust=TrustFiles(ODD)))


def test_apt_reads_its_file(tmp_path: Path) -> None:
    """apt-config shows what was meant."""
    if shutil.which("apt-config") is None:
        pytest.skip("program missing: apt-config")
    (tmp_path / "apt.conf").write_text(FORMATS["apt"].write(PLAIN))
    done = subprocess.run(
        ["apt-config", "dump"], env={"PATH": "/usr/bin:/bin", "APT_CONFIG": str(tmp_path / "apt.conf")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 'Acquire::https::Proxy "http://egress.example.com:3128";' in done.stdout
    assert 'Acquire::https::CAInfo "/opt/netfw/netfw-bundle.pem";' in done.stdout
    assert 'Acquire::http::Proxy::localhost "DIRECT";' in done.stdout


def test_an_https_proxy_is_kept_from_java() -> None:
    """Java would speak plain HTTP to it."""
    setting = Setting(ProxyAddress("https", "egress", 8443))
    assert "JAVA_TOOL_OPTIONS" not in dict(assignments(setting))
    assert FORMATS["java"].write(setting) == ""
    with pytest.raises(SettingError):
        FORMATS["maven"].write(setting)


def test_without_a_ca_only_the_proxy_is_told_of() -> None:
    """No variable of trust points at a file that is not there."""
    names = dict(assignments(Setting(ProxyAddress("http", "egress", 3128))))
    assert "SSL_CERT_FILE" not in names
    assert "WGETRC" not in names
    assert "trustStore" not in names["JAVA_TOOL_OPTIONS"]


if __name__ == "__main__":
    for form in FORMATS.values():
        (GOLDEN / f"{form.name}.txt").write_text(form.write(PLAIN))
