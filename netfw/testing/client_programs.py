"""Client programs as people run them through a proxy: how each is told of the proxy and of the CA that it must trust.

A `ClientProgram` is data and a function that makes its command; running it and judging the outcome is the tests' work.
Each gets its proxy and its trust by the means that its own documentation names, in an otherwise clean environment.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
NODE_MODULES = ROOT / ".cache" / "node" / "node_modules"
SECONDS = 60
_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Setting:
    """What a client is told. `trust` is a PEM file with every CA it needs, `home` an empty directory of its own."""

    proxy: str
    trust: Path
    home: Path

    @property
    def proxy_host_port(self) -> str:
        """HOST:PORT of the proxy."""
        return urlsplit(self.proxy).netloc


@dataclass(frozen=True)
class Invocation:
    """One run: the command, what it needs in its environment besides the proxy variables, and its standard input."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    stdin: bytes = b""


@dataclass(frozen=True)
class ClientProgram:
    """`shows_connect` is what its user sees of a refused CONNECT: "reason", "code" or "" (nothing of use);
    `shows_inner` the same of a 403 to the request itself, where "body" is possible too.

    `path` is asked for and `proof` appears in the output of a run that worked; both may hold {case}. `tunnels_plain`:
    it sends CONNECT for plain HTTP too.
    """

    name: str
    invoke: Callable[[Setting, str], Invocation]
    shows_connect: str
    shows_inner: str
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    node_modules: tuple[str, ...] = ()
    plain: bool = True
    tls: bool = True
    https_proxy: bool = False
    path: str = "/echo?case={case}"
    proof: str = '"target": "/echo?case={case}"'
    scheme: str = "http"
    tunnels_plain: bool = False

    def missing(self) -> str | None:
        """The first thing it needs that is not there."""
        for program in self.programs:
            if shutil.which(program, path=_PATH) is None:
                return program
        for module in self.modules:
            if importlib.util.find_spec(module) is None:
                return f"{module} (Python)"
        for module in self.node_modules:
            if not (NODE_MODULES / module).is_dir():
                return f"{module} (Node)"
        return None

    def run(self, setting: Setting, url: str) -> subprocess.CompletedProcess[str]:
        """Run it; its two outputs come back as one text."""
        invocation = self.invoke(setting, url)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{_PATH}",
            "HOME": str(setting.home),
            "XDG_CONFIG_HOME": str(setting.home / ".config"),
            "LANG": "C.UTF-8",
            "TMPDIR": str(setting.home),
            "http_proxy": setting.proxy,
            "https_proxy": setting.proxy,
            **invocation.environment,
        }
        return subprocess.run(
            invocation.command, env=environment, cwd=setting.home, input=invocation.stdin.decode("ascii"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS, check=False,
        )  # fmt: skip


def _curl(setting: Setting, url: str) -> Invocation:
    command = ["curl", "-sS", "--max-time", "30", "--proxy-cacert", str(setting.trust)]
    if url.startswith("https:"):
        command += ["--write-out", "%{http_code}"]
    return Invocation([*command, url], {"CURL_CA_BUNDLE": str(setting.trust)})


def _wget(setting: Setting, url: str) -> Invocation:
    return Invocation(["wget", "-nv", "-O", "-", "--tries=1", "--timeout=30", f"--ca-certificate={setting.trust}", url])


def _git(setting: Setting, url: str) -> Invocation:
    environment = {"GIT_SSL_CAINFO": str(setting.trust), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    configuration = ["-c", f"http.proxySSLCAInfo={setting.trust}"]
    script = 'git "$1" "$2" clone -q "$3" clone && git -C clone log --format=%s'
    return Invocation(["sh", "-c", script, "sh", *configuration, url], environment)


def _pip(setting: Setting, url: str) -> Invocation:
    command = [
        sys.executable, "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check", "--no-deps",
        "--retries", "0", "--timeout", "30", "--target", "site", "--index-url", url, "tinywheel",
    ]  # fmt: skip
    if url.startswith("http:"):
        command += ["--trusted-host", urlsplit(url).hostname or ""]
    return Invocation(command, {"PIP_CERT": str(setting.trust), "PIP_CONFIG_FILE": "/dev/null"})


def _python(code: str, *trust_variables: str, own_proxy: bool = False) -> Callable[[Setting, str], Invocation]:
    def invoke(setting: Setting, url: str) -> Invocation:
        environment = {name: str(setting.trust) for name in trust_variables}
        arguments = [setting.proxy] if own_proxy else []
        return Invocation([sys.executable, "-c", code, url, *arguments], environment)

    return invoke


_URLLIB = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=30).read().decode())
except urllib.error.HTTPError as error:
    sys.exit(f"{error.code} {error.reason} {error.read().decode()}")
"""

_REQUESTS = """
import sys, requests
response = requests.get(sys.argv[1], timeout=30)
print(response.status_code, response.reason, response.text)
sys.exit(response.status_code != 200)
"""

_HTTPX = """
import sys, httpx
response = httpx.get(sys.argv[1], timeout=30)
print(response.status_code, response.reason_phrase, response.text)
sys.exit(response.status_code != 200)
"""

_AIOHTTP = """
import asyncio, ssl, sys, aiohttp

async def main():
    url, proxy = sys.argv[1:]
    context = ssl.create_default_context()
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(trust_env=True, connector=connector) as session:
        # aiohttp ignores an https:// proxy that stands in the environment
        explicit = {"proxy": proxy} if proxy.startswith("https:") else {}
        async with session.get(url, **explicit) as response:
            print(response.status, response.reason, await response.text())
            return response.status != 200

sys.exit(asyncio.run(main()))
"""

_WEBSOCKETS = """
import asyncio, socket, ssl, sys, websockets
from urllib.parse import urlsplit

async def main():
    url, proxy = urlsplit(sys.argv[1]), urlsplit(sys.argv[2])
    sock = socket.create_connection((proxy.hostname, proxy.port), 30)
    sock.sendall(f"CONNECT {url.netloc} HTTP/1.1\\r\\nHost: {url.netloc}\\r\\n\\r\\n".encode())
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        piece = sock.recv(1)
        if not piece:
            break
        head += piece
    if b" 200 " not in head.split(b"\\r\\n")[0]:
        sys.exit(head.decode("latin-1"))
    sock.setblocking(False)
    secure = {"ssl": ssl.create_default_context(), "server_hostname": url.hostname} if url.scheme == "wss" else {}
    async with websockets.connect(sys.argv[1], sock=sock, **secure) as connection:
        await connection.send(url.query)
        print(await connection.recv())
        await connection.send(b"x" * 300000)
        assert await connection.recv() == b"x" * 300000

asyncio.run(main())
"""

_NODE_HTTP = """
const http = require('node:http');
const url = new URL(process.argv[2]), proxy = new URL(process.env.http_proxy);
http.get({host: proxy.hostname, port: proxy.port, path: url.href, headers: {Host: url.host}}, (response) => {
  let text = '';
  response.on('data', (piece) => { text += piece; });
  response.on('end', () => {
    console.log(response.statusCode, response.statusMessage, text);
    process.exitCode = response.statusCode === 200 ? 0 : 1;
  });
}).on('error', (error) => { console.log(error); process.exitCode = 1; });
"""

_UNDICI = """
const {fetch, EnvHttpProxyAgent, setGlobalDispatcher} = require('undici');
setGlobalDispatcher(new EnvHttpProxyAgent());
fetch(process.argv[2]).then(async (response) => {
  console.log(response.status, response.statusText, await response.text());
  process.exitCode = response.status === 200 ? 0 : 1;
}).catch((error) => { console.log(error); process.exitCode = 1; });
"""


def _node(code: str) -> Callable[[Setting, str], Invocation]:
    def invoke(setting: Setting, url: str) -> Invocation:
        script = setting.home / "script.cjs"
        script.write_text(code)
        environment = {"NODE_EXTRA_CA_CERTS": str(setting.trust), "NODE_PATH": str(NODE_MODULES)}
        return Invocation(["node", str(script), url], environment)

    return invoke


def _certificates_of(bundle: Path) -> list[str]:
    marker = "-----END CERTIFICATE-----\n"
    return [part + marker for part in bundle.read_text().split(marker) if part.strip()]


def _chromium(setting: Setting, url: str) -> Invocation:
    command, environment = chromium_command(setting)
    return Invocation([*command, "--dump-dom", url], environment)


def chromium_command(setting: Setting) -> tuple[list[str], dict[str, str]]:
    """A headless one that trusts and uses what it is told, and its environment; what it is to do comes behind that."""
    # Its trust is an NSS database in the home directory; which of the two places depends on its version.
    for place in (".pki/nssdb", ".local/share/pki/nssdb"):
        database = setting.home / place
        database.mkdir(parents=True)
        subprocess.run(["certutil", "-N", "-d", f"sql:{database}", "--empty-password"], check=True)
        for number, certificate in enumerate(_certificates_of(setting.trust)):
            subprocess.run(
                ["certutil", "-A", "-d", f"sql:{database}", "-n", f"ca{number}", "-t", "C,,"],
                input=certificate.encode(), check=True,
            )  # fmt: skip
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={setting.home / 'profile'}", f"--proxy-server={setting.proxy}",
    ]  # fmt: skip
    # It makes a socket there, whose path may have 104 characters at most.
    return command, {"TMPDIR": tempfile.gettempdir()}


def _openssl(setting: Setting, url: str) -> Invocation:
    parts = urlsplit(url)
    command = [
        "openssl", "s_client", "-proxy", setting.proxy_host_port, "-connect", parts.netloc, "-servername",
        parts.hostname or "", "-CAfile", str(setting.trust), "-verify_return_error", "-quiet",
    ]  # fmt: skip
    request = f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    return Invocation(command, stdin=request.encode())


_JAVA = """
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.URI;

public class Fetch {
    public static void main(String[] arguments) throws Exception {
        HttpURLConnection connection = (HttpURLConnection) URI.create(arguments[0]).toURL().openConnection();
        int status = connection.getResponseCode();
        InputStream stream = status < 400 ? connection.getInputStream() : connection.getErrorStream();
        String body = stream == null ? "" : new String(stream.readAllBytes());
        System.out.println(status + " " + connection.getResponseMessage() + " " + body);
        System.exit(status == 200 ? 0 : 1);
    }
}
"""


def _java(setting: Setting, url: str) -> Invocation:
    # One place a session for the compiled class: the compiler takes longer than all else.
    classes = setting.home.parent / "java-classes"
    if not (classes / "Fetch.class").exists():
        classes.mkdir(exist_ok=True)
        (classes / "Fetch.java").write_text(_JAVA)
        subprocess.run(["javac", "-d", str(classes), str(classes / "Fetch.java")], check=True)
    store = setting.home / "trust.p12"
    subprocess.run(
        ["keytool", "-importcert", "-noprompt", "-file", str(setting.trust), "-keystore", str(store), "-storepass",
         "changeit"], check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    host, port = setting.proxy_host_port.split(":")
    options = [f"-D{scheme}.proxy{what}={value}"
               for scheme in ("http", "https") for what, value in (("Host", host), ("Port", port))]  # fmt: skip
    trust = [f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    return Invocation(["java", "-XX:TieredStopAtLevel=1", *options, *trust, "-cp", str(classes), "Fetch", url])


def _library_is_at_least(name: str, major: int) -> bool:
    """Whether a Python library is there in this major version or a newer one."""
    try:
        return int(version(name).split(".")[0]) >= major
    except PackageNotFoundError:
        return False


CLIENTS = (
    ClientProgram("curl", _curl, "code", "body", programs=("curl",), https_proxy=True),
    ClientProgram("wget", _wget, "reason", "reason", programs=("wget",)),
    ClientProgram("git", _git, "code", "code", programs=("git",), https_proxy=True, path="/git/small.git",
                  proof="a small commit"),
    ClientProgram("pip", _pip, "", "", modules=("pip",), https_proxy=True, path="/simple/",
                  proof="Successfully installed"),
    ClientProgram("urllib", _python(_URLLIB, "SSL_CERT_FILE"), "reason", "body"),
    ClientProgram("requests", _python(_REQUESTS, "REQUESTS_CA_BUNDLE"), "reason", "body", modules=("requests",),
                  https_proxy=True),
    ClientProgram("httpx", _python(_HTTPX, "SSL_CERT_FILE"), "reason", "body", modules=("httpx",),
                  https_proxy=_library_is_at_least("httpcore", 1)),  # older ones cannot do TLS within TLS
    ClientProgram("aiohttp", _python(_AIOHTTP, "SSL_CERT_FILE", own_proxy=True), "reason", "body", modules=("aiohttp",),
                  https_proxy=True),
    ClientProgram("websockets", _python(_WEBSOCKETS, "SSL_CERT_FILE", own_proxy=True), "reason", "code",
                  modules=("websockets",), path="/ws?{case}", proof="{case}", scheme="ws",
                  tunnels_plain=True),
    ClientProgram("node-http", _node(_NODE_HTTP), "", "body", programs=("node",), tls=False),
    ClientProgram("undici", _node(_UNDICI), "", "body", programs=("node",), node_modules=("undici",), https_proxy=True,
                  tunnels_plain=True),
    ClientProgram("chromium", _chromium, "", "body", programs=("chromium", "certutil"), https_proxy=True),
    ClientProgram("openssl", _openssl, "code", "body", programs=("openssl",), plain=False),
    ClientProgram("java", _java, "reason", "body", programs=("java", "javac", "keytool")),
)  # fmt: skip
