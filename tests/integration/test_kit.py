"""What `netfw env`, `netfw run`, `/setup.sh` and `netfw doctor` give to real client programs works with them.

Every program gets through interception with nothing but the variables, read by a shell from what was printed; the
directory of the trust files has a space and more in its name.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netfw.kit.variables import VARIABLES
from netfw.testing.client_programs import NODE_MODULES
from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ROOT, ProxyProcess

SECONDS = 60
PYTHON = sys.executable
COMMIT = "1234567890123456789012345678901234567890"

URLLIB = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode())"
REQUESTS = "import sys, requests; print(requests.get(sys.argv[1], timeout=30).text)"
HTTPX = "import sys, httpx; print(httpx.get(sys.argv[1], timeout=30).text)"
AIOHTTP = """
import asyncio, sys, aiohttp
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session, session.get(sys.argv[1]) as response:
        print(await response.text())
asyncio.run(main())
"""
UNDICI = """
const {fetch, EnvHttpProxyAgent, setGlobalDispatcher} = require('undici');
setGlobalDispatcher(new EnvHttpProxyAgent());
fetch(process.argv[2]).then(async (response) => { console.log(await response.text()); });
"""
JAVA = """
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

public class Fetch {
    public static void main(String[] arguments) throws Exception {
        URI uri = URI.create(arguments[0]);
        System.out.println(new String(uri.toURL().openStream().readAllBytes()));
        HttpRequest request = HttpRequest.newBuilder(uri).version(HttpClient.Version.HTTP_1_1).build();
        System.out.println(HttpClient.newHttpClient().send(request, BodyHandlers.ofString()).body());
    }
}
"""
S_CLIENT = """
printf 'GET /echo?kit HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n' "$0" |
    openssl s_client -quiet -verify_return_error -proxy "${https_proxy#http://}" -connect "$0"
"""
ECHOED = '"target": "/echo?kit"'

# name: (command, with the URL at its end; what its output has; the path; what it needs)
TOOLS: dict[str, tuple[list[str], str, str, list[str]]] = {
    "curl": (["curl", "-sS", "--max-time", "30"], ECHOED, "/echo?kit", ["curl"]),
    "wget": (["wget", "-nv", "-O", "-", "--tries=1", "--timeout=30"], ECHOED, "/echo?kit", ["wget"]),
    "git": (["git", "ls-remote"], COMMIT, "/kit.git", ["git"]),
    "pip": (
        [PYTHON, "-m", "pip", "--disable-pip-version-check", "--retries", "0", "index", "versions", "kitwheel",
         "--index-url"],
        "1.2.3", "/simple/", ["python:pip"],
    ),
    "urllib": ([PYTHON, "-c", URLLIB], ECHOED, "/echo?kit", []),
    "requests": ([PYTHON, "-c", REQUESTS], ECHOED, "/echo?kit", ["python:requests"]),
    "httpx": ([PYTHON, "-c", HTTPX], ECHOED, "/echo?kit", ["python:httpx"]),
    "aiohttp": ([PYTHON, "-c", AIOHTTP], ECHOED, "/echo?kit", ["python:aiohttp"]),
    "undici": (["node", "undici.cjs"], ECHOED, "/echo?kit", ["node", "node:undici"]),
    "java": (["java", "-XX:TieredStopAtLevel=1", "Fetch.java"], ECHOED, "/echo?kit", ["java", "javac"]),
    "openssl": (["sh", "-c", S_CLIENT], ECHOED, "", ["openssl"]),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def served(tls_origin: HttpOrigin) -> Iterator[None]:
    """What git and pip ask for: an advertisement of one branch, an index page with one version."""
    tls_origin.serve_file("/kit.git/info/refs", f"{COMMIT}\trefs/heads/main\n".encode(), "text/plain")
    page = b'<!DOCTYPE html><html><body><a href="/files/kitwheel-1.2.3-py3-none-any.whl">kitwheel</a></body></html>'
    tls_origin.serve_file("/simple/kitwheel/", page, "text/html")
    yield
    tls_origin.files.clear()


def environment(home: Path) -> dict[str, str]:
    """Nothing of the machine's own settings."""
    return {
        "PATH": f"{Path(PYTHON).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": str(home),
        "PYTHONPATH": str(ROOT),
        "NODE_PATH": str(NODE_MODULES),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "PIP_CONFIG_FILE": "/dev/null",
    }


def netfw(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [PYTHON, "-m", "netfw.cli.main", *arguments], env={**environment(home), **more}, cwd=home,
        capture_output=True, text=True, timeout=4 * SECONDS, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory, intercepting: ProxyProcess, certificates: Any) -> Path:
    """A home with what `netfw env --format sh` printed in `env.sh`."""
    home = tmp_path_factory.mktemp("kit")
    done = netfw(
        home, "env", "--format", "sh", "--proxy", f"http://127.0.0.1:{intercepting.port()}",
        "--ca", str(certificates.intercept[0]), "--bundle-dir", str(home / "it's $a dir"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (home / "env.sh").write_text(done.stdout)
    (home / "undici.cjs").write_text(UNDICI)
    (home / "Fetch.java").write_text(JAVA)
    return home


def need(needs: list[str]) -> None:
    """Skip where something is missing."""
    import importlib.util

    for entry in needs:
        kind, _, name = entry.rpartition(":")
        there = {
            "": lambda name: shutil.which(name) is not None,
            "python": lambda name: importlib.util.find_spec(name) is not None,
            "node": lambda name: (NODE_MODULES / name).is_dir(),
        }[kind](name)
        if not there:
            pytest.skip(f"program missing: {entry}")


def url_of(tool: str, origin: HttpOrigin) -> str:
    """What the tool is given at the end of its command."""
    path = TOOLS[tool][2]
    return f"https://origin.test:{origin.port}{path}" if path else f"origin.test:{origin.port}"


def run_sourced(home: Path, file: str, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    """A command in a shell that has read `file`."""
    return subprocess.run(
        ["sh", "-c", '. "./$0" && exec "$@"', file, *command], env={**environment(home), **more}, cwd=home,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("tool", TOOLS)
def test_env_is_all_that_a_tool_needs(
    tool: str, printed: Path, intercepting: ProxyProcess, tls_origin: HttpOrigin
) -> None:
    """With what was printed and nothing else it gets the origin's answer, through interception."""
    command, proof, _, needs = TOOLS[tool]
    need(needs)
    since = len(intercepting.records())
    done = run_sourced(printed, "env.sh", [*command, url_of(tool, tls_origin)])
    assert done.returncode == 0, done.stdout
    assert proof in done.stdout
    record = intercepting.wait_for_records(lambda record: record["kind"] == "exchange", since=since)[0]
    assert record["dest_domain"] == "origin.test."
    if tool == "java":
        assert done.stdout.count(ECHOED) == 2  # both of its clients


def test_apt_with_its_own_format(
    printed: Path, intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """sudo drops variables, so apt has a file of settings: its https method fetches with nothing else."""
    helper = Path("/usr/lib/apt/apt-helper")
    if not helper.exists():
        pytest.skip("program missing: apt-helper")
    done = netfw(
        printed, "env", "--format", "apt", "--proxy", f"http://127.0.0.1:{intercepting.port()}",
        "--ca", str(certificates.intercept[0]), "--bundle-dir", str(printed / "apt dir"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Whoever runs the tests as root: apt's own user may not look into the tests' directory.
    (printed / "apt.conf").write_text(done.stdout + 'APT::Sandbox::User "root";\n')
    since = len(intercepting.records())
    got = printed / "apt-got"
    fetched = subprocess.run(
        [str(helper), "download-file", f"https://origin.test:{tls_origin.port}/echo?kit", str(got)],
        env={**environment(printed), "APT_CONFIG": str(printed / "apt.conf")}, cwd=printed,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    assert ECHOED in got.read_text()
    record = intercepting.wait_for_records(lambda record: record["kind"] == "exchange", since=since)[0]
    assert "APT" in record["user_agent"]


def test_java_with_its_own_format(
    printed: Path, intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """A file of arguments, and no variable at all."""
    need(["java", "javac"])
    done = netfw(
        printed, "env", "--format", "java", "--proxy", f"http://127.0.0.1:{intercepting.port()}",
        "--ca", str(certificates.intercept[0]), "--bundle-dir", str(printed / "java-dir"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (printed / "netfw.args").write_text(done.stdout)
    (printed / "nothing.sh").write_text("")
    command = ["java", "@netfw.args", "-XX:TieredStopAtLevel=1", "Fetch.java", url_of("java", tls_origin)]
    found = run_sourced(printed, "nothing.sh", command)
    assert found.returncode == 0, found.stdout
    assert found.stdout.count(ECHOED) == 2


@pytest.mark.parametrize("tool", ["curl", "requests", "wget"])
def test_without_it_they_do_not(tool: str, printed: Path, tls_origin: HttpOrigin) -> None:
    """So that the test above says something."""
    command, proof, _, needs = TOOLS[tool]
    need(needs)
    (printed / "empty.sh").write_text("")
    done = run_sourced(printed, "empty.sh", [*command, url_of(tool, tls_origin)])
    assert done.returncode != 0
    assert proof not in done.stdout


def test_unset_takes_it_back(printed: Path, intercepting: ProxyProcess) -> None:
    """After it the environment is as it was."""
    done = netfw(printed, "env", "--unset")
    (printed / "unset.sh").write_text((printed / "env.sh").read_text() + done.stdout)
    found = run_sourced(printed, "unset.sh", ["env"])
    names = {line.split("=")[0] for line in found.stdout.splitlines()}
    assert not {variable.name for variable in VARIABLES} & names


@pytest.mark.parametrize("tool", ["curl", "httpx", "java"])
def test_setup_script_of_the_listener(
    tool: str, tmp_path: Path, intercepting: ProxyProcess, tls_origin: HttpOrigin
) -> None:
    """A client without netfw fetches it, runs it, and its programs work."""
    command, proof, _, needs = TOOLS[tool]
    need([*needs, *(["keytool"] if tool == "java" else [])])
    connection = http.client.HTTPConnection("127.0.0.1", intercepting.port(), timeout=30)
    connection.request("GET", "/setup.sh", headers={"Host": "evil.test", "Connection": "close"})
    response = connection.getresponse()
    assert response.status == 200
    script = response.read()
    connection.close()
    assert b"evil" not in script
    (tmp_path / "setup.sh").write_bytes(script)
    (tmp_path / "Fetch.java").write_text(JAVA)
    (tmp_path / "all.sh").write_text('eval "$(sh ./setup.sh)"\n')
    done = run_sourced(tmp_path, "all.sh", [*command, url_of(tool, tls_origin)])
    assert done.returncode == 0, done.stdout
    assert proof in done.stdout


def test_pages_do_not_reflect_the_request(intercepting: ProxyProcess) -> None:
    """Whatever Host says, every page is the same."""
    for host in ("127.0.0.1", "evil.test", "evil.test:3128"):
        connection = http.client.HTTPConnection("127.0.0.1", intercepting.port(), timeout=30)
        connection.request("GET", "/proxy.pac", headers={"Host": host})
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("Content-Type") == "application/x-ns-proxy-autoconfig"
        assert f'return "PROXY 127.0.0.1:{intercepting.port()}; HTTPS 127.0.0.1:'.encode() in response.read()
        connection.close()


def test_run_passes_the_exit_status_on(printed: Path, intercepting: ProxyProcess, tls_origin: HttpOrigin) -> None:
    """The command's own status, output and environment."""
    kit = ["--proxy", f"127.0.0.1:{intercepting.port()}", "--bundle-dir", str(printed / "run"),
           "--ca-fingerprint", fingerprint_of(intercepting)]  # fmt: skip
    script = 'curl -sS "$1"; exit 7'
    done = netfw(printed, "run", *kit, "--", "sh", "-c", script, "sh", url_of("curl", tls_origin))
    assert done.returncode == 7, done.stderr
    assert ECHOED in done.stdout
    assert netfw(printed, "run", *kit, "--", "sh", "-c", "kill -TERM $$").returncode == -15
    assert netfw(printed, "run", *kit, "--", "no-such-program").returncode == 127


def fingerprint_of(proxy: ProxyProcess) -> str:
    """Of its CA, with colons and in capitals, as openssl prints it."""
    certificate = proxy.config["tls_intercept"]["ca"]["certificate"]
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", certificate],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip().split("=")[1]


def test_another_fingerprint_is_refused(printed: Path, intercepting: ProxyProcess) -> None:
    """Nothing is printed, and nothing is trusted."""
    done = netfw(
        printed, "env", "--proxy", f"127.0.0.1:{intercepting.port()}", "--ca-fingerprint", "00" * 32,
        "--bundle-dir", str(printed / "never"),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert "another fingerprint" in done.stderr
    assert not (printed / "never").exists()


def doctor(home: Path, proxy: ProxyProcess, *arguments: str, scheme: str = "http") -> tuple[int, dict[str, Any]]:
    """Its exit status and what it says."""
    port = proxy.port("tls" if scheme == "https" else "plain")
    done = netfw(home, "doctor", "--json", "--proxy", f"{scheme}://127.0.0.1:{port}", *arguments)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def rows(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The tools' marks, without those that are not installed."""
    return {
        tool["name"]: (tool["proxy"], tool["trust"])
        for tool in found["tools"]
        if not tool["note"].startswith("not installed")
    }


def states(found: dict[str, Any]) -> dict[str, str]:
    """The checks' states."""
    return {check["name"]: check["state"] for check in found["checks"]}


def test_doctor_finds_all_in_order(
    printed: Path, intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """Every tool but an old Node: it is asked whether it went through the proxy, not only whether it got there."""
    before, since = json.loads(intercepting.admin("/pins")[1])["pins"], len(intercepting.records())
    tools = [argument for tool in ("curl", "wget", "git", "python", "java", "openssl") for argument in ("--tool", tool)]
    status, found = doctor(
        printed,
        intercepting,
        "--ca",
        str(certificates.intercept[0]),
        *tools,
        f"https://origin.test:{tls_origin.port}/echo",
    )
    assert status == 0, found
    assert set(rows(found).values()) == {("ok", "ok")}
    assert states(found)["CA served"] == "ok"
    assert states(found)["direct way out"] == "skip"
    # None left in a way that looks like pinning: openssl asks for something too.
    intercepting.wait_for_record(lambda record: record.get("http_method") == "HEAD", since=since)
    assert json.loads(intercepting.admin("/pins")[1])["pins"] == before


def test_doctor_finds_what_is_wrong(
    printed: Path, intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """A CA that is not the proxy's, tools that do not trust it, and a way round."""
    status, found = doctor(
        printed, intercepting, "--ca", str(certificates.listener_ca), "--direct", f"127.0.0.1:{tls_origin.port}",
        "--tool", "curl", "--tool", "wget", "--tool", "git", "--tool", "python", "--tool", "openssl",
        f"https://origin.test:{tls_origin.port}/echo",
    )  # fmt: skip
    assert status == 1
    assert set(rows(found).values()) == {("ok", "NO")}
    assert states(found)["CA served"] == "fail"
    assert states(found)[f"direct way to 127.0.0.1 port {tls_origin.port}"] == "fail"


def test_doctor_sees_who_does_not_ask_the_proxy(printed: Path, intercepting: ProxyProcess, certificates: Any) -> None:
    """Asked for the proxy's own page, a program that goes there directly gets it as well: that is no proof."""
    fake = printed / "bin"
    fake.mkdir()
    (fake / "curl").write_text(
        '#!/bin/sh\nfor url; do :; done\nexec /usr/bin/curl --noproxy "*" -sS -o /dev/null "$url"\n'
    )
    (fake / "curl").chmod(0o755)
    home_path = f"{fake}:{environment(printed)['PATH']}"
    done = netfw(
        printed, "doctor", "--json", "--proxy", f"127.0.0.1:{intercepting.port()}", "--ca",
        str(certificates.intercept[0]), "--tool", "curl", "--tool", "python", PATH=home_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert rows(json.loads(done.stdout)) == {"curl": ("NO", "-"), "python": ("ok", "-")}


def test_doctor_says_what_the_proxy_answered(printed: Path, intercepting: ProxyProcess, certificates: Any) -> None:
    """A denial is no fault of the client's."""
    _, found = doctor(
        printed, intercepting, "--ca", str(certificates.intercept[0]), "--tool", "curl", "http://denied.test/"
    )
    assert rows(found) == {"curl": ("ok", "-")}
    assert "403" in found["tools"][0]["note"]


def test_doctor_over_an_https_listener(
    printed: Path, intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """Its certificate is verified; what reached the proxy cannot be seen then."""
    url = f"https://origin.test:{tls_origin.port}/echo"
    bundle = certificates.bundle(certificates.intercept[0], certificates.listener_ca)
    status, found = doctor(printed, intercepting, "--ca", str(bundle), "--tool", "python", scheme="https")
    assert states(found)["listener certificate"] == "warn"  # trusted, for less than a month
    assert rows(found)["python"][0] == "-"
    status, found = doctor(
        printed, intercepting, "--ca", str(certificates.intercept[0]), "--tool", "curl", url, scheme="https"
    )
    assert status == 1
    assert states(found)["listener certificate"] == "fail"


def test_doctor_without_a_ca(printed: Path, intercepting: ProxyProcess, passing: ProxyProcess) -> None:
    """Where the proxy intercepts that is a failure, elsewhere it is as it should be."""
    status, found = doctor(printed, intercepting, "--tool", "curl")
    assert (status, states(found)["CA"]) == (1, "fail")
    status, found = doctor(printed, passing, "--tool", "curl")
    assert (status, states(found)["CA"]) == (0, "ok")


def test_doctor_in_words(printed: Path, passing: ProxyProcess) -> None:
    """For people, a table."""
    done = netfw(printed, "doctor", "--proxy", f"127.0.0.1:{passing.port()}", "--tool", "curl")
    assert "reachable" in done.stdout
    assert "not tried" in done.stdout
