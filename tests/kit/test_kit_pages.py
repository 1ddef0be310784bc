"""The listener's own pages: their contents, and that the script does what `netfw env` does."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from netfw.kit.pages import pages, proxy_pac
from netfw.kit.setting import DEFAULT_NO_PROXY, ProxyAddress, Setting, TrustFiles
from netfw.kit.trust_store import SYSTEM_ROOTS, der_certificates
from netfw.kit.variables import VARIABLES, assignments
from netfw.testing.pki import TestAuthority
from netfw.x509.reading import fingerprint

PLAIN = ProxyAddress("http", "egress.test", 3128)
TLS = ProxyAddress("https", "egress.test", 8443)
CA = TestAuthority("Page CA")
DUMP = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"


def run_script(script: bytes, directory: Path, after: str, **environment: str) -> str:
    """What a POSIX shell prints that takes the script's output and then runs `after`."""
    directory.mkdir(exist_ok=True)
    path = directory / "setup.sh"
    path.write_bytes(script)
    shell = "dash" if shutil.which("dash") else "sh"
    done = subprocess.run(
        [shell, "-c", f'out=$({shell} "$0" $ARGS) || exit 1; eval "$out"\n{after}', str(path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "ARGS": "", **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["plain", "it's $HOME `odd` \\"])
def test_the_script_sets_what_env_sets(tmp_path: Path, name: str) -> None:
    """The same variables with the same values, in any directory; Java's but for the name of its store."""
    script = pages("netfw", (PLAIN,), CA.certificate_pem)["/setup.sh"].content
    directory = tmp_path / name
    found = json.loads(run_script(script, tmp_path / "home", DUMP, NETFW_DIR=str(directory)))
    meant = dict(assignments(Setting(PLAIN, DEFAULT_NO_PROXY, TrustFiles("/D"))))
    meant.pop("JAVA_TOOL_OPTIONS")
    for variable, value in meant.items():
        assert found[variable] == value.replace("/D/", f"{directory}/"), variable
    assert found["JAVA_TOOL_OPTIONS"].startswith("-Dhttp.proxyHost=egress.test ")
    assert (directory / "netfw-ca.pem").read_bytes() == CA.certificate_pem
    bundle = (directory / "netfw-bundle.pem").read_bytes()
    assert bundle.startswith(CA.certificate_pem)
    if any(os.path.exists(place) for place in SYSTEM_ROOTS):
        assert bundle.count(b"BEGIN CERTIFICATE") > 10
    assert f"ca_certificate = {directory}/netfw-bundle.pem" in (directory / "netfw-wgetrc").read_text()


def test_the_script_makes_javas_store(tmp_path: Path) -> None:
    """Java's own roots and the CA; the options name it."""
    if shutil.which("keytool") is None:
        pytest.skip("program missing: keytool")
    script = pages("netfw", (PLAIN,), CA.certificate_pem)["/setup.sh"].content
    options = run_script(script, tmp_path, 'echo "$JAVA_TOOL_OPTIONS"', NETFW_DIR=str(tmp_path / "d"))
    store = str(tmp_path / "d" / "netfw-trust.store")
    assert f"-Djavax.net.ssl.trustStore={store} " in options
    done = subprocess.run(
        ["keytool", "-list", "-keystore", store, "-storepass", "changeit"], capture_output=True, text=True, check=True
    )
    assert "netfw-proxy" in done.stdout
    assert done.stdout.count("trustedCertEntry") > 1


def test_the_scripts_way_back(tmp_path: Path) -> None:
    """Nothing of it is left in the environment."""
    script = pages("netfw", (PLAIN,), CA.certificate_pem)["/setup.sh"].content
    found = json.loads(run_script(script, tmp_path, DUMP, ARGS="--unset", https_proxy="x", SSL_CERT_FILE="y"))
    assert not {variable.name for variable in VARIABLES} & set(found)


def test_the_script_without_interception(tmp_path: Path) -> None:
    """It writes no file and speaks of no trust."""
    script = pages("netfw", (PLAIN,), None)["/setup.sh"].content
    found = json.loads(run_script(script, tmp_path, DUMP))
    assert found["https_proxy"] == PLAIN.url
    assert "SSL_CERT_FILE" not in found
    assert [path.name for path in tmp_path.iterdir()] == ["setup.sh"]


def test_the_script_fetches_nothing() -> None:
    """What was read is what runs."""
    script = pages("netfw", (PLAIN,), CA.certificate_pem)["/setup.sh"].content.decode()
    code = [line for line in script.splitlines() if not line.strip().startswith(("#", "say "))]
    assert not [line for line in code if re.search(r"\b(curl|wget|nc|sudo)\b|https?:", line)]
    assert fingerprint(CA.certificate) in script


def test_pac() -> None:
    """The listeners in their order, and no way round them unless that is asked for."""
    assert proxy_pac((PLAIN, TLS)) == (
        'function FindProxyForURL(url, host) {\n  return "PROXY egress.test:3128; HTTPS egress.test:8443";\n}\n'
    )
    assert proxy_pac((ProxyAddress("http", "2001:db8::1", 1),), direct=True).count("PROXY [2001:db8::1]:1; DIRECT") == 1


def test_a_browsers_reader_runs_the_pac(tmp_path: Path) -> None:
    """It is JavaScript."""
    if shutil.which("node") is None:
        pytest.skip("program missing: node")
    (tmp_path / "proxy.js").write_text(proxy_pac((PLAIN,)) + 'console.log(FindProxyForURL("http://a/", "a"));')
    done = subprocess.run(["node", str(tmp_path / "proxy.js")], capture_output=True, text=True, check=True)
    assert done.stdout == "PROXY egress.test:3128\n"


def test_the_front_page_shows_what_there_is() -> None:
    """The fingerprint to compare, a link to each page that exists, and names as text."""
    front = pages("a<b>", (PLAIN,), CA.certificate_pem)["/"].content.decode()
    assert hashlib.sha256(der_certificates(CA.certificate_pem)[0]).hexdigest() in front
    assert "a&lt;b&gt;" in front
    for path in ("/ca.pem", "/ca.der", "/ca.p12", "/setup.sh", "/proxy.pac"):
        assert f'href="{path}"' in front
    assert "/ca.pem" not in pages("a", (PLAIN,), None)["/"].content.decode()
    assert "/setup.sh" not in pages("a", (), CA.certificate_pem)["/"].content.decode()


def test_der_is_the_roots_side_of_a_chain() -> None:
    """A subordinate is trusted through its root."""
    root = TestAuthority("Root")
    subordinate = root.subordinate()
    found = pages("a", (PLAIN,), subordinate.certificate_pem + root.certificate_pem)
    assert found["/ca.der"].content == der_certificates(root.certificate_pem)[0]
    assert found["/ca.pem"].content == subordinate.certificate_pem + root.certificate_pem
