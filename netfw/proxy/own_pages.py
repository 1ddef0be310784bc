"""What the listener answers to who asks the proxy itself: a short page, and the CA certificate that clients must trust.

Nothing else is served here: status, metrics and reload live on the admin surface.
"""

from __future__ import annotations

from collections.abc import Callable

from netfw.http1.heads import RequestHead
from netfw.names.authority import Authority
from netfw.proxy.responses import Answer

_SAFE = (("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "default-src 'none'"))


class OwnPages:
    """`ca_certificate` gives the PEM chain's root side, or None where nothing is intercepted."""

    def __init__(self, *, proxy_name: str, hostname: str | None, ca_certificate: Callable[[], bytes | None]) -> None:
        self._proxy_name = proxy_name
        self._hostname = hostname
        self._ca_certificate = ca_certificate
        self._own: set[tuple[str, int]] = set()

    def add_own(self, host_text: str, port: int) -> None:
        """A listener of ours: requests for it in absolute-form are answered here and go nowhere."""
        self._own.add((host_text, port))
        if self._hostname:
            self._own.add((self._hostname.lower(), port))

    def is_own(self, authority: Authority) -> bool:
        """Whether an absolute-form request is addressed to the proxy itself."""
        return (authority.host.text, authority.port) in self._own

    def answer(self, method: bytes, path: bytes) -> Answer:
        """The page at `path`."""
        if method not in (b"GET", b"HEAD"):
            return _text(405, "Method Not Allowed", "Only GET and HEAD are answered here.\n", (("Allow", "GET, HEAD"),))
        if path == b"/":
            return _text(200, "OK", self._front_page())
        if path == b"/ca.pem":
            certificate = self._ca_certificate()
            if certificate is None:
                return _text(404, "Not Found", "This proxy does not intercept TLS: there is no certificate to trust.\n")
            fields = (("Content-Type", "application/x-pem-file"), *_SAFE)
            return Answer(200, "OK", fields, certificate)
        return _text(404, "Not Found", "This is a forward proxy. Its own pages are / and /ca.pem.\n")

    def _front_page(self) -> str:
        lines = [
            f"This is {self._proxy_name}, a forward proxy (netfw). It does not serve web pages itself.",
            "",
            "Tell your program to use it:",
            "    export http_proxy=http://THIS-HOST:PORT https_proxy=http://THIS-HOST:PORT",
        ]
        if self._ca_certificate() is not None:
            lines += [
                "",
                "It reads TLS: your program must trust its certificate authority, which is at /ca.pem:",
                "    curl -o netfw-ca.pem http://THIS-HOST:PORT/ca.pem",
                "    curl --cacert netfw-ca.pem https://example.com/",
            ]
        return "\n".join([*lines, ""])


def _text(status: int, reason: str, body: str, extra: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, reason, (("Content-Type", "text/plain; charset=utf-8"), *_SAFE, *extra), body.encode())


def wants_body(head: RequestHead) -> bool:
    """Whether the answer to this request may have a body."""
    return head.method != b"HEAD"
