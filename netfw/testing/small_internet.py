"""A small internet: every name resolves, every web site answers, and nothing leaves the machine. For tests of examples.

    python -m netfw.testing.small_internet [--seen FILE] -- COMMAND...
    ip netns exec world python -m netfw.testing.small_internet --inside --resolver ADDRESS --ca FILE -- COMMAND...

In this room: namespaces of its own (network, mounts, processes; Linux, as root), in which the resolver of
/etc/resolv.conf is a DNS server that gives every name one public address, where a web server listens on 80 and 443 and
has a certificate for whatever name it is asked by. The CA of these is among the system's roots there. COMMAND runs as
in any shell of the machine; when it ends, everything that it started ends with it, and the exit status is its own.

With `--inside` the namespaces are somebody else's, and what is served can be reached from others with a route to it:
`--resolver` is the address of the DNS server, `--ca` a file that the CA's certificate is written to.

Examples from the documentation run here as they are printed: with real names and ports, through a real proxy. Not
here: sites that misbehave (`origins`), answers that lie (`dns_zone`).
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from netfw.testing.dns_server import DnsServer
from netfw.testing.origins import HttpOrigin, OriginHandler
from netfw.testing.pki import TestAuthority

ADDRESS = "93.184.216.34"
"""Where all sites are: an address that is nobody's private one."""
RESOLVER = "127.0.0.53"
ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")
_INSIDE = "--inside"
NAMESPACES = (
    "unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip


def command(*inner: str, seen: Path | None = None) -> list[str]:
    """The command line that runs `inner` in a small internet; requests that reached a site are listed in `seen`."""
    listed = ["--seen", str(seen)] if seen is not None else []
    return [*NAMESPACES, sys.executable, "-m", "netfw.testing.small_internet", _INSIDE, *listed, "--", *inner]


class Certificates:
    """A certificate for each name, made when it is asked for."""

    def __init__(self, authority: TestAuthority, directory: Path) -> None:
        self._authority = authority
        self._directory = directory
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def files(self, name: str) -> tuple[Path, Path]:
        """Certificate and key on disk."""
        certificate, key = self._authority.issue(name)
        paths = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        for path, content in zip(paths, (certificate, key), strict=True):
            path.write_bytes(content)
        return paths

    def choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """The server name of the ClientHello decides (an SSLContext's sni_callback)."""
        if name is None:
            return
        with self._lock:
            if name not in self._contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self.files(name))
                context.set_alpn_protocols(["http/1.1"])
                self._contexts[name] = context
        connection.context = self._contexts[name]


def site(handler: OriginHandler, _: bytes) -> None:
    """What every site says: who it is and what it was asked."""
    text = f"{handler.headers['Host']} says hello to {handler.command} {handler.path}\n"
    handler.answer(200, b"" if handler.command == "HEAD" else text.encode(), "text/plain")


@contextmanager
def small_internet(
    directory: Path, seen: Path | None = None, *, resolver: str = RESOLVER, ca: Path | None = None
) -> Iterator[None]:
    """Inside the namespaces: set them up, and serve until the block ends."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (ADDRESS, resolver):
        if not address.startswith("127."):
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    authority = TestAuthority("Small internet root")
    if ca is not None:
        ca.write_bytes(authority.certificate_pem)
    roots = ROOTS.read_bytes() if ROOTS.exists() else b""
    _replace(ROOTS, roots + authority.certificate_pem, directory)
    _replace(Path("/etc/resolv.conf"), f"nameserver {resolver}\n".encode(), directory)
    _replace(Path("/etc/hosts"), b"127.0.0.1 localhost\n", directory)
    certificates = Certificates(authority, directory)
    with ExitStack() as stack:
        stack.enter_context(DnsServer({"*": {"A": [ADDRESS]}}, address=resolver, port=53))
        plain = HttpOrigin(address=ADDRESS, port=80)
        secure = HttpOrigin(address=ADDRESS, port=443, tls=certificates.files("site.example"))
        assert secure.context is not None
        secure.context.sni_callback = certificates.choose  # type: ignore[assignment]  # typeshed wants SSLSocket too
        for scheme, origin in (("http", plain), ("https", secure)):
            origin.applications["/"] = site
            stack.enter_context(origin)
            if seen is not None:
                stack.callback(_list_requests, origin, scheme, seen)
        yield


def _replace(path: Path, content: bytes, directory: Path) -> None:
    """Show this content at `path`, in the mount namespace we are in and nowhere else."""
    if not path.exists():
        return
    file = directory / path.name
    file.write_bytes(content)
    file.chmod(0o644)
    subprocess.run(["mount", "--bind", str(file), str(path.resolve())], check=True)


def _list_requests(origin: HttpOrigin, scheme: str, path: Path) -> None:
    with path.open("a") as file:
        for request in origin.requests:
            line = {"method": request.method, "url": f"{scheme}://{request.single('Host')}{request.target}"}
            file.write(json.dumps(line) + "\n")


def main() -> int:
    """The command line above."""
    parser = argparse.ArgumentParser(description="Run a command where every name and every web site answers.")
    parser.add_argument(_INSIDE, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seen", type=Path, metavar="FILE", help="list the requests that reached a site")
    parser.add_argument("--resolver", default=RESOLVER, metavar="ADDRESS", help="where the DNS server is")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="write the sites' CA there")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    wanted = parser.parse_args()
    if not wanted.inside:
        os.execvp(NAMESPACES[0], [*NAMESPACES, sys.executable, "-m", __spec__.name, _INSIDE, *sys.argv[1:]])
    with tempfile.TemporaryDirectory(prefix="small-internet-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        with small_internet(directory, wanted.seen, resolver=wanted.resolver, ca=wanted.ca):
            return subprocess.run(wanted.command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
