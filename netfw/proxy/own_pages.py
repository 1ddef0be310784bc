"""What the listener answers to who asks the proxy itself: a short page, and what clients need to use it.

In this room: which requests those are, and their answers. Not here: the pages' contents (`netfw.kit.pages`); status,
metrics and reload live on the admin surface.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from netfw.http1.heads import RequestHead
from netfw.kit.pages import Page, pages
from netfw.kit.setting import ProxyAddress
from netfw.names.authority import Authority
from netfw.proxy.responses import Answer

_SAFE = (("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", "default-src 'none'"))
_REASONS = {200: "OK", 404: "Not Found"}


class OwnPages:
    """`ca_certificate` gives the PEM chain's root side, None where nothing is intercepted; `ca_crl` its list, DER.
    `pac_direct`: whether `/proxy.pac` names a way round a proxy that is down.
    """

    def __init__(
        self,
        *,
        proxy_name: str,
        hostname: str | None,
        ca_certificate: Callable[[], bytes | None],
        ca_crl: Callable[[], bytes | None] = lambda: None,
        pac_direct: bool = False,
    ) -> None:
        self._proxy_name = proxy_name
        self._hostname = hostname.lower() if hostname else None
        self._ca_certificate = ca_certificate
        self._ca_crl = ca_crl
        self._pac_direct = pac_direct
        self._places: dict[tuple[str, int], bool | None] = {}
        self._own: set[tuple[str, int]] = set()
        self._listeners: list[ProxyAddress] = []
        self._made: tuple[tuple[bytes | None, bytes | None], dict[str, Page]] | None = None

    def add_own(self, host_text: str, port: int, *, tls: bool | None = None) -> None:
        """A listener of ours: requests for it in absolute-form are answered here and go nowhere.

        `tls` is whether clients speak TLS to it. Where nobody says, the first one counts as plain and the others are
        not shown to clients.
        """
        self._places.setdefault((host_text, port), tls)
        self._know_places()

    def remove_own(self, host_text: str, port: int) -> None:
        """A listener that is no more."""
        self._places.pop((host_text, port), None)
        self._know_places()

    def _know_places(self) -> None:
        self._own = set(self._places)
        self._listeners = []
        for (host_text, port), tls in self._places.items():
            if self._hostname:
                self._own.add((self._hostname, port))
            shown = self._hostname or (None if ip_address(host_text).is_unspecified else host_text)
            if shown is not None and (tls is not None or not self._listeners):
                listener = ProxyAddress("https" if tls else "http", shown, port)
                if listener not in self._listeners:
                    self._listeners.append(listener)
        self._made = None

    def is_own(self, authority: Authority) -> bool:
        """Whether an absolute-form request is addressed to the proxy itself."""
        return (authority.host.text, authority.port) in self._own

    def answer(self, method: bytes, path: bytes) -> Answer:
        """The page at `path`. Nothing else of the request is known here, so nothing else can come back."""
        if method not in (b"GET", b"HEAD"):
            return _text(405, "Method Not Allowed", "Only GET and HEAD are answered here.\n", (("Allow", "GET, HEAD"),))
        found = self._pages().get(path.decode("latin-1"))
        if found is None:
            return _text(404, "Not Found", f"This is a forward proxy. Its own pages are {', '.join(self._pages())}.\n")
        status = found.problem or 200
        return Answer(status, _REASONS[status], (("Content-Type", found.content_type), *_SAFE), found.content)

    def _pages(self) -> dict[str, Page]:
        # Made once: the trust store takes thousands of hashes, which nobody shall be able to ask for again and again.
        certificate, crl = made_of = self._ca_certificate(), self._ca_crl()
        if self._made is None or self._made[0] != made_of:
            # Clients that can do only plain HTTP to a proxy are many: the plain listeners come first.
            listeners = sorted(self._listeners, key=lambda listener: listener.scheme)
            made = pages(self._proxy_name, tuple(listeners), certificate, crl, pac_direct=self._pac_direct)
            self._made = (made_of, made)
        return self._made[1]


def _text(status: int, reason: str, body: str, extra: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, reason, (("Content-Type", "text/plain; charset=utf-8"), *_SAFE, *extra), body.encode())


def wants_body(head: RequestHead) -> bool:
    """Whether the answer to this request may have a body."""
    return head.method != b"HEAD"
