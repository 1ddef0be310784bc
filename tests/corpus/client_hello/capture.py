"""Write the ClientHello of each TLS client found on this machine beside this file, as NAME.bin.

Run by hand: `python tests/corpus/client_hello/capture.py`. Each client is sent to a listening socket on loopback that
reads what comes, keeps it and closes. Every file holds one whole ClientHello for www.example.com in its records.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
NAME = "www.example.com"

JAVA = """
import java.net.*;
import javax.net.ssl.*;

public class Hello {
    public static void main(String[] arguments) throws Exception {
        Socket plain = new Socket("127.0.0.1", Integer.parseInt(arguments[0]));
        SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        SSLSocket tls = (SSLSocket) factory.createSocket(plain, "www.example.com", 443, true);
        SSLParameters parameters = tls.getSSLParameters();
        parameters.setApplicationProtocols(new String[] {"http/1.1"});
        tls.setSSLParameters(parameters);
        tls.startHandshake();
    }
}
"""

GO = """
package main

import (
	"crypto/tls"
	"net"
	"os"
)

func main() {
	plain, err := net.Dial("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		os.Exit(1)
	}
	tls.Client(plain, &tls.Config{ServerName: "www.example.com", NextProtos: []string{"h2", "http/1.1"}}).Handshake()
}
"""

NODE = (
    f"require('tls').connect({{port: {{port}}, host: '127.0.0.1', servername: '{NAME}', "
    "ALPNProtocols: ['h2', 'http/1.1']}).on('error', () => process.exit(0))"
)


def capture(run: Callable[[int], object]) -> bytes:
    """What `run(port)` sends first: everything until a quarter of a second of silence."""
    received = b""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        client = threading.Thread(target=run, args=(server.getsockname()[1],), daemon=True)
        client.start()
        with contextlib.suppress(TimeoutError):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(10)
                with contextlib.suppress(TimeoutError, ConnectionError):
                    while piece := connection.recv(65536):
                        received += piece
                        connection.settimeout(0.25)
        client.join(5)
    return received


def command(*arguments: str) -> Callable[[int], object]:
    """A program to run; `{port}` in an argument is the port."""

    def run(port: int) -> object:
        return subprocess.run(
            [argument.replace("{port}", str(port)) for argument in arguments],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=15, check=False,
        )  # fmt: skip

    return run


def pyopenssl_client(port: int) -> None:
    """pyOpenSSL with the OpenSSL that `cryptography` brings along: newer than the system's, with larger key shares."""
    from OpenSSL import SSL

    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), socket.create_connection(("127.0.0.1", port)))
    connection.set_tlsext_host_name(NAME.encode())
    connection.set_connect_state()
    with contextlib.suppress(SSL.Error):
        connection.do_handshake()


def python_client(version: ssl.TLSVersion | None, alpn: list[str]) -> Callable[[int], object]:
    """Python's own ssl module."""

    def run(port: int) -> object:
        context = ssl.create_default_context()
        if version is not None:
            context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(alpn)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as plain:
            context.wrap_socket(plain, server_hostname=NAME)
        return None

    return run


def clients() -> dict[str, Callable[[int], object]]:
    """Every client that is here."""
    found: dict[str, Callable[[int], object]] = {
        "pyopenssl": pyopenssl_client,
        "python": python_client(None, []),
        "python-alpn": python_client(None, ["h2", "http/1.1"]),
        "python-tls12": python_client(ssl.TLSVersion.TLSv1_2, ["http/1.1"]),
    }
    connect = ("-connect", "127.0.0.1:{port}", "-servername", NAME)
    programs = {
        "curl": ("curl", "-sk", "--connect-to", f"{NAME}:443:127.0.0.1:{{port}}", f"https://{NAME}/"),
        "openssl": ("openssl", "s_client", *connect),
        "openssl-tls12": ("openssl", "s_client", *connect, "-tls1_2"),
        "openssl-noservername": ("openssl", "s_client", "-connect", "127.0.0.1:{port}", "-noservername"),
        "openssl-split": ("openssl", "s_client", *connect, "-split_send_frag", "64", "-max_send_frag", "512"),
        "gnutls": ("gnutls-cli", "--insecure", "--sni-hostname", NAME, "-p", "{port}", "127.0.0.1"),
        "gnutls-alpn": (
            "gnutls-cli", "--insecure", "--alpn", "http/1.1", "--sni-hostname", NAME, "-p", "{port}", "127.0.0.1",
        ),
        "node": ("node", "-e", NODE),
    }  # fmt: skip
    if chromium := shutil.which("chromium"):
        found["chromium"] = command(
            chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tempfile.mkdtemp()}",
            f"--host-resolver-rules=MAP {NAME} 127.0.0.1:{{port}}", "--dump-dom", f"https://{NAME}/",
        )  # fmt: skip
    for name, arguments in programs.items():
        if shutil.which(arguments[0]):
            found[name] = command(*arguments)
    if shutil.which("java"):
        source = Path(tempfile.mkdtemp()) / "Hello.java"
        source.write_text(JAVA)
        found["java"] = command("java", str(source), "{port}")
    if shutil.which("go"):
        directory = Path(tempfile.mkdtemp())
        (directory / "hello.go").write_text(GO)
        subprocess.run(["go", "build", "-o", "hello", "hello.go"], cwd=directory, check=True)
        found["go"] = command(str(directory / "hello"), "{port}")
    return found


def main() -> int:
    """Capture them all."""
    for name, run in clients().items():
        data = capture(run)
        if data[:1] == b"\x16":
            (HERE / f"{name}.bin").write_bytes(data)
        print(name, len(data), "bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
