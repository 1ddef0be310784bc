"""The strictest clients that can be had take our leaves, through interception: each verifies by its own rules.

Python 3.13 and later verify with VERIFY_X509_STRICT by themselves; OpenSSL is told to; GnuTLS and Go have rules of
their own. Java, Node, curl and Chromium (whose chain is judged by its own verifier) are in `test_clients`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from netfw.testing.origins import HttpOrigin
from netfw.testing.proxy_process import ProxyProcess
from netfw.testing.wire_client import WireClient

SECONDS = 120
PYTHON = """
import http.client, ssl, sys
proxy, host, port, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
assert context.verify_flags & ssl.VERIFY_X509_STRICT, "not strict"
connection = http.client.HTTPSConnection("127.0.0.1", int(proxy), context=context, timeout=60)
connection.set_tunnel(host, int(port))
connection.request("GET", "/echo?strict")
print(connection.getresponse().read().decode())
"""
GO = """
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	response, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	body, _ := io.ReadAll(response.Body)
	fmt.Println(string(body))
}
"""


@pytest.fixture
def ca(certificates: Any) -> Path:
    """The interception CA's certificate."""
    path: Path = certificates.intercept[0]
    return path


def strict_python() -> str:
    """A Python that is strict by itself."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python3.{minor}") for minor in (14, 13)]
    found += sorted(str(path) for path in pyenv.glob("versions/3.1[34]*/bin/python"))
    for program in found:
        if program is None:
            continue
        said = subprocess.run(
            [program, "-c", "import ssl, sys; print(sys.version_info >= (3, 13))"],
            capture_output=True, text=True, check=False, timeout=SECONDS,
        )  # fmt: skip
        if said.stdout.strip() == "True":
            return program
    pytest.skip("program missing: python 3.13")


@pytest.mark.parametrize("host", ["origin.test", "127.0.0.1"])
def test_python_3_13(host: str, intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path) -> None:
    """With its default context, for a name and for an address."""
    done = subprocess.run(
        [strict_python(), "-I", "-c", PYTHON, str(intercepting.port()), host, str(tls_origin.port), str(ca)],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "/echo?strict" in done.stdout


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_with_every_check(
    version: str, program: Callable[[str], str], intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path
) -> None:
    """Strict, at security level 2, for the purpose and the host, with the whole chain printed."""
    authority = f"origin.test:{tls_origin.port}"
    done = subprocess.run(
        [
            program("openssl"), "s_client", "-proxy", f"127.0.0.1:{intercepting.port()}", "-connect", authority,
            "-servername", "origin.test", version, "-x509_strict", "-auth_level", "2", "-purpose", "sslserver",
            "-verify_hostname", "origin.test", "-verify_return_error", "-CAfile", str(ca), "-ign_eof",
        ],
        input=f"GET /echo?strict HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n",
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Verify return code: 0 (ok)" in done.stdout
    assert "/echo?strict" in done.stdout


@contextlib.contextmanager
def tunnel(proxy: ProxyProcess, authority: str) -> Iterator[int]:
    """A local port that leads through a CONNECT, for clients that know no proxy; one connection."""

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError), WireClient(proxy.port()) as client:
            near, _ = server.accept()
            with near:
                assert client.connect(authority).status == 200
                back = threading.Thread(target=copy, args=(client.sock, near), daemon=True)
                back.start()
                copy(near, client.sock)
                back.join(SECONDS)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.parametrize("priority", ["NORMAL", "SECURE128", "NORMAL:-VERS-TLS1.3"])
def test_gnutls(
    priority: str, program: Callable[[str], str], intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path
) -> None:
    """It looks at the certificate only when the handshake is complete on our side, and says that it is trusted."""
    authority = f"origin.test:{tls_origin.port}"
    with tunnel(intercepting, authority) as port, subprocess.Popen(
        [
            program("gnutls-cli"), "--priority", priority, "--x509cafile", str(ca), "--sni-hostname", "origin.test",
            "--verify-hostname", "origin.test", "-p", str(port), "127.0.0.1",
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"GET /echo?strict HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
        process.stdin.flush()
        # It leaves when its input ends, so that has to stay open until the answer is there.
        said = process.stdout.read().decode()
    assert "The certificate is trusted" in said
    assert "/echo?strict" in said


def test_gnutls_without_the_ca_is_a_refusal(
    program: Callable[[str], str], intercepting: ProxyProcess, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """Which is counted although the handshake had succeeded, for all that our side knew."""
    since = len(intercepting.records())
    authority = f"other.test:{tls_origin.port}"
    with tunnel(intercepting, authority) as port:
        done = subprocess.run(
            [
                program("gnutls-cli"), "--x509cafile", str(certificates.listener_ca), "--sni-hostname", "other.test",
                "--verify-hostname", "other.test", "-p", str(port), "127.0.0.1",
            ],
            input="", capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    assert done.returncode != 0
    record = intercepting.wait_for_record(lambda record: record.get("dest_domain") == "other.test.", since=since)
    assert record["close_reason"] in ("client_tls_alert", "closed_after_leaf"), record


def test_go(
    program: Callable[[str], str], intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path, tmp_path: Path
) -> None:
    """net/http with nothing but the two variables of the kit."""
    (tmp_path / "fetch.go").write_text(GO)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "GOCACHE": str(tmp_path / "cache"),
        "GOFLAGS": "-mod=mod", "GO111MODULE": "off", "CGO_ENABLED": "0",
    }  # fmt: skip
    build = [program("go"), "build", "-o", "fetch", "fetch.go"]
    subprocess.run(build, cwd=tmp_path, env=environment, check=True, timeout=4 * SECONDS)
    environment |= {"https_proxy": f"http://127.0.0.1:{intercepting.port()}", "SSL_CERT_FILE": str(ca)}
    done = subprocess.run(
        [str(tmp_path / "fetch"), f"https://origin.test:{tls_origin.port}/echo?strict"],
        env=environment, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "/echo?strict" in done.stdout


# -- ClientHellos that are unusual


def handshake(
    proxy: ProxyProcess, authority: str, ca: Path, server_name: str | None, split: Callable[[bytes], list[bytes]]
) -> bytes:
    """A handshake whose first flight goes out as `split` has it, a request in it, and the answer."""
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = server_name is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    with WireClient(proxy.port()) as client:
        assert client.connect(authority).status == 200

        def until_done(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    found = step()
                except ssl.SSLWantReadError:
                    found = None
                data = outgoing.read()
                if data:
                    for piece in split(data) if not client.buffer and tls.version() is None else [data]:
                        client.send(piece)
                if found is not None:
                    return found
                received = client.sock.recv(65536)
                if not received:
                    return b""
                incoming.write(received)

        until_done(lambda: tls.do_handshake() or True)
        tls.write(f"GET /echo?hello HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while b"/echo?hello" not in answer and b"missing_sni" not in answer:
            piece = until_done(lambda: tls.read(65536))
            assert piece, answer
            answer += piece
        return answer


def in_records(size: int) -> Callable[[bytes], list[bytes]]:
    """The same handshake message in records of so many bytes."""

    def split(data: bytes) -> list[bytes]:
        if data[0] != 0x16:
            return [data]
        length = int.from_bytes(data[3:5], "big")
        message, rest = data[5 : 5 + length], data[5 + length :]
        pieces = [message[at : at + size] for at in range(0, len(message), size)]
        return [data[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces] + ([rest] if rest else [])

    return split


@pytest.mark.parametrize("proxy_name", ["intercepting", "passing"])
@pytest.mark.parametrize("size", [1, 37, 200])
def test_a_hello_split_over_records(
    size: int, proxy_name: str, request: pytest.FixtureRequest, tls_origin: HttpOrigin, certificates: Any
) -> None:
    """OpenSSL on the other side takes it too, whichever that is."""
    proxy: ProxyProcess = request.getfixturevalue(proxy_name)
    trust = certificates.intercept[0] if proxy_name == "intercepting" else certificates.origin_ca
    answer = handshake(proxy, f"origin.test:{tls_origin.port}", trust, "origin.test", in_records(size))
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_a_hello_split_over_packets(intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path) -> None:
    """A few bytes in each."""
    answer = handshake(
        intercepting, f"origin.test:{tls_origin.port}", ca, "origin.test",
        lambda data: [data[at : at + 50] for at in range(0, len(data), 50)],
    )  # fmt: skip
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("host", "status"), [("origin.test", 421), ("127.0.0.1", 200)])
def test_a_hello_without_a_name(
    host: str, status: int, intercepting: ProxyProcess, tls_origin: HttpOrigin, ca: Path
) -> None:
    """The leaf is for the CONNECT's host, name or address; only for an address is that enough."""
    answer = handshake(intercepting, f"{host}:{tls_origin.port}", ca, None, lambda data: [data])
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


CORPUS = Path(__file__).parents[1] / "corpus" / "client_hello"


HELLOS = sorted(path.stem for path in CORPUS.glob("*.bin"))
SPLITS: dict[str, Callable[[bytes], list[bytes]]] = {
    "at once": lambda hello: [hello],
    "in packets": lambda hello: [hello[at : at + 90] for at in range(0, len(hello), 90)],
    "in records": lambda hello: in_records(100)(hello),
}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", HELLOS)
def test_real_hellos_are_answered(
    name: str, split: str, real_hellos: tuple[ProxyProcess, ProxyProcess], tls_origin: HttpOrigin
) -> None:
    """GREASE, ECH that is GREASE, post-quantum shares: the hello of each client gets a ServerHello and no alert, from
    us or from the origin, however it comes. Without a server name nobody passes it on.
    """
    hello = (CORPUS / f"{name}.bin").read_bytes()
    for proxy in real_hellos:
        with WireClient(proxy.port()) as client:
            assert client.connect(f"www.example.com:{tls_origin.port}").status == 200
            for piece in SPLITS[split](hello):
                client.send(piece)
            first = client.read_exactly(6)
            if name == "openssl-noservername" and proxy is real_hellos[1]:
                assert first[:1] + first[5:] == b"\x15\x02", first  # a fatal alert
                continue
            assert first[0] == 0x16, first
            assert first[5] == 2, first  # a ServerHello


@pytest.fixture(scope="module")
def real_hellos(
    proxy_maker: Callable[..., ProxyProcess], session_dir: Path
) -> Iterator[tuple[ProxyProcess, ProxyProcess]]:
    """Two proxies for which the name in the corpus is on this machine; the first intercepts. The origin proves another
    name: that is said inside.
    """
    hosts = session_dir / "real-hosts"
    hosts.write_text("127.0.0.1 www.example.com\n")
    dns = {"hosts_file": str(hosts)}
    with (
        proxy_maker("real-hellos", intercept=True, dns=dns) as intercepts,
        proxy_maker("real-hellos-passed", dns=dns) as passes,
    ):
        yield intercepts, passes


@pytest.mark.parametrize("workers", [0, 1])
def test_the_origins_validity_is_mirrored(
    workers: int, make_proxy: Callable[..., ProxyProcess], certificates: Any, ca: Path
) -> None:
    """Over a new connection to the origin, and over one that was kept; when it has renewed, the leaf stays within."""
    now = datetime.now(UTC).replace(microsecond=0)
    begins, ends = now - timedelta(minutes=20), now + timedelta(minutes=90)
    files = certificates.issue(
        certificates.origins, f"short-{workers}", "origin.test", not_before=begins, not_after=ends
    )
    proxy = make_proxy(intercept=True, workers=workers)

    def shown(origin: HttpOrigin) -> tuple[float, float]:
        with WireClient(proxy.port()) as client:
            assert client.connect(f"origin.test:{origin.port}").status == 200
            leaf = client.start_tls(ca, "origin.test").getpeercert() or {}
            client.ask("GET", "/echo", f"origin.test:{origin.port}")
            seconds = [ssl.cert_time_to_seconds(str(leaf[name])) for name in ("notBefore", "notAfter")]
        return seconds[0], seconds[1]

    with HttpOrigin(tls=files) as origin:
        for _ in range(2):
            assert shown(origin) == (begins.timestamp(), ends.timestamp())
    with HttpOrigin(tls=certificates.origin) as origin:
        assert shown(origin) == (begins.timestamp(), ends.timestamp())


@pytest.mark.parametrize("workers", [0, 1])
def test_the_subject_is_configurable(
    workers: int, make_proxy: Callable[..., ProxyProcess], tls_origin: HttpOrigin, ca: Path
) -> None:
    """What it says beside the host."""
    proxy = make_proxy(intercept=True, workers=workers, tls_intercept={"organization": "Egress Ltd"})
    with WireClient(proxy.port()) as client:
        assert client.connect(f"origin.test:{tls_origin.port}").status == 200
        shown = client.start_tls(ca, "origin.test").getpeercert() or {}
        assert dict(pair for part in shown["subject"] for pair in part) == {  # type: ignore[union-attr,misc,index]
            "organizationName": "Egress Ltd", "commonName": "origin.test",
        }  # fmt: skip
        client.ask("GET", "/echo", f"origin.test:{tls_origin.port}")
